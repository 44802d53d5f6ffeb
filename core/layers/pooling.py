"""PyTorch's pooling, where Keras pads another way or has none such."""

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


def adaptive_mean(x, side: int, name: str):
    """Return the means of a grid of windows, as PyTorch's AdaptiveAvgPool2d does.

    Window i of n rows holds those from floor(i n / side) up to, without, ceil((i + 1) n / side):
    windows overlap where `side` does not divide n, and repeat rows where n is smaller.

    Args:
        x: Features (N, H, W, C), H and W known.
        side: Of the grid.
        name: The published module's path.

    Returns:
        Means (N, side, side, C); `x` itself where it has that size.
    """
    for axis, letter in ((1, "rows"), (2, "columns")):
        x = _means_along(x, axis, side, f"{name}.{letter}")
    return x


def _means_along(x, axis: int, side: int, name: str):
    """Return the means of windows of one axis, each made once."""
    length = x.shape[axis]
    if length == side:
        return x

    def along(value, other):
        return (value, other) if axis == 1 else (other, value)

    if length % side == 0:
        return keras.layers.AveragePooling2D(along(length // side, 1), name=name)(x)
    means: dict[tuple[int, int], object] = {}
    windows = [(i * length // side, -(-(i + 1) * length // side)) for i in range(side)]
    for start, end in windows:
        if (start, end) in means:
            continue
        crop = along((start, length - end), (0, 0))
        part = keras.layers.Cropping2D(crop, name=f"{name}.from{start}to{end}")(x)
        if end > start + 1:
            pool = along(end - start, 1)
            part = keras.layers.AveragePooling2D(pool, name=f"{name}.mean{start}to{end}")(part)
        means[start, end] = part
    return keras.layers.Concatenate(axis=axis, name=name)([means[window] for window in windows])
