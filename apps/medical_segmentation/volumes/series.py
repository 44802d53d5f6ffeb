"""A DICOM series: frames in any order become one grid, or it is said why they do not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from apps.medical_segmentation.volumes.dicom import Frame, read_frames, read_values
from apps.medical_segmentation.volumes.geometry import Geometry
from core.errors import UserError

_SAME_PLACE = 1e-3  # millimetres
_SAME_DIRECTION = 1e-3  # of a unit vector
_UNEVEN = 0.1  # of the distance between slices
_GAP = 1.5  # distances between slices


def read_geometry(paths: Sequence[Path]) -> Geometry:
    """Return the grid of the slices in one or more files, from their headers.

    The file's axes i, j, k are columns, rows and slices, the last along the normal of the slices.
    The affine is exact for slices that are shifted against each other (a tilted gantry), too.

    Raises:
        UserError: When files cannot be read, are of several series, sizes or directions, lie at
            the same place, leave a gap, or have no place (but for a single picture).
    """
    return _stacked(_frames(paths))[0]


def read_slices(paths: Sequence[Path]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (k, values (I, J)) for every slice of the grid, file by file.

    Raises:
        UserError: As `read_geometry` and `apps.medical_segmentation.volumes.dicom.read_values`.
    """
    frames = _frames(paths)
    places = {(frame.path, frame.index): k for k, frame in enumerate(_stacked(frames)[1])}
    files: dict[Path, list[Frame]] = defaultdict(list)
    for frame in frames:
        files[frame.path].append(frame)
    for path, inside in files.items():
        for frame, values in read_values(path, inside):
            yield places[path, frame.index], values.T


def in_order(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Return the files of a series by the position of their first slice, along the normal.

    Raises:
        UserError: As `read_geometry`.
    """
    return tuple(dict.fromkeys(frame.path for frame in _stacked(_frames(paths))[1]))


def _frames(paths: Sequence[Path]) -> list[Frame]:
    return [frame for path in paths for frame in read_frames(path)]


def _stacked(frames: list[Frame]) -> tuple[Geometry, list[Frame]]:
    """Return the grid of frames and the frames in its order."""
    first = frames[0]
    for other in frames[1:]:
        _refuse_other(first, other)
    rows, columns = first.size
    if first.place is None:
        if len(frames) > 1:
            raise UserError(
                f"{first.path}: has no ImagePositionPatient and ImageOrientationPatient, so its "
                "place among the other files is unknown; export the series again."
            )
        affine = np.diag([-first.spacing[1], -first.spacing[0], first.thickness, 1.0])
        return Geometry(affine, (columns, rows, 1), known=False), frames
    along, down = first.place.along, first.place.down
    normal = np.cross(along, down)
    positions = np.array([frame.place.position for frame in frames if frame.place])
    order = np.argsort(positions @ normal, kind="stable")
    frames, positions = [frames[n] for n in order], positions[order]
    step = normal * first.thickness
    if len(frames) > 1:
        step = _step(frames, positions, positions @ normal)
    affine = np.eye(4)
    affine[:3, 0] = along * first.spacing[1]
    affine[:3, 1] = down * first.spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = positions[0]
    affine[:2] *= -1  # from LPS to RAS
    return Geometry(affine, (columns, rows, len(frames))), frames


def _refuse_other(first: Frame, other: Frame) -> None:
    """Raise a `UserError` when two frames cannot be slices of one volume."""
    pair = f"{_name(first)} and {_name(other)}"
    where = first.path.parent
    if first.series != other.series:
        raise UserError(
            f"{where}: {pair} belong to two series ({first.series} and {other.series}); keep a "
            "series in a folder of its own."
        )
    if first.size != other.size:
        sizes = " and ".join(f"{rows} x {columns}" for rows, columns in (first.size, other.size))
        raise UserError(
            f"{where}: {pair} have different sizes ({sizes} pixels); keep the slices of one volume."
        )
    if (first.place is None) != (other.place is None):
        lost = first if first.place is None else other
        raise UserError(
            f"{lost.path}: has no ImagePositionPatient or ImageOrientationPatient, unlike the "
            "other files of its series; take it out or export it again."
        )
    if first.place is None or other.place is None:
        return
    turned = [first.place.along - other.place.along, first.place.down - other.place.down]
    if np.abs(turned).max() > _SAME_DIRECTION:
        raise UserError(
            f"{where}: {pair} look in different directions, as in a localizer; keep the slices of "
            "one volume."
        )
    if not np.allclose(first.spacing, other.spacing, rtol=1e-3):
        raise UserError(
            f"{where}: {pair} have pixels of different sizes ({first.spacing} and {other.spacing} "
            "mm); keep the slices of one volume."
        )


def _step(frames: list[Frame], positions: np.ndarray, depths: np.ndarray) -> np.ndarray:
    """Return the way from one slice to the next; all are sorted by `depths`, along the normal."""
    where = frames[0].path.parent
    steps = np.diff(depths)
    least = int(steps.argmin())
    if steps[least] < _SAME_PLACE:
        raise UserError(
            f"{where}: {_name(frames[least])} and {_name(frames[least + 1])} lie at the same place "
            "(copies, times or echoes?); keep one slice for each place."
        )
    most = int(steps.argmax())
    pair = f"{_name(frames[most])} and {_name(frames[most + 1])}"
    if steps[most] > _GAP * steps[least]:
        raise UserError(
            f"{where}: slices are missing between {pair}, which are {steps[most]:.4g} mm apart and "
            f"others {steps[least]:.4g} mm; add them or segment the parts one by one."
        )
    if steps[most] > (1 + _UNEVEN) * steps[least]:
        raise UserError(
            f"{where}: the distances between slices vary from {steps[least]:.4g} to "
            f"{steps[most]:.4g} mm (at {pair}); resample them evenly first."
        )
    step = (positions[-1] - positions[0]) / (len(frames) - 1)
    line = positions[0] + np.arange(len(frames))[:, None] * step
    astray = np.linalg.norm(positions - line, axis=1)
    if astray.max() > 2 * _UNEVEN * np.linalg.norm(step):
        raise UserError(
            f"{where}: {_name(frames[int(astray.argmax())])} lies {astray.max():.4g} mm beside the "
            "line of the other slices; take it out or resample them first."
        )
    return step


def _name(frame: Frame) -> str:
    return f"'{frame.path.name}'" + (f" frame {frame.index + 1}" if frame.index else "")
