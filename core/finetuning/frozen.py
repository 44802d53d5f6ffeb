"""What the frozen part of a network makes of each sample, computed once and then kept.

While only the head is trained, the same picture gives the same features in every epoch. They are
computed in one pass, in the order of the index and in parts of one size, so that a training that is
resumed has the same ones; after that an epoch costs what the head costs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import keras
import numpy as np

from core.compress.graph import graph_of

AT_ONCE = 16  # samples in a pass through the frozen part


class FrozenFeatures:
    """The features of all training samples, for the epochs in which only the head is trained.

    Args:
        model: A functional network with one input and one output; its weights are shared.
        head: Names of the layers that are trained.
        epochs: In so many, from the first on, only they are.

    Attributes:
        graph: What `fit` sees: the network, or in those epochs its head behind the features.
        shape: Of a sample's features.

    Raises:
        ValueError: When the head reads more than one value of what lies before it.
    """

    def __init__(self, model: keras.Model, head: Collection[str], epochs: int):
        self.epochs = epochs
        self._body, self._head = parted(model, head)
        self.shape: tuple[int, ...] = tuple(self._body.output.shape[1:])
        if None in self.shape:
            raise ValueError(f"The features must have a fixed shape. Received: {self.shape}")
        self.graph: Any = _HeadFirst(inputs=model.inputs, outputs=model.outputs, name=model.name)
        self.graph.set_head(self._head, self.shape)
        self._rows: np.ndarray | None = None
        self._targets: np.ndarray | None = None

    def bytes(self, samples: int) -> int:
        """Return what the features of so many samples take."""
        return samples * int(np.prod(self.shape)) * 4

    def serves(self, epoch: int) -> bool:
        """Return whether an epoch (from 0) is trained on features."""
        return epoch < self.epochs

    def enter(
        self, epoch: int, samples: int, load: Callable[[Sequence[int]], tuple[np.ndarray, ...]]
    ) -> int:
        """Make ready for an epoch; return how many samples went through the frozen part for it.

        Args:
            epoch: From 0.
            samples: How many there are.
            load: Returns inputs and targets of samples of these positions, not augmented.
        """
        self.graph.reads_features = self.serves(epoch)
        if not self.serves(epoch):
            self._rows = self._targets = None  # the memory is wanted for other things
            return 0
        if self._rows is not None:
            return 0
        rows, targets = [], []
        for start in range(0, samples, AT_ONCE):
            inputs, target = load(range(start, min(start + AT_ONCE, samples)))
            rows.append(self._computed(inputs))
            targets.append(target)
        self._rows, self._targets = np.concatenate(rows), np.concatenate(targets)
        return samples

    def batch(self, positions: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return features and targets of samples.

        The features have as many axes as an input has, the last one holding all of them.
        """
        if self._rows is None or self._targets is None:
            raise RuntimeError("The features of an epoch were asked for before it was entered.")
        chosen = np.asarray(positions)
        rows = self._rows[chosen].reshape(len(chosen), *(1,) * (self._body.input.ndim - 2), -1)
        return rows, self._targets[chosen]

    def _computed(self, inputs: np.ndarray) -> np.ndarray:
        missing = AT_ONCE - len(inputs)  # one shape only, so one compiled function and one result
        padded = np.concatenate([inputs, np.repeat(inputs[-1:], missing, axis=0)])
        return self._body.predict_on_batch(padded)[: len(inputs)]


class _HeadFirst(keras.Model):
    """A functional network that can be called with features instead of inputs."""

    reads_features = False

    def set_head(self, head: keras.Model, shape: tuple[int, ...]) -> None:
        self._head_of = lambda: (head, shape)  # no sublayer: it shares this network's layers

    def __call__(self, inputs, *args, **kwargs):
        if not self.reads_features:
            return super().__call__(inputs, *args, **kwargs)
        head, shape = self._head_of()
        return head(keras.ops.reshape(inputs, (-1, *shape)), *args, **kwargs)


def parted(model: keras.Model, head: Collection[str]) -> tuple[keras.Model, keras.Model]:
    """Return a network's body and its head, two models that share its layers.

    Dropout right before the head belongs to it: it is drawn anew in every epoch.

    Args:
        model: A functional network with one input and one output.
        head: Names of layers; all that depends on them belongs to the head.

    Raises:
        ValueError: When the head reads more than one value of the body, or the body nothing.
    """
    graph = graph_of(model)
    made = {value: call for call in graph.calls for value in call.outputs}
    values: set[int] = set()
    for call in graph.calls:
        if call.operation.name in head or values.intersection(call.inputs):
            values.update(call.outputs)
    entered = {v for call in _calls(graph, values) for v in call.inputs if v not in values}
    while len(entered) == 1:
        before = made.get(next(iter(entered)))
        if before is None or not isinstance(before.operation, keras.layers.Dropout):
            break
        values.update(before.outputs)
        entered = set(before.inputs)
    if len(entered) != 1 or entered <= set(graph.inputs):
        raise ValueError(
            f"The head of {model.name} must read one value of the layers before it. "
            f"Received: {len(entered)}"
        )
    (value,) = entered
    tensors = dict(zip(graph.inputs, model.inputs, strict=True))
    for call in graph.calls:
        if not values.intersection(call.outputs):
            inputs = [tensors[number] for number in call.inputs]
            tensors.update(zip(call.outputs, call.replay(call.operation, inputs), strict=True))
    body = keras.Model(model.input, tensors[value], name=f"{model.name}_body")
    features = keras.Input(graph.shapes[value][1:], name="features")
    tensors = {value: features}
    for call in _calls(graph, values):
        inputs = [tensors[number] for number in call.inputs]
        tensors.update(zip(call.outputs, call.replay(call.operation, inputs), strict=True))
    return body, keras.Model(features, tensors[graph.outputs[0]], name=f"{model.name}_head")


def _calls(graph, values: set[int]) -> list:
    return [call for call in graph.calls if values.intersection(call.outputs)]
