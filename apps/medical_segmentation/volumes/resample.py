"""Volumes on another grid: linear for intensities and logits, nearest for labels.

Grids cover the same box with voxels of another size: centres lie half a voxel from the borders, as
in `protocols.resize_logits`, which does the rows and columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from apps.medical_segmentation.protocols import resize_logits
from core.errors import UserError
from core.model_card import shown_size

Shape = tuple[int, int, int]

_MOST = 2**31  # voxels: a byte each still fits in the memory of a workstation


def spacing_of(value: object) -> tuple[float, float, float] | None:
    """Return a wished spacing along D, H and W in millimetres; None where volumes stay as stored.

    Args:
        value: One number for all axes, or three; 0 is as stored.

    Raises:
        UserError: When it is neither.
    """
    numbers = value if isinstance(value, list | tuple) else (value,) * 3
    known = all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers)
    if len(numbers) == 3 and known and not any(numbers):
        return None
    if len(numbers) != 3 or not known or not all(0 < n < math.inf for n in numbers):
        raise UserError(
            f"The spacing is {value!r}; pass millimetres between voxels, one number for all axes "
            "or three for slices, rows and columns, or 0 to leave volumes as they are stored."
        )
    depth, height, width = map(float, numbers)
    return depth, height, width


def shape_at(shape: Shape, spacing: Sequence[float], wanted: Sequence[float] | None) -> Shape:
    """Return how many voxels of a wished spacing cover a volume.

    Args:
        shape: Its voxels along D, H and W.
        spacing: Their millimetres.
        wanted: Millimetres of the new voxels; None is as stored.

    Raises:
        UserError: When the result would not fit in memory.
    """
    if wanted is None:
        return shape
    sides = zip(shape, spacing, wanted, strict=True)
    depth, height, width = (max(1, round(n * own / new)) for n, own, new in sides)
    if depth * height * width > _MOST:
        raise UserError(
            f"At a spacing of {' x '.join(f'{mm:g}' for mm in wanted)} mm a volume has "
            f"{shown_size((depth, height, width))} voxels, which fit in no memory; choose a larger "
            "one."
        )
    return depth, height, width


def resample_grey(values: np.ndarray, shape: Shape) -> np.ndarray:
    """Return intensities, uint8 (D, H, W), on another grid, interpolated in all three axes."""
    if values.shape == shape:
        return values
    found = np.empty(shape, np.uint8)
    for plane, at in zip(found, planes(values, shape[0]), strict=True):
        plane[...] = np.rint(resize_logits(at, shape[1:]))
    return found


def resample_labels(labels: np.ndarray, shape: Shape) -> np.ndarray:
    """Return class indices, (D, H, W), on another grid: those of the nearest voxels."""
    for axis, (length, new) in enumerate(zip(labels.shape, shape, strict=True)):
        if length != new:
            nearest = ((np.arange(new) + 0.5) * (length / new)).astype(np.intp)
            labels = labels.take(np.minimum(nearest, length - 1), axis)
    return labels


def planes(values: np.ndarray, depth: int) -> Iterator[np.ndarray]:
    """Yield `depth` planes of a volume (D, ...), interpolated between its own; edges repeated.

    One at a time, so that logits at the size of a file never lie in memory together.
    """
    own = len(values)
    if own == depth:
        yield from values
        return
    for at in np.clip((np.arange(depth) + 0.5) * (own / depth) - 0.5, 0, own - 1):
        below = int(at)
        above, share = min(below + 1, own - 1), np.float32(at - below)
        yield values[below] * (1 - share) + values[above] * share
