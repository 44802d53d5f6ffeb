"""Writing a PNG row by row, so that a picture of gigabytes never stands in memory.

PNG (third edition), W3C Recommendation 2025: chunks and their CRC in section 5, filters in 9.
"""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO

import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by channels: grey, grey + alpha, RGB, RGBA
_ROWS = 32  # filtered at a time
_CHUNK = 2**20  # bytes of compressed data a chunk holds


class PngStream:
    """Writes a picture that comes in strips.

    Args:
        file: A binary file open for writing.
        height, width: Of the picture, in pixels.
        channels: 1 grey, 2 grey with alpha, 3 RGB, 4 RGBA.
        dtype: `np.uint8` or `np.uint16`.
        icc: An ICC profile to embed.
        level: Of zlib, 0 to 9.
    """

    def __init__(
        self,
        file: BinaryIO,
        height: int,
        width: int,
        channels: int,
        dtype,
        *,
        icc: bytes | None = None,
        level: int = 6,
    ):
        self._file, self._dtype = file, np.dtype(dtype)
        self._shape, self._rows = (width, channels), height
        if self._dtype not in (np.uint8, np.uint16) or channels not in _COLOUR_TYPES:
            raise ValueError(
                "`dtype` must be uint8 or uint16 and `channels` 1 to 4. "
                f"Received: dtype={dtype}, channels={channels}"
            )
        self._step = channels * self._dtype.itemsize  # bytes to the pixel on the left
        self._above = np.zeros(width * self._step, np.uint8)
        self._packer, self._packed = zlib.compressobj(level), bytearray()
        depth = 8 * self._dtype.itemsize
        file.write(_SIGNATURE)
        header = struct.pack(">IIBBBBB", width, height, depth, _COLOUR_TYPES[channels], 0, 0, 0)
        self._chunk(b"IHDR", header)
        if icc:
            self._chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))

    def write(self, strip: np.ndarray) -> None:
        """Add rows (n, W, channels) below those written so far."""
        if strip.dtype != self._dtype or strip.shape[1:] != self._shape or len(strip) > self._rows:
            raise ValueError(
                f"`strip` must be {self._dtype} (n, {self._shape[0]}, {self._shape[1]}) with at "
                f"most {self._rows} rows. Received: {strip.dtype} {strip.shape}"
            )
        self._rows -= len(strip)
        for start in range(0, len(strip), _ROWS):
            rows = np.ascontiguousarray(strip[start : start + _ROWS])
            if self._dtype == np.uint16:
                rows = rows.astype(">u2")
            self._packed += self._packer.compress(self._filtered(rows.view(np.uint8)).data)
            self._flush(_CHUNK)

    def close(self) -> None:
        """Write the end; a `ValueError` when rows are missing."""
        if self._rows:
            raise ValueError(f"The picture lacks its last {self._rows} rows.")
        self._packed += self._packer.flush()
        self._flush(1)
        self._chunk(b"IEND", b"")

    def _filtered(self, rows: np.ndarray) -> np.ndarray:
        """Return rows of bytes, each behind the number of its filter.

        Of Sub, Up and Paeth each row takes the one with the smallest sum of absolute differences
        (section 12.7).
        """
        rows = rows.reshape(len(rows), -1)
        above = np.vstack([self._above[None], rows[:-1]])
        left, corner = self._shifted(rows), self._shifted(above)
        self._above = rows[-1].copy()
        candidates = {1: rows - left, 2: rows - above, 4: rows - _paeth(left, above, corner)}
        costs = [
            np.abs(c.view(np.int8), dtype=np.int16).sum(axis=1, dtype=np.int64)
            for c in candidates.values()
        ]
        best = np.argmin(costs, axis=0)
        out = np.empty((len(rows), rows.shape[1] + 1), np.uint8)
        for place, (number, candidate) in enumerate(candidates.items()):
            chosen = best == place
            out[chosen, 0] = number
            out[chosen, 1:] = candidate[chosen]
        return out

    def _shifted(self, rows: np.ndarray) -> np.ndarray:
        left = np.zeros_like(rows)
        left[:, self._step :] = rows[:, : -self._step]
        return left

    def _flush(self, least: int) -> None:
        if len(self._packed) >= least:
            self._chunk(b"IDAT", bytes(self._packed))
            self._packed.clear()

    def _chunk(self, name: bytes, content: bytes) -> None:
        self._file.write(struct.pack(">I", len(content)) + name + content)
        self._file.write(struct.pack(">I", zlib.crc32(content, zlib.crc32(name))))


def _paeth(left: np.ndarray, above: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Return the neighbour nearest to left + above - corner (section 9.4)."""
    a, b, c = (values.astype(np.int16) for values in (left, above, corner))
    to_left, to_above = np.abs(b - c), np.abs(a - c)
    to_corner = np.abs(a + b - 2 * c)
    predicted = np.where(to_above <= to_corner, above, corner)
    return np.where((to_left <= to_above) & (to_left <= to_corner), left, predicted)
