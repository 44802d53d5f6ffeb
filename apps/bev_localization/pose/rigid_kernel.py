"""The inner loop of RANSAC, compiled: how many matches agree with each of many transforms."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def counts(transforms, source, target, limit):
    """Return how many points each transform brings near enough to theirs, int64 (K,).

    Args:
        transforms: float64 (K, 2, 3).
        source, target: float64 (2, N), x before y.
        limit: Squared distance that an inlier stays below.
    """
    found = np.zeros(len(transforms), np.int64)
    x, y, u, v = source[0], source[1], target[0], target[1]
    for k in range(len(transforms)):
        a, b, dx = transforms[k, 0, 0], transforms[k, 0, 1], transforms[k, 0, 2]
        c, d, dy = transforms[k, 1, 0], transforms[k, 1, 1], transforms[k, 1, 2]
        count = 0
        for i in range(len(x)):
            right = a * x[i] + b * y[i] + dx - u[i]
            up = c * x[i] + d * y[i] + dy - v[i]
            count += right * right + up * up < limit
        found[k] = count
    return found


@njit(cache=True, nogil=True)
def agreeing(transform, source, target, limit):
    """Return which points one transform (2, 3) brings near enough to theirs, bool (N,)."""
    found = np.zeros(source.shape[1], np.bool_)
    for i in range(source.shape[1]):
        x, y = source[0, i], source[1, i]
        right = transform[0, 0] * x + transform[0, 1] * y + transform[0, 2] - target[0, i]
        up = transform[1, 0] * x + transform[1, 1] * y + transform[1, 2] - target[1, i]
        found[i] = right * right + up * up < limit
    return found
