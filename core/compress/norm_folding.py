"""Batch normalisation folded into the kernels before it: equal outputs, fewer operators.

W' = W · γ / sqrt(σ² + ε) per output channel, b' = β + (b - μ) · γ / sqrt(σ² + ε).
"""

from __future__ import annotations

import keras
import numpy as np

from core.compress.folding import affine_of, scale_outputs
from core.compress.graph import Call, graph_of
from core.compress.operators import WEIGHTED
from core.compress.rewriter import Rewriter, layer_input_shape


def fold_norms(model: keras.Model) -> keras.Model:
    """Return the network for use: every normalisation behind a kernel is part of that kernel.

    Args:
        model: A functional Keras model; it is not changed. Layers that are used several times, or
            have an activation of their own before the normalisation, stay as they are.

    Returns:
        A model with equal outputs at inference and the same names of layers, the folded
        normalisations' left out; the model itself where there is nothing to fold.
    """
    graph = graph_of(model)
    if not any(_folds(graph, call) for call in graph.calls):
        return model
    return _Folding(graph).rewrite()


def _folds(graph, call: Call) -> bool:
    """Whether a call is a kernel with a batch normalisation of its last axis behind it."""
    layer, user = call.operation, graph.sole_user(call.outputs[0])
    if not isinstance(layer, WEIGHTED) or user is None:
        return False
    norm = user.operation
    if not isinstance(norm, keras.layers.BatchNormalization) or graph.uses[id(layer)] > 1:
        return False
    last = norm.axis in (-1, len(graph.shapes[call.outputs[0]]) - 1)
    return last and graph.uses[id(norm)] == 1 and layer.activation is keras.activations.linear


class _Folding(Rewriter):
    def emit(self, call: Call) -> None:
        norm = None
        if _folds(self.graph, call):
            norm = self.follower(call.outputs[0], keras.layers.BatchNormalization)
        if norm is None:
            self.copy(call)
            return
        merged = _merged(call.operation, norm.operation, self.name(call.operation.name))
        self.tensors[norm.outputs[0]] = merged(self.tensors[call.inputs[0]])


def _merged(layer, norm, name: str):
    """Return a layer that does what a kernel and the normalisation behind it do."""
    merged = type(layer).from_config({**layer.get_config(), "name": name, "use_bias": True})
    merged.build(layer_input_shape(layer))
    merged.kernel.assign(layer.kernel)
    merged.bias.assign(layer.bias if layer.use_bias else np.zeros(merged.bias.shape))
    scale_outputs(merged, *affine_of(norm))
    return merged
