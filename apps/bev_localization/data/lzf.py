"""LZF, as PCD files of the kind binary_compressed are packed: literals and references back.

M. Lehmann's format: a byte below 32 is followed by that many literals and one more; any other
begins a reference, its upper three bits the length (7: a byte more follows) and its lower five,
with the next byte, how far back it lies.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_LITERALS = 32
_LONG = 7


def unpacked(packed: np.ndarray, size: int) -> np.ndarray:
    """Return the uint8 (size,) that uint8 (N,) unpacks to.

    Raises:
        ValueError: When it does not.
    """
    found = np.empty(size, np.uint8)
    if _unpack(packed, found) != size:
        raise ValueError("its packed data are damaged")
    return found


@njit(cache=True, nogil=True)
def _unpack(packed, found):
    """Fill `found` and return how much of it; less, or -1, where the data are damaged."""
    place, filled = 0, 0
    while place < len(packed):
        control = np.int64(packed[place])
        place += 1
        if control < _LITERALS:
            count = control + 1
            if place + count > len(packed) or filled + count > len(found):
                return -1
            for _ in range(count):
                found[filled] = packed[place]
                filled += 1
                place += 1
            continue
        count = control >> 5
        if count == _LONG:
            if place >= len(packed):
                return -1
            count += np.int64(packed[place])
            place += 1
        if place >= len(packed):
            return -1
        source = filled - ((control & 31) << 8) - np.int64(packed[place]) - 1
        place += 1
        count += 2
        if source < 0 or filled + count > len(found):
            return -1
        for _ in range(count):  # it may overlap what it writes
            found[filled] = found[source]
            filled += 1
            source += 1
    return filled
