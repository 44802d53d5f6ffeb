"""Segments of regions: the axis of a region's pixels, cut where parallel lines grew together.

Lev Teplyakov et al., "LSDNet", IEEE Access 10 (2022). The sums are those of the maps' type, in the
order of the pixels; the cuts are made in float64. Compiled.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

BANDWIDTH = 1.0  # of the Gaussians that are summed up to a density across the axis
CELLS = 15  # that the density is computed from, and steps it is looked at in
_NARROW = 1e-6  # a region that is no wider than this is not cut
_CELL_MARGIN = 1e-12  # so that the last point lies in the last cell


@njit(cache=True, nogil=True, error_model="numpy")
def fit(members, starts, rows, columns, heats, two, collapsed, cut):
    """Return the segments of regions, in their order, those of a region by their place across it.

    Args:
        members, starts: int32, as `growing.grow` returns them.
        rows, columns, heats: (N,) of the pixels, float32 or float64; heats are their weights.
        two: 2 of that type, which decides the type of the arithmetic.
        collapsed: Whether a region of one row or column becomes a point, as published.
        cut: Whether parallel lines in a region are told apart.

    Returns:
        (M, 6) of that type: column and row of both ends, mean heat, number of pixels. A pixel's
        centre has its index for a coordinate; ends are not below 0.
    """
    zero = two - two
    found = np.empty((len(starts) - 1, 6), heats.dtype)
    count = 0
    for region in range(len(starts) - 1):
        own = members[starts[region] : starts[region + 1]]
        row, column, cosine, sine = _axis(rows[own], columns[own], heats[own], two, collapsed)
        down, right = rows[own] - row, columns[own] - column
        along, across = cosine * down + sine * right, cosine * right - sine * down
        order, ends = np.arange(len(own)), np.array([len(own)])
        if cut:
            order = np.argsort(across, kind="mergesort")  # stable
            ends = _groups(across[order])
        if count + len(ends) > len(found):
            found = np.concatenate((found, np.empty((len(found) + len(ends), 6), heats.dtype)))
        start = 0
        for end in ends:
            total, beside = zero, zero
            low = high = along[order[start]]
            for i in order[start:end]:
                heat = heats[own[i]]
                total += heat
                beside += heat * across[i]
                low, high = min(low, along[i]), max(high, along[i])
            beside /= total
            for k, at in enumerate((low, high)):
                found[count, 2 * k] = max(sine * at + cosine * beside + column, zero)
                found[count, 2 * k + 1] = max(cosine * at - sine * beside + row, zero)
            found[count, 4] = total / (end - start)
            found[count, 5] = end - start
            count += 1
            start = end
    return found[:count].copy()


@njit(nogil=True, error_model="numpy")
def _axis(rows, columns, weights, two, collapsed):
    """Return a region's centre, and cosine and sine of its angle from the rows' axis."""
    total = row = column = two - two
    one_row = one_column = True
    for i in range(len(rows)):
        total += weights[i]
        row += rows[i] * weights[i]
        column += columns[i] * weights[i]
        one_row = one_row and rows[i] == rows[0]
        one_column = one_column and columns[i] == columns[0]
    row, column = row / total, column / total
    zero, one = two - two, two / two
    if one_row or one_column:
        upright = one_row if collapsed else one_column
        return row, column, one if upright else zero, zero if upright else one
    uu = vv = uv = zero
    for i in range(len(rows)):
        u, v = rows[i] - row, columns[i] - column
        uu += u * u * weights[i]
        vv += v * v * weights[i]
        uv += u * v * weights[i]
    uu, vv, uv = uu / total, vv / total, uv / total
    mixed, difference = two * uv, uu - vv
    largest = (vv + uu + math.sqrt(mixed * mixed + difference * difference)) / two
    # An arc cosine near 1 needs more digits than float32 has; its result does not.
    side, other = np.float64(largest - uu), np.float64(uv)
    length = math.sqrt(side * side + other * other)
    if length == 0:
        return row, column, one, zero
    turn = weights.dtype.type(math.acos((side if uv >= 0 else -side) / length))
    angle = weights.dtype.type(math.pi / 2 - turn)
    return row, column, math.cos(angle), math.sin(angle)


@njit(nogil=True, error_model="numpy")
def _groups(across):
    """Return where groups end in values in ascending order: cut where few lie."""
    count = len(across)
    low, high = np.float64(across[0]), np.float64(across[-1])
    spread = high - low
    if spread <= _NARROW:
        return np.array([count])
    step, width = spread / CELLS, spread / CELLS + _CELL_MARGIN
    cells = np.zeros(CELLS + 1)
    cell, edge = 0, low + width
    for value in across:  # an edge is passed once for a value, however far that is
        if value > edge:
            cell += 1
            edge += width
        cells[cell] += 1
    places, density = np.empty(CELLS + 2), np.empty(CELLS + 2)
    seen, at, total = 0, low, 0.0
    while at <= high:
        value = 0.0
        for i in range(CELLS + 1):
            if cells[i] == 0:
                continue
            off = (at - (low + (i + 0.5) * width)) / BANDWIDTH
            value += cells[i] * math.exp(-0.5 * off * off) / math.sqrt(2.0 * math.pi)
        places[seen], density[seen] = at, value / count
        total += density[seen]
        seen += 1
        at += step
    for i in range(seen):
        density[i] /= total
    ends = np.empty(seen + 1, np.int64)
    groups, start = 0, 0
    for i in range(1, seen - 1):
        if density[i] <= density[i - 1] and density[i] <= density[i + 1]:
            cut = places[i] + step / 2
            while start < count and across[start] <= cut:
                start += 1
            if start == count:
                break
            ends[groups] = start
            groups += 1
            start += 1
    ends[groups] = count
    return ends[: groups + 1]
