"""Segments as pixels, in the two ways that published heat-map metrics draw them.

Neither draws a pixel of a segment outside the image, but MATLAB's moves those to its border.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

RASTERISERS = ("hawp", "lcnn")


def rasteriser(name: str, *, truth: bool) -> Callable[[np.ndarray, tuple[int, int]], list]:
    """Return the function that gives each segment's pixels.

    Args:
        name: One of `RASTERISERS`.
        truth: Whether it draws true segments; L-CNN rounds these otherwise than predictions.
    """
    if name not in RASTERISERS:
        raise ValueError(f"`name` must be one of {RASTERISERS}. Received: name={name!r}")
    if name == "hawp":
        return hawp_pixels
    return lcnn_truth_pixels if truth else lcnn_found_pixels


def hawp_pixels(segments: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
    """Return the pixels of each segment as HAWP draws it.

    So many samples as the length, rounded up, from end to end in float32; each rounded, halves
    away from zero. A segment no longer than a pixel has none, as in the published code, whose step
    is then 0 / 0.

    Args:
        segments: float (N, 4), x1, y1, x2, y2.
        size: (height, width); what lies outside is left out.

    Returns:
        int64 arrays of positions row * width + column, one a segment, with repeats.
    """
    height, width = size
    found = []
    for x1, y1, x2, y2 in np.asarray(segments, np.float32).reshape(-1, 4):
        count = int(np.ceil(np.sqrt((x2 - x1) ** 2 + (y2 - y1) ** 2)))
        if count < 2:
            found.append(np.zeros(0, np.int64))
            continue
        steps = np.arange(count, dtype=np.float32)
        x = _rounded(x1 + (x2 - x1) / np.float32(count - 1) * steps)
        y = _rounded(y1 + (y2 - y1) / np.float32(count - 1) * steps)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        found.append((y * width + x)[inside])
    return found


def lcnn_truth_pixels(segments: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
    """Return the pixels of true segments as L-CNN's MATLAB program draws them.

    MATLAB counts pixels from 1, so this is a view moved by half a pixel; what is not positive goes
    to the first row or column. What lies beyond the last is left out.
    """
    return _matlab(segments, size, truth=True)


def lcnn_found_pixels(segments: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
    """Return the pixels of predicted segments as L-CNN's MATLAB program draws them."""
    return _matlab(segments, size, truth=False)


def _matlab(segments: np.ndarray, size: tuple[int, int], *, truth: bool) -> list[np.ndarray]:
    height, width = size
    found = []
    for x1, y1, x2, y2 in np.asarray(segments, np.float64).reshape(-1, 4):
        count = int(np.ceil(np.hypot(x2 - x1, y2 - y1)))
        if count == 1:  # MATLAB's linspace then gives the last point
            x1, y1 = x2, y2
        x, y = np.linspace(x1, x2, count), np.linspace(y1, y2, count)
        if truth:
            x, y = np.maximum(_rounded(x), 1) - 1, np.maximum(_rounded(y), 1) - 1
            inside = (x < width) & (y < height)
            x, y = x[inside], y[inside]
        else:
            x = np.clip(_rounded(x - 0.5), 1, width) - 1
            y = np.clip(_rounded(y - 0.5), 1, height) - 1
        found.append(y * width + x)
    return found


def _rounded(values: np.ndarray) -> np.ndarray:
    """Return numbers rounded to whole ones, halves away from zero."""
    whole = np.trunc(values)
    return (whole + (np.abs(values - whole) >= 0.5) * np.sign(values)).astype(np.int64)
