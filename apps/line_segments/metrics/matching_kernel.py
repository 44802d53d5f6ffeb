"""The compiled part of the pixel matching; importing it imports numba."""

from __future__ import annotations

import numba
import numpy as np

_UNSEEN, _SPENT = -1, -2


@numba.njit(cache=True)
def extend(left, partner, truth, owner, steps):
    """Extend a matching of pixels to a largest one; partner and owner are changed in place.

    A greedy pass gives each free pixel its nearest free truth, distance after distance; then
    shortest augmenting paths are taken until there is none (Hopcroft and Karp 1973).

    Args:
        left: int64 (N,), positions of predicted pixels in a padded, flat image.
        partner: int64 (P,), position of each predicted pixel's truth, or -1.
        truth: bool (P,), the true pixels.
        owner: int64 (P,), the reverse of `partner`.
        steps: int64 (K,), from a pixel to those within the radius, the nearest first.

    Returns:
        The number of pairs that were added.
    """
    added = 0
    for step in steps:
        for pixel in left:
            if partner[pixel] < 0:
                other = pixel + step
                if truth[other] and owner[other] < 0:
                    partner[pixel] = other
                    owner[other] = pixel
                    added += 1
    level = np.full(partner.size, _UNSEEN, np.int32)
    queue = np.empty(left.size, np.int64)
    pointer = np.zeros(partner.size, np.int32)
    path = np.empty(left.size, np.int64)
    while True:
        found = _layers(left, partner, truth, owner, steps, level, queue)
        if not found:
            return added
        for pixel in left:
            pointer[pixel] = 0
        for pixel in left:
            if partner[pixel] < 0 and level[pixel] == 0:
                added += _augment(pixel, partner, truth, owner, steps, level, pointer, path)


@numba.njit(cache=True)
def _layers(left, partner, truth, owner, steps, level, queue):
    """Number the predicted pixels by their distance from a free one; whether a path ends."""
    end = 0
    for pixel in left:
        if partner[pixel] < 0:
            level[pixel] = 0
            queue[end] = pixel
            end += 1
        else:
            level[pixel] = _UNSEEN
    start, last = 0, -1  # `last` is the level from which the shortest path ends
    while start < end:
        pixel = queue[start]
        start += 1
        if last >= 0 and level[pixel] > last:
            break
        for step in steps:
            other = pixel + step
            if truth[other]:
                following = owner[other]
                if following < 0:
                    last = level[pixel]
                elif level[following] == _UNSEEN:
                    level[following] = level[pixel] + 1
                    queue[end] = following
                    end += 1
    return last >= 0


@numba.njit(cache=True)
def _augment(free, partner, truth, owner, steps, level, pointer, path):
    """Take one shortest path from a free pixel, if one is left; return the pairs gained."""
    depth = 0
    path[0] = free
    while depth >= 0:
        pixel = path[depth]
        advanced = False
        while pointer[pixel] < steps.size:
            other = pixel + steps[pointer[pixel]]
            if truth[other]:
                following = owner[other]
                if following < 0:
                    for at in range(depth, -1, -1):
                        one = path[at]
                        target = one + steps[pointer[one]]
                        partner[one] = target
                        owner[target] = one
                        level[one] = _SPENT
                    return 1
                if level[following] == level[pixel] + 1:
                    depth += 1
                    path[depth] = following
                    advanced = True
                    break
            pointer[pixel] += 1
        if not advanced:
            level[pixel] = _SPENT
            depth -= 1
            if depth >= 0:
                pointer[path[depth]] += 1
    return 0
