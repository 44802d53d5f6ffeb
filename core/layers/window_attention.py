"""Attention within windows of an image, and within windows shifted against those.

Z. Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", ICCV 2021,
arXiv:2103.14030, Sec. 3.2. Windows stand on the batch axis, so that no tensor has more than four
axes, no shape is computed at run time, and every matrix product is one that TFLite has.
"""

from __future__ import annotations

import keras
import numpy as np

# Added to the scores of tokens that only the cyclic shift brought together.
MASKED = -100.0


def small_normal() -> keras.initializers.Initializer:
    """Return the start of attention's matrices and tables; one for each variable."""
    return keras.initializers.TruncatedNormal(stddev=0.02)


def window_attention(x, heads: int, name: str, *, window: int, shift: int = 0):
    """Return self-attention of every position with those of its window.

    softmax(q kᵀ / sqrt(C / heads) + relative position bias + mask) v, with the dense layers
    `name.qkv` before and `name.proj` behind it.

    Args:
        x: Features (N, H, W, C), H and W known and multiples of `window`.
        heads: Heads; they share the C channels.
        name: The published module's path.
        window: Side of a window.
        shift: By how much the windows begin further down and to the right. The image is taken as
            a torus for it; a mask parts what then meets across its border.
    """
    _, height, width, channels = x.shape
    if channels % heads or not 0 <= shift < window:
        raise ValueError(
            "`heads` must divide the channels, and `shift` be less than `window`. "
            f"Received: heads={heads}, channels={channels}, window={window}, shift={shift}"
        )
    ops, depth, tokens = keras.ops, channels // heads, window * window
    if shift:
        x = ops.roll(x, (-shift, -shift), axis=(1, 2))
    x = window_partition(x, window)
    x = keras.layers.Dense(3 * channels, kernel_initializer=small_normal(), name=f"{name}.qkv")(x)
    q, k, v = ops.split(x, 3, axis=-1)
    q = ops.multiply(q, depth**-0.5)
    q, k, v = (ops.reshape(part, (-1, tokens, heads, depth)) for part in (q, k, v))
    q, k, v = (ops.transpose(q, (0, 2, 1, 3)), ops.transpose(k, (0, 2, 3, 1)),
               ops.transpose(v, (0, 2, 1, 3)))  # fmt: skip
    scores = RelativePositionBias(window, name=name)(ops.matmul(q, k))
    if shift:
        grid = (height // window, width // window)
        scores = ShiftMask(grid, window, shift, name=f"{name}.mask")(scores)
    weights = keras.layers.Activation("softmax", name=f"{name}.softmax")(scores)
    x = ops.transpose(ops.matmul(weights, v), (0, 2, 1, 3))
    x = ops.reshape(x, (-1, window, window, channels))
    x = keras.layers.Dense(channels, kernel_initializer=small_normal(), name=f"{name}.proj")(x)
    x = window_merge(x, height, width)
    return ops.roll(x, (shift, shift), axis=(1, 2)) if shift else x


def window_partition(x, window: int):
    """Return (N, H, W, C) as windows: (N · H/w · W/w, w, w, C), row by row."""
    _, height, width, channels = x.shape
    if height % window or width % window:
        raise ValueError(
            f"Height and width must be multiples of window={window}. Received: {height} and {width}"
        )
    ops, across = keras.ops, width // window
    # A row of windows is a batch entry on the way, and a pixel's channels stay with its row's.
    x = ops.reshape(x, (-1, window, across, window * channels))
    return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, window, window, channels))


def window_merge(x, height: int, width: int):
    """Return windows (N · H/w · W/w, w, w, C) as the image (N, H, W, C) they were cut from."""
    ops = keras.ops
    window, channels = x.shape[2:]
    x = ops.reshape(x, (-1, width // window, window, window * channels))
    return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, height, width, channels))


@keras.saving.register_keras_serializable("gossamer")
class RelativePositionBias(keras.layers.Layer):
    """Add to attention scores what a head has learned about the distance of two positions.

    scores (N, heads, w², w²) + table[(Δrow + w - 1) · (2w - 1) + Δcolumn + w - 1, head], with Δ the
    query's position less the key's.

    Args:
        window: Side w of the windows.
    """

    def __init__(self, window: int, **kwargs):
        super().__init__(**kwargs)
        if window < 1:
            raise ValueError(f"`window` must be a positive integer. Received: window={window}")
        self.window = window

    def build(self, input_shape):
        self.table = self.add_weight(
            name="relative_position_bias_table",
            shape=((2 * self.window - 1) ** 2, input_shape[1]),
            initializer=small_normal(),
        )

    def values(self):
        """Return what is added, of all pairs of positions: (heads, w², w²)."""
        pairs = keras.ops.take(self.table, relative_positions(self.window), axis=0)
        return keras.ops.transpose(pairs, (2, 0, 1))

    def call(self, inputs):
        return inputs + keras.ops.cast(self.values(), inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def torch_weights(self) -> dict:
        """Return the table by its published name."""
        return {"relative_position_bias_table": (self.table, None)}

    def get_config(self):
        return {**super().get_config(), "window": self.window}


@keras.saving.register_keras_serializable("gossamer")
class ShiftMask(keras.layers.Layer):
    """Keep apart what a cyclic shift brought into one window from opposite sides of the image.

    Args:
        grid: Windows (down, across) of an image.
        window: Side w of a window.
        shift: By how much the image was shifted.
    """

    def __init__(self, grid: tuple[int, int], window: int, shift: int, **kwargs):
        super().__init__(**kwargs)
        if not 0 < shift < window:
            raise ValueError(
                f"`shift` must lie between 0 and `window`. Received: shift={shift}, window={window}"
            )
        self.grid, self.window, self.shift = tuple(grid), window, shift

    def values(self) -> np.ndarray:
        """Return 0 or `MASKED` for all pairs of positions: float32 (windows, w², w²)."""
        rows, columns = (
            np.digitize(np.arange(side), [side - self.window, side - self.shift])
            for side in (count * self.window for count in self.grid)
        )
        down, across = self.grid
        region = 3 * rows[:, None] + columns
        region = region.reshape(down, self.window, across, self.window)
        region = region.transpose(0, 2, 1, 3).reshape(down * across, -1)
        apart = region[:, :, None] != region[:, None]
        return np.where(apart, np.float32(MASKED), np.float32(0.0))

    def call(self, inputs):
        heads, tokens = inputs.shape[1:3]
        mask = self.values()
        # Windows and images share the batch axis; a head's scores are one row meanwhile.
        scores = keras.ops.reshape(inputs, (-1, len(mask), heads, tokens * tokens))
        mask = keras.ops.convert_to_tensor(mask.reshape(1, len(mask), 1, -1), scores.dtype)
        return keras.ops.reshape(scores + mask, (-1, heads, tokens, tokens))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        config = {"grid": self.grid, "window": self.window, "shift": self.shift}
        return {**super().get_config(), **config}


def relative_positions(window: int) -> np.ndarray:
    """Return the row of the bias table for each query and key of a window: int32 (w², w²)."""
    row, column = (place.ravel() for place in np.indices((window, window)))
    down, across = (place[:, None] - place[None] + window - 1 for place in (row, column))
    return (down * (2 * window - 1) + across).astype(np.int32)
