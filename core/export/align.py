"""Widen depthwise convolutions to whole vectors before a float export; the outputs stay equal.

XNNPACK computes eight channels at a time, and the rest of a depthwise convolution one by one: with
6 channels it takes 2 to 4 times as long as with 8. Where such channels begin and end in
plain convolutions, channels of zeros are added in between.
"""

from __future__ import annotations

import keras
import numpy as np

from core.compress.graph import Call, Graph, graph_of

VECTOR = 8
# Layers that treat every channel by itself and keep a channel of zeros harmless.
CHANNELWISE = (
    keras.layers.Activation,
    keras.layers.Add,
    keras.layers.BatchNormalization,
    keras.layers.DepthwiseConv2D,
    keras.layers.Dropout,
    keras.layers.MaxPooling2D,
    keras.layers.ReLU,
)
# What keeps an added channel at zero in a BatchNormalization.
NEUTRAL = {"gamma": 1.0, "beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}


def align_channels(model: keras.Model) -> keras.Model:
    """Return a model with equal outputs whose depthwise convolutions fill XNNPACK's vectors.

    Args:
        model: A functional model. It is not changed; layers that need no change are shared.

    Returns:
        The model itself when nothing needs widening.
    """
    graph = graph_of(model)
    wider = _widened_values(graph)
    if not wider:
        return model
    tensors = dict(zip(graph.inputs, keras.tree.flatten(model.input), strict=True))
    for call in graph.calls:
        layer = call.operation
        outputs = call.outputs[0] in wider
        if outputs or (call.inputs and call.inputs[0] in wider):
            layer = _widened_layer(layer, wider.get(call.inputs[0]), wider.get(call.outputs[0]))
        made = call.replay(layer, [tensors[value] for value in call.inputs])
        tensors.update(zip(call.outputs, made, strict=True))
    results = [tensors[value] for value in graph.outputs]
    return keras.Model(model.input, results if len(results) > 1 else results[0], name=model.name)


def _widened_values(graph: Graph) -> dict[int, int]:
    """Return the values that get more channels, with how many they then have."""
    group = {value: value for value in graph.shapes}

    def root(value: int) -> int:
        while group[value] != value:
            value = group[value]
        return value

    blocked = set(graph.inputs) | set(graph.outputs)
    depthwise = set()
    for call in graph.calls:
        if _is_border(call, graph):
            continue
        values = (*call.inputs, *call.outputs)
        if _is_channelwise(call, graph):
            for value in values[1:]:
                group[root(value)] = root(values[0])
            if isinstance(call.operation, keras.layers.DepthwiseConv2D):
                depthwise.add(call.outputs[0])
        else:
            blocked.update(values)
    wanted = {root(value) for value in depthwise} - {root(value) for value in blocked}
    return {
        value: -(-shape[-1] // VECTOR) * VECTOR
        for value, shape in graph.shapes.items()
        if root(value) in wanted and shape[-1] % VECTOR
    }


def _is_border(call: Call, graph: Graph) -> bool:
    """Whether a call is a plain convolution, where channels can begin and end."""
    layer = call.operation
    return (
        type(layer) is keras.layers.Conv2D
        and layer.groups == 1
        and layer.data_format == "channels_last"
        and graph.uses[id(layer)] == 1
    )


def _is_channelwise(call: Call, graph: Graph) -> bool:
    layer = call.operation
    if not isinstance(layer, CHANNELWISE) or graph.uses[id(layer)] != 1:
        return False
    if getattr(layer, "depth_multiplier", 1) != 1:
        return False
    if isinstance(layer, keras.layers.BatchNormalization) and layer.axis not in (-1, 3):
        return False
    if isinstance(layer, keras.layers.Activation) and layer.activation is keras.activations.softmax:
        return False
    shapes = [graph.shapes[value] for value in (*call.inputs, *call.outputs)]
    return all(len(shape) == 4 and shape[-1] == shapes[0][-1] for shape in shapes)


def _widened_layer(layer, inputs: int | None, outputs: int | None):
    """Return a copy of a layer for more input channels, output channels, or both."""
    config = layer.get_config()
    if isinstance(layer, keras.layers.Conv2D) and outputs is not None:
        config["filters"] = outputs
    copy = type(layer).from_config(config)
    if not layer.weights:
        return copy
    shape = list(layer.input.shape)
    shape[-1] = inputs or shape[-1]
    copy.build(tuple(shape))
    for old, new in zip(layer.weights, copy.weights, strict=True):
        value = np.full(new.shape, NEUTRAL.get(new.name, 0.0), np.float32)
        value[tuple(slice(side) for side in old.shape)] = old.numpy()
        new.assign(value)
    return copy
