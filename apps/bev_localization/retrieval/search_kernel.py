"""Exact distances of chosen descriptors to a query, compiled: no copy of their rows is made."""

from __future__ import annotations

import numpy as np
from numba import njit

_LARGEST_CODE, _LARGEST_QUERY, _LARGEST_SUM = 127, 2**14, 2**31 - 1  # integers of a product
_CHUNK = 512  # numbers that are summed in float32 before they go into a sum in float64


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _summed(row, query):
    total = np.float32(0.0)
    for i in range(len(row)):
        difference = row[i] - query[i]
        total += difference * difference
    return total


@njit(cache=True, nogil=True)
def _product(codes, query):
    total = np.int32(0)
    for i in range(len(codes)):
        # Every result is cut to 32 bits, or Numba computes in 64 and four times as slowly.
        product = np.int32(np.int32(codes[i]) * np.int32(query[i]))
        total = np.int32(total + product)
    return total


@njit(cache=True, nogil=True)
def sketched(rows, length):
    """Return the first numbers of rows in a byte each, and how far off that is.

    Args:
        rows: float32 (N, D).
        length: How many numbers.

    Returns:
        int8 (N, length); float32 (N,) each: what a code of 1 is worth, the squared length of what
        is coded so, and its distance to the numbers themselves.
    """
    codes = np.empty((len(rows), length), np.int8)
    steps, norms = np.empty(len(rows), np.float32), np.empty(len(rows), np.float32)
    errors = np.empty(len(rows), np.float32)
    for i in range(len(rows)):
        row = rows[i]
        largest = np.float32(0.0)
        for j in range(length):
            largest = max(largest, abs(row[j]))
        step = max(largest / np.float32(_LARGEST_CODE), np.float32(1e-30))
        norm, error = 0.0, 0.0
        for j in range(length):
            code = np.rint(row[j] / step)
            codes[i, j] = np.int8(code)
            norm += (code * step) ** 2
            error += (row[j] - code * step) ** 2
        steps[i], norms[i], errors[i] = step, norm, np.sqrt(error)
    return codes, steps, norms, errors


def rough_distances(codes, steps, norms, query):
    """Return the squared distances of what is sketched to what a query is rounded to.

    Args:
        codes, steps, norms: Of `sketched`.
        query: float32, as long as a row of codes.

    Returns:
        float32 (N,), and the distance of the query to what it is rounded to.
    """
    levels = min(_LARGEST_SUM // (_LARGEST_CODE * len(query)), _LARGEST_QUERY)
    step = max(float(np.abs(query).max()) / levels, 1e-30)
    rounded = np.rint(query / step)
    error = float(np.linalg.norm(query - rounded * step))
    return _rough(codes, steps, norms, rounded.astype(np.int16), step), error


@njit(cache=True, nogil=True)
def _rough(codes, steps, norms, query, step):
    own = 0.0
    for value in query:
        own += (value * step) ** 2
    found = np.empty(len(codes), np.float32)
    for i in range(len(codes)):
        found[i] = own + norms[i] - 2.0 * steps[i] * step * _product(codes[i], query)
    return found


@njit(cache=True, nogil=True)
def squared_distances(rows, query, chosen, begin=0):
    """Return the squared distances of rows of a matrix to a query, float64 (C,).

    Args:
        rows: float32 (N, D).
        query: float32 (D,).
        chosen: int64 (C,), which rows. Equal rows have equal distances.
        begin: The first number that counts.
    """
    found = np.empty(len(chosen))
    for i in range(len(chosen)):
        row = rows[chosen[i]]
        total = 0.0
        for start in range(begin, len(query), _CHUNK):
            total += _summed(row[start : start + _CHUNK], query[start : start + _CHUNK])
        found[i] = total
    return found
