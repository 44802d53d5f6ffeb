"""Writing an enlarged picture: PNG and TIFF strip by strip, JPEG and WebP in one piece."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from apps.super_resolution.pictures import Rows
from core.errors import UserError
from core.files import write_atomic

FORMATS = ("png", "tif", "jpg", "webp")
QUALITY = 95
_LONGEST = {"jpg": 65535, "webp": 16383}  # pixels a side, by the formats' definitions
_LARGEST = 2**27  # pixels that are held in memory for JPEG and WebP
_TIFF_ROWS = 32


def write_picture(
    path: str | Path,
    strips: Iterator[np.ndarray],
    size: tuple[int, int],
    channels: int,
    dtype,
    *,
    icc: bytes | None = None,
) -> list[str]:
    """Write a picture as a whole or not at all.

    Args:
        path: Named .png, .tif, .jpg or .webp.
        strips: The rows, top to bottom: uint8 or uint16 (n, W, channels).
        size: (height, width).
        channels: 1 grey, 2 grey with alpha, 3 RGB, 4 RGBA.
        dtype: uint8 or uint16.
        icc: Colour profile.

    Returns:
        What the format could not keep, a sentence each.

    Raises:
        UserError: When the format cannot hold a picture of that size, or the disk refuses.
    """
    path = Path(path)
    dtype, kind = np.dtype(dtype), format_of(path)
    check_size(path, size)
    if kind == "png":
        write_atomic(path, lambda file: _png(file, strips, size, channels, dtype, icc))
        return []
    if kind == "tif":
        write_atomic(path, lambda file: _tiff(file, strips, size, channels, dtype, icc))
        return []
    lost = []
    if dtype == np.uint16:
        lost.append(f"was cut from 16 to 8 bits, which is all that {kind.upper()} has")
    if channels in (2, 4) and kind == "jpg":
        lost.append("lost its transparency, which JPEG does not have")
    write_atomic(path, lambda file: _whole(file, kind, strips, size, channels, icc))
    return lost


def format_of(path: str | Path) -> str:
    """Return the format a file name stands for; a `UserError` for another than `FORMATS`."""
    suffix = Path(path).suffix.lower().removeprefix(".")
    suffix = {"jpeg": "jpg", "tiff": "tif"}.get(suffix, suffix)
    if suffix not in FORMATS:
        raise UserError(f"{path}: pictures are written as {', '.join(FORMATS)}; choose one.")
    return suffix


def check_size(path: str | Path, size: tuple[int, int]) -> None:
    """Raise a `UserError` when a format cannot hold (height, width) pixels."""
    kind, (height, width) = format_of(path), size
    if kind not in _LONGEST:
        return
    if max(size) > _LONGEST[kind]:
        raise UserError(
            f"{path}: would have {height}x{width} pixels, but {kind.upper()} ends at "
            f"{_LONGEST[kind]} a side; pass --picture-format png."
        )
    if height * width > _LARGEST:
        raise UserError(
            f"{path}: would have {height}x{width} pixels, too many to be held in memory as "
            f"{kind.upper()} needs; pass --picture-format png, which is written in strips."
        )


def _png(file: Path, strips, size: tuple[int, int], channels, dtype, icc) -> None:
    from apps.super_resolution.png_stream import PngStream

    with file.open("wb") as stream:
        png = PngStream(stream, *size, channels, dtype, icc=icc)
        for strip in strips:
            png.write(strip)
        png.close()


def _tiff(file: Path, strips, size, channels, dtype, icc) -> None:
    import tifffile

    height, width = size
    rows = Rows(strips)

    def pieces() -> Iterator[bytes]:
        """Give each strip as it stands in the file: differences to the left, deflated."""
        for start in range(0, height, _TIFF_ROWS):
            piece = rows.take(min(_TIFF_ROWS, height - start))
            piece[:, 1:] -= piece[:, :-1].copy()
            yield zlib.compress(piece.astype(dtype.newbyteorder("<"), copy=False).tobytes())

    large = height * width * channels * dtype.itemsize > 2**32 - 2**25  # 32-bit offsets end there
    with tifffile.TiffWriter(file, bigtiff=large, byteorder="<") as tiff:
        tiff.write(
            pieces(),
            shape=(height, width, channels) if channels > 1 else (height, width),
            dtype=dtype,
            photometric="rgb" if channels > 2 else "minisblack",
            planarconfig="contig" if channels > 1 else None,
            extrasamples=["unassalpha"] if channels in (2, 4) else None,
            rowsperstrip=_TIFF_ROWS,
            compression="zlib",
            predictor=True,
            iccprofile=icc,
            metadata=None,
            maxworkers=1,
        )


def _whole(file: Path, kind: str, strips, size, channels, icc) -> None:
    from PIL import Image

    alpha = channels in (2, 4)
    kept = channels - (alpha and kind == "jpg")
    canvas = np.empty((*size, kept), np.uint8)
    at = 0
    for strip in strips:
        part = strip[..., :kept]
        if part.dtype == np.uint16:
            part = np.rint(part / np.float32(257))
        canvas[at : at + len(strip)] = part
        at += len(strip)
    image = Image.fromarray(canvas[..., 0] if kept == 1 else canvas)
    if kind == "jpg":
        # Colour at half resolution, Pillow's default, would undo part of the enlargement.
        image.save(file, "JPEG", quality=QUALITY, subsampling=0, icc_profile=icc)
    else:
        image.save(file, "WEBP", quality=QUALITY, exact=True, icc_profile=icc)
