"""The inner loops of density images, compiled: voxel means by a hash table, counts by pixel.

The means are those of Open3D's `voxel_down_sample` to the last bit: float64 sums in the order of
the points.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_FIBONACCI = np.uint64(11400714819323198485)  # 2^64 over the golden ratio: spreads the keys
_FARTHEST = 1 << 20  # cells from the origin to any side that a key of 3 x 21 bits tells
_BLOCK = 2048  # points whose keys are computed together, which is quicker
_ROOM = 14  # bits of the number of voxels there is room for at first


@njit(cache=True, nogil=True)
def voxel_means(points, scale, crop, voxel, aligned_to_cloud):
    """Return the means of the points in each voxel, in the order in which voxels are met.

    Args:
        points: float32 or float64 (N, 3 or more) in one piece; what is not finite is left out.
        scale: Multiplies the points first.
        crop: Points with a coordinate of at least this are left out; infinity keeps all.
        voxel: Side of a voxel.
        aligned_to_cloud: Whether voxels begin half a voxel below the smallest coordinates; else
            they lie at multiples of their side.

    Returns:
        float64 (V, 3).
    """
    origin = np.zeros(3)
    if aligned_to_cloud:
        origin = _smallest(points, scale, crop) - voxel * 0.5

    # Room is made as voxels are met, since fresh memory costs more time than the sums do.
    bits, voxels = _ROOM, 0
    members, sums = np.empty(1 << bits, np.int64), np.empty((1 << bits, 4))
    slots = _table(members[:0], bits + 1)
    keys = np.empty(_BLOCK, np.int64)
    for begin in range(0, len(points), _BLOCK):
        block = points[begin : begin + _BLOCK]
        if voxels + len(block) > len(members):
            bits += 1
            members, sums = _larger(members, 1 << bits), _larger(sums, 1 << bits)
            slots = _table(members[:voxels], bits + 1)
        _find_keys(block, scale, crop, voxel, origin, aligned_to_cloud, keys)
        voxels = _add(block, scale, keys, slots, bits + 1, members, sums, voxels)
    for i in range(voxels):
        for axis in range(3):
            sums[i, axis] /= sums[i, 3]
    return sums[:voxels, :3]


@njit(nogil=True)
def _smallest(points, scale, crop):
    low = np.full(3, np.inf)
    for i in range(len(points)):
        x, y, z = points[i, 0] * scale, points[i, 1] * scale, points[i, 2] * scale
        if abs(x) < crop and abs(y) < crop and abs(z) < crop:  # false for NaN
            low[0], low[1], low[2] = min(low[0], x), min(low[1], y), min(low[2], z)
    return low


@njit(nogil=True)
def _larger(array, length):
    """Return a copy with room for more."""
    larger = np.empty((length, *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger


@njit(nogil=True)
def _table(members, bits):
    """Return the hash table of so many bits that tells the place of each key; -1 is free."""
    slots = np.full(1 << bits, -1, np.int32)
    for i in range(len(members)):
        place = np.int64((np.uint64(members[i]) * _FIBONACCI) >> np.uint64(64 - bits))
        while slots[place] >= 0:
            place = (place + 1) & (len(slots) - 1)
        slots[place] = i
    return slots


@njit(nogil=True)
def _find_keys(points, scale, crop, voxel, origin, aligned_to_cloud, keys):
    """Write the key of each point's voxel; -1 for points that are left out."""
    shift = np.int64(0 if aligned_to_cloud else _FARTHEST)
    for i in range(len(points)):
        x, y, z = points[i, 0] * scale, points[i, 1] * scale, points[i, 2] * scale
        a = np.int64(np.floor((x - origin[0]) / voxel)) + shift
        b = np.int64(np.floor((y - origin[1]) / voxel)) + shift
        c = np.int64(np.floor((z - origin[2]) / voxel)) + shift
        inside = (abs(x) < crop) & (abs(y) < crop) & (abs(z) < crop)  # false for NaN
        inside &= (a | b | c) >> 21 == 0  # neither below zero nor above what a key tells
        key = (a << 42) | (b << 21) | c
        keys[i] = key if inside else -1


@njit(nogil=True)
def _add(points, scale, keys, slots, bits, members, sums, voxels):
    """Add points to the sums of their voxels, x, y, z and how many; return how many voxels."""
    mask, unused = np.int64(len(slots) - 1), np.uint64(64 - bits)
    last, found = np.int64(-1), np.int64(0)
    for i in range(len(points)):
        key = keys[i]
        if key < 0:
            continue
        if key != last:  # neighbours on a beam often share a voxel
            last = key
            place = np.int64((np.uint64(key) * _FIBONACCI) >> unused)
            found = np.int64(slots[place])
            while found >= 0 and members[found] != key:
                place = (place + 1) & mask
                found = np.int64(slots[place])
            if found < 0:
                found = voxels
                slots[place], members[found] = found, key
                sums[found, 0], sums[found, 1], sums[found, 2] = 0.0, 0.0, 0.0
                sums[found, 3] = 0.0
                voxels += 1
        sums[found, 0] += points[i, 0] * scale
        sums[found, 1] += points[i, 1] * scale
        sums[found, 2] += points[i, 2] * scale
        sums[found, 3] += 1.0
    return voxels


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
