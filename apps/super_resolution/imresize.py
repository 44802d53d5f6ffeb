"""The bicubic resize that super-resolution is trained and scored with: MATLAB's `imresize`.

Cubic kernel with a = -0.5, widened when an axis shrinks (antialiasing), borders reflected with
their edge sample, axis after axis, the one with the smaller scale first. Pictures of 8 bits are
clipped and rounded (half away from zero) after each axis, which popular ports leave out: without
it, a tenth of the values differs by one.

Each axis is a sum over P taps, Y = W X with a banded W. A block of output rows needs one short
stretch of input rows, so the sum is a small dense matrix product a block, in float32. For 8 bits
this gives the very bytes of the sum in float64, tap after tap:

- Where every weight is a multiple of 2^-k and 255 * 2^k * sum(|w|) < 2^24, all products and partial
  sums are whole multiples of 2^-k that a float32 holds. Both sums are exact, in any order. Such are
  the scales 2, 4, 8, 1/2 and 1/4, where exact halves, which must round up, are common.
- Where every weight is a multiple of 1/d, d odd, a sum is at least 1/(2d) from the nearest half. An
  error below that changes no rounding. Such are the scales 3, 5, 1/3 and 1/5 (d up to 625).
- Otherwise a value farther from a half than `_Axis.error`, the bound of a float32 dot product,
  rounds alike in both; the few that are nearer are summed again in float64, tap after tap.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from core.errors import UserError

# A product of more multiplications is spread over threads by OpenBLAS, whose threads wait for each
# other in a busy loop: on a machine with other work to do that took a hundred times longer.
_ONE_THREAD = 2**18
_COARSEST = 0.01  # error of float32 beyond which a sum is made in float64 at once
_ODD_DENOMINATORS = (27, 81, 125, 625)
_NOISE = 1e-9  # more than float64 errs in the weights


def imresize(
    image: np.ndarray, scale: float | None = None, *, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Resize a picture as MATLAB's `imresize(image, ..., "bicubic")`.

    Args:
        image: uint8 or floating (H, W) or (H, W, C).
        scale: Of both axes; the new size is ceil(scale * old size). Either this or `size`.
        size: (height, width) wanted; the scale of an axis is new / old.

    Returns:
        The picture in the same dtype. uint8 is clipped and rounded half away from zero after each
        axis; floating values are summed in float64 and neither clipped nor rounded.

    Raises:
        ValueError: For another dtype or shape, or a size below one pixel.
    """
    image = np.asarray(image)
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ValueError(
            f"`image` must be (H, W) or (H, W, C) and not empty. Received: shape={image.shape}"
        )
    if image.dtype != np.uint8 and image.dtype.kind != "f":
        raise ValueError(f"`image` must be uint8 or floating. Received: dtype={image.dtype}")
    old = image.shape[:2]
    scales: tuple[float, ...]
    if scale is not None and size is None:
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(f"`scale` must be a positive number. Received: scale={scale}")
        new = tuple(math.ceil(scale * n) for n in old)
        scales = (scale, scale)
    elif size is not None and scale is None:
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"`size` must be two lengths of at least 1. Received: size={size}")
        new = (int(size[0]), int(size[1]))
        scales = tuple(wanted / n for wanted, n in zip(size, old, strict=True))
    else:
        raise ValueError(f"Give either `scale` or `size`. Received: scale={scale}, size={size}")

    values = image if image.dtype == np.uint8 else image.astype(np.float64)
    for axis in sorted((0, 1), key=lambda axis: scales[axis]):
        plan = _axis(old[axis], new[axis], float(scales[axis]))
        if axis == 0:
            values = _resize_rows(values, plan)
        else:
            values = _transposed(_resize_rows(_transposed(values), plan))
    return values.astype(image.dtype, copy=False).reshape(*new, *image.shape[2:])


def taps(length: int, new_length: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of an axis and the source positions they belong to.

    Args:
        length: Of the axis before, in samples.
        new_length: Of the axis after.
        scale: The nominal scale; below 1 the kernel is widened by it (antialiasing).

    Returns:
        float64 (new_length, P) weights, rows summing to 1, and int64 (new_length, P) indices in
        0..length-1, borders reflected with their edge sample. Columns without any weight are left
        out.
    """
    shrink = min(scale, 1.0)
    width = 4 / shrink
    centre = np.arange(1, new_length + 1) / scale + 0.5 * (1 - 1 / scale)
    left = np.floor(centre - width / 2)
    index = left[:, None] + np.arange(math.ceil(width) + 2)
    weights = shrink * _cubic(shrink * (centre[:, None] - index))
    weights /= weights.sum(axis=1, keepdims=True)
    used = np.flatnonzero(weights.any(axis=0))
    kept = slice(used[0], used[-1] + 1)
    position = (index[:, kept].astype(np.int64) - 1) % (2 * length)
    return weights[:, kept], np.minimum(position, 2 * length - 1 - position)


def modcrop(image: np.ndarray, scale: int) -> np.ndarray:
    """Return a view of (H, W, ...) without the last rows and columns that `scale` does not divide.

    Raises:
        UserError: When nothing would be left.
    """
    height, width = (n - n % scale for n in image.shape[:2])
    if not (height and width):
        raise UserError(
            f"An image of {image.shape[1]}x{image.shape[0]} pixels is smaller than the scale "
            f"{scale}; leave it out."
        )
    return image[:height, :width]


def low_resolution(high: np.ndarray, scale: int) -> np.ndarray:
    """Return the benchmark's low-resolution picture: `modcrop`, then reduced as uint8.

    Args:
        high: uint8 (H, W) or (H, W, C).
        scale: 1, 2, 3, ...

    Returns:
        uint8 (H // scale, W // scale, ...).
    """
    if high.dtype != np.uint8:
        raise ValueError(f"`high` must be uint8. Received: dtype={high.dtype}")
    cropped = modcrop(high, scale)
    height, width = cropped.shape[:2]
    # The quotient of the sizes is the float 1/scale, and no rounding can add a row.
    return imresize(cropped, size=(height // scale, width // scale))


@dataclass(frozen=True)
class _Axis:
    """The sums along an axis.

    Attributes:
        weights, index: As `taps` returns them.
        dtype: The precision the sums of 8-bit values are made in.
        error: Bound of the difference to the sum in float64, tap after tap.
        settled: Whether that difference can never change a rounded value.
        rows: Rows of a block; larger blocks multiply more zeros.
    """

    weights: np.ndarray
    index: np.ndarray
    dtype: type
    error: float
    settled: bool
    rows: int


@functools.lru_cache(maxsize=64)
def _axis(length: int, new_length: int, scale: float) -> _Axis:
    weights, index = taps(length, new_length, scale)
    rows = min(max(round(16 * scale), 4), 16)
    largest = 255 * np.abs(weights).sum(axis=1).max()
    # A dot product of P terms, its rounded weights, and the 0.5 added before rounding.
    error = (weights.shape[1] + 4) * 2.0**-24 * (largest + 1)
    dyadic = any(largest * 2.0**k < 2**24 and not np.any(weights * 2.0**k % 1) for k in range(17))
    odd = any(
        0.5 / d > error + _NOISE and np.abs(weights * d - np.rint(weights * d)).max() < _NOISE
        for d in _ODD_DENOMINATORS
    )
    if dyadic or odd or error < _COARSEST:
        return _Axis(weights, index, np.float32, error, dyadic or odd, rows)
    return _Axis(weights, index, np.float64, error * 2.0**-29, False, rows)


def _resize_rows(values: np.ndarray, plan: _Axis) -> np.ndarray:
    """Resize the first axis of uint8 or float64 (H, ...)."""
    flat = np.ascontiguousarray(values).reshape(len(values), -1)
    eight_bits = values.dtype == np.uint8
    kind = plan.dtype if eight_bits else np.float64
    out = np.empty((len(plan.index), flat.shape[1]), values.dtype)
    for start in range(0, len(out), plan.rows):
        rows = slice(start, start + plan.rows)
        weights, index = plan.weights[rows], plan.index[rows]
        first, last = index.min(), index.max() + 1
        matrix = np.zeros((len(index), last - first))
        np.add.at(matrix, (np.arange(len(index))[:, None], index - first), weights)
        matrix = matrix.astype(kind)
        source = flat[first:last]
        converted: np.ndarray = source.astype(kind, copy=False)
        sums = np.empty((len(index), flat.shape[1]), kind) if eight_bits else out[rows]
        step = max(_ONE_THREAD // matrix.size, 1)
        for begin in range(0, flat.shape[1], step):
            columns = slice(begin, begin + step)
            np.matmul(matrix, converted[:, columns], out=sums[:, columns])
        if eight_bits:
            if not plan.settled:
                _settle_halves(sums, source, weights, index - first, plan.error)
            out[rows] = _rounded(sums)
    return out.reshape(len(out), *values.shape[1:])


def _rounded(sums: np.ndarray) -> np.ndarray:
    """Clip to 0..255 and round half away from zero, in place; the caller casts to uint8."""
    np.clip(sums, 0, 255, out=sums)
    sums += sums.dtype.type(0.5)
    return sums.astype(np.uint8)  # of what is not negative, this is the floor


def _settle_halves(
    sums: np.ndarray, source: np.ndarray, weights: np.ndarray, index: np.ndarray, error: float
) -> None:
    """Replace the sums too near to a half by whole numbers, rounded from the sum in float64."""
    fraction = sums - np.floor(sums)
    fraction -= sums.dtype.type(0.5)
    near = np.abs(fraction, out=fraction) <= error
    if not near.any():
        return
    row, column = np.nonzero(near)
    total = np.zeros(len(row))
    for tap in range(weights.shape[1]):
        total += weights[row, tap] * source[index[row, tap], column]
    sums[row, column] = np.floor(total + 0.5)


def _transposed(values: np.ndarray) -> np.ndarray:
    """Exchange the first two axes and lay the result out in rows again."""
    if values.dtype == np.uint8 and (values.ndim == 2 or values.shape[2] in (1, 3, 4)):
        import cv2

        # NumPy would move single bytes, six times slower.
        turned = cv2.transpose(values)
        return turned.reshape(values.shape[1], values.shape[0], *values.shape[2:])
    return np.ascontiguousarray(values.swapaxes(0, 1))


def _cubic(x: np.ndarray) -> np.ndarray:
    """Return Keys' cubic convolution kernel with a = -0.5 (IEEE TASSP 29(6), 1981)."""
    x = np.abs(x)
    x2, x3 = x * x, x * x * x
    inner = 1.5 * x3 - 2.5 * x2 + 1
    outer = -0.5 * x3 + 2.5 * x2 - 4 * x + 2
    return np.where(x <= 1, inner, np.where(x <= 2, outer, 0.0))
