"""The compiled part of a resampling along rotated and scaled axes; importing it imports numba.

The place in the source of the output's voxel (i, j, k) is matrix · (i, j, k) + shift. What lies
outside the source, or in a flat source (an image of depth 1) not in its plane, is `outside`.
"""

from __future__ import annotations

import math

import numba
import numpy as np

_SLACK = 1e-4  # voxels: a turn by 90 degrees ends on the outermost ones but for rounding


@numba.njit(cache=True, nogil=True)
def cubic(coefficients, matrix, shift, outside, found):
    """Fill `found` with values between voxels, by cubic B-splines.

    Args:
        coefficients: float32 (C, D + 4, H + 4, W + 4), or (C, 1, H + 4, W + 4) of an image: of
            `scipy.ndimage.spline_filter`, mode "mirror", with two mirrored ones beyond each end.
        matrix: float64 (3, 3).
        shift: float64 (3,).
        outside: float32 (C,).
        found: float32 (C, d, h, w).
    """
    weights = np.zeros((3, 4), np.float32)
    first = np.zeros(3, np.int64)
    flat = coefficients.shape[1] == 1
    sides = np.array(coefficients.shape[1:]) - 4
    sides[0] = 1 if flat else sides[0]
    for i in range(found.shape[1]):
        for j in range(found.shape[2]):
            for k in range(found.shape[3]):
                inside = True
                for axis in range(3):
                    at = matrix[axis, 0] * i + matrix[axis, 1] * j + matrix[axis, 2] * k
                    at += shift[axis]
                    if at < -_SLACK or at > sides[axis] - 1 + _SLACK:
                        inside = False
                        break
                    first[axis] = math.floor(at)
                    t = np.float32(at - first[axis])
                    rest = 1 - t
                    weights[axis, 0] = rest * rest * rest / 6
                    weights[axis, 1] = (4 - 3 * t * t * (2 - t)) / 6
                    weights[axis, 2] = (4 - 3 * rest * rest * (2 - rest)) / 6
                    weights[axis, 3] = t * t * t / 6
                for channel in range(len(found)):
                    if not inside:
                        found[channel, i, j, k] = outside[channel]
                        continue
                    total = np.float32(0)
                    for a in range(1 if flat else 4):
                        depth = 0 if flat else first[0] + a + 1
                        plane = np.float32(0)
                        for b in range(4):
                            row = coefficients[channel, depth, first[1] + b + 1]
                            along = np.float32(0)
                            for c in range(4):
                                along += weights[2, c] * row[first[2] + c + 1]
                            plane += weights[1, b] * along
                        total += plane if flat else weights[0, a] * plane
                    found[channel, i, j, k] = total


@numba.njit(cache=True, nogil=True)
def majority(labels, matrix, shift, found):
    """Fill `found` with the class that has half the linear weights of the voxels around, or 0.

    What lies outside counts as no class. Of two classes with a half each the higher is taken.

    Args:
        labels: uint8 (D, H, W).
        matrix: float64 (3, 3).
        shift: float64 (3,).
        found: uint8 (d, h, w).
    """
    sides = labels.shape
    low = np.zeros(3, np.int64)
    high = np.zeros(3, np.int64)
    share = np.zeros(3)
    seen = np.zeros(8, np.uint8)
    for i in range(found.shape[0]):
        for j in range(found.shape[1]):
            for k in range(found.shape[2]):
                inside = True
                for axis in range(3):
                    at = matrix[axis, 0] * i + matrix[axis, 1] * j + matrix[axis, 2] * k
                    at += shift[axis]
                    if at < -_SLACK or at > sides[axis] - 1 + _SLACK:
                        inside = False
                        break
                    first = math.floor(at)
                    low[axis] = max(first, 0)
                    high[axis] = min(first + 1, sides[axis] - 1)
                    share[axis] = at - first
                found[i, j, k] = 0
                if not inside:
                    continue
                differ = False
                for corner in range(8):
                    z = high[0] if corner & 4 else low[0]
                    y = high[1] if corner & 2 else low[1]
                    x = high[2] if corner & 1 else low[2]
                    seen[corner] = labels[z, y, x]
                    differ = differ or seen[corner] != seen[0]
                if not differ:
                    found[i, j, k] = seen[0]
                    continue
                for one in range(8):
                    if seen[one] <= found[i, j, k]:
                        continue
                    weight = 0.0
                    for corner in range(8):
                        if seen[corner] == seen[one]:
                            z = share[0] if corner & 4 else 1 - share[0]
                            y = share[1] if corner & 2 else 1 - share[1]
                            x = share[2] if corner & 1 else 1 - share[2]
                            weight += z * y * x
                    if weight >= 0.5:
                        found[i, j, k] = seen[one]
