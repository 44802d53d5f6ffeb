"""Decoding any image file to a known form, and writing pictures.

Every decoded picture in the suite comes from here, so what a file may be (16-bit, palette, CMYK,
turned by its camera, cut off in a download) is settled once. Pillow decodes; TIFF files that it
cannot take, or would shorten to 8 bits, go to tifffile.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from core.data.folders import find_files
from core.data.pixels import finite_range, known_form, stored_values
from core.errors import UserError
from core.files import refuse_special, write_atomic

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
_TIFF = (".tif", ".tiff")
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

# Pillow would run Ghostscript for PostScript in a file named .png: name the harmless formats.
_FORMATS = ("PNG", "JPEG", "MPO", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000")
_ORIENTATION = 0x0112  # the EXIF tag; values 5 to 8 swap height and width
_MAX_PIXELS = 2**26  # 67 million; the largest pictures in use (chest X-rays) have 20 million
_MAX_BYTES = 2**29  # of its values; as 16-bit colours the largest have 400 MB


def read_image(
    path: str | os.PathLike, channels: int = 3, *, page: int = 0, content: bytes | None = None
) -> np.ndarray:
    """Decode an image file.

    Transparency is dropped, not composited: microscopes and screenshot tools store RGBA whose
    alpha means nothing (DSB-2018), and compositing would blacken or whiten such pictures. The EXIF
    orientation is applied. Values beyond 8 bits are kept where they fit in 0..255; otherwise the
    range between the 0.1 and 99.9 percentile is stretched to 0..255, because microscopes and X-ray
    devices use any part of their 16 bits and a fixed divisor would leave such a picture black.
    Floats in [0, 1] are multiplied by 255. Of coloured 16-bit PNG files the high bytes are taken.

    Args:
        path: PNG, JPEG, TIFF, BMP, WebP, GIF, PPM or JPEG 2000.
        channels: 3 for RGB, 1 for grey (luma of a coloured picture).
        page: Page of a multi-page file, from 0.
        content: The file's bytes, of a picture inside another file; `path` then only names it.

    Returns:
        uint8 (H, W, channels), 0..255.

    Raises:
        UserError: When the file is missing, empty, truncated, not an image, absurdly large, or has
            no such page.
    """
    raw, palette = _decode(Path(path), page, content)
    return known_form(path, raw, palette, channels)


def read_mask(path: str | os.PathLike, *, page: int = 0) -> np.ndarray:
    """Decode a mask file to its raw values.

    Alpha is ignored. Masks stored as RGB give the largest channel. A palette mask gives its
    indices (the classes), unless all its colours are grey: then the grey levels, so that a palette
    that runs from white to black does not turn a mask inside out. 1-bit files give 0 and 1.

    Returns:
        uint8 (H, W), or uint16 (H, W) where the file has more than 8 bits.

    Raises:
        UserError: As `read_image`; also for negative, fractional or larger values than 65535.
    """
    path = Path(path)
    raw, palette = _decode(path, page)
    if palette is not None:
        used = palette[np.unique(raw)]
        if (used == used[:, :1]).all():
            raw = palette[:, 0][raw]
    if raw.ndim == 3:
        raw = raw.max(axis=-1)
    if raw.dtype in (np.uint8, np.uint16):
        return raw
    if raw.dtype == bool:
        return raw.astype(np.uint8)
    low, high = finite_range(path, raw)
    if low < 0 or high > 65535 or (raw.dtype.kind == "f" and (raw != np.rint(raw)).any()):
        raise UserError(
            f"{path}: has mask values that are not whole numbers in 0..65535 (found {low:g} to "
            f"{high:g}); save the mask as an 8-bit or 16-bit PNG."
        )
    return raw.astype(np.uint16)


def read_size(path: str | os.PathLike) -> tuple[int, int]:
    """Return (height, width) as decoded, from the file's header alone.

    Raises:
        UserError: When the file is missing, empty, not an image or absurdly large.
    """
    path = Path(path)
    with _explained(path):
        try:
            with _opened(path) as image:
                width, height = map(int, image.size)
                return (width, height) if _swapped_by_exif(image) else (height, width)
        except OSError:
            if path.suffix.lower() not in _TIFF:
                raise
            with _opened_tiff(path, 0) as page:
                return int(page.imagelength), int(page.imagewidth)


def count_pages(path: str | os.PathLike) -> int:
    """Return the number of pages of an image file, from its headers alone.

    Raises:
        UserError: As `read_size`.
    """
    path = Path(path)
    with _explained(path):
        try:
            with _opened(path) as image:
                return getattr(image, "n_frames", 1)
        except OSError:
            if path.suffix.lower() not in _TIFF:
                raise
            import tifffile

            with tifffile.TiffFile(path) as file:
                return len(file.pages)


def write_image(path: str | os.PathLike, array: np.ndarray) -> Path:
    """Write a PNG as a whole or not at all, and return its path.

    Args:
        path: The file, named `.png`.
        array: uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); bool (H, W), written as 0 and 255;
            or uint16 (H, W), written with 16 bits.

    Raises:
        UserError: When the file cannot be written or is not named `.png`.
    """
    from PIL import Image

    path = Path(path)
    if path.suffix.lower() != ".png":
        raise UserError(f"{path}: pictures are written as PNG; choose a name ending in .png.")
    array = np.asarray(array)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    coloured = array.ndim == 3 and array.shape[-1] in (3, 4)
    if not (array.ndim == 2 and array.dtype == np.uint16) and not (
        array.dtype == np.uint8 and (array.ndim == 2 or coloured)
    ):
        raise ValueError(
            "expected uint8 (H, W) or (H, W, 1 | 3 | 4), bool (H, W) or uint16 (H, W). "
            f"Received: {array.dtype} {array.shape}"
        )
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(stream, "PNG")
    return write_atomic(path, stream.getvalue())


def as_rgb(pixels: np.ndarray) -> np.ndarray:
    """Return a picture (H, W, 1 or 3) with three channels, which are equal where it was grey."""
    return np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels


def resized(image: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Return an image brought to (height, width) by Pillow, bilinear, as torchvision does it.

    Pillow weighs all pixels where it shrinks an image; other libraries' bilinear skips some.

    Args:
        image: uint8 (H, W, C), C 1 or 3.
        size: Height and width; the aspect ratio is not kept.
    """
    from PIL import Image

    if image.shape[:2] == tuple(size):
        return image
    height, width = size
    plain = image[..., 0] if image.shape[-1] == 1 else image
    picture = Image.fromarray(plain).resize((width, height), Image.Resampling.BILINEAR)
    return np.array(picture).reshape(height, width, image.shape[-1])


def find_images(folder: str | os.PathLike, recursive: bool = False) -> list[Path]:
    """Return the image files of a folder in natural order (2.png before 10.png).

    Hidden files and folders and what archivers leave behind (`__MACOSX`) are skipped; no file is
    opened.

    Raises:
        UserError: When the folder does not exist or holds no image.
    """
    return find_files(folder, "image", SUFFIXES, recursive=recursive)


def _decode(
    path: Path, page: int, content: bytes | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the stored values, upright and without alpha, and the palette if there is one.

    The values are (H, W) or (H, W, 3) of any dtype; the palette is uint8 (256, 3).
    """
    from PIL import ImageOps

    tiff = path.suffix.lower() in _TIFF if content is None else content[:4] in _TIFF_STARTS
    with _explained(path, content):
        if not tiff:
            with _opened(path, page, content) as image:
                return stored_values(ImageOps.exif_transpose(image))
        try:
            with _opened(path, page, content) as image:
                if not _is_deep_colour(image):
                    return stored_values(ImageOps.exif_transpose(image))
        except (OSError, SyntaxError, ValueError):
            pass  # tifffile knows more kinds of TIFF, and says what is wrong with the rest
        with _opened_tiff(path, page, content) as tiff_page:
            return _tiff_values(tiff_page), None


def _tiff_values(page) -> np.ndarray:
    pixels = page.asarray()
    axes = page.axes
    if "S" in axes:
        pixels = np.moveaxis(pixels, axes.index("S"), -1)
        pixels = pixels[..., :3] if pixels.shape[-1] >= 3 else pixels[..., 0]
    if pixels.ndim not in (2, 3) or not pixels.size or pixels.dtype.kind not in "buif":
        raise ValueError(f"{pixels.dtype} with the axes {axes} is no picture")
    return pixels.astype(pixels.dtype.newbyteorder("="))


def _is_deep_colour(image) -> bool:
    """Return whether Pillow would drop the low bytes of a coloured TIFF."""
    bits = image.tag_v2.get(258, (8,)) if hasattr(image, "tag_v2") else (8,)
    return len(bits) > 1 and max(bits) > 8


def _swapped_by_exif(image) -> bool:
    if image.format == "TIFF":  # Pillow has swapped the size of a TIFF already
        return False
    if image.format == "PNG" and "exif" not in image.info:
        return False  # asking a PNG without the tag would decode all of it
    return image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)


@contextmanager
def _opened(path: Path, page: int = 0, content: bytes | None = None) -> Iterator:
    from PIL import Image

    Image.init()  # loads the decoders, once
    known = [name for name in _FORMATS if name in Image.OPEN]
    source = path if content is None else io.BytesIO(content)
    with Image.open(source, formats=known) as image:
        if page < 0 or (page and page >= getattr(image, "n_frames", 1)):
            pages = getattr(image, "n_frames", 1)
            raise UserError(f"{path}: has no page {page}, only 0..{pages - 1}; check the data set.")
        if page:
            image.seek(page)
        if 0 in image.size:
            raise ValueError(f"{image.size} is no size of a picture")
        _refuse_huge(path, image.size)
        yield image


@contextmanager
def _opened_tiff(path: Path, page: int, content: bytes | None = None) -> Iterator:
    import tifffile

    with tifffile.TiffFile(path if content is None else io.BytesIO(content)) as file:
        picture = file.pages[page].aspage()
        _refuse_huge(path, (picture.imagewidth, picture.imagelength))
        if picture.nbytes > _MAX_BYTES:
            raise UserError(
                f"{path}: unfolds to more than {_MAX_BYTES // 2**20} MB; cut or scale the picture, "
                "or save it with 8 or 16 bits."
            )
        yield picture


def _refuse_huge(path: Path, size: tuple[int, int]) -> None:
    if size[0] * size[1] > _MAX_PIXELS:
        raise UserError(
            f"{path}: claims {size[1]}x{size[0]} pixels, more than this suite opens "
            f"({_MAX_PIXELS // 10**6} million); cut or scale the picture first."
        )


@contextmanager
def _explained(path: Path, content: bytes | None = None) -> Iterator[None]:
    """Turn whatever decoding raises into one sentence for the user."""
    from PIL import Image

    refuse_special(path)
    try:
        yield
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise UserError(
            f"{path}: claims so many pixels that it looks like a decompression bomb; "
            "cut or scale the picture first."
        ) from error
    except Exception as error:  # decoders raise anything from struct.error to IndexError
        raise UserError(f"{path}: {_reason(path, error, content)}") from error


def _reason(path: Path, error: Exception, content: bytes | None) -> str:
    if content is None:
        if not path.exists():
            return "no such file; check the path."
        if path.is_dir():
            return "is a folder, not an image file; pass a file."
        if isinstance(error, PermissionError):
            return "permission denied; make the file readable."
    if not (path.stat().st_size if content is None else content):
        return "is empty (0 bytes); copy or download it again."
    if type(error).__name__ == "UnidentifiedImageError":
        return "is not an image in a known format (its content, whatever its name); replace it."
    return "cannot be decoded, it is damaged or cut off; copy or download it again."
