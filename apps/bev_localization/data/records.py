"""Scans as files of packed records (.bin), whose format no header tells.

The layouts are those of the data sets' own pages. A file of the wrong one is nearly always told by
its size or by coordinates no LiDAR can measure; the error says what it looks like instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from apps.bev_localization.data.scans import Scan, make_scan
from core.errors import UserError
from core.files import refuse_special

SWEEP = 0.1  # seconds of a turn
_MULRAN_BEAMS, _MULRAN_COLUMNS = 64, 1024
_FARTHEST = 1e4  # metres; what is measured farther off is no measurement
_LEAST = 1e-20  # metres; smaller numbers are integers read as floats
_LOOKED_AT = 4096  # points, evenly spaced, which tell whether all are plausible
_IMPLAUSIBLE = 0.02  # share of such points that a scan may have


def _packed(fields: str, formats: str) -> np.dtype:
    pairs = zip(fields.split(), formats.split(), strict=True)
    return np.dtype([(name, f"<{kind}" if kind[-1] != "1" else kind) for name, kind in pairs])


@dataclass(frozen=True)
class Layout:
    """How a point is stored.

    Attributes:
        title: The data set, for people.
        record: Its packed fields.
        scale, offset: Metres are value · scale + offset.
        flipped: Whether y and z point right and down, to be turned.
        time: The field of the relative time, or "".
        time_unit: Seconds of one step of it.
        farthest: Metres that many coordinates cannot exceed.
    """

    title: str
    record: np.dtype
    scale: float = 1.0
    offset: float = 0.0
    flipped: bool = False
    time: str = ""
    time_unit: float = 1.0
    farthest: float = _FARTHEST


LAYOUTS = {
    "kitti": Layout("KITTI", _packed("x y z intensity", "f4 f4 f4 f4")),
    "nclt": Layout(
        "NCLT",
        _packed("x y z intensity laser", "u2 u2 u2 u1 u1"),
        scale=0.005,
        offset=-100.0,
        flipped=True,
        farthest=130.0,  # of its sensor; whatever bytes are, they pass for integers
    ),
    "mulran": Layout("MulRan", _packed("x y z intensity", "f4 f4 f4 f4")),
    "oxford": Layout(
        "the Oxford benchmark",
        _packed("x y z", "f8 f8 f8"),
        scale=40.0,  # its submaps are stored in -1..1
        farthest=80.0,
    ),
    "helipr-ouster": Layout(
        "HeLiPR's Ouster",
        _packed("x y z intensity t reflectivity ring ambient", "f4 f4 f4 f4 u4 u2 u2 u2"),
        time="t",
        time_unit=1e-9,
    ),
    "helipr-velodyne": Layout(
        "HeLiPR's Velodyne", _packed("x y z intensity ring time", "f4 f4 f4 f4 u2 f4"), time="time"
    ),
    "helipr-avia": Layout(
        "HeLiPR's Avia",
        _packed("x y z reflectivity tag line offset", "f4 f4 f4 u1 u1 u1 u4"),
        time="offset",
        time_unit=1e-9,
    ),
    "helipr-aeva": Layout(
        "HeLiPR's Aeva",
        _packed(
            "x y z reflectivity velocity offset line intensity", "f4 f4 f4 f4 f4 i4 u1 f4"
        ),
        time="offset",
        time_unit=1e-9,
    ),
    "helipr-aeva-older": Layout(
        "HeLiPR's Aeva without intensity",
        _packed("x y z reflectivity velocity offset line", "f4 f4 f4 f4 f4 i4 u1"),
        time="offset",
        time_unit=1e-9,
    ),
}  # fmt: skip


def read_records(path: Path, layout: str, *, stamp: float | None = None) -> Scan:
    """Return the scan of a .bin file.

    Args:
        path: The file.
        layout: A name of `LAYOUTS`.
        stamp: Seconds, if known.

    Raises:
        UserError: When it cannot be read, is empty or truncated, holds no valid point, or another
            layout.
    """
    refuse_special(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; check the path.") from error
    known = LAYOUTS[layout]
    if not content:
        raise UserError(f"{path}: is empty; copy it again or take it out.")
    size = known.record.itemsize
    if len(content) % size:
        raise UserError(
            f"{path}: has {len(content):,} bytes, no whole number of records of {size} bytes as "
            f"{known.title} stores points: {_instead(content, layout)}."
        )
    points, records = _points(content, known)
    if not np.isfinite(points).any():
        raise UserError(f"{path}: all its {len(points):,} points are NaN; copy it again.")
    if _implausible(points, known):
        raise UserError(
            f"{path}: its points are no coordinates of {known.title}: {_instead(content, layout)}."
        )
    times: np.ndarray | None = None
    if known.time:
        times = records[known.time].astype(np.float64) * known.time_unit
    elif layout == "mulran" and len(records) == _MULRAN_BEAMS * _MULRAN_COLUMNS:
        column = np.arange(len(records)) // _MULRAN_BEAMS
        times = column * (SWEEP / _MULRAN_COLUMNS)
    scan = make_scan(points, times, stamp=stamp, source=str(path))
    if not len(scan.points):
        raise UserError(f"{path}: holds no return, all its points are 0; take it out.")
    return scan


def _points(content: bytes, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    records = np.frombuffer(content, layout.record)
    points = np.stack([records[axis] for axis in "xyz"], axis=1)
    with np.errstate(over="ignore", invalid="ignore"):  # of what is no number of metres
        points = points.astype(np.float32)
        if layout.scale != 1.0 or layout.offset:
            points = points * np.float32(layout.scale) + np.float32(layout.offset)
    if layout.flipped:
        points = points * np.array([1, -1, -1], np.float32)
    return points, records


def _implausible(points: np.ndarray, layout: Layout) -> bool:
    """Return whether many finite points lie where no LiDAR measures."""
    points = points[:: max(len(points) // _LOOKED_AT, 1)]
    size = np.abs(points[np.isfinite(points).all(axis=1)])
    if not len(size):
        return True
    tiny = (size > 0) & (size < _LEAST)
    odd = ((size > layout.farthest) | tiny).any(axis=1)
    return bool(odd.mean() > _IMPLAUSIBLE)


def _instead(content: bytes, layout: str) -> str:
    """Return what a file looks like that is not of a layout."""
    sure = []
    for name, other in LAYOUTS.items():
        if name == layout or len(content) % other.record.itemsize:
            continue
        points = _points(content, other)[0]
        if np.isfinite(points).all() and points.any() and not _implausible(points, other):
            sure.append((other.title, name))
    if not sure:
        return "it is truncated or no scan; copy it again"
    titles, names = (" or ".join(words) for words in zip(*sure, strict=True))
    return f"it looks like a scan of {titles}; pass --format {names} to make-bev or localize"
