"""The deployable OSNet: the embedding alone, the first layers of a block's streams made one.

The four streams of a block begin with a 1x1 convolution of the same input and a depthwise one; side
by side they are one 1x1 and one depthwise convolution of four times the channels.
"""

from __future__ import annotations

import keras
import numpy as np

from apps.person_reid.models.osnet_names import STREAMS
from core.compress.folding import activation_of
from core.compress.graph import Call, Graph, graph_of
from core.compress.rewriter import Rewriter

NORMALIZE = "normalize"
# Measured on one core, float: the fused x0_25 is 7 % faster and the fused ain_x0_25 4 %; from
# 32 channels a stream on, what a wider product gains its split takes (-1 to +2 %). int8: 0 to 1 %.
FUSED_WIDTH = 16


def deploy(model: keras.Model, *, normalize: bool = False, fuse: bool | None = None) -> keras.Model:
    """Return the deployable network: equal embeddings, no classifier.

    Args:
        model: An OSNet of any form, such as a loaded one; it is not changed.
        normalize: Whether embeddings are scaled to length one. The host can do that as well, and
            an integer file then needs no float operators.
        fuse: Whether the first layers of a block's streams are computed as one; None: where that
            is faster, which is in the narrowest networks.

    Returns:
        The model itself where nothing is to be done.
    """
    if len(model.outputs) > 1:
        model = keras.Model(model.input, model.outputs[0], name=model.name)
    graph = graph_of(model)
    groups = _parallel_layers(graph)
    if fuse is None:
        fuse = any(chains[0][0].operation.filters <= FUSED_WIDTH for chains in groups)
    if fuse and groups:
        model = _Fusing(graph, groups).rewrite()
    if normalize and not any(layer.name == NORMALIZE for layer in model.layers):
        unit = keras.layers.UnitNormalization(axis=-1, name=NORMALIZE)
        model = keras.Model(model.input, unit(model.output), name=model.name)
    return model


def _parallel_layers(graph: Graph) -> list[list[list[Call]]]:
    """Return the blocks' streams: their first 1x1, depthwise, norm and ReLU, of each stream."""
    found: dict[int, list[list[Call]]] = {}
    for call in graph.calls:
        chain = _light_layer(graph, call)
        if chain is not None:
            found.setdefault(call.inputs[0], []).append(chain)
    return [chains for chains in found.values() if len(chains) == STREAMS]


def _light_layer(graph: Graph, call: Call) -> list[Call] | None:
    """Return the four calls of a light 3x3 layer that begins with a call, or None."""
    kinds = (
        keras.layers.Conv2D,
        keras.layers.DepthwiseConv2D,
        keras.layers.BatchNormalization,
        keras.layers.Activation,
    )
    chain = [call]
    while len(chain) < len(kinds) and (user := graph.sole_user(chain[-1].outputs[0])) is not None:
        chain.append(user)
    layers = [link.operation for link in chain]
    if [type(layer) for layer in layers] != list(kinds):
        return None
    plain = layers[0].kernel_size == (1, 1) and not layers[0].use_bias and not layers[1].use_bias
    return chain if plain and activation_of(layers[-1]) == "relu" else None


class _Fusing(Rewriter):
    """Emits the streams' first layers side by side."""

    def __init__(self, graph: Graph, groups: list[list[list[Call]]]):
        super().__init__(graph)
        self.groups = {id(chains[0][0]): chains for chains in groups}

    def emit(self, call: Call) -> None:
        chains = self.groups.get(id(call))
        if chains is None:
            self.copy(call)
            return
        x = self.tensors[call.inputs[0]]
        # conv2.0.conv2a.conv1 and its likes become conv2.0.streams.conv1.
        path = chains[0][0].operation.name.partition(".conv2")[0] + ".streams"
        names = (f"{path}.conv1", f"{path}.conv2", f"{path}.bn", path)
        for name, column in zip(names, zip(*chains, strict=True), strict=True):
            layers = [link.operation for link in column]
            x = _side_by_side(layers, self.name(name), tuple(x.shape))(x)
        parts = keras.ops.split(x, len(chains), axis=-1)
        for chain, part in zip(chains, parts, strict=True):
            self._done.update(id(link) for link in chain)
            self.tensors[chain[-1].outputs[0]] = part


def _side_by_side(layers: list, name: str, input_shape: tuple):
    """Return one layer that computes what several do, their channels one after the other."""
    config = {**layers[0].get_config(), "name": name}
    if "filters" in config:
        config["filters"] *= len(layers)
        config["kernel_initializer"] = "zeros"
    joined = type(layers[0]).from_config(config)
    joined.build(input_shape)
    axis = 2 if isinstance(joined, keras.layers.DepthwiseConv2D) else -1
    weights = zip(*(layer.get_weights() for layer in layers), strict=True)
    joined.set_weights([np.concatenate(parts, axis=axis) for parts in weights])
    return joined
