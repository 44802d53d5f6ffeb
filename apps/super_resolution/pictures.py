"""A user's picture before and after enlargement, with nothing lost on the way.

`core.data.images` reads what networks are trained on: 8 bits, no transparency. A picture that its
owner gets back keeps its 16 bits, its transparency, its greyness and its colour profile.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from core.data.images import read_size
from core.drawing import Sheet
from core.engines import Engine
from core.errors import UserError
from core.model_card import ModelCard

_ORIENTATION = 0x0112  # the EXIF tag
_PNG_GREY_ALPHA = 4  # colour type
_LUMA = (0.299, 0.587, 0.114)  # BT.601
_MARGIN = 4  # rows of context of the bicubic kernel, and more
_ALPHA_ROWS = 256
_SPACE = 2  # white columns between the two pictures of a comparison


@dataclass(frozen=True)
class Picture:
    """A decoded file, upright.

    Attributes:
        pixels: uint8 or uint16 (H, W, 1) grey or (H, W, 3) RGB.
        alpha: (H, W) of the same type, not premultiplied, or None.
        icc: The embedded colour profile of `pixels`.
        notes: What was changed in reading, a sentence each.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    icc: bytes | None = None
    notes: tuple[str, ...] = ()

    @property
    def rgb(self) -> np.ndarray:
        """Return (H, W, 3) without copying; grey three times."""
        return np.broadcast_to(self.pixels, (*self.pixels.shape[:2], 3))

    @property
    def channels(self) -> int:
        """Number of channels with alpha."""
        return self.pixels.shape[-1] + (self.alpha is not None)


def read_picture(path: str | Path) -> Picture:
    """Decode a file for enlargement.

    8 and 16 bits, grey, RGB, with alpha, palettes (with transparency) and CMYK (converted, with a
    note); the EXIF orientation is applied.

    Raises:
        UserError: When the file is missing, damaged or huge, holds several frames or pages, or has
            floats or a colour space that pictures cannot be written in.
    """
    from PIL import UnidentifiedImageError

    path = Path(path)
    read_size(path)  # says what is wrong with a file that is no picture
    try:
        try:
            picture = _opened(path)
        except UnidentifiedImageError:  # tifffile knows more kinds of TIFF
            picture = _deep_tiff(path)
    except (UserError, MemoryError):
        raise
    except Exception as error:  # decoders raise anything from struct.error to IndexError
        raise UserError(
            f"{path}: cannot be decoded, it is damaged, cut off or of a rare kind; save it again "
            "as PNG."
        ) from error
    return picture


def enlarged_strips(
    engine: Engine, picture: Picture, card: ModelCard, **options
) -> Iterator[np.ndarray]:
    """Yield the enlarged picture's rows, top to bottom, with all of its channels.

    Grey goes through the network as three equal channels and comes back as their luma; alpha is
    enlarged by the exact bicubic.

    Args:
        engine, card, options: As `apps.super_resolution.enlarge.strips`.
        picture: What is enlarged.
    """
    from apps.super_resolution.enlarge import scale_of, strips

    alpha = None if picture.alpha is None else Rows(_alpha(picture.alpha, scale_of(card)))
    for strip in strips(engine, picture.rgb, card, **options):
        if picture.pixels.shape[-1] == 1:
            luma = strip @ np.array(_LUMA, np.float32)
            strip = np.rint(luma).astype(strip.dtype)[..., None]
        if alpha is not None:
            strip = np.concatenate([strip, alpha.take(len(strip))[..., None]], axis=-1)
        yield strip


class Rows:
    """Cuts a series of strips anew.

    Args:
        strips: Arrays with the rows first.
    """

    def __init__(self, strips: Iterator[np.ndarray]):
        self._strips = iter(strips)
        self._held: np.ndarray | None = None

    def take(self, count: int) -> np.ndarray:
        """Return the next `count` rows; a `ValueError` where there are no more."""
        parts: list[np.ndarray] = []
        missing = count
        while missing:
            if self._held is None or not len(self._held):
                self._held = next(self._strips, None)
                if self._held is None:
                    raise ValueError(f"The strips have ended {missing} rows early.")
            parts.append(self._held[:missing])
            missing -= len(parts[-1])
            self._held = self._held[len(parts[-1]) :]
        return np.concatenate(parts)


def comparison(image: np.ndarray, result: np.ndarray, scale: int) -> np.ndarray:
    """Return the bicubic enlargement beside the network's, under a thin caption.

    Args:
        image: uint8 or uint16 (H, W, 3), RGB.
        result: (H·scale, W·scale, 3), what the network made of it.
        scale: Enlargement.

    Returns:
        uint8 (caption + H·scale, 2·W·scale + gap, 3).
    """
    from apps.super_resolution.imresize import imresize

    plain = imresize(_eight_bits(image), scale=scale)
    height, width = result.shape[:2]
    head = max(14, min(28, height // 24))
    sheet = Sheet(head + height, 2 * width + _SPACE)
    for left, text, shown in (
        (0, "bicubic", plain),
        (width + _SPACE, "network", _eight_bits(result)),
    ):
        sheet.paste(shown, (left, head))
        sheet.write(f"{text} x{scale}", (left + 3, head / 2), size=head * 0.7, middle=True)
    return sheet.picture()


def _alpha(alpha: np.ndarray, scale: int) -> Iterator[np.ndarray]:
    """Yield the bicubic enlargement of (H, W) in blocks of rows, equal to that of the whole."""
    from apps.super_resolution.imresize import imresize

    for low in range(0, len(alpha), _ALPHA_ROWS):
        high = min(len(alpha), low + _ALPHA_ROWS)
        start = max(0, low - _MARGIN)
        part = alpha[start : high + _MARGIN]
        if scale != 1 and part.dtype == np.uint8:
            part = imresize(part, scale=scale)
        elif scale != 1:
            deep = imresize(part.astype(np.float64), scale=scale)
            part = np.clip(np.rint(deep), 0, 65535).astype(np.uint16)
        yield part[(low - start) * scale : (high - start) * scale]


def _eight_bits(image: np.ndarray) -> np.ndarray:
    if image.dtype == np.uint8:
        return image
    return np.rint(image / np.float32(257)).astype(np.uint8)


def _refuse_frames(path: Path, image) -> tuple[str, ...]:
    frames = getattr(image, "n_frames", 1)
    if frames == 1:
        return ()
    if image.format == "MPO":  # a phone's JPEG: previews and depth maps follow the photograph
        return (f"only the first of its {frames} pictures was taken",)
    if image.format == "TIFF":
        raise UserError(_pages(path, frames))
    raise UserError(
        f"{path}: is an animation of {frames} frames; save it as a video (.mp4) and pass that, or "
        "extract its frames as PNG files."
    )


def _pages(path: Path, count: int) -> str:
    return f"{path}: holds {count} pages; save each page as a file of its own."


def _opened(path: Path) -> Picture:
    """Decode a file whose format Pillow knows."""
    from PIL import Image

    image: Any
    with Image.open(path) as image:
        notes = _refuse_frames(path, image)
        if image.format == "TIFF" and max(image.tag_v2.get(258, (1,))) > 8:
            picture = _deep_tiff(path)
        elif image.format == "PNG" and _png_header(path)[0] == 16:
            picture = _deep_png(path, image)
        else:
            picture = _plain(path, image)
    return replace(picture, notes=(*notes, *picture.notes))


def _png_header(path: Path) -> tuple[int, int]:
    """Return bits per sample and colour type, which Pillow's mode does not tell."""
    with path.open("rb") as stream:
        header = stream.read(26)
    return header[24], header[25]


def _plain(path: Path, image) -> Picture:
    """Return a picture of 8 bits, or fewer, as Pillow decodes it."""
    from PIL import ImageOps

    icc, notes = image.info.get("icc_profile"), []
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        raise UserError(
            f"{path}: holds floats or 32-bit numbers; save it with 8 or 16 bits per channel."
        )
    if image.mode in ("LAB", "HSV"):
        raise UserError(f"{path}: is in the colour space {image.mode}; save it as RGB.")
    image = ImageOps.exif_transpose(image)
    if image.mode == "CMYK":
        image, note = _from_cmyk(image, icc)
        icc, notes = None, [note]
    transparent = "transparency" in image.info
    wanted = {
        "1": "L",
        "L": "LA" if transparent else "L",
        "LA": "LA",
        "La": "LA",
        "PA": "RGBA",
        "RGBA": "RGBA",
        "RGBa": "RGBA",
    }.get(image.mode, "RGBA" if transparent else "RGB")
    pixels = np.asarray(image if image.mode == wanted else image.convert(wanted))
    return _picture(pixels, icc, notes)


def _from_cmyk(image, icc: bytes | None):
    from PIL import ImageCms

    if icc:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            target = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
            return converted, "was converted from CMYK to sRGB by its colour profile"
        except (ImageCms.PyCMSError, OSError):
            pass  # a damaged profile is no worse than none
    return image.convert("RGB"), "was converted from CMYK to RGB without a colour profile"


def _deep_png(path: Path, image) -> Picture:
    """Return a picture of 16 bits; Pillow would cut a coloured one to 8."""
    icc, key = image.info.get("icc_profile"), image.info.get("transparency")
    turn = image.getexif().get(_ORIENTATION, 1)
    pixels = _by_opencv(path)
    if _png_header(path)[1] == _PNG_GREY_ALPHA and pixels.shape[-1] == 4:
        pixels = pixels[..., [0, 3]]
    if key is not None and pixels.shape[-1] in (1, 3):  # one colour that is transparent
        shown = (pixels != np.asarray(key, np.uint16)).any(axis=-1, keepdims=True)
        pixels = np.concatenate([pixels, np.uint16(65535) * shown.astype(np.uint16)], axis=-1)
    return _picture(_upright(pixels, turn), icc, [])


def _deep_tiff(path: Path) -> Picture:
    """Return a TIFF of 8 or 16 bits that Pillow would shorten or cannot open."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        if len(file.pages) > 1:
            raise UserError(_pages(path, len(file.pages)))
        page: Any = file.pages[0]
        if page.photometric not in (0, 1, 2) or page.samplesperpixel > 4:
            kind = getattr(page.photometric, "name", page.photometric)
            raise UserError(f"{path}: has samples of kind {kind}; save it as grey or RGB.")
        if page.dtype not in (np.uint8, np.uint16):
            raise UserError(
                f"{path}: holds {page.dtype} values; save it with 8 or 16 bits per channel."
            )
        try:
            pixels = page.asarray()
            if "S" in page.axes:
                pixels = np.moveaxis(pixels, page.axes.index("S"), -1)
            if page.photometric == 0:  # white is zero
                pixels = np.iinfo(pixels.dtype).max - pixels
        except ValueError:  # of a compression that tifffile lacks
            pixels = _by_opencv(path)
        turn = page.tags.valueof(_ORIENTATION, 1)
        return _picture(_upright(pixels, turn), page.iccprofile, [])


def _by_opencv(path: Path) -> np.ndarray:
    """Return (H, W, C), RGB, as it is stored: OpenCV keeps 16 bits."""
    import cv2

    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("OpenCV cannot decode it")
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    return pixels[..., [2, 1, 0, 3][: pixels.shape[-1]]] if pixels.shape[-1] > 2 else pixels


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation (2 to 8) to (H, W, C)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    down = orientation in (3, 4, 7, 8)
    across = orientation in (2, 3, 6, 7)
    return pixels[:: -1 if down else 1, :: -1 if across else 1]


def _picture(pixels: np.ndarray, icc: bytes | None, notes: list[str]) -> Picture:
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    pixels = np.ascontiguousarray(pixels)
    if pixels.shape[-1] in (2, 4):
        alpha = np.ascontiguousarray(pixels[..., -1])
        return Picture(np.ascontiguousarray(pixels[..., :-1]), alpha, icc, tuple(notes))
    return Picture(pixels, None, icc, tuple(notes))
