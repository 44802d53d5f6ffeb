"""Activations that are computed again for the gradient instead of kept, so that volumes fit.

T. Chen et al., "Training Deep Nets with Sublinear Memory Cost", arXiv:1604.06174.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import keras

from core.compress.graph import Call, Graph, graph_of

# Positions of a batch from which its activations may not fit: two images of 256x256, or a crop of
# 51x51x51.
LARGE = 2**17


def is_large(sides: Sequence[int], batch: int) -> bool:
    """Return whether a batch has so many positions that recomputing is worth its time."""
    return batch * math.prod(sides) >= LARGE


def recomputed(model: keras.Model, kept: str) -> keras.Model:
    """Return a graph on the same layers that keeps few activations until its gradient is taken.

    The calls, in the order in which they are computed, are cut into segments. Of a segment only
    what enters it is kept; its gradient computes it once more. Results are the same; a training
    step takes about a third more time. What follows the last cut stays as it is, for its gradient
    is the next thing that is computed.

    Args:
        model: A functional Keras model; it is not changed. Layers before the last cut must compute
            the same when called again and change nothing: no dropout, no batch normalisation.
        kept: Regular expression of whole layer names; a segment ends with each of them.

    Raises:
        ValueError: When no layer is called so, or one before the last cut holds a state.
    """
    graph = graph_of(model)
    *segments, rest = _segments(graph, kept)
    if not segments:
        raise ValueError(f"`kept` must match names of layers. Received: kept={kept!r}")
    tensors = dict(zip(graph.inputs, model.inputs, strict=True))
    for calls in segments:
        entering, leaving = _ends(graph, calls)
        inner = _inner(calls, entering, leaving, tensors)
        block = Recomputed(inner, name=f"{calls[-1].operation.name}.recomputed")
        outputs = block([tensors[value] for value in entering])
        tensors.update(zip(leaving, outputs, strict=True))
    _replay(rest, tensors)
    outputs = [tensors[value] for value in graph.outputs]
    return keras.Model(model.input, outputs if len(outputs) > 1 else outputs[0], name=model.name)


def _segments(graph: Graph, kept: str) -> list[list[Call]]:
    """Return the calls, cut behind those of the layers that are kept."""
    segments: list[list[Call]] = [[]]
    for call in graph.calls:
        segments[-1].append(call)
        if re.fullmatch(kept, call.operation.name):
            segments.append([])
    for call in (call for segment in segments[:-1] for call in segment):
        layer = call.operation
        if getattr(layer, "trainable", False) and layer.non_trainable_variables:
            raise ValueError(
                f"`kept` must not be behind layers with a state. Received: kept={kept!r}, behind "
                f"'{layer.name}'"
            )
    return segments


def _ends(graph: Graph, calls: Sequence[Call]) -> tuple[list[int], list[int]]:
    """Return the values that enter a segment, and those of its own that are used outside."""
    made = [value for call in calls for value in call.outputs]
    used = [value for call in calls for value in call.inputs]
    within = {id(call) for call in calls}
    leaving = [
        value
        for value in made
        if value in graph.outputs or any(id(user) not in within for user in graph.users[value])
    ]
    # A segment is computed again once the gradient of its first output is there. That of its end is
    # the last to come: with any other first, segments would be computed again side by side.
    return [value for value in dict.fromkeys(used) if value not in made], leaving[::-1]


def _inner(calls: Sequence[Call], entering: list[int], leaving: list[int], outer: dict):
    """Return the model of a segment; its inputs are as the tensors outside."""
    inputs = [
        keras.Input(batch_shape=outer[value].shape, dtype=outer[value].dtype, name=f"input_{n}")
        for n, value in enumerate(entering)
    ]
    tensors = dict(zip(entering, inputs, strict=True))
    _replay(calls, tensors)
    return keras.Model(inputs, [tensors[value] for value in leaving])


def _replay(calls: Sequence[Call], tensors: dict) -> None:
    """Add the outputs of calls to the tensors, by the numbers of the values."""
    for call in calls:
        outputs = call.replay(call.operation, [tensors[value] for value in call.inputs])
        tensors.update(zip(call.outputs, outputs, strict=True))


class Recomputed(keras.layers.Layer):
    """A segment as one layer of a training's graph.

    Args:
        inner: Its functional model; it takes and returns lists.
    """

    def __init__(self, inner: keras.Model, **kwargs):
        super().__init__(autocast=False, **kwargs)  # the layers inside know their precisions
        self.inner = inner

    def call(self, inputs, training=None):
        if not training:
            return self.inner(inputs, training=training)
        outputs = keras.remat(lambda *x: self.inner(list(x), training=True))(*inputs)
        return keras.tree.flatten(outputs)  # a list of one comes back as a tensor

    def compute_output_spec(self, inputs, training=None):
        return [keras.KerasTensor(tensor.shape, tensor.dtype) for tensor in self.inner.outputs]
