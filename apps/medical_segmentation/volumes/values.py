"""From the stored slices of a file to the values of a volume, without a second copy of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from apps.medical_segmentation.volumes.geometry import Geometry
from core.errors import UserError

Slices = Iterable[tuple[int, np.ndarray]]
_INT16 = np.iinfo(np.int16)


def scaled(raw: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """Return what stored numbers stand for: as they are without a scale, else float64."""
    if (slope, intercept) == (1, 0):
        return raw
    return raw * np.float64(slope) + np.float64(intercept)


def assemble(slices: Slices, geometry: Geometry, source: Path) -> np.ndarray:
    """Return the values of a volume.

    Args:
        slices: (k, numbers (I, J)) of every slice along the last axis of the file, in any order.
        geometry: Of the file.
        source: The file or folder, to be named in an error.

    Returns:
        (D, H, W), contiguous: int16 where all values are whole numbers that fit, else float32. NaN
        marks what was not measured (outside of a scanner's or a mask's reach) and becomes the
        lowest value of the volume.

    Raises:
        UserError: When a value is infinite (also: beyond float32), or none is a number.
    """
    values = np.empty(geometry.shape, np.int16)
    stored = geometry.as_stored(values)
    for k, plane in slices:
        if values.dtype == np.int16 and not _fits_int16(plane):
            values = values.astype(np.float32)
            stored = geometry.as_stored(values)
        with np.errstate(over="ignore"):
            stored[:, :, k] = plane
    if values.dtype == np.float32:
        _settle(values, source)
    return values


def _fits_int16(plane: np.ndarray) -> bool:
    low, high = plane.min(), plane.max()
    if not (low >= _INT16.min and high <= _INT16.max):  # NaN is in no range
        return False
    return plane.dtype.kind != "f" or bool((plane == np.rint(plane)).all())


def _settle(values: np.ndarray, source: Path) -> None:
    """Put the lowest value where there is none, in place."""
    lowest, gaps = np.float32(np.inf), False
    for part in values:
        if np.isinf(part).any():
            raise UserError(
                f"{source}: has infinite values or values beyond float32; export it without them."
            )
        missing = np.isnan(part)
        gaps = gaps or bool(missing.any())
        if not missing.all():
            lowest = min(lowest, part[~missing].min())
    if np.isinf(lowest):
        raise UserError(f"{source}: has no voxel with a value, all are NaN; export it again.")
    if gaps:
        for part in values:
            part[np.isnan(part)] = lowest
