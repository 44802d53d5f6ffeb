"""The inner loops of density images, compiled: voxel means by a hash table, counts by pixel.

The means are those of Open3D's `voxel_down_sample` to the last bit: float64 sums in the order of
the points.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_FIBONACCI = np.uint64(11400714819323198485)  # 2^64 over the golden ratio: spreads the keys
_FARTHEST = 1 << 20  # cells from the origin to any side that a key of 3 x 21 bits tells


@njit(cache=True, nogil=True)
def voxel_means(points, scale, crop, voxel, aligned_to_cloud):
    """Return the means of the points in each voxel, in the order in which voxels are met.

    Args:
        points: float64 (N, 3); what is not finite is left out.
        scale: Multiplies the points first.
        crop: Points with a coordinate of at least this are left out; infinity keeps all.
        voxel: Side of a voxel.
        aligned_to_cloud: Whether voxels begin half a voxel below the smallest coordinates; else
            they lie at multiples of their side.

    Returns:
        float64 (V, 3).
    """
    low = np.full(3, np.inf)
    count = 0
    for i in range(len(points)):
        x, y, z = points[i, 0] * scale, points[i, 1] * scale, points[i, 2] * scale
        if abs(x) < crop and abs(y) < crop and abs(z) < crop:  # false for NaN
            low[0], low[1], low[2] = min(low[0], x), min(low[1], y), min(low[2], z)
            count += 1
    origin = low - voxel * 0.5 if aligned_to_cloud else np.zeros(3)
    shift = np.int64(0 if aligned_to_cloud else _FARTHEST)
    most = np.int64(2 * _FARTHEST)

    bits = 4
    while (1 << bits) < 2 * count:
        bits += 1
    slots = np.full(1 << bits, -1, np.int32)
    mask = np.int64((1 << bits) - 1)
    keys = np.empty(count, np.int64)
    sums = np.empty((count, 3))
    sizes = np.empty(count, np.int32)
    voxels = 0
    for i in range(len(points)):
        x, y, z = points[i, 0] * scale, points[i, 1] * scale, points[i, 2] * scale
        if not (abs(x) < crop and abs(y) < crop and abs(z) < crop):
            continue
        a = np.int64(np.floor((x - origin[0]) / voxel)) + shift
        b = np.int64(np.floor((y - origin[1]) / voxel)) + shift
        c = np.int64(np.floor((z - origin[2]) / voxel)) + shift
        if min(a, b, c) < 0 or max(a, b, c) >= most:
            continue
        key = (a << 42) | (b << 21) | c
        place = np.int64((np.uint64(key) * _FIBONACCI) >> np.uint64(64 - bits))
        found = slots[place]
        while found >= 0 and keys[found] != key:
            place = (place + 1) & mask
            found = slots[place]
        if found < 0:
            found = voxels
            slots[place], keys[found], sizes[found] = found, key, 0
            sums[found, 0], sums[found, 1], sums[found, 2] = 0.0, 0.0, 0.0
            voxels += 1
        sums[found, 0] += x
        sums[found, 1] += y
        sums[found, 2] += z
        sizes[found] += 1
    means = sums[:voxels]
    for i in range(voxels):
        for axis in range(3):
            means[i, axis] /= sizes[i]
    return means


@njit(cache=True, nogil=True)
def counts(means, side, centre, resolution, cap, rounded):
    """Return how many means fall on each pixel, uint8 (side, side), up to `cap`.

    Args:
        means: float64 (V, 3).
        side: Of the image, in pixels.
        centre: Row and column of the coordinate 0.
        resolution: Side of a pixel.
        cap: The most that is counted.
        rounded: Whether quotients are rounded to float32, as PCL's means are.
    """
    image = np.zeros((side, side), np.uint8)
    for i in range(len(means)):
        forward, left = means[i, 0] / resolution, means[i, 1] / resolution
        if rounded:
            forward, left = np.float64(np.float32(forward)), np.float64(np.float32(left))
        row, column = centre - np.floor(forward), centre - np.floor(left)
        if 0 <= row < side and 0 <= column < side:
            r, c = np.int64(row), np.int64(column)
            if image[r, c] < cap:
                image[r, c] += 1
    return image
