"""An image as patches: cutting it up, merging neighbouring ones, and where each patch lies.

A. Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, arXiv:2010.11929; patch merging
of Z. Liu et al., "Swin Transformer", ICCV 2021, arXiv:2103.14030.
"""

from __future__ import annotations

import math

import keras
import numpy as np
import tensorflow as tf


@keras.saving.register_keras_serializable("gossamer")
class SpaceToDepth(keras.layers.Layer):
    """Rearrange (N, H·r, W·r, C) to (N, H, W, r²·C), one TFLite operator.

    Pixel (dy, dx) of a patch has the channels from (dy·r + dx)·C on.

    Args:
        factor: r, the side of a patch.
    """

    def __init__(self, factor: int, **kwargs):
        super().__init__(**kwargs)
        if factor < 1:
            raise ValueError(f"`factor` must be a positive integer. Received: factor={factor}")
        self.factor = factor

    def call(self, inputs):
        return tf.nn.space_to_depth(inputs, self.factor) if self.factor > 1 else inputs

    def compute_output_shape(self, input_shape):
        batch, *sides, channels = input_shape
        sides = [None if side is None else side // self.factor for side in sides]
        return (batch, *sides, channels * self.factor**2)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


def merge_patches(x, width: int, name: str):
    """Return 2×2 neighbouring patches as one of `width` channels, by a matrix without bias.

    Args:
        x: Features (N, H, W, C) with even sides.
        width: Channels of the merged patches.
        name: The published module's path; the matrix is `name.reduction`.
    """
    x = SpaceToDepth(2, name=f"{name}.patches")(x)
    return keras.layers.Dense(width, use_bias=False, name=f"{name}.reduction")(x)


def from_column_order(weight: np.ndarray) -> np.ndarray:
    """Reorder a published (outputs, 4·C) merging matrix for patches in the order of rows.

    Swin concatenates the pixels of a 2×2 patch in the order (0, 0), (1, 0), (0, 1), (1, 1).
    """
    parts = weight.reshape(len(weight), 2, 2, -1)
    return np.ascontiguousarray(parts.swapaxes(1, 2)).reshape(weight.shape)


@keras.saving.register_keras_serializable("gossamer")
class LearnedPositions(keras.layers.Layer):
    """Add to every position of (N, H, W, C) a vector of its own, learned for that size.

    Starts uniform within ±0.05, as a Keras `Embedding`.
    """

    def build(self, input_shape):
        _, height, width, channels = input_shape
        if height is None or width is None:
            raise ValueError(
                "Height and width must be known, for every position has weights. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        self.table = self.add_weight(
            name="table",
            shape=(height, width, channels),
            initializer=keras.initializers.RandomUniform(-0.05, 0.05),
        )

    def values(self):
        """Return what is added: (H, W, C)."""
        return keras.ops.convert_to_tensor(self.table)

    def call(self, inputs):
        return inputs + keras.ops.cast(self.values(), inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def torch_weights(self) -> dict:
        """Return the published table: weight (H·W, C)."""
        shape = tuple(self.table.shape)
        flat = (lambda a: a.reshape(shape), lambda a: a.reshape(-1, shape[-1]))
        return {"weight": (self.table, *flat, lambda a: resized_square(a, shape[:2]))}


def resized_square(table: np.ndarray, size: tuple[int, int]) -> np.ndarray | None:
    """Return the positions of a square image for one of another size, bilinearly.

    Args:
        table: (S², C), row by row.
        size: (H, W).

    Returns:
        (H·W, C), or None for positions that are not of a square.
    """
    side = math.isqrt(len(table)) if table.ndim == 2 else 0
    if side < 1 or side * side != len(table):
        return None
    square = table.reshape(1, side, side, -1)
    resized = tf.image.resize(square, size)
    return np.asarray(resized, table.dtype).reshape(-1, table.shape[-1])
