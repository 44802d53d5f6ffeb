"""Which ranges stand around a layer: a file's kernels round by the ratio of their scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from core.compress.operators import FUSED_ACTIVATIONS, JOINING, MOVING
from core.compress.tracing import is_exporting
from core.layers.clip import Clip

LayerBase: Any = object  # to a type checker, a mix-in has what the Keras layer beside it has


class Range(LayerBase):
    """Mixed into a Keras layer that rounds a tensor: tells the layer which made it of its range.

    Attributes:
        active: Whether it rounds at present.
        bits: Code width.
    """

    active: bool
    bits: int

    def __call__(self, inputs, *args, **kwargs):
        if isinstance(inputs, keras.KerasTensor):
            producer = producer_of(inputs)
            if producer is not None and producer.ends is not None:
                producer.ends.target = self
        return super().__call__(inputs, *args, **kwargs)


@dataclass
class Ends:
    """The ranges of a layer's inputs and output; None where it is not the only one, or unknown.

    A plain object on purpose: Keras would otherwise count the quantizers as parts of the layer.
    """

    sources: list[Range | None]
    target: Range | None = None

    def known(self) -> bool:
        """Return whether all ranges are known, in use and of eight bits."""
        return all(q is not None and q.active and q.bits == 8 for q in (*self.sources, self.target))


class Linked(LayerBase):
    """Mixed into a Keras layer: finds out, as a model is built, which ranges stand around it.

    A layer called more than once has no ranges of its own; `ends` is then None.
    """

    ends: Any = None  # `Ends` where they are known
    _called = False

    def __call__(self, *args, **kwargs):
        tensors = [t for t in keras.tree.flatten(args) if isinstance(t, keras.KerasTensor)]
        if tensors:
            self.ends = None if self._called else Ends([range_of(tensor) for tensor in tensors])
            self._called = True
        return super().__call__(*args, **kwargs)

    def simulates(self, training) -> bool:
        """Return whether the layer shall compute what the file's kernel computes, bit for bit."""
        return not training and not is_exporting() and self.ends is not None and self.ends.known()


def range_of(tensor) -> Range | None:
    """Return the range a symbolic tensor has its codes in, or None for a tensor without."""
    while True:
        operation, number = tensor._keras_history[:2]
        if isinstance(operation, Range):
            return operation
        inputs = operation._inbound_nodes[number].input_tensors
        if type(operation).__name__ not in MOVING | JOINING or not inputs:
            return None
        tensor = inputs[0]


def producer_of(tensor):
    """Return the layer whose kernel makes a symbolic tensor, a fused activation included."""
    operation, number = tensor._keras_history[:2]
    fused = isinstance(operation, Clip)
    if isinstance(operation, keras.layers.Activation):
        fused = keras.activations.serialize(operation.activation) in FUSED_ACTIVATIONS
    if fused:
        tensor = operation._inbound_nodes[number].input_tensors[0]
        operation = tensor._keras_history.operation
    return operation if isinstance(operation, Linked) else None
