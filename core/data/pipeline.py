"""From an index of samples to the batches a network is trained on.

Order and augmentation of a sample follow from (seed, epoch, position in the index) and nothing
else: any number of worker threads gives the same bytes, and a training that is resumed at epoch n
sees what the uninterrupted one would have seen.
"""

from __future__ import annotations

import copy
import dataclasses
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from core.data.index import Index, Sample
from core.errors import UserError
from core.model_card import ModelCard

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from core.config import TrainConfig
    from core.finetuning.frozen import FrozenFeatures
    from core.task import Example, Task

_ORDER, _AUGMENTATION = 1, 2  # keep the two kinds of random numbers apart
_LOOKED_AT = 8  # samples that are given to a network at once before an epoch


class ExampleCache:
    """Decoded samples, kept in memory until a budget is used up.

    What does not fit is decoded each time: in a shuffled order, dropping old samples for new ones
    would lose exactly those that are needed next. Where a task takes many parts of a sample in an
    epoch (`Task.repeats`), that is each time for each part: such data should fit.

    Args:
        task: Decodes (`task.load`).
        card: The model card, for the size.
        budget_bytes: Bytes of arrays to keep at most; 0 keeps nothing.
    """

    def __init__(self, task: Task, card: ModelCard, budget_bytes: int):
        self._task, self._card = task, card
        self._free = budget_bytes
        self._kept: dict[str, Example] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def load(self, sample: Sample) -> Example:
        """Return the decoded sample; the caller may change the arrays. Safe in any thread.

        Examples that their task only takes parts of may say so by copying to themselves.
        """
        kept = self._kept.get(sample.id)
        if kept is not None:
            return copy.deepcopy(kept)
        example = self._task.load(sample, self._card)
        size = _array_bytes(example)
        with self._lock:
            if sample.id not in self._kept and size <= self._free:
                self._kept[sample.id] = copy.deepcopy(example)
                self._free -= size
        return example


class TrainingData:
    """The batches of a training, epoch by epoch.

    Call `start_epoch`, then iterate `dataset()`: the same `tf.data.Dataset` gives another order
    and other augmentations in each epoch, so it is made once. No sample is left out; the last
    batch may be smaller, but where it would hold a single sample (whose batch statistics mean
    nothing), that sample joins the batch before.

    Args:
        task: Decodes, augments and encodes; `task.batches` has the last word on the batches.
        index: The training samples.
        card: The model card.
        config: Batch size, seed, workers, and what the task reads from it.
        outputs: Number of the network's outputs; the target is repeated for each.
        cache_bytes: Budget of the cache; None takes a quarter of the machine's memory.
        features: Stand for the inputs while only a network's head is trained; None if never.
        weights: A number for each sample of the index, float32 (N,), that batches then hold as
            sample weights; None for none. `carry` exchanges them.

    Attributes:
        epoch: The epoch (from 0) the next iteration is for; `start_epoch` sets it.
        samples: Samples seen in an epoch.

    Raises:
        UserError: When the first sample cannot be decoded or has no truth.
    """

    def __init__(
        self,
        task: Task,
        index: Index,
        card: ModelCard,
        config: TrainConfig,
        *,
        outputs: int = 1,
        cache_bytes: int | None = None,
        features: FrozenFeatures | None = None,
        weights: np.ndarray | None = None,
    ):
        import cv2

        cv2.setNumThreads(1)  # the workers already use every core
        if cache_bytes is None:
            cache_bytes = kept_bytes()
        self.epoch, self._features, self._weights = 0, features, weights
        self._task, self._index, self._card, self._config = task, index, card, config
        self._outputs, self._repeats = outputs, task.repeats(config, index)
        self._cache = ExampleCache(task, card, cache_bytes if config.cache else 0)
        self._workers = config.workers or len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="samples")
        self._failure: Exception | None = None
        self._ordered: tuple[int, list[np.ndarray]] = (-1, [])
        batches = self.order(0)
        self.steps = len(batches)
        self.samples = sum(len(batch) for batch in batches)
        self._first = self.example(0, 0)

    @property
    def index(self) -> Index:
        """The training samples."""
        return self._index

    @property
    def count(self) -> int:
        """How many samples there are."""
        return len(self._index)

    def start_epoch(self, epoch: int, model: keras.Model | None = None) -> int:
        """Make ready for an epoch (from 0); return how many features were computed for it.

        Args:
            epoch: The epoch.
            model: The graph that is trained, for a task whose batches depend on it.
        """
        self.epoch = epoch
        if model is not None:
            rng = self._order_rng(epoch)
            outputs = partial(self._outputs_of, model, epoch)
            mined = self._task.mined_order(self._index, self._config, rng, outputs)
            if mined is not None:
                self._ordered = (epoch, mined[: self._config.steps_per_epoch])
        if self._features is None:
            return 0
        return self._features.enter(epoch, len(self._index), self._plain)

    def order(self, epoch: int) -> list[np.ndarray]:
        """Return the positions in the index that make up each batch of an epoch."""
        known, batches = self._ordered
        if known == epoch:
            return batches
        rng = self._order_rng(epoch)
        chosen = self._task.batch_order(self._index, self._config, rng)
        batches = self._shuffled(rng) if chosen is None else chosen
        batches = batches[: self._config.steps_per_epoch]
        self._ordered = (epoch, batches)
        return batches

    def inputs(self, epoch: int, positions: Sequence[int]) -> np.ndarray:
        """Return the inputs at positions of an epoch, as `example` has them, in one array."""
        pairs = self._pool.map(partial(self.example, epoch), positions)
        return np.stack([inputs for inputs, _ in pairs])

    def carry(self, beside: np.ndarray) -> None:
        """Let batches hold what is known of each sample, (samples, ...), as sample weights.

        Raises:
            UserError: When a training sample is not one of the index, but a part or a mixture.
        """
        if self._repeats > 1:
            raise UserError(
                "Config: distill.views asks a teacher about whole samples, but this training takes "
                f"{self._repeats} parts of each; set it to 0."
            )
        self._weights = beside

    def _outputs_of(self, model: keras.Model, epoch: int) -> list[np.ndarray]:
        """Return what a model gives for every sample, in batches of one size: (N, ...) each."""
        found = []
        for start in range(0, len(self._index), _LOOKED_AT):
            positions = range(start, min(start + _LOOKED_AT, len(self._index)))
            outputs = model.predict_on_batch(self.inputs(epoch, positions))
            found.append(outputs if isinstance(outputs, list | tuple) else [outputs])
        return [np.concatenate(parts) for parts in zip(*found, strict=True)]

    def _order_rng(self, epoch: int) -> np.random.Generator:
        return np.random.default_rng([self._config.seed, epoch, _ORDER])

    def _shuffled(self, rng: np.random.Generator) -> list[np.ndarray]:
        count, batch = len(self._index) * self._repeats, self._config.batch
        starts = list(range(batch, count, batch))
        if batch > 1 and starts and count - starts[-1] == 1:
            starts.pop()
        return np.split(rng.permutation(count), starts)

    def example(self, epoch: int, position: int) -> tuple[np.ndarray, np.ndarray]:
        """Return input and target at a position of an epoch; beyond the index it starts again."""
        sample = self._index.samples[position % len(self._index)]
        rng = np.random.default_rng([self._config.seed, epoch, position, _AUGMENTATION])
        example = self._task.training_example(self._cache.load(sample), rng, self._config)
        inputs, target = self._task.encode(example, self._card)
        if target is None:
            raise UserError(
                f"{sample.inputs[0]}: has no truth to train on; add its annotation or take the "
                "file out of the training split."
            )
        return inputs, target

    def dataset(self) -> tf.data.Dataset:
        """Return the batches (inputs, target) of the epoch that `epoch` names when iterated.

        Inputs are float32 (N, *sides, C), (N, H, W, C) for pictures; with several outputs the
        target is a tuple of equal tensors. With weights they are (inputs, target, weights).
        """
        import tensorflow as tf

        specs = [(array.dtype, array.shape) for array in self._first]
        if self._features is not None:  # which have another shape than the inputs
            specs[0] = specs[0][0], (None,) * len(specs[0][1])

        def load(step):
            arrays = tf.numpy_function(self._batch, [step], [dtype for dtype, _ in specs])
            for array, (_, shape) in zip(arrays, specs, strict=True):
                array.set_shape((None, *shape))
            return tuple(arrays)

        # A batch is one call whose samples the pool shares. A call per sample measured no faster,
        # and would run one at a time under TensorFlow's op determinism.
        dataset = tf.data.Dataset.range(self.steps).map(
            load, num_parallel_calls=2, deterministic=True
        )
        return self._weighted(self._finish(dataset)).prefetch(tf.data.AUTOTUNE)

    def step_count(self) -> int:
        """Return the optimiser steps of an epoch, after `task.batches`."""
        import tensorflow as tf

        known = int(self.dataset().cardinality())
        if known >= 0:
            return known
        batch = tuple(np.stack([array] * self._config.batch) for array in self._first)
        one = self._finish(tf.data.Dataset.from_tensors(batch))
        return self.steps * sum(1 for _ in one)

    def raise_failure(self) -> None:
        """Raise the error a worker met: TensorFlow passes on only its text, in a traceback."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """End the worker threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _batch(self, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        try:
            epoch = self.epoch
            positions = self.order(epoch)[int(step)].tolist()
            if self._features is not None and self._features.serves(epoch):
                return self._features.batch([at % len(self._index) for at in positions])
            pairs = list(self._pool.map(partial(self.example, epoch), positions))
            inputs, targets = zip(*pairs, strict=True)
            return np.stack(inputs), np.stack(targets)
        except Exception as error:
            self._failure = self._failure or error
            raise

    def _plain(self, positions: Sequence[int]) -> tuple[np.ndarray, ...]:
        """Return inputs and targets of samples as they are, without augmentation."""

        def plain(position: int):
            return self._task.encode(self._cache.load(self._index.samples[position]), self._card)

        inputs, targets = zip(*self._pool.map(plain, positions), strict=True)
        return np.stack(inputs), np.stack(targets)

    def _weighted(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """Return batches with the weights of their samples beside them, if there are any."""
        if self._weights is None:
            return dataset
        import tensorflow as tf

        if int(dataset.cardinality()) != self.steps:
            raise ValueError("`task.batches` must keep the batches of a task that weights samples.")
        known, count = self._weights.astype(np.float32), len(self._index)

        def of_batch(step):
            return known[self.order(self.epoch)[int(step)] % count]

        def load(step):
            weights = tf.numpy_function(of_batch, [step], tf.float32)
            weights.set_shape((None, *known.shape[1:]))
            return weights

        weights = tf.data.Dataset.range(self.steps).map(load)
        pairs = tf.data.Dataset.zip(dataset, weights)
        return pairs.map(lambda batch, weights: (*batch, weights))

    def _finish(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        given = dataset
        dataset = self._task.batches(given, self._config, epoch=lambda: self.epoch)
        if self._weights is not None and self._weights.ndim > 1 and dataset is not given:
            raise UserError(
                "Config: distill.views asks a teacher about samples as they are, but this training "
                "mixes or resizes batches; set it to 0, or leave that off."
            )
        if self._outputs > 1:
            dataset = dataset.map(lambda inputs, target: (inputs, (target,) * self._outputs))
        return dataset


def _array_bytes(value: Any) -> int:
    """Return the bytes of all arrays in dataclasses, mappings and sequences."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if dataclasses.is_dataclass(value):
        value = [getattr(value, spec.name) for spec in dataclasses.fields(value)]
    elif isinstance(value, Mapping):
        value = list(value.values())
    return sum(map(_array_bytes, value)) if isinstance(value, list | tuple) else 0


def kept_bytes() -> int:
    """Return how many bytes of samples a training keeps in memory: a quarter of it."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
