"""The compiled part of the training targets; importing it imports numba."""

from __future__ import annotations

import math

import numba
import numpy as np


@numba.njit(cache=True)
def nearest_segments(segments, height, width, band):
    """Return the nearest segment of each pixel whose centre lies within `band` of one, else -1.

    Args:
        segments: float64 (N, 4), x1, y1, x2, y2.
        height, width: Of the map.
        band: In pixels, itself included.

    Returns:
        int32 (height, width); of equally near segments the first.
    """
    nearest = np.full((height, width), -1, np.int32)
    least = np.full((height, width), band * band, np.float64)
    for number in range(len(segments)):
        x1, y1, x2, y2 = segments[number]
        dx, dy = x2 - x1, y2 - y1
        squared = dx * dx + dy * dy
        top = max(0, math.floor(min(y1, y2) - band))
        bottom = min(height - 1, math.ceil(max(y1, y2) + band))
        left = max(0, math.floor(min(x1, x2) - band))
        right = min(width - 1, math.ceil(max(x1, x2) + band))
        reach = band * math.sqrt(squared)
        for row in range(top, bottom + 1):
            y = row + 0.5
            first, last = left, right
            if abs(dy) > 1e-9:  # only where the row crosses the band around the whole line
                middle, aside = x1 + (y - y1) * dx / dy, reach / abs(dy)
                first = max(left, math.floor(max(middle - aside, -1e6)) - 1)
                last = min(right, math.ceil(min(middle + aside, 1e6)))
            for column in range(first, last + 1):
                x = column + 0.5
                along = 0.0
                if squared > 0:
                    along = min(1.0, max(0.0, ((x - x1) * dx + (y - y1) * dy) / squared))
                ex, ey = x - x1 - along * dx, y - y1 - along * dy
                distance = ex * ex + ey * ey
                closer = distance < least[row, column]
                if closer or (nearest[row, column] < 0 and distance == least[row, column]):
                    least[row, column] = distance
                    nearest[row, column] = number
    return nearest
