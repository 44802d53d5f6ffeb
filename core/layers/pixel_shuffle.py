"""Enlarging by rearranging channels (W. Shi et al., CVPR 2016, sub-pixel convolution)."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Mapping

import keras
import numpy as np
import tensorflow as tf

_TRANSPOSING: list[bool] = []


@keras.saving.register_keras_serializable("gossamer")
class DepthToSpace(keras.layers.Layer):
    """Rearrange (N, H, W, r²·C) to (N, H·r, W·r, C) in TensorFlow's order, one TFLite operator.

    Channel (dy·r + dx)·C + c becomes channel c of sub-pixel (dy, dx). PyTorch's PixelShuffle takes
    channel c·r² + dy·r + dx for it: see `from_torch_order`.

    Args:
        factor: r, how many times larger each side becomes.
    """

    def __init__(self, factor: int, **kwargs):
        super().__init__(**kwargs)
        if factor < 1:
            raise ValueError(f"`factor` must be a positive integer. Received: factor={factor}")
        self.factor = factor

    def build(self, input_shape):
        if input_shape[-1] % self.factor**2:
            raise ValueError(
                f"Channels must be a multiple of factor² = {self.factor**2}. "
                f"Received: input_shape={input_shape}"
            )

    def call(self, inputs):
        if self.factor == 1:
            return inputs
        if not _TRANSPOSING:
            return tf.nn.depth_to_space(inputs, self.factor)
        height, width, channels = inputs.shape[1:]
        factor = self.factor
        blocks = tf.reshape(inputs, (-1, height, width, factor, factor, channels // factor**2))
        blocks = tf.transpose(blocks, (0, 1, 3, 2, 4, 5))
        return tf.reshape(blocks, (-1, height * factor, width * factor, channels // factor**2))

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        grown = [None if side is None else side * self.factor for side in (height, width)]
        return (batch, *grown, channels // self.factor**2)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


@contextlib.contextmanager
def transposing() -> Iterator[None]:
    """Make graphs traced in the block of reshapes and a transposition instead of DEPTH_TO_SPACE.

    The converter has no DEPTH_TO_SPACE with 16-bit activations. Sizes must be known.
    """
    _TRANSPOSING.append(True)
    try:
        yield
    finally:
        _TRANSPOSING.pop()


def from_torch_order(array: np.ndarray, factor: int) -> np.ndarray:
    """Reorder the output channels (axis 0, PyTorch's layout) of the convolution before a shuffle.

    Args:
        array: (r²·C, …) weight or (r²·C,) bias of a published network.
        factor: r.
    """
    shaped = array.reshape(-1, factor**2, *array.shape[1:])
    return np.ascontiguousarray(np.moveaxis(shaped, 0, 1)).reshape(array.shape)


def state_from_torch_order(
    state: Mapping[str, np.ndarray], pattern: str, *, channels: int = 3
) -> dict[str, np.ndarray]:
    """Return a published state dict with the arrays before a pixel shuffle put in our order.

    Args:
        state: Arrays by name.
        pattern: Regular expression of those arrays' full names.
        channels: C, what the shuffle leaves.
    """
    chosen = re.compile(pattern)
    return {
        name: from_torch_order(array, math.isqrt(array.shape[0] // channels))
        if chosen.fullmatch(name)
        else array
        for name, array in state.items()
    }
