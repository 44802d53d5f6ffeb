"""Bicubic sampling as BEVPlace++ has it, as constants of a given size.

PyTorch's `grid_sample(mode="bicubic", align_corners=True)`: cubic convolution with a = -0.75 over
4x4 taps. Corners fall on corners; taps outside the image count as 0, and the weights of the others
do not grow for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

TAPS = 4
# Zeros around an image, so that every tap of a clipped position is one of its pixels.
BORDER = 4
_SHARPNESS = -0.75


@dataclass(frozen=True)
class Turning:
    """A turned image, pixel by pixel, as positions in the image with `BORDER` zeros around it.

    Attributes:
        first: int32 (n · n,), the upper left of the pixel's taps, counted along rows in the grid of
            the (n + 5) x (n + 5) places that a window of 4x4 has.
        down, across: float32 (n · n, 4), the weights of the taps' rows and columns.
    """

    first: np.ndarray
    down: np.ndarray
    across: np.ndarray


def cubic(offsets: np.ndarray) -> np.ndarray:
    """Return the weights of four neighbours, the second of which is `offsets` in [0, 1) before.

    Args:
        offsets: (...,).

    Returns:
        float64 (..., 4), which add up to 1.
    """
    a = _SHARPNESS
    distance = np.abs(np.asarray(offsets, np.float64)[..., None] - np.arange(-1, TAPS - 1))
    near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    far = a * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    return np.where(distance <= 1, near, far)


@lru_cache(maxsize=32)
def resampling(larger: int, side: int) -> np.ndarray:
    """Return the float32 (larger, side) matrix M of resizing one axis; of both it is M x M^T."""
    positions = np.linspace(0, side - 1, larger) if larger > 1 else np.zeros(1)
    first = np.floor(positions).astype(int)
    matrix = np.zeros((larger, side + 2 * BORDER), np.float32)
    taps = first[:, None] + np.arange(-1, TAPS - 1) + BORDER
    np.put_along_axis(matrix, taps, cubic(positions - first).astype(np.float32), axis=1)
    return matrix[:, BORDER:-BORDER]


@lru_cache(maxsize=32)
def turning(side: int, degrees: float) -> Turning:
    """Return how an image is turned.

    The pixel at (x, y), in -1..1 to the right and down, takes its value from (x cos + y sin,
    -x sin + y cos), as the published affine rows say.

    Args:
        side: n, of the square image, at least 2.
        degrees: The angle.
    """
    line = np.linspace(-1.0, 1.0, side)
    x, y = np.meshgrid(line, line)
    angle = np.deg2rad(degrees)
    sources = (np.sin(-angle) * x + np.cos(angle) * y, np.cos(angle) * x + np.sin(angle) * y)
    places, weights = [], []
    for source in sources:
        # Rounded: a quarter turn falls on pixels, which float64 misses by its last bits.
        position = np.round((source.ravel() + 1) / 2 * (side - 1), 9)
        first = np.floor(position)
        weights.append(cubic(position - first).astype(np.float32))
        places.append(np.clip(first - 1 + BORDER, 0, side + BORDER).astype(np.int32))
    return Turning(places[0] * (side + BORDER + 1) + places[1], *weights)


@lru_cache(maxsize=32)
def turning_matrix(side: int, degrees: float) -> np.ndarray:
    """Return `turning` as a float32 (n · n, n · n) matrix, for small maps."""
    plan, wide = turning(side, degrees), side + 2 * BORDER
    rows, columns = np.divmod(plan.first, side + BORDER + 1)
    matrix = np.zeros((side * side, wide, wide), np.float32)
    pixels = np.arange(side * side)
    for i in range(TAPS):
        for j in range(TAPS):
            matrix[pixels, rows + i, columns + j] = plan.down[:, i] * plan.across[:, j]
    inner = slice(BORDER, -BORDER)
    return np.ascontiguousarray(matrix[:, inner, inner].reshape(side * side, -1))
