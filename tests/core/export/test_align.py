"""Widening channels for XNNPACK changes the file's speed, never its outputs."""

import keras
import numpy as np
import pytest
from keras import layers

from core.export.align import align_channels


def block(x, channels, filters):
    x = layers.Conv2D(channels, 1, name="expand")(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization(name="norm")(x))
    parts = [layers.DepthwiseConv2D(k, padding="same", name=f"dw{k}")(x) for k in (1, 3)]
    x = layers.Activation("relu6")(layers.Add()(parts))
    return layers.Conv2D(filters, 1, name="project")(x)


def lively(model):
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.uniform(0.2, 1.0, weight.shape))
    return model


@pytest.mark.parametrize("channels, expected", [(6, 8), (8, 8), (12, 16)])
def test_outputs_are_equal_and_vectors_full(channels, expected):
    image = keras.Input((8, 8, 3))
    model = lively(keras.Model(image, block(image, channels, 4)))
    aligned = align_channels(model)
    batch = np.random.default_rng(1).standard_normal((2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(model(batch), aligned(batch), rtol=1e-6, atol=1e-6)
    assert aligned.get_layer("dw3").output.shape[-1] == expected
    assert (aligned is model) == (channels == expected)
    assert model.get_layer("dw3").output.shape[-1] == channels


@pytest.mark.parametrize(
    "ending",
    [
        lambda x: x,  # the channels are an output
        lambda x: layers.Conv2D(2, 1)(keras.ops.mean(x, axis=-1, keepdims=True)),
        lambda x: layers.Conv2D(2, 1)(layers.Softmax()(x)),
        lambda x: layers.Conv2D(2, 1)(layers.Concatenate()([x, x])),
        lambda x: layers.Conv2D(6, 1, groups=2)(x),
    ],
)
def test_channels_that_mean_something_are_left_alone(ending):
    image = keras.Input((8, 8, 3))
    x = layers.DepthwiseConv2D(3)(layers.Conv2D(6, 1)(image))
    model = keras.Model(image, ending(x))
    assert align_channels(model) is model


def test_shared_layers_are_left_alone():
    image = keras.Input((8, 8, 3))
    depthwise = layers.DepthwiseConv2D(3, padding="same")
    x = layers.Add()(
        [
            depthwise(layers.Conv2D(6, 1)(image)),
            depthwise(layers.Conv2D(6, 3, padding="same")(image)),
        ]
    )
    model = keras.Model(image, layers.Conv2D(2, 1)(x))
    assert align_channels(model) is model
