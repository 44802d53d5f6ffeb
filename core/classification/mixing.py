"""Batches whose samples are mixed with each other, and their targets with them.

mixup: H. Zhang, M. Cisse, Y. N. Dauphin, D. Lopez-Paz, ICLR 2018, arXiv:1710.09412. CutMix: S. Yun
et al., ICCV 2019, arXiv:1905.04899. As in the official codes, one λ for a batch, and partners from
a random order of it. Keras's layers of these names draw from a state that depends on what ran
before; here a batch's randomness follows from (seed, epoch, step), as `core.data.pipeline` has it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

_MIXING = 3  # keeps these random numbers apart from the pipeline's


@dataclass(frozen=True)
class Mixing:
    """What is done to batches.

    Attributes:
        classes: K.
        mixup: α of mixup's λ ~ Beta(α, α); 0 leaves it out.
        cutmix: α of CutMix's; 0 leaves it out. With both, each batch takes one of them at random.
        probability: Share of the batches that are mixed.
    """

    classes: int
    mixup: float = 0.2
    cutmix: float = 1.0
    probability: float = 1.0

    def __post_init__(self):
        if self.classes < 2 or min(self.mixup, self.cutmix) < 0 or not 0 <= self.probability <= 1:
            raise ValueError(
                "`classes` must be 2 or more, `mixup` and `cutmix` 0 or more, `probability` in "
                f"[0, 1]. Received: {self}"
            )

    def draw(
        self, samples: int, sides: Sequence[int], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what is random about a batch, for `blend`.

        Args:
            samples: N.
            sides: Of an input, without channels: (height, width) of a picture.
            rng: The source of all randomness.

        Returns:
            Each sample's partner, int64 (N,); the part it keeps of itself at each place, float32
            (*sides, 1); and of its target, float32 ().
        """
        kept, part = np.ones((*sides, 1), np.float32), 1.0
        order = np.arange(samples)
        kinds = [kind for kind in ("mixup", "cutmix") if getattr(self, kind) > 0]
        if kinds and rng.random() < self.probability:
            kind = kinds[int(rng.integers(len(kinds)))]
            alpha = getattr(self, kind)
            part, order = rng.beta(alpha, alpha), rng.permutation(samples)
            if kind == "mixup":
                kept[:] = part
            else:
                kept[_box(sides, 1 - part, rng)] = 0
                part = kept.mean(dtype=np.float64)
        return order, kept, np.array(part, np.float32)


def blend(
    inputs: tf.Tensor,
    targets: tf.Tensor,
    classes: int,
    drawn: tuple[tf.Tensor, tf.Tensor, tf.Tensor],
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return a batch and its targets, mixed as was drawn.

    Args:
        inputs: Floats (N, *sides, C).
        targets: Classes (N,), integers from 0, or the classes' shares (N, K).
        classes: K.
        drawn: Of `Mixing.draw`.

    Returns:
        Inputs of the same type, and shares float32 (N, K).
    """
    import tensorflow as tf

    if not inputs.dtype.is_floating or targets.shape.rank not in (1, 2):
        raise ValueError(
            "`inputs` must be floats (N, *sides, C), `targets` (N,) or (N, K). Received: "
            f"{inputs.dtype.name} {inputs.shape} and {targets.shape}"
        )
    order, kept, part = drawn
    if targets.shape.rank == 1:  # a class that there is none of is an error, not zeros
        targets = tf.gather(tf.eye(classes), targets)
    shares = tf.ensure_shape(tf.cast(targets, tf.float32), (None, classes))
    kept = tf.cast(kept, inputs.dtype)
    mixed = inputs * kept + tf.gather(inputs, order) * (1 - kept)
    return mixed, shares * part + tf.gather(shares, order) * (1 - part)


def mixed_batches(
    dataset: tf.data.Dataset, mixing: Mixing, *, seed: int, epoch: Callable[[], int]
) -> tf.data.Dataset:
    """Return a dataset of batches (inputs, targets) with each of them mixed.

    Args:
        dataset: Batches of inputs, floats (N, *sides, C), and targets, (N,) or (N, K).
        mixing: What to do.
        seed: Of the training.
        epoch: Tells the epoch, asked while the dataset is iterated, such as
            `lambda: data.epoch` of a `core.data.pipeline.TrainingData`.

    Returns:
        Batches of the same inputs' shape, and float32 (N, K).
    """
    import tensorflow as tf

    def draw(step, shape):
        rng = np.random.default_rng([seed, epoch(), int(step), _MIXING])
        return mixing.draw(int(shape[0]), shape[1:-1].tolist(), rng)

    def mix(step, batch):
        inputs, targets = batch
        order, kept, part = tf.numpy_function(
            draw, [step, tf.shape(inputs)], [tf.int64, tf.float32, tf.float32]
        )
        order.set_shape((None,))
        kept.set_shape((*inputs.shape[1:-1], 1))
        part.set_shape(())
        mixed, shares = blend(inputs, targets, mixing.classes, (order, kept, part))
        return tf.ensure_shape(mixed, inputs.shape), shares

    return dataset.enumerate().map(mix, num_parallel_calls=2, deterministic=True)


def _box(sides: Sequence[int], share: float, rng: np.random.Generator) -> tuple[slice, ...]:
    """Return a box of about a share of the whole, its centre anywhere, cut at the border.

    On a line it is a stretch, in a volume a block; its sides are to each other as the whole's.
    """
    box = []
    for side in sides:
        length, centre = int(side * math.pow(share, 1 / len(sides))), int(rng.integers(side))
        start = centre - length // 2
        box.append(slice(max(0, start), min(side, start + length)))
    return tuple(box)
