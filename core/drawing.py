"""Drawing: pictures fitted, named and framed on a sheet, regions tinted, values as colours.

The only module that draws. Pictures are uint8 (H, W, 3), RGB; places on a sheet are (left, top) in
pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

INK = (30, 30, 30)
RED = (230, 30, 45)
# Okabe and Ito's palette, which the colour-blind can tell apart.
PALETTE = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0),
    (204, 121, 167),
)  # fmt: skip
_TEXT = 11  # pixels

Place = tuple[int, int]
Colour = tuple[int, int, int]


class Sheet:
    """A white picture to draw on.

    Args:
        height, width: In pixels.
    """

    def __init__(self, height: int, width: int):
        from PIL import Image, ImageDraw

        self._image = Image.new("RGB", (width, height), "white")
        self._pen = ImageDraw.Draw(self._image)

    def paste(self, image: np.ndarray, place: Place, room: tuple[int, int] | None = None) -> None:
        """Put a picture at a place.

        Args:
            image: uint8 (H, W, 3).
            place: Of its left upper corner, or of the room's.
            room: (height, width) that it is fitted into and centred in, its shape kept; None leaves
                it at its size.
        """
        from PIL import Image

        shown = Image.fromarray(np.ascontiguousarray(checked(image)))
        left, top = place
        if room is not None:
            scale = min(room[0] / shown.height, room[1] / shown.width)
            size = max(1, round(shown.width * scale)), max(1, round(shown.height * scale))
            shown = shown.resize(size, Image.Resampling.BILINEAR)
            left, top = left + (room[1] - size[0]) // 2, top + (room[0] - size[1]) // 2
        self._image.paste(shown, (left, top))

    def write(
        self, text: str, place: tuple[float, float], *, size: float = _TEXT, middle: bool = False
    ) -> None:
        """Write a line; characters the built-in font may lack become "?".

        Args:
            text: What.
            place: Where it begins: its left upper corner.
            size: Of the letters, in pixels.
            middle: Whether the place is the left end of the line's middle instead.
        """
        self._pen.text(
            place, _plain(text), fill=INK, font=_font(size), anchor="lm" if middle else "la"
        )

    def outline(
        self, place: Place, size: tuple[int, int], colour: Colour, width: int, *, dash: int = 0
    ) -> None:
        """Draw a frame.

        Args:
            place: Of its left upper corner.
            size: Its (height, width), the lines included.
            colour: RGB.
            width: Of the lines, in pixels.
            dash: Length of dashes in pixels; 0 draws whole lines.
        """
        left, top = place
        right, bottom = left + size[1] - 1, top + size[0] - 1
        self._pen.rectangle((left, top, right, bottom), outline=colour, width=width)
        if not dash:
            return
        for x in range(left + dash, right - width, 2 * dash):
            for y in (top, bottom - width + 1):
                self._blank(x, y, min(x + dash - 1, right - width), y + width - 1)
        for y in range(top + dash, bottom - width, 2 * dash):
            for x in (left, right - width + 1):
                self._blank(x, y, x + width - 1, min(y + dash - 1, bottom - width))

    def stroke(self, start: Place, end: Place, colour: Colour, width: int) -> None:
        """Draw a straight line, so many pixels wide, from one place to another."""
        self._pen.line((*start, *end), fill=colour, width=width)

    def dot(self, middle: Place, radius: int, colour: Colour) -> None:
        """Draw a filled circle."""
        x, y = middle
        self._pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)

    def picture(self) -> np.ndarray:
        """Return what was drawn."""
        return np.asarray(self._image)

    def _blank(self, *corners: int) -> None:
        self._pen.rectangle(corners, fill="white")


def text_width(text: str, size: float = _TEXT) -> float:
    """Return how wide a line is written, in pixels."""
    return _font(size).getlength(_plain(text))


def shortened(text: str, most: int) -> str:
    """Return a text of at most so many characters, its middle left out."""
    half = (most - 2) // 2
    return text if len(text) <= most else f"{text[:half]}..{text[-half:]}"


def polygon_mask(corners: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return which pixels of a picture of (height, width) lie in a polygon: uint8, 0 or 1.

    Args:
        corners: (N, 2), x before y, in pixels; they may lie outside.
        size: Of the picture.
    """
    import cv2

    mask = np.zeros(size, np.uint8)
    return cv2.fillPoly(mask, [np.rint(corners).astype(np.int32)], 1)


def grid(cells: Sequence[np.ndarray], columns: int, gap: int) -> np.ndarray:
    """Return pictures of one size side by side in rows, a white gap around each."""
    height, width = cells[0].shape[:2]
    columns = min(columns, len(cells))
    rows = -(-len(cells) // columns)
    sheet = Sheet(rows * (height + gap) + gap, columns * (width + gap) + gap)
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        sheet.paste(cell, (gap + column * (width + gap), gap + row * (height + gap)))
    return sheet.picture()


def side_by_side(left: np.ndarray, right: np.ndarray, gap: int) -> np.ndarray:
    """Return two pictures of one height beside each other, so many white columns between them."""
    sheet = Sheet(left.shape[0], left.shape[1] + gap + right.shape[1])
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.shape[1] + gap, 0))
    return sheet.picture()


def heat(values: np.ndarray) -> np.ndarray:
    """Return numbers (H, W) as colours from blue (the least) over green to red (the most)."""
    import cv2

    low, high = float(values.min()), float(values.max())
    levels = np.floor(255 * (values - low) / (high - low + 1e-12)).astype(np.uint8)
    return cv2.applyColorMap(levels, cv2.COLORMAP_JET)[..., ::-1]


def overlaid(image: np.ndarray, values: np.ndarray, opacity: float = 0.6) -> np.ndarray:
    """Return a picture under a map's colours, the less of them the less a place counts.

    Args:
        image: uint8 (H, W, 3).
        values: (h, w) in [0, 1], at any size; what is below counts as 0, what is above as 1.
        opacity: Of the colours where the map is 1; where it is 0 the picture is as it was.
    """
    import cv2

    height, width = checked(image).shape[:2]
    fitted = cv2.resize(np.asarray(values, np.float32), (width, height))
    share = opacity * np.clip(fitted, 0, 1)[..., None]
    colours = _coloured(fitted, cv2.COLORMAP_JET)
    return np.rint(image * (1 - share) + colours * share).astype(np.uint8)


def dark_to_light(values: np.ndarray) -> np.ndarray:
    """Return numbers in [0, 1] (H, W) as colours from dark violet to yellow."""
    import cv2

    return _coloured(values, cv2.COLORMAP_VIRIDIS)


def regions(image: np.ndarray, mask: np.ndarray, opacity: float = 0.35) -> np.ndarray:
    """Return a picture with every class tinted and outlined in its colour of `PALETTE`.

    Args:
        image: uint8 (H, W, 3).
        mask: uint8 (H, W) class indices, 0 is background.
        opacity: Of the tint; outlines are opaque.
    """
    import cv2

    picture = checked(image).copy()
    width = max(1, round(max(mask.shape) / 400))
    for value in np.unique(mask[mask > 0]):
        colour = PALETTE[(int(value) - 1) % len(PALETTE)]
        region = mask == value
        tinted = picture[region] * (1 - opacity) + np.array(colour, np.uint8) * opacity
        picture[region] = np.rint(tinted).astype(np.uint8)
        outlines, _ = cv2.findContours(
            region.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
        )
        picture = cv2.drawContours(picture, outlines, -1, colour, width)
    return picture


def straight_lines(
    image: np.ndarray, segments: np.ndarray, colours: np.ndarray, width: int = 1
) -> np.ndarray:
    """Return a picture with straight lines over it, smooth and placed to a sixteenth of a pixel.

    Args:
        image: uint8 (H, W, 3).
        segments: float (N, 4), x1, y1, x2, y2; the first pixel spans 0 to 1. They may leave the
            picture.
        colours: uint8 (N, 3), of each line.
        width: In pixels.
    """
    import cv2

    picture = checked(image).copy()
    # OpenCV counts from the middle of the first pixel; far ends would overflow.
    places = np.clip(np.rint((np.asarray(segments, np.float64) - 0.5) * 16), -(2**20), 2**20)
    for (x1, y1, x2, y2), colour in zip(places.astype(int).tolist(), colours.tolist(), strict=True):
        cv2.line(picture, (x1, y1), (x2, y2), colour, width, cv2.LINE_AA, 4)
    return picture


def marked(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return a pale grey version of a picture, red where the mask, bool (H, W), holds."""
    grey = np.repeat(image.mean(axis=-1, keepdims=True), 3, axis=-1) * 0.6 + 90
    return np.rint(np.where(mask[..., None], np.array(RED, np.float32), grey)).astype(np.uint8)


def checked(image: np.ndarray) -> np.ndarray:
    """Return a picture; a `ValueError` for an array that is none."""
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        raise ValueError(
            f"`image` must be uint8 (H, W, 3). Received: {image.dtype} of shape {image.shape}"
        )
    return image


def _coloured(values: np.ndarray, scale: int) -> np.ndarray:
    """Return numbers as colours of an OpenCV scale, whose ends are 0 and 1."""
    import cv2

    levels = np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)
    return cv2.applyColorMap(levels, scale)[..., ::-1]


def _font(size: float) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _plain(text: str) -> str:
    return text.encode("ascii", "replace").decode()  # all the built-in font has for certain
