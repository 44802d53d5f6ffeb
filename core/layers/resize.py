"""Resizing inside a network."""

from __future__ import annotations

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("gossamer")
class BilinearUpsampling(keras.layers.Layer):
    """Enlarge (N, H, W, C) by a whole factor, half-pixel centres (PyTorch's align_corners=False).

    `keras.layers.UpSampling2D(interpolation="bilinear")` computes the same but, in Keras 3.15,
    fails in a graph whose height and width are open, which multi-scale training has.

    Args:
        factor: How many times larger each side becomes.
    """

    def __init__(self, factor: int = 2, **kwargs):
        super().__init__(**kwargs)
        if factor < 1:
            raise ValueError(f"`factor` must be a positive integer. Received: factor={factor}")
        self.factor = factor

    def call(self, inputs):
        height, width = inputs.shape[1:3]
        known = height is not None and width is not None
        size = (height, width) if known else tf.shape(inputs)[1:3]
        outputs = tf.image.resize(inputs, tf.multiply(size, self.factor))
        return tf.cast(outputs, inputs.dtype)  # tf.image.resize returns float32 for float16

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        grown = [None if side is None else side * self.factor for side in (height, width)]
        return (batch, *grown, channels)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}
