"""Exact distances of chosen descriptors to a query, compiled: no copy of their rows is made."""

from __future__ import annotations

import numpy as np
from numba import njit

_CHUNK = 512  # numbers that are summed in float32 before they go into a sum in float64


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _summed(row, query):
    total = np.float32(0.0)
    for i in range(len(row)):
        difference = row[i] - query[i]
        total += difference * difference
    return total


@njit(cache=True, nogil=True)
def squared_distances(rows, query, chosen):
    """Return the squared distances of rows of a matrix to a query, float64 (C,).

    Args:
        rows: float32 (N, D).
        query: float32 (D,).
        chosen: int64 (C,), which rows. Equal rows have equal distances.
    """
    found = np.empty(len(chosen))
    for i in range(len(chosen)):
        row = rows[chosen[i]]
        total = 0.0
        for start in range(0, len(query), _CHUNK):
            total += _summed(row[start : start + _CHUNK], query[start : start + _CHUNK])
        found[i] = total
    return found
