"""Quantization-aware training of networks that normalise each sample by its own statistics."""

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from core.compress.quantize import quantize_aware
from core.compress.ranges import calibrate


def normalised(norm: keras.layers.Layer) -> keras.Model:
    image = keras.Input((4, 4, 4))
    x = keras.layers.Conv2D(4, 1, name="conv")(image)
    return keras.Model(image, keras.layers.Conv2D(2, 1, name="head")(norm(x)))


@pytest.mark.parametrize(
    "norm", [keras.layers.LayerNormalization, partial(keras.layers.GroupNormalization, 2)]
)
def test_a_flat_input_leaves_the_range_of_inverse_roots_alone(norm):
    """Its variance is rounded to zero, and one over its root is larger than all there was."""
    keras.utils.set_random_seed(0)
    inputs = np.random.default_rng(0).standard_normal((8, 4, 4, 4)).astype(np.float32)
    quantized = quantize_aware(normalised(norm(epsilon=1e-6, name="norm")))
    calibrate(quantized, inputs)
    inverse = quantized.get_layer("norm.inverse.range")
    before, expected = inverse.scale, quantized(inputs)
    for _ in range(3):
        quantized(1e-3 * inputs, training=True)
    assert inverse.scale == before
    np.testing.assert_allclose(quantized(inputs), expected, atol=0.1)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(quantized(1e-3 * inputs, training=True) ** 2)
    gradients = tape.gradient(loss, quantized.trainable_variables)
    assert all(float(tf.norm(gradient)) < 1e4 for gradient in gradients)


def test_what_makes_a_mean_of_groups_is_not_trained():
    quantized = quantize_aware(normalised(keras.layers.GroupNormalization(2, name="norm")))
    trained = {variable.path for variable in quantized.trainable_variables}
    assert trained and not any("groups" in path for path in trained)
