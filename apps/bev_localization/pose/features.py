"""Local features of keypoints, read from the network's small map instead of a dense one.

The published network enlarges its map E (26x26 for an image of 201x201) to the image's size and
normalises each pixel; at 128 channels that is 21 MB a scan. The same values at a few hundred
keypoints take a few hundred times 16 taps.
"""

from __future__ import annotations

import numpy as np

_A = -0.75  # of the cubic convolution kernel, as PyTorch's bicubic grid sampling has it
_TAPS = 4
_SMALLEST = 1e-12  # norm below which a feature is not made longer


def features_at(small_map: np.ndarray, pixels: np.ndarray, side: int) -> np.ndarray:
    """Return the features of pixels, of unit length.

    Args:
        small_map: float32 (h, w, C), the map of an image of `side` x `side`.
        pixels: (N, 2), column and row in the image.
        side: Of the image.

    Returns:
        float32 (N, C): what the dense map, channels normalised, holds at those pixels.
    """
    found = interpolated(small_map, pixels, (side, side))
    norms = np.linalg.norm(found, axis=1, keepdims=True)
    return found / np.maximum(norms, np.float32(_SMALLEST))


def interpolated(small_map: np.ndarray, pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a map's bicubic values where the pixels of a larger (or smaller) image fall on it.

    Corners fall on corners (align_corners), and taps outside the map count as 0.

    Args:
        small_map: (h, w, C), float32.
        pixels: (N, 2), column and row in an image of `size`.
        size: Height and width of that image.

    Returns:
        float32 (N, C).
    """
    height, width, channels = small_map.shape
    pixels = np.asarray(pixels)
    left, across = _taps(pixels[:, 0], size[1], width)
    top, down = _taps(pixels[:, 1], size[0], height)
    # A border of zeros wide enough for every tap outside.
    padded = np.zeros((height + _TAPS, width + _TAPS, channels), np.float32)
    padded[1 : height + 1, 1 : width + 1] = small_map
    found = np.zeros((len(pixels), channels), np.float32)
    for i in range(_TAPS):
        row = np.zeros_like(found)
        for j in range(_TAPS):
            row += across[:, j, None] * padded[top + i + 1, left + j + 1]
        found += down[:, i, None] * row
    return found


def _taps(places: np.ndarray, larger: int, smaller: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first of four taps, -1 for the one before the map, and their weights (N, 4)."""
    scale = (smaller - 1) / (larger - 1) if larger > 1 else 0.0
    position = np.asarray(places, np.float64) * scale
    base = np.floor(position)
    t = position - base
    near, far = np.stack([t, 1 - t], axis=1), np.stack([1 + t, 2 - t], axis=1)
    near = ((_A + 2) * near - (_A + 3)) * near**2 + 1
    far = ((_A * far - 5 * _A) * far + 8 * _A) * far - 4 * _A
    weights = np.stack([far[:, 0], near[:, 0], near[:, 1], far[:, 1]], axis=1)
    return base.astype(np.int64) - 1, weights.astype(np.float32)
