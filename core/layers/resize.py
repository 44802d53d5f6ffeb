"""Resizing inside a network."""

from __future__ import annotations

import keras
import tensorflow as tf


class Upsampling(keras.layers.Layer):
    """Enlarge (N, H, W, C) by a whole factor; a subclass says how.

    Args:
        factor: How many times larger each side becomes.
    """

    method: str

    def __init__(self, factor: int = 2, **kwargs):
        super().__init__(**kwargs)
        if factor < 1:
            raise ValueError(f"`factor` must be a positive integer. Received: factor={factor}")
        self.factor = factor

    def call(self, inputs):
        height, width = inputs.shape[1:3]
        known = height is not None and width is not None
        size = (height, width) if known else tf.shape(inputs)[1:3]
        outputs = tf.image.resize(inputs, tf.multiply(size, self.factor), method=self.method)
        return tf.cast(outputs, inputs.dtype)  # tf.image.resize returns float32 for float16

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        grown = [None if side is None else side * self.factor for side in (height, width)]
        return (batch, *grown, channels)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable("gossamer")
class BilinearUpsampling(Upsampling):
    """Enlarge by a whole factor, half-pixel centres (PyTorch's align_corners=False).

    `keras.layers.UpSampling2D(interpolation="bilinear")` computes the same but, in Keras 3.15,
    fails in a graph whose height and width are open, which multi-scale training has.
    """

    method = "bilinear"


@keras.saving.register_keras_serializable("gossamer")
class NearestUpsampling(Upsampling):
    """Enlarge by a whole factor, repeating pixels: one TFLite operator.

    `keras.layers.UpSampling2D` computes the same, by a chain of tiles and reshapes.
    """

    method = "nearest"


@keras.saving.register_keras_serializable("gossamer")
class NearestResize(keras.layers.Layer):
    """Resize (N, h, w, C) to the height and width of another tensor by repeating pixels.

    Row i of H takes row floor(i · h / H), PyTorch's rule ("nearest"), for any sizes: of 3 rows 7
    become 0, 0, 0, 1, 1, 2, 2. `keras.ops.image.resize` measures from the pixels' centres and
    takes 0, 0, 1, 1, 1, 2, 2. One TFLite operator, also of integers.

    Called with [x, like]: `like` only gives the size, its values do not count.
    """

    def call(self, inputs):
        x, like = inputs
        height, width = like.shape[1:3]
        known = height is not None and width is not None
        return tf.raw_ops.ResizeNearestNeighbor(
            images=x,
            size=(height, width) if known else tf.shape(like)[1:3],
            align_corners=False,
            half_pixel_centers=False,
        )

    def compute_output_shape(self, input_shape):
        (batch, _, _, channels), like = input_shape
        return (batch, *like[1:3], channels)
