"""Layers for volumes (N, D, H, W, C) made of operators for images, which files of LiteRT have.

TFLite has no grouped CONV_3D and no pooling of three axes. Here the slices of a volume stand on the
batch axis while heights and widths are worked on; along the depth, what remains are sums, maxima
and means of slices.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from core.layers.convolution import torch_uniform


def _slices(x):
    """Return (N·D, H, W, C) of (N, D, H, W, C)."""
    return tf.reshape(x, (-1, *_sides(x)[1:], x.shape[-1]))


def _volume(slices, depth):
    """Return (N, D, H, W, C) of (N·D, H, W, C)."""
    return tf.reshape(slices, (-1, depth, *_sides(slices), slices.shape[-1]))


def _sides(x) -> tuple:
    """Return the axes between first and last, as numbers where they are known."""
    return tuple(
        tf.shape(x)[axis] if x.shape[axis] is None else x.shape[axis]
        for axis in range(1, len(x.shape) - 1)
    )


@keras.saving.register_keras_serializable("gossamer")
class DepthwiseConv3D(keras.layers.Layer):
    """Convolve every channel of (N, D, H, W, C) by itself, zeros around: PyTorch's padding k // 2.

    A depthwise convolution of all slices for each plane of the kernel; the depth's neighbours are
    added.

    Args:
        kernel_size: Side of the window, odd.
        use_bias: Whether there is a bias.
    """

    def __init__(self, kernel_size: int, *, use_bias: bool = True, **kwargs):
        super().__init__(**kwargs)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(
                f"`kernel_size` must be a positive odd integer. Received: kernel_size={kernel_size}"
            )
        self.kernel_size, self.use_bias = kernel_size, bool(use_bias)
        self.bias = None

    def build(self, input_shape):
        channels, side = input_shape[-1], self.kernel_size
        if len(input_shape) != 5 or channels is None:
            raise ValueError(
                "The input must be (N, D, H, W, C) with a known number of channels. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(side, side, side, channels),
            initializer=torch_uniform(side**3),
        )
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias", shape=(channels,), initializer=torch_uniform(side**3)
            )

    def call(self, inputs):
        depth, margin = _sides(inputs)[0], self.kernel_size // 2
        kernel = tf.convert_to_tensor(self.kernel)[..., None]
        padded = tf.pad(inputs, ((0, 0), (margin, margin), (0, 0), (0, 0), (0, 0)))
        total = 0.0 if self.bias is None else tf.convert_to_tensor(self.bias)
        for plane in range(self.kernel_size):
            slices = _slices(padded[:, plane : plane + depth])
            total += tf.nn.depthwise_conv2d(slices, kernel[plane], (1, 1, 1, 1), "SAME")
        return _volume(total, depth)

    def compute_output_shape(self, input_shape):
        return input_shape

    def torch_weights(self) -> dict:
        """Return the published convolution: weight (C, 1, D, H, W) and bias, if there is one."""
        layouts = (lambda a: np.moveaxis(a[:, 0], 0, -1), lambda a: np.moveaxis(a, -1, 0)[:, None])
        found: dict[str, tuple] = {"weight": (self.kernel, *layouts)}
        return found if self.bias is None else {**found, "bias": (self.bias, None)}

    def get_config(self):
        own = {"kernel_size": self.kernel_size, "use_bias": self.use_bias}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("gossamer")
class VolumePooling(keras.layers.Layer):
    """Halve the sides of (N, D, H, W, C): the largest of every 2x2x2 values; odd ends are cut."""

    def call(self, inputs):
        depth = _sides(inputs)[0]
        halved = _volume(tf.nn.max_pool2d(_slices(inputs), 2, 2, "VALID"), depth)
        end = 2 * (depth // 2)
        return tf.maximum(halved[:, 0:end:2], halved[:, 1:end:2])

    def compute_output_shape(self, input_shape):
        batch, *sides, channels = input_shape
        return (batch, *(None if side is None else side // 2 for side in sides), channels)


@keras.saving.register_keras_serializable("gossamer")
class TrilinearUpsampling(keras.layers.Layer):
    """Double the sides of (N, D, H, W, C), half-pixel centres (PyTorch's align_corners=False).

    Between slices this is 3/4 of the nearer and 1/4 of the farther one; the first and the last are
    their own neighbours.
    """

    def call(self, inputs):
        depth, height, width = _sides(inputs)
        slices = tf.image.resize(_slices(inputs), tf.stack((2 * height, 2 * width)))
        x = _volume(tf.cast(slices, inputs.dtype), depth)
        before = tf.concat((x[:, :1], x[:, :-1]), axis=1)
        after = tf.concat((x[:, 1:], x[:, -1:]), axis=1)
        pairs = tf.stack((0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after), axis=2)
        return tf.reshape(pairs, (-1, 2 * depth, *_sides(x)[1:], x.shape[-1]))

    def compute_output_shape(self, input_shape):
        batch, *sides, channels = input_shape
        return (batch, *(None if side is None else 2 * side for side in sides), channels)
