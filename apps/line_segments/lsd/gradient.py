"""What LSD looks at: the image at its scale, gradient magnitudes and level-line directions.

R. Grompone von Gioi, J. Jakubowicz, J.-M. Morel, G. Randall, "LSD: a Line Segment Detector",
IPOL 2 (2012), DOI 10.5201/ipol.2012.gjmr-lsd, sections 2.1 to 2.3. All in float64.

A level line runs along an edge, with the brighter side on its left hand as the picture is shown: a
gradient towards the right gives one that runs downwards. A direction is kept as a unit vector;
(0, 0) stands where there is none, and is aligned with nothing.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_DIGITS = 3  # the Gaussian is cut where it is a thousandth of its peak


def scaled(image: np.ndarray, scale: float, sigma_scale: float) -> np.ndarray:
    """Return the image blurred and sampled anew; at scale 1 as it is.

    Args:
        image: (H, W), uint8 or float64.
        scale: Side of the result by that of the image, above 0.
        sigma_scale: Deviation of the Gaussian in pixels of the result (in those of the image where
            the scale is above 1).

    Returns:
        float64 (ceil(H · scale), ceil(W · scale)).
    """
    if scale == 1.0:
        return image.astype(np.float64, copy=False)
    height, width = image.shape
    sigma = sigma_scale / scale if scale < 1 else sigma_scale
    rows, columns = _taps(height, scale, sigma), _taps(width, scale, sigma)
    return _sampled_down(_sampled_across(image, *columns), *rows)


def level_lines(image: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradient's magnitudes and the directions of the level lines.

    The gradient of a pixel is that of it and its right, lower and lower right neighbours; the last
    row and column have none.

    Args:
        image: float64 (H, W).
        threshold: Directions of magnitudes up to this are left undefined.

    Returns:
        float64 magnitudes (H, W), zero in the last row and column, and float64 unit vectors
        (H, W, 2) of x and y, (0, 0) where undefined.
    """
    magnitude, direction = np.zeros(image.shape), np.zeros((*image.shape, 2))
    _differences(image, threshold, magnitude, direction)
    return magnitude, direction


def unit_vectors(angle: np.ndarray) -> np.ndarray:
    """Return (cos, sin) of angles (H, W) in radians as (H, W, 2); (0, 0) for those not finite."""
    known = np.isfinite(angle)
    angle = np.where(known, angle, 0.0)
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1) * known[..., None]


def angles(direction: np.ndarray) -> np.ndarray:
    """Return the angles (H, W) of unit vectors (H, W, 2) in radians, NaN where undefined."""
    angle = np.arctan2(direction[..., 1], direction[..., 0])
    return np.where(direction.any(axis=-1), angle, np.nan)


def strongest_first(magnitude: np.ndarray, direction: np.ndarray, bins: int) -> np.ndarray:
    """Return the pixels that have a direction, roughly by falling magnitude.

    Args:
        magnitude: float64 (H, W).
        direction: float64 (H, W, 2).
        bins: Equal steps of the magnitude. Within one, pixels come column by column.

    Returns:
        int32 (N,) of y · W + x.
    """
    return _sorted_into_bins(magnitude, direction, bins)


def _taps(length: int, scale: float, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of an axis, float64 (new length, taps), and their positions."""
    half = math.ceil(sigma * math.sqrt(2.0 * _DIGITS * math.log(10.0)))
    place = np.arange(math.ceil(length * scale)) / scale
    nearest = np.floor(place + 0.5)
    tap = np.arange(2 * half + 1)
    centre = half + place - nearest
    weights = np.exp(-0.5 * ((tap - centre[:, None]) / sigma) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    position = (nearest[:, None].astype(np.int64) - half + tap) % (2 * length)
    return weights, np.minimum(position, 2 * length - 1 - position)


@njit(cache=True, nogil=True)
def _sampled_across(image, weights, positions):
    """Sample the columns anew: (H, W) → (H, new W)."""
    height, (width, taps) = image.shape[0], weights.shape
    result = np.empty((height, width))
    for y in range(height):
        for x in range(width):
            total = 0.0
            for tap in range(taps):
                total += image[y, positions[x, tap]] * weights[x, tap]
            result[y, x] = total
    return result


@njit(cache=True, nogil=True)
def _sampled_down(image, weights, positions):
    """Sample the rows anew: (H, W) → (new H, W)."""
    (height, taps), width = weights.shape, image.shape[1]
    result = np.zeros((height, width))
    for y in range(height):
        for tap in range(taps):
            row, weight = positions[y, tap], weights[y, tap]
            for x in range(width):
                result[y, x] += image[row, x] * weight
    return result


@njit(cache=True, nogil=True)
def _differences(image, threshold, magnitude, direction):
    """Fill magnitudes and directions of all but the last row and column."""
    height, width = image.shape
    for y in range(height - 1):
        for x in range(width - 1):
            falling = image[y + 1, x + 1] - image[y, x]
            rising = image[y, x + 1] - image[y + 1, x]
            across, down = falling + rising, falling - rising
            squared = across * across + down * down
            norm = math.sqrt(squared / 4.0)
            magnitude[y, x] = norm
            if norm > threshold:
                length = math.sqrt(squared)
                direction[y, x, 0] = -down / length
                direction[y, x, 1] = across / length


@njit(cache=True, nogil=True)
def _sorted_into_bins(magnitude, direction, bins):
    """Sort by counting: bins from high to low, pixels column by column."""
    height, width = magnitude.shape
    largest = 0.0
    for y in range(height):
        for x in range(width):
            largest = max(largest, magnitude[y, x])
    place = np.zeros(bins + 1, np.int64)  # of a bin: how many pixels lie in higher ones
    for y in range(height):
        for x in range(width):
            if direction[y, x, 0] != 0.0 or direction[y, x, 1] != 0.0:
                place[bins - _bin(magnitude[y, x], largest, bins)] += 1
    for i in range(bins):
        place[i + 1] += place[i]
    order = np.empty(place[bins], np.int32)
    for x in range(width):
        for y in range(height):
            if direction[y, x, 0] != 0.0 or direction[y, x, 1] != 0.0:
                higher = bins - _bin(magnitude[y, x], largest, bins) - 1
                order[place[higher]] = y * width + x
                place[higher] += 1
    return order


@njit(cache=True, nogil=True)
def _bin(value, largest, bins):
    return min(int(value * bins / largest), bins - 1)
