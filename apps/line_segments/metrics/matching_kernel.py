"""The compiled part of the pixel matching; importing it imports numba."""

from __future__ import annotations

import numba

_UNSEEN, _SPENT = -1, -2


@numba.njit(cache=True)
def extend(new, partner, live, owner, steps, level, pointer, queue, path):
    """Extend a largest matching by predicted pixels that are new; it is changed in place.

    A greedy pass gives each new pixel its nearest free truth, distance after distance; then
    shortest augmenting paths are taken until there is none (Hopcroft and Karp 1973). What the last
    search reached from pixels that stay alone leads to no free truth, now or after any later pixel:
    those true pixels are taken out of `live`, so that no search enters there again.

    Args:
        new: int64 (N,), positions of predicted pixels in a padded, flat image.
        partner: int64 (P,), position of each predicted pixel's truth, or -1.
        live: bool (P,), the true pixels that may still change their partner.
        owner: int64 (P,), the reverse of `partner`.
        steps: int64 (K,), from a pixel to those within the radius, the nearest first.
        level: int32 (P,), -1 everywhere before and after.
        pointer: int32 (P,), room to work in.
        queue, path: int64 (M,), room for all predicted pixels.

    Returns:
        The number of pairs that were added.
    """
    added = 0
    for k in range(len(steps)):
        for n in range(len(new)):
            pixel, other = new[n], new[n] + steps[k]
            if partner[pixel] < 0 and live[other] and owner[other] < 0:
                partner[pixel] = other
                owner[other] = pixel
                added += 1
    while True:
        count, found = _layers(new, partner, live, owner, steps, level, queue)
        if found:
            for n in range(count):
                pointer[queue[n]] = 0
            for n in range(len(new)):
                if partner[new[n]] < 0:
                    added += _augment(new[n], partner, live, owner, steps, level, pointer, path)
        for n in range(count):
            level[queue[n]] = _UNSEEN
            if not found:
                for k in range(len(steps)):
                    live[queue[n] + steps[k]] = False
        if not found:
            return added


@numba.njit(cache=True)
def _layers(new, partner, live, owner, steps, level, queue):
    """Number predicted pixels by their distance from a free one; how many, and if a path ends."""
    end = 0
    for n in range(len(new)):
        if partner[new[n]] < 0:
            level[new[n]] = 0
            queue[end] = new[n]
            end += 1
    start, last = 0, -1  # `last` is the level from which the shortest path ends
    while start < end:
        pixel = queue[start]
        start += 1
        if last >= 0 and level[pixel] > last:
            break
        for k in range(len(steps)):
            other = pixel + steps[k]
            if live[other]:
                following = owner[other]
                if following < 0:
                    last = level[pixel]
                elif level[following] == _UNSEEN:
                    level[following] = level[pixel] + 1
                    queue[end] = following
                    end += 1
    return end, last >= 0


@numba.njit(cache=True)
def _augment(free, partner, live, owner, steps, level, pointer, path):
    """Take one shortest path from a free pixel, if one is left; return the pairs gained."""
    depth = 0
    path[0] = free
    while depth >= 0:
        pixel = path[depth]
        deeper = False
        while pointer[pixel] < len(steps):
            other = pixel + steps[pointer[pixel]]
            if live[other]:
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
                    deeper = True
                    break
            pointer[pixel] += 1
        if not deeper:
            level[pixel] = _SPENT
            depth -= 1
            if depth >= 0:
                pointer[path[depth]] += 1
    return 0
