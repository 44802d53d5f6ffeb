"""The search of LSD: regions grow, become rectangles, and stay where chance does not explain them.

R. Grompone von Gioi, J. Jakubowicz, J.-M. Morel, G. Randall, "LSD: a Line Segment Detector",
IPOL 2 (2012), DOI 10.5201/ipol.2012.gjmr-lsd, sections 2.4 to 2.11. All in float64, compiled.

Directions are unit vectors, and two differ by at most t where their product is at least cos t. This
is the published test on angles without an arctangent for every pixel that joins a region. Elsewhere
the arithmetic is the published one, step by step: the outermost pixels of a region lie on the very
border of its rectangle, and it is rounding that decides whether they are counted.

The kernels stand in one file because a compiled one that is kept on disk does not notice when one
that it calls is changed in another file.
"""

from __future__ import annotations

import math
from collections import namedtuple

import numpy as np
from numba import njit

# End points of the axis, the width around it, the unit vector along it, and the precision: the
# chance that a pixel is aligned with it, p, in which directions may differ by p·pi.
Rectangle = namedtuple("Rectangle", "x1 y1 x2 y2 width along_x along_y p")

_compiled = njit(error_model="numpy")

_TRIALS = 5  # of each kind of improvement
_STEP = 0.5  # by which a rectangle is narrowed, in pixels
_SHRINK = 0.75  # of the radius that a region is cut down to
_TAIL_ERROR = 0.1  # of -log10 NFA, that a sum of the tail may leave out
_LN_10 = math.log(10.0)
_HALF_LN_TWO_PI = 0.5 * math.log(2.0 * math.pi)
_LANCZOS = (
    75122.6331530,
    80916.6278952,
    36308.2951477,
    8687.24529705,
    1168.92649479,
    83.8676043424,
    2.50662827511,
)


@njit(cache=True, nogil=True, error_model="numpy")
def find_segments(order, magnitude, direction, evidence, tolerance, density, log_eps):
    """Return the segments of a field of directions.

    Args:
        order: int32 (N,) pixels y · W + x that have a direction; in this order they start regions.
        magnitude: float64 (H, W), weights of the pixels.
        direction: float64 (H, W, 2) unit vectors, (0, 0) where there is none.
        evidence: float64 (H, W, 2) directions that segments are validated with.
        tolerance: By how much directions of a region may differ, in radians, below pi / 2.
        density: Least share of a rectangle's area that its region fills.
        log_eps: -log10 of the number of false alarms above which a segment is kept.

    Returns:
        float64 (N, 7): x1, y1, x2, y2, width, p, -log10 NFA, in the order they were found.
    """
    height, width = magnitude.shape
    p = tolerance / math.pi
    log_tests = 2.5 * (math.log10(width) + math.log10(height)) + math.log10(11.0)
    smallest = max(int(-log_tests / math.log10(p)), 2)
    free = np.zeros((height, width), np.bool_)
    for pixel in order:
        free[pixel // width, pixel % width] = True
    region = np.empty((len(order), 2), np.int32)
    found = np.empty((len(order) // 2 + 1, 7))
    count = 0
    for pixel in order:
        seed_y, seed_x = divmod(np.int64(pixel), width)
        if not free[seed_y, seed_x]:
            continue
        size, sum_x, sum_y = _grow(region, seed_x, seed_y, free, direction, math.cos(tolerance))
        if size < smallest:
            continue
        one = _rectangle(region, size, magnitude, sum_x, sum_y, tolerance)
        if _density(one, size) < density:
            size, one = _refined(region, size, one, free, magnitude, direction, tolerance, density)
            if size < 2:
                continue
        one, log_nfa = _improved(one, evidence, log_tests, log_eps)
        if log_nfa > log_eps:
            row = found[count]
            row[0], row[1], row[2], row[3] = one.x1, one.y1, one.x2, one.y2
            row[4], row[5], row[6] = one.width, one.p, log_nfa
            count += 1
    return found[:count]


# --- regions --------------------------------------------------------------------------------------


@_compiled
def _within(product, squared, cosine):
    """Return whether product / sqrt(squared) is at least a cosine."""
    if cosine >= 0.0:
        return product >= 0.0 and product * product >= cosine * cosine * squared
    return product >= 0.0 or product * product <= cosine * cosine * squared


@_compiled
def _grow(region, seed_x, seed_y, free, direction, cosine):
    """Take free neighbours that agree with the mean direction, until there are none.

    Returns:
        Size of the region, whose pixels (x, y) then stand in `region`, and the sum of directions.
    """
    height, width = free.shape
    region[0, 0], region[0, 1] = seed_x, seed_y
    free[seed_y, seed_x] = False
    sum_x, sum_y = direction[seed_y, seed_x, 0], direction[seed_y, seed_x, 1]
    squared = sum_x * sum_x + sum_y * sum_y
    size, done = 1, 0
    while done < size:
        centre_x, centre_y = region[done, 0], region[done, 1]
        done += 1
        for x in range(max(centre_x - 1, 0), min(centre_x + 2, width)):
            for y in range(max(centre_y - 1, 0), min(centre_y + 2, height)):
                if not free[y, x]:
                    continue
                along_x, along_y = direction[y, x, 0], direction[y, x, 1]
                if _within(along_x * sum_x + along_y * sum_y, squared, cosine):
                    free[y, x] = False
                    region[size, 0], region[size, 1] = x, y
                    size += 1
                    sum_x += along_x
                    sum_y += along_y
                    squared = sum_x * sum_x + sum_y * sum_y
    return size, sum_x, sum_y


@_compiled
def _rectangle(region, size, magnitude, sum_x, sum_y, tolerance):
    """Return the rectangle around a region: its axis is the one of least inertia.

    The axis runs through the centre of mass, and the width is not centred on it, as published.
    """
    total = centre_x = centre_y = 0.0
    for i in range(size):
        x, y = region[i, 0], region[i, 1]
        weight = magnitude[y, x]
        total += weight
        centre_x += x * weight
        centre_y += y * weight
    centre_x /= total
    centre_y /= total
    xx = yy = xy = 0.0
    for i in range(size):
        x, y = region[i, 0], region[i, 1]
        weight = magnitude[y, x]
        xx += (y - centre_y) * (y - centre_y) * weight
        yy += (x - centre_x) * (x - centre_x) * weight
        xy -= (x - centre_x) * (y - centre_y) * weight
    least = 0.5 * (xx + yy - math.sqrt((xx - yy) * (xx - yy) + 4.0 * xy * xy))
    angle = math.atan2(least - xx, xy) if abs(xx) > abs(yy) else math.atan2(xy, least - yy)
    along_x, along_y = math.cos(angle), math.sin(angle)
    squared = sum_x * sum_x + sum_y * sum_y
    if not _within(along_x * sum_x + along_y * sum_y, squared, math.cos(tolerance)):
        angle += math.pi
        along_x, along_y = math.cos(angle), math.sin(angle)
    first = last = left = right = 0.0
    for i in range(size):
        x, y = region[i, 0] - centre_x, region[i, 1] - centre_y
        along, across = x * along_x + y * along_y, -x * along_y + y * along_x
        first, last = min(first, along), max(last, along)
        left, right = min(left, across), max(right, across)
    return Rectangle(
        centre_x + first * along_x,
        centre_y + first * along_y,
        centre_x + last * along_x,
        centre_y + last * along_y,
        max(right - left, 1.0),
        along_x,
        along_y,
        tolerance / math.pi,
    )


@_compiled
def _density(one, size):
    """Return the share of a rectangle that a region's pixels fill."""
    return size / (math.hypot(one.x2 - one.x1, one.y2 - one.y1) * one.width)


@_compiled
def _refined(region, size, one, free, magnitude, direction, tolerance, density):
    """Return size and rectangle of a region that fills its own; a size below 2 rejects it.

    It grows again within the spread of directions near its seed. Where this does not do, what is
    far from the seed is given up.
    """
    seed_x, seed_y = np.int64(region[0, 0]), np.int64(region[0, 1])
    seed_along_x, seed_along_y = direction[seed_y, seed_x, 0], direction[seed_y, seed_x, 1]
    total = squares = 0.0
    near = 0
    for i in range(size):
        x, y = region[i, 0], region[i, 1]
        free[y, x] = True
        if math.hypot(x - seed_x, y - seed_y) < one.width:
            along_x, along_y = direction[y, x, 0], direction[y, x, 1]
            turn = math.atan2(
                seed_along_x * along_y - seed_along_y * along_x,
                seed_along_x * along_x + seed_along_y * along_y,
            )
            total += turn
            squares += turn * turn
            near += 1
    mean = total / near
    spread = 2.0 * math.sqrt(max(squares / near - mean * mean, 0.0))
    cosine = math.cos(min(spread, math.pi))
    size, sum_x, sum_y = _grow(region, seed_x, seed_y, free, direction, cosine)
    if size < 2:
        return size, one
    one = _rectangle(region, size, magnitude, sum_x, sum_y, tolerance)
    radius = max(
        math.hypot(one.x1 - seed_x, one.y1 - seed_y), math.hypot(one.x2 - seed_x, one.y2 - seed_y)
    )
    while _density(one, size) < density:
        radius *= _SHRINK
        i = 0
        while i < size:
            x, y = region[i, 0], region[i, 1]
            if math.hypot(x - seed_x, y - seed_y) > radius:
                free[y, x] = True
                size -= 1
                region[i, 0], region[i, 1] = region[size, 0], region[size, 1]
            else:
                i += 1
        if size < 2:
            return size, one
        one = _rectangle(region, size, magnitude, sum_x, sum_y, tolerance)
    return size, one


# --- number of false alarms -----------------------------------------------------------------------


@_compiled
def log_gamma(x):
    """Return the logarithm of the gamma function: Lanczos up to 15, Windschitl above."""
    if x > 15.0:
        series = x * math.sinh(1.0 / x) + 1.0 / (810.0 * x**6)
        return _HALF_LN_TWO_PI + (x - 0.5) * math.log(x) - x + 0.5 * x * math.log(series)
    logarithms = (x + 0.5) * math.log(x + 5.5) - (x + 5.5)
    polynomial, power = 0.0, 1.0
    for n in range(len(_LANCZOS)):
        logarithms -= math.log(x + n)
        polynomial += _LANCZOS[n] * power
        power *= x
    return logarithms + math.log(polynomial)


@_compiled
def log_false_alarms(n, k, p, log_tests):
    """Return -log10 of the expected number of segments that chance alone makes as good as this.

    Args:
        n: Pixels in the rectangle.
        k: Those of them that are aligned with it.
        p: Chance of one to be aligned.
        log_tests: log10 of the number of rectangles there are.
    """
    if n == 0 or k == 0:
        return -log_tests
    if n == k:
        return -log_tests - n * math.log10(p)
    odds = p / (1.0 - p)
    log_term = log_gamma(n + 1.0) - log_gamma(k + 1.0) - log_gamma(n - k + 1.0)
    log_term += k * math.log(p) + (n - k) * math.log(1.0 - p)
    term = math.exp(log_term)
    if term == 0.0:
        return -log_term / _LN_10 - log_tests if k > n * p else -log_tests
    tail = term
    for i in range(k + 1, n + 1):
        ratio = (n - i + 1) / i
        factor = ratio * odds
        term *= factor
        tail += term
        if ratio < 1.0:  # what is left is less than a geometric series
            rest = term * ((1.0 - factor ** (n - i + 1)) / (1.0 - factor) - 1.0)
            if rest < _TAIL_ERROR * abs(-math.log10(tail) - log_tests) * tail:
                break
    return -math.log10(tail) - log_tests


@_compiled
def _validated(one, evidence, log_tests):
    """Return -log10 NFA of a rectangle: its pixels, column by column, are counted."""
    height, width = evidence.shape[:2]
    half = 0.5 * one.width
    aside_x, aside_y = -one.along_y * half, one.along_x * half
    corner_x = (one.x1 + aside_x, one.x2 + aside_x, one.x2 - aside_x, one.x1 - aside_x)
    corner_y = (one.y1 + aside_y, one.y2 + aside_y, one.y2 - aside_y, one.y1 - aside_y)
    start = 0
    for i in range(1, 4):
        if corner_x[i] < corner_x[start]:
            start = i
    one_side, end, other_side = (start + 1) % 4, (start + 2) % 4, (start + 3) % 4
    x0, y0, x2, y2 = corner_x[start], corner_y[start], corner_x[end], corner_y[end]
    low_x, low_y = corner_x[other_side], corner_y[other_side]
    high_x, high_y = corner_x[one_side], corner_y[one_side]
    cosine = math.cos(one.p * math.pi)
    pixels = aligned = np.int64(0)
    for x in range(max(math.ceil(x0), 0), min(math.floor(x2), width - 1) + 1):
        low = _edge(x0, y0, low_x, low_y, x) if x < low_x else _edge(low_x, low_y, x2, y2, x)
        high = _edge(x0, y0, high_x, high_y, x) if x < high_x else _edge(high_x, high_y, x2, y2, x)
        for y in range(max(math.ceil(low), 0), min(math.floor(high), height - 1) + 1):
            pixels += 1
            product = evidence[y, x, 0] * one.along_x + evidence[y, x, 1] * one.along_y
            if product >= cosine:
                aligned += 1
    return log_false_alarms(pixels, aligned, one.p, log_tests)


@_compiled
def _edge(x1, y1, x2, y2, x):
    """Return where the edge between two corners crosses a column; the first where it is upright."""
    return y1 if x1 == x2 else y1 + (x - x1) * (y2 - y1) / (x2 - x1)


@_compiled
def _improved(one, evidence, log_tests, log_eps):
    """Return the best of a few variations of a rectangle, and its -log10 NFA.

    They are tried as long as none is good enough: finer precision, less width, less on one side,
    less on the other, finer precision again.
    """
    best = _validated(one, evidence, log_tests)
    for kind in range(5):
        if best > log_eps:
            break
        trial = one
        for _ in range(_TRIALS):
            if kind in (0, 4):
                trial = _varied(trial, 0.0, 0.0, 0.5)
            elif trial.width - _STEP >= 0.5:
                side = 0.0 if kind == 1 else 0.5 * _STEP if kind == 2 else -0.5 * _STEP
                trial = _varied(trial, side, _STEP, 1.0)
            else:
                break
            value = _validated(trial, evidence, log_tests)
            if value > best:
                best, one = value, trial
    return one, best


@_compiled
def _varied(one, side, narrower, finer):
    """Return a rectangle that was moved aside, narrowed, and whose p was multiplied."""
    x, y = -one.along_y * side, one.along_x * side
    return Rectangle(
        one.x1 + x,
        one.y1 + y,
        one.x2 + x,
        one.y2 + y,
        one.width - narrower,
        one.along_x,
        one.along_y,
        one.p * finer,
    )
