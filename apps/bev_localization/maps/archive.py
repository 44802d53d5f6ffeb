"""Arrays in an .npz file that are read where they lie: a map is opened without loading it.

The file is NumPy's own, uncompressed, but each array begins at a multiple of 64 bytes. What a
matrix product is given must be aligned; `numpy.savez` leaves that to chance.
"""

from __future__ import annotations

import io
import mmap
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from core.checkpoints.archives import DAMAGE
from core.errors import UserError
from core.files import refuse_special, write_atomic

_ALIGNED = 64  # bytes
_PREFIX = 8  # bytes of a header before the length of its text
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # of an entry: signature, lengths of name and extra field
_KINDS = "iuf"
_AT_ONCE = 1 << 24  # bytes whose check sum is taken at a time


def write_arrays(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> Path:
    """Write arrays of numbers as an .npz file, as a whole or not at all, and return its path."""
    return write_atomic(path, lambda temporary: _fill(temporary, arrays))


def _fill(temporary: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            kept = np.ascontiguousarray(array)
            entry = zipfile.ZipInfo(f"{name}.npy")  # no time: the same map, the same bytes
            with archive.open(entry, "w", force_zip64=True) as stream:
                stream.write(_header(kept, archive.fp.tell()))  # type: ignore[union-attr]
                stream.write(kept.reshape(-1).view(np.uint8).data)


def _header(array: np.ndarray, start: int) -> bytes:
    """Return NumPy's header, as long as it takes for the numbers to begin at a multiple of 64."""
    stream = io.BytesIO()
    described = np.lib.format.header_data_from_array_1_0(array)
    np.lib.format.write_array_header_1_0(stream, described)
    content = stream.getvalue()
    text = content[_PREFIX + 2 : -1] + b" " * (-(start + len(content)) % _ALIGNED) + b"\n"
    return content[:_PREFIX] + struct.pack("<H", len(text)) + text


class MappedArrays:
    """The arrays of a file that `write_arrays` wrote.

    Args:
        path: The file.
        remedy: What a user can do about a damaged one.

    Raises:
        UserError: When it is missing, cut off, damaged or of another kind.
    """

    def __init__(self, path: str | os.PathLike, remedy: str):
        self.path, self._remedy = Path(path), remedy
        refuse_special(self.path)
        try:
            with self.path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
                self._entries = {
                    info.filename.removesuffix(".npy"): info for info in archive.infolist()
                }
                self._content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            reason = (error.strerror or "input/output error").lower()
            raise UserError(f"{self.path}: cannot be read ({reason}); check the path.") from error
        except DAMAGE as error:
            empty = self.path.stat().st_size == 0
            raise self.damaged("is empty" if empty else "is cut off or no .npz file") from error

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def damaged(self, reason: str) -> UserError:
        """Return the error of this file, for a reason."""
        return UserError(f"{self.path}: {reason}; {self._remedy}.")

    def mapped(self, name: str) -> np.ndarray:
        """Return an array without reading it: its pages are read from the disk as they are used.

        Raises:
            UserError: When it is missing, holds no numbers, or the file is damaged there.
        """
        return self._array(name, self._span(name))

    def checked(self, name: str) -> np.ndarray:
        """Return `mapped` of an array all of whose bytes are as they were written.

        Raises:
            UserError: As `mapped`, and when a byte has changed.
        """
        start, stop = span = self._span(name)
        found = 0
        with memoryview(self._content) as content:
            for place in range(start, stop, _AT_ONCE):
                found = zlib.crc32(content[place : min(place + _AT_ONCE, stop)], found)
        if found != self._entries[name].CRC:
            raise self.damaged(f"is damaged in its '{name}'")
        return self._array(name, span)

    def _span(self, name: str) -> tuple[int, int]:
        """Return where the bytes of an entry begin and end."""
        if name not in self._entries:
            raise self.damaged(f"is no map of Gossamer (it lacks '{name}')")
        entry = self._entries[name]
        begin = max(entry.header_offset, 0)
        header = self._content[begin : begin + _LOCAL_HEADER.size]
        whole = len(header) == _LOCAL_HEADER.size and header[:4] == b"PK\x03\x04"
        if entry.compress_type != zipfile.ZIP_STORED or not whole:
            raise self.damaged(f"does not hold its '{name}' as a map does")
        _, named, extra = _LOCAL_HEADER.unpack(header)
        start = begin + _LOCAL_HEADER.size + named + extra
        if start + entry.file_size > len(self._content):
            raise self.damaged(f"is cut off in its '{name}'")
        return start, start + entry.file_size

    def _array(self, name: str, span: tuple[int, int]) -> np.ndarray:
        start, stop = span
        stream = io.BytesIO(self._content[start : min(start + (1 << 16), stop)])
        try:
            if np.lib.format.read_magic(stream) != (1, 0):
                raise ValueError("another version")
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        except DAMAGE as error:
            raise self.damaged(f"is damaged in its '{name}'") from error
        count = int(np.prod([int(n) for n in shape], dtype=object)) if shape else 1
        room = stop - start - stream.tell()
        numbers = dtype.kind in _KINDS and dtype.isnative and not fortran
        if not numbers or count < 0 or count * dtype.itemsize != room:
            raise self.damaged(f"is damaged in its '{name}', or holds what is no array of numbers")
        if not count:
            return np.empty(shape, dtype)
        found = np.frombuffer(self._content, dtype, count, start + stream.tell())
        return found.reshape(shape)
