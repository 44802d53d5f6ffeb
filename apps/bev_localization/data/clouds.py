"""Scans as PCD and PLY files, whichever way their numbers are stored.

PCD of the Point Cloud Library (version 0.7: ascii, binary, binary_compressed) and Stanford's PLY
(ascii, binary of both byte orders). Fields x, y, z are needed; of those that tell a time the first
is taken, integers as nanoseconds, other numbers as seconds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from apps.bev_localization.data.scans import Scan, make_scan
from core.errors import UserError
from core.files import refuse_special

SUFFIXES = (".pcd", ".ply")
_TIMES = ("t", "time", "timestamp", "offset_time", "time_stamp")
_NANOSECOND = 1e-9
_LONGEST_HEADER = 1 << 16  # bytes
_MOST_POINTS = 1 << 28
_PCD_TYPES = {"F": "f", "I": "i", "U": "u"}
_PLY_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip


def read_cloud(path: Path, *, stamp: float | None = None) -> Scan:
    """Return the scan of a .pcd or .ply file.

    Raises:
        UserError: When it cannot be read, is damaged, or has no x, y and z.
    """
    refuse_special(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; check the path.") from error
    if not content:
        raise UserError(f"{path}: is empty; copy it again or take it out.")
    read = _read_ply if content.startswith(b"ply") else _read_pcd
    try:
        fields = read(content)
    except (ValueError, KeyError, IndexError, OverflowError, TypeError) as error:
        raise UserError(f"{path}: is damaged: {_reason(error)}; copy or write it again.") from error
    missing = [axis for axis in "xyz" if axis not in fields]
    if missing:
        raise UserError(
            f"{path}: has no field '{missing[0]}' (found {', '.join(fields) or 'none'}); a scan "
            "needs x, y and z."
        )
    times = next((fields[name] for name in _TIMES if name in fields), None)
    if times is not None:
        unit = _NANOSECOND if times.dtype.kind in "iu" else 1.0
        times = times.astype(np.float64)
        times = (times - times.min(initial=np.inf)) * unit if len(times) else times
    with np.errstate(over="ignore"):
        points = np.stack([fields[axis].astype(np.float32) for axis in "xyz"], axis=1)
    scan = make_scan(points, times, stamp=stamp, source=str(path))
    if not len(scan.points):
        raise UserError(f"{path}: holds no valid point; take it out.")
    return scan


def _reason(error: Exception) -> str:
    missing = isinstance(error, KeyError)
    return f"a part of its header is missing ({error})" if missing else str(error)


def _header(content: bytes, end: bytes) -> tuple[list[list[str]], int]:
    """Return the words of a header's lines, and where the data begin."""
    place = content.find(end, 0, _LONGEST_HEADER)
    stop = content.find(b"\n", place) + 1
    if place < 0 or not stop:
        raise ValueError("its header has no end")
    lines = content[:stop].decode("ascii", "replace").splitlines()
    return [words for line in lines if (words := line.split())], stop


def _read_pcd(content: bytes) -> dict[str, np.ndarray]:
    lines, start = _header(content, b"DATA ")
    header = {words[0].upper(): words[1:] for words in lines if not words[0].startswith("#")}
    counts = [int(n) for n in header.get("COUNT", ["1"] * len(header["FIELDS"]))]
    columns = [
        (name, np.dtype(f"<{_PCD_TYPES[kind]}{int(size)}"), count)
        for name, kind, size, count in zip(
            header["FIELDS"], header["TYPE"], header["SIZE"], counts, strict=True
        )
    ]
    if min(counts) < 1 or max(counts) > _LONGEST_HEADER:
        raise ValueError(f"its fields have the counts {counts}")
    points = int(header["POINTS"][0] if "POINTS" in header else header["WIDTH"][0])
    if not 0 <= points <= _MOST_POINTS:
        raise ValueError(f"it tells of {points} points")
    kind, body = header["DATA"][0].lower(), content[start:]
    if kind == "ascii":
        return _from_text(body, columns, points)
    if kind == "binary":
        return _from_records(body, columns, points)
    if kind != "binary_compressed":
        raise ValueError(f"its data are '{kind}', not ascii, binary or binary_compressed")
    packed, whole = (int(n) for n in np.frombuffer(body[:8], "<u4"))
    expected = points * sum(dtype.itemsize * count for _, dtype, count in columns)
    if whole != expected or len(body) < 8 + packed:
        raise ValueError(f"it holds {len(body) - 8:,} packed bytes of {packed:,}")
    from apps.bev_localization.data.lzf import unpacked

    flat = unpacked(np.frombuffer(body, np.uint8, packed, 8), whole).tobytes()
    found, place = {}, 0
    for name, dtype, count in columns:  # field after field, not point after point
        values = np.frombuffer(flat, dtype, points * count, place)
        found[name] = values.reshape(points, count)[:, 0]
        place += values.nbytes
    return found


def _read_ply(content: bytes) -> dict[str, np.ndarray]:
    lines, start = _header(content, b"end_header")
    kind, columns, points, element, before = "", [], -1, "", 0
    for words in lines:
        if words[0] == "format":
            kind = words[1]
        elif words[0] == "element":
            element = words[1]
            if element == "vertex":
                points = int(words[2])
            elif points < 0:
                before += int(words[2])
        elif words[0] == "property" and element == "vertex":
            if words[1] == "list":
                raise ValueError("its vertices hold lists")
            columns.append((words[2], words[1]))
    if before:
        raise ValueError("other elements stand before its vertices")
    if not 0 <= points <= _MOST_POINTS:
        raise ValueError(f"it tells of {points} vertices")
    orders = {"ascii": "<", "binary_little_endian": "<", "binary_big_endian": ">"}
    if kind not in orders:
        raise ValueError(f"its format is '{kind}'")
    typed = [(name, np.dtype(orders[kind] + _PLY_TYPES[text]), 1) for name, text in columns]
    read = _from_text if kind == "ascii" else _from_records
    return read(content[start:], typed, points)


def _from_text(body: bytes, columns, points: int) -> dict[str, np.ndarray]:
    width = sum(count for *_, count in columns)
    lines = body.decode("ascii", "replace").splitlines()[:points]
    if len(lines) < points:
        raise ValueError(f"it holds {len(lines):,} of {points:,} points")
    table = np.empty((0, width))
    if points:
        table = np.loadtxt(lines, usecols=range(width), ndmin=2, comments=None)
    if len(table) < points:
        raise ValueError("it has empty lines among its points")
    found, place = {}, 0
    for name, dtype, count in columns:
        # A time of 19 digits is more than a double holds, but scans are compared with their own.
        found[name] = table[:, place].astype(dtype.newbyteorder("="))
        place += count
    return found


def _from_records(body: bytes, columns, points: int) -> dict[str, np.ndarray]:
    record = np.dtype(
        [(f"{i}", dtype, (count,)) for i, (_, dtype, count) in enumerate(columns)]
    )  # names may be repeated ("_")
    if len(body) < points * record.itemsize:
        held = len(body) // record.itemsize
        raise ValueError(f"it holds {held:,} of {points:,} points")
    rows = np.frombuffer(body, record, points)
    return {
        name: rows[f"{i}"][:, 0].astype(dtype.newbyteorder("="))
        for i, (name, dtype, _) in enumerate(columns)
    }
