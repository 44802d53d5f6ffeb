"""What the scanner draws around its picture: finding the ultrasound sector, blanking the text.

Frames of clinics carry names, scales and logos beside the fan-shaped sector, and a network learns
them gladly: they tell the machine, the operator and the preset, not the plane.
"""

from __future__ import annotations

import cv2
import numpy as np

from core.drawing import polygon_mask

_LONGEST = 320  # pixels of the copy that the sector is looked for in
_DARK = 14  # of 255: a background is darker, also one of a lossy file
_CONSTANT = 2.0  # standard deviation of a row or column of a frame around the picture
_LEAST = 0.08  # share of the picture's area from which a region can be the sector
_LARGEST_GLYPH = 0.02  # share of the area that a letter or a line of them covers at most
_THINNEST = 0.15  # share of either side that a part of the sector has; bars of buttons are thinner
_FLAT = 2  # of 255: what differs less from its neighbours is painted, for echoes have speckle
_COLOURED = 40  # largest less smallest channel of what is no grey


def cropped(image: np.ndarray, crop: str) -> np.ndarray:
    """Return a picture as a network is to see it.

    Args:
        image: uint8 (H, W, C), C is 1 or 3.
        crop: "off": as it is; "text": of the same size, what is written beside the sector black;
            "sector": of that the sector's bounding box. A picture without a sector stays as it is.
    """
    if crop not in ("off", "sector", "text"):
        raise ValueError(f"`crop` must be off, sector or text. Received: crop={crop!r}")
    if crop == "off":
        return image
    sector = sector_mask(image)
    image = _without_text(image, sector) if sector.any() else image
    if crop == "text":
        return image
    top, left, bottom, right = box_of(sector)
    return np.ascontiguousarray(image[top:bottom, left:right])


def box_of(sector: np.ndarray) -> tuple[int, int, int, int]:
    """Return (top, left, bottom, right) of a mask (H, W); of the whole where it is empty."""
    rows, columns = np.flatnonzero(sector.any(axis=1)), np.flatnonzero(sector.any(axis=0))
    if not len(rows):
        return 0, 0, *sector.shape
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def sector_mask(image: np.ndarray) -> np.ndarray:
    """Return which pixels belong to the sector, bool (H, W): the hull of the large bright regions.

    Shadows are bridged; letters, lines, bars and areas of one colour do not count. All False where
    no region is large enough.

    Args:
        image: uint8 (H, W, C).
    """
    height, width = image.shape[:2]
    scale = min(1.0, _LONGEST / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    brightest = _brightest(image)
    small = cv2.resize(brightest, size, interpolation=cv2.INTER_AREA)
    painted = cv2.resize(_painted(brightest), size, interpolation=cv2.INTER_AREA)
    bright = ((small > _DARK) & (painted == 0)).astype(np.uint8)
    bright[_frame(small)] = 0
    side = max(3, round(0.05 * max(size)) | 1)
    bright = cv2.morphologyEx(bright, cv2.MORPH_CLOSE, _disk(3))
    bright = cv2.morphologyEx(bright, cv2.MORPH_OPEN, _disk(max(3, side // 3 | 1)))
    large = _large(bright)
    if large.sum() < _LEAST * bright.size:
        return np.zeros((height, width), bool)
    # Parts are joined only now, so that what stands close beside them does not become one.
    corners = cv2.convexHull(np.argwhere(large)[:, ::-1].astype(np.int32))
    sector = polygon_mask(corners[:, 0], bright.shape)
    sector = cv2.dilate(sector, _disk(3))  # the opening took its rim
    return cv2.resize(sector, (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)


def share_inside(heat: np.ndarray, image: np.ndarray) -> float:
    """Return how much of a heat map lies in a picture's sector, 0 to 1; 1 without a sector or heat.

    What lies outside is heat on text and borders: the network looks at the scanner, not the fetus.

    Args:
        heat: (H, W), none negative.
        image: uint8 (H, W, C), of the same size.
    """
    sector, total = sector_mask(image), float(heat.sum())
    if not sector.any() or total <= 0:
        return 1.0
    return float(heat[sector].sum()) / total


def _painted(brightest: np.ndarray) -> np.ndarray:
    """Return which bright pixels lie in areas of one colour, with the letters inside, uint8."""
    window = _disk(5)
    differing = cv2.morphologyEx(brightest, cv2.MORPH_GRADIENT, window)
    flat = ((differing <= _FLAT) & (brightest > _DARK)).astype(np.uint8)
    areas = cv2.morphologyEx(flat, cv2.MORPH_OPEN, window)
    return cv2.dilate(cv2.morphologyEx(areas, cv2.MORPH_CLOSE, _disk(15)), window)


def _without_text(image: np.ndarray, sector: np.ndarray) -> np.ndarray:
    """Return a picture with letters, lines and painted areas outside the sector black."""
    brightest = _brightest(image)
    shown = (brightest > _DARK) | (np.ptp(image, axis=-1) > _COLOURED)
    painted = _painted(brightest).astype(bool)
    beside = (shown & ~sector & ~painted).astype(np.uint8)
    written = ((beside & ~_large(beside)) | painted).astype(np.uint8)
    blank = cv2.dilate(written, _disk(3)).astype(bool) & ~sector
    return np.where(blank[..., None], np.uint8(0), image)


def _large(mask: np.ndarray) -> np.ndarray:
    """Return the regions of a mask that are too large and too broad for letters, lines and bars."""
    height, width = mask.shape
    _, regions, found, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    large = found[:, cv2.CC_STAT_AREA] > _LARGEST_GLYPH * mask.size
    large &= found[:, cv2.CC_STAT_WIDTH] > _THINNEST * width
    large &= found[:, cv2.CC_STAT_HEIGHT] > _THINNEST * height
    large[0] = False  # what is not in the mask
    return large[regions]


def _brightest(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.max(axis=-1))


def _frame(small: np.ndarray) -> np.ndarray:
    """Return which pixels lie in rows or columns of one colour at the picture's edges."""
    framed = np.zeros(small.shape, bool)
    for axis, where in ((1, framed), (0, framed.T)):
        plain = small.std(axis=axis) <= _CONSTANT
        for lines, ends in ((plain, where), (plain[::-1], where[::-1])):
            ends[: int(np.argmin(lines)) if not lines.all() else len(lines)] = True
    return framed


def _disk(side: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
