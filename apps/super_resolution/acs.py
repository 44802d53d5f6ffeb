"""Adaptive cropping (ACS): IMDN_AS on images whose sides are no multiples of four.

Z. Hui et al., ACM MM 2019, Sec. 3.4. The network halves an image twice, so its sides must be
multiples of four. Other images are covered by four overlapping crops, one from each corner;
each quadrant of the result is taken from the crop of its corner.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

MULTIPLE = 4
SHAVE = 32


class Crop(NamedTuple):
    """One crop; every entry is a pair of slices (rows, columns).

    Attributes:
        read: Where the image is read.
        keep: The part of the crop's result that is kept.
        write: Where it goes in the output.
    """

    read: tuple[slice, slice]
    keep: tuple[slice, slice]
    write: tuple[slice, slice]


def adaptive_crops(height: int, width: int) -> list[Crop]:
    """Return the crops of an image, all of one size: a single one where both sides fit.

    Args:
        height, width: The image's size in pixels. Sides that do not fit need 60 pixels or more.

    Returns:
        One crop, or those of the corners: top left, top right, bottom left, bottom right.

    Raises:
        ValueError: When the image is smaller than the crops; it has to be padded instead (`acs`).
    """
    if height % MULTIPLE == width % MULTIPLE == 0:
        whole = (slice(0, height), slice(0, width))
        return [Crop(whole, whole, whole)]
    rows, columns = _halves(height), _halves(width)
    if rows is None or columns is None:
        raise ValueError(
            "Sides must be multiples of 4, or large enough for crops of half a side and 32 pixels. "
            f"Received: height={height}, width={width}"
        )
    return [
        Crop(*((row, column) for row, column in zip(half, other, strict=True)))
        for half in rows
        for other in columns
    ]


def _halves(side: int) -> list[tuple[slice, slice, slice]] | None:
    """Return (read, keep, write) of the first and the last part of a side, None if too short."""
    half = side // 2
    size = (half + SHAVE) // MULTIPLE * MULTIPLE
    if size > side:
        return None
    start = side - size
    return [
        (slice(0, size), slice(0, half), slice(0, half)),
        (slice(start, side), slice(half - start, size), slice(half, side)),
    ]


def acs(engine_call: Callable[[np.ndarray], np.ndarray], image: np.ndarray) -> np.ndarray:
    """Return the result of a same-size network for an image of any size.

    Args:
        engine_call: Maps (N, H, W, 3) to (N, H, W, 3), H and W multiples of four; of all crops of
            an image at once.
        image: (H, W, 3), in the network's range. Images that are too small for crops are padded
            at the bottom and the right by reflection.

    Returns:
        (H, W, 3), float32.
    """
    height, width = image.shape[:2]
    try:
        crops = adaptive_crops(height, width)
    except ValueError:
        padding = ((0, -height % MULTIPLE), (0, -width % MULTIPLE), (0, 0))
        padded = np.pad(image, padding, mode="reflect")
        return np.asarray(engine_call(padded[None]), np.float32)[0, :height, :width]
    results = np.asarray(engine_call(np.stack([image[crop.read] for crop in crops])), np.float32)
    output = np.empty((height, width, results.shape[-1]), np.float32)
    for crop, result in zip(crops, results, strict=True):
        output[crop.write] = result[crop.keep]
    return output
