"""PyTorch's max pooling, where Keras pads another way."""

from __future__ import annotations

import keras


def max_pool(x, name: str, *, ceil: bool = False):
    """Return the largest value of every 3x3 window, at stride 2.

    Args:
        x: Features (N, H, W, C) that are not negative, so that zeros pad as PyTorch's -inf does.
        name: The published module's path.
        ceil: Whether it has no padding, but also the windows that begin inside and end outside
            (PyTorch's `ceil_mode`); else it pads by one on every side.
    """
    # A row that no window needs does no harm, so that sides need not be known.
    sides = ((0, 1), (0, 1)) if ceil else ((1, 1), (1, 1))
    if not ceil or not all(side and side % 2 for side in x.shape[1:3]):
        x = keras.layers.ZeroPadding2D(sides, name=f"{name}.padding")(x)
    return keras.layers.MaxPooling2D(3, strides=2, name=name)(x)
