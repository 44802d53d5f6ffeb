"""The arrays of a MATLAB 5 file: numbers, text and cells of them, and nothing else.

The format is published ("MAT-File Format", The MathWorks): a header of 128 bytes, then elements of
type, length and content, each perhaps compressed. Lengths are believed only as far as the file
goes, because the usual reader ends the process on damaged files.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

Value = np.ndarray | str | list
Order = Literal["<", ">"]

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_CELL, _TEXT = 1, 4
_NUMBERS = range(6, 16)  # double, single, and whole numbers of 8 to 64 bits
# How the content of an element is stored; classes of arrays are independent of it.
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8",
           13: "u8"}  # fmt: skip
_ENCODINGS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_MOST_BYTES = 2**28  # of what a compressed element unfolds to
_MOST_DEPTH = 8  # cells in cells


def read_matlab5(path: Path) -> dict[str, Value]:
    """Return the arrays of a file by name, all of them in one dimension.

    Returns:
        Numbers as a float64 array in MATLAB's order (columns first), text as a string, cells as a
        list of either. Structures, objects and complex numbers are left out.

    Raises:
        ValueError, struct.error or zlib.error: When the file is damaged or of another format.
        OSError: When it cannot be read.
    """
    data = path.read_bytes()
    mark = data[126:128]
    if len(data) < _HEADER or mark not in (b"IM", b"MI"):
        raise ValueError("no MATLAB 5 file")
    order: Order = "<" if mark == b"IM" else ">"
    found: dict[str, Value] = {}
    for kind, content in _elements(data[_HEADER:], order):
        if kind == _COMPRESSED:
            unfold = zlib.decompressobj()
            content = unfold.decompress(content, _MOST_BYTES)
            if unfold.unconsumed_tail:
                raise ValueError("an element unfolds without end")
            kind, content = next(_elements(content, order), (0, b""))
        if kind == _MATRIX:
            name, value = _matrix(content, order, 0)
            if value is not None:
                found[name] = value
    return found


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Yield type and content of the elements that stand one after another."""
    at = 0
    while at + 8 <= len(data):
        kind, length = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:  # four bytes or fewer stand in the tag itself
            kind, length, start, step = kind & 0xFFFF, kind >> 16, at + 4, 8
            if length > 4:
                raise ValueError("a short element that is too long")
        else:
            start, step = at + 8, 8 + length
            if kind != _COMPRESSED:
                step += -length % 8
        if start + length > len(data):
            raise ValueError("an element that is cut off")
        yield kind, data[start : start + length]
        at += step


def _matrix(data: bytes, order: Order, depth: int) -> tuple[str, Value | None]:
    """Return name and value of an array; None for a kind that is left out."""
    if depth > _MOST_DEPTH:
        raise ValueError("cells in cells without end")
    if not data:  # an empty cell
        return "", np.zeros(0)
    (_, flags), (kind, sides), (_, name), *parts = _elements(data, order)
    array_class = struct.unpack_from(f"{order}I", flags)[0] & 0xFF
    count = math.prod(max(0, int(side)) for side in _numbers(kind, sides, order))
    title = name.decode("latin-1")
    if array_class == _CELL:
        cells = [_matrix(part, order, depth + 1)[1] for kind, part in parts if kind == _MATRIX]
        if len(cells) != count:
            raise ValueError("cells that are missing")
        return title, [cell for cell in cells if cell is not None]
    if array_class == _TEXT:
        kind, content = parts[0]
        suffix = {"<": "-le", ">": "-be"}[order] if kind in (4, 17, 18) else ""
        return title, content.decode(_ENCODINGS[kind] + suffix)
    if array_class not in _NUMBERS:
        return title, None
    values = _numbers(*parts[0], order)
    if len(values) != count:
        raise ValueError("numbers that are missing")
    return title, values.astype(np.float64)


def _numbers(kind: int, content: bytes, order: Order) -> np.ndarray:
    return np.frombuffer(content, np.dtype(_STORED[kind]).newbyteorder(order))
