"""Own layers compute what their reference computes, in graphs, files and after loading."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from core.layers.convolution import GroupedConv2D
from core.layers.resize import BilinearUpsampling


@pytest.mark.parametrize("channels, filters, groups", [(4, 2, 2), (6, 12, 3), (8, 8, 1), (8, 4, 4)])
@pytest.mark.parametrize("padding, strides", [("same", 1), ("valid", 2)])
def test_grouped_convolution_equals_its_groups(channels, filters, groups, padding, strides):
    rng = np.random.default_rng(0)
    image = rng.standard_normal((2, 9, 9, channels)).astype(np.float32)
    layer = GroupedConv2D(filters, 3, strides=strides, padding=padding, groups=groups)
    outputs = layer(image)
    layer.bias.assign(rng.standard_normal(filters))
    outputs = layer(image)
    width, out = channels // groups, filters // groups
    parts = [
        tf.nn.conv2d(
            image[..., g * width : (g + 1) * width],
            layer.kernel[..., g * out : (g + 1) * out],
            strides,
            padding.upper(),
        )
        for g in range(groups)
    ]
    np.testing.assert_allclose(outputs, tf.concat(parts, -1) + layer.bias, atol=1e-5)


def test_grouped_convolution_learns_like_its_groups():
    """The gradient of the kernel, which TensorFlow lacks for grouped kernels on the CPU."""
    image = np.random.default_rng(1).standard_normal((1, 6, 6, 4)).astype(np.float32)
    layer = GroupedConv2D(2, 3, groups=2, padding="same", use_bias=False)
    layer(image)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(layer(image)))
    ours = tape.gradient(loss, layer.trainable_weights[0].value)
    kernel = tf.Variable(layer.kernel.value)
    with tf.GradientTape() as tape:
        parts = [
            tf.nn.conv2d(image[..., 2 * g : 2 * g + 2], kernel[..., g : g + 1], 1, "SAME")
            for g in range(2)
        ]
        loss = tf.reduce_sum(tf.square(tf.concat(parts, -1)))
    np.testing.assert_allclose(ours, tape.gradient(loss, kernel), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_upsampling_equals_keras_and_works_with_open_sizes(factor):
    image = np.random.default_rng(2).standard_normal((2, 5, 7, 3)).astype(np.float32)
    expected = keras.layers.UpSampling2D(factor, interpolation="bilinear")(image)
    np.testing.assert_allclose(BilinearUpsampling(factor)(image), expected, atol=1e-6)
    open_input = keras.Input((None, None, 3))
    model = keras.Model(open_input, BilinearUpsampling(factor)(open_input))
    np.testing.assert_allclose(tf.function(model)(image), expected, atol=1e-6)
    assert model.output_shape == (None, None, None, 3)


def test_upsampling_keeps_half_precision():
    image = np.zeros((1, 2, 2, 1), np.float16)
    layer = BilinearUpsampling(2, dtype="mixed_float16")
    assert layer(image).dtype == tf.float16


@pytest.mark.parametrize("layer", [BilinearUpsampling(3), GroupedConv2D(4, 3, groups=2)])
def test_config_round_trip(layer):
    assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()


def test_bad_factor_is_named():
    with pytest.raises(ValueError, match="factor=0"):
        BilinearUpsampling(0)
