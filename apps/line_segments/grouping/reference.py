"""The refined grouping in plain Python, to be read, and written anew for a device.

NumPy and the standard library are all it needs; nothing is compiled and nothing else of the suite
is used. `grouper.group` returns the same segments, some fifty times as fast, and a test holds them
equal. The steps are numbered; floats of 64 bits may be replaced by ones of 32.

L. Teplyakov et al., "LSDNet: Trainable Modification of LSD Algorithm for Real-Time Line Segment
Detection", IEEE Access 10 (2022).
"""

from __future__ import annotations

import math

import numpy as np

NEIGHBOURS = [(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1) if (r, c) != (0, 0)]


def group(
    heat: np.ndarray,
    direction: np.ndarray,
    size: tuple[int, int],
    *,
    threshold: float = 0.4,
    contrast: float = 2.0,
    block: int = 11,
    spread: float = 0.05,
    deviation: float = 0.3,
    least: int = 10,
    shortest: float = 4.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the line segments of an image, with their confidence.

    Args:
        heat: float32 (H, W): how sure the network is that a pixel lies on a segment.
        direction: float32: the segment's angle by pi (H, W), or (cos 2θ, sin 2θ) of any length
            (H, W, 2).
        size: Height and width of the picture the segments are for.
        threshold, contrast, block: Of the pixels that are looked at (step 1).
        spread, deviation, least: Of the regions (step 3).
        shortest: Pixels of the maps that a segment spans at least (step 6).

    Returns:
        (N, 4) x1, y1, x2, y2 in pixels of the picture, (0, 0) being its corner, and (N,) the mean
        heat of each segment's pixels: show those of 0.7 and more.
    """
    height, width = heat.shape
    wanted = candidates(heat, threshold, contrast, block)
    vectors = doubled_vectors(direction)
    segments, confidence = [], []
    for region in regions(heat, vectors, wanted, spread, deviation, least):
        for x1, y1, x2, y2, mean_heat in segments_of(region, heat):
            # 6. What is too short is left out; a pixel's centre is half a pixel from its corner.
            if math.hypot(x2 - x1, y2 - y1) >= shortest:
                to_x, to_y = size[1] / width, size[0] / height
                ends = [(x1 + 0.5) * to_x, (y1 + 0.5) * to_y, (x2 + 0.5) * to_x, (y2 + 0.5) * to_y]
                segments.append(np.clip(ends, 0.0, [size[1], size[0]] * 2))
                confidence.append(mean_heat)
    return np.array(segments).reshape(-1, 4), np.array(confidence)


def candidates(heat: np.ndarray, threshold: float, contrast: float, block: int) -> np.ndarray:
    """1. Return which pixels may lie on a segment: hot, and no colder than their neighbourhood.

    The neighbourhood's mean has Gaussian weights; beyond the border its pixels are repeated.
    """
    codes = np.rint(255.0 * np.clip(heat, 0.0, 1.0))
    sigma = 0.3 * ((block - 1) * 0.5 - 1.0) + 0.8
    offsets = np.arange(block) - block // 2
    weights = np.exp(-(offsets**2) / (2.0 * sigma**2))
    weights /= weights.sum()
    height, width = heat.shape
    padded = np.pad(codes, block // 2, mode="edge")
    mean = sum(w * padded[k : k + height] for k, w in enumerate(weights))
    mean = sum(w * mean[:, k : k + width] for k, w in enumerate(weights))
    return (heat > np.float32(threshold)) & (codes - np.rint(mean) > -contrast)


def doubled_vectors(direction: np.ndarray) -> np.ndarray:
    """2. Return unit vectors (H, W, 2) of twice the angle, which are the same for both ways."""
    direction = direction.astype(np.float32)
    if direction.ndim == 2:
        cosine, sine = np.cos(direction * np.float32(np.pi)), np.sin(direction * np.float32(np.pi))
        return np.stack((cosine * cosine - sine * sine, 2 * sine * cosine), axis=-1)
    length = np.sqrt(direction[..., 0] ** 2 + direction[..., 1] ** 2)
    unit = direction / np.where(length > 0, length, 1)[..., None]
    unit[length == 0] = (1, 0)
    return unit


def regions(heat, vectors, wanted, spread, deviation, least) -> list[list[tuple[int, int]]]:
    """3. Return the pixels (row, column) of each region, from the hottest pixel of all on.

    A pixel joins where its direction and heat are near the region's means. Whatever was in a region
    that stayed too small is not looked at again.
    """
    # The hottest first; of equal ones the last in the raster.
    seeds = sorted(zip(*np.nonzero(wanted), strict=True), key=lambda p: (heat[p], *p), reverse=True)
    heats, directions = heat.astype(np.float64).tolist(), vectors.tolist()
    free = wanted.tolist()
    found = []
    for seed_row, seed_column in (map(int, seed) for seed in seeds):
        if not free[seed_row][seed_column]:
            continue
        free[seed_row][seed_column] = False
        region = [(seed_row, seed_column)]
        mean = directions[seed_row][seed_column]
        norm, mean_heat = 1.0, heats[seed_row][seed_column]
        for row, column in region:  # grows while it is read
            for r, c in ((row + dr, column + dc) for dr, dc in NEIGHBOURS):
                if not (0 <= r < len(free) and 0 <= c < len(free[0]) and free[r][c]):
                    continue
                (x, y), h = directions[r][c], heats[r][c]
                turned = (mean[0] - x) ** 2 + (mean[1] - y) ** 2
                if turned >= spread or abs(mean_heat - h) >= deviation:
                    continue
                free[r][c] = False
                region.append((r, c))
                longer = math.sqrt(1.0 + norm**2 + 2.0 * norm * (mean[0] * x + mean[1] * y))
                mean = [(mean[0] * norm + x) / longer, (mean[1] * norm + y) / longer]
                norm = longer
                mean_heat = (mean_heat * (len(region) - 1) + h) / len(region)
        if len(region) > least:
            found.append(region)
    return found


def segments_of(region, heat) -> list[tuple[float, float, float, float, float]]:
    """4. Return x1, y1, x2, y2 and mean heat of the segments of a region, one or several.

    The axis of its pixels, weighted by their heat, is the direction of all of them.
    """
    pixels = [(r, c, float(heat[r, c])) for r, c in region]
    total = in_turn([w for _, _, w in pixels])
    row = in_turn([r * w for r, _, w in pixels]) / total
    column = in_turn([c * w for _, c, w in pixels]) / total
    cosine, sine = axis([(r - row, c - column, w) for r, c, w in pixels])
    points = [
        (cosine * (c - column) - sine * (r - row), cosine * (r - row) + sine * (c - column), w)
        for r, c, w in pixels
    ]
    points.sort(key=lambda point: point[0])  # across the axis; equal ones stay in their order
    found, start = [], 0
    for end in cuts([across for across, _, _ in points]):
        own = points[start:end]
        mass = in_turn([w for _, _, w in own])
        beside = in_turn([w * across for across, _, w in own]) / mass
        ends = []
        for along in (min(point[1] for point in own), max(point[1] for point in own)):
            ends.append(max(0.0, sine * along + cosine * beside + column))
            ends.append(max(0.0, cosine * along - sine * beside + row))
        found.append((*ends, mass / len(own)))
        start = end
    return found


def in_turn(values) -> float:
    """Return a sum, made from the first value to the last."""
    total = 0.0
    for value in values:
        total += value
    return total


def axis(points) -> tuple[float, float]:
    """Return cosine and sine of the angle from downwards to the axis of (row, column, weight)."""
    total = in_turn([w for _, _, w in points])
    uu = in_turn([u * u * w for u, _, w in points]) / total
    vv = in_turn([v * v * w for _, v, w in points]) / total
    uv = in_turn([u * v * w for u, v, w in points]) / total
    if len({u for u, _, _ in points}) == 1:  # one row
        return 0.0, 1.0
    side = (vv + uu + math.sqrt((2.0 * uv) ** 2 + (uu - vv) ** 2)) / 2.0 - uu
    length = math.sqrt(side * side + uv * uv)
    if length == 0.0 or len({v for _, v, _ in points}) == 1:  # one column
        return 1.0, 0.0
    angle = math.pi / 2.0 - math.acos((side if uv >= 0 else -side) / length)
    return math.cos(angle), math.sin(angle)


def cuts(across: list[float]) -> list[int]:
    """5. Return where parallel lines that grew together end, in values in ascending order.

    They are cut where a density of the values has a valley; it is the sum of Gaussians of a pixel's
    width in 16 cells, looked at in 15 steps.
    """
    low, high = across[0], across[-1]
    spread = high - low
    if spread <= 1e-6:
        return [len(across)]
    step, width = spread / 15, spread / 15 + 1e-12
    cells, edge = [0], low + width
    for value in across:
        if value > edge:  # at most one cell on for a value
            cells.append(0)
            edge += width
        cells[-1] += 1
    places, at = [], low
    while at <= high:
        places.append(at)
        at += step
    density = []
    for at in places:
        offs = [at - (low + (i + 0.5) * width) for i in range(len(cells))]
        bells = [math.exp(-0.5 * off * off) / math.sqrt(2.0 * math.pi) for off in offs]
        density.append(in_turn([n * b for n, b in zip(cells, bells, strict=True)]) / len(across))
    total = in_turn(density)
    density = [value / total for value in density]
    ends, position = [], 0
    for i in range(1, len(places) - 1):
        if density[i] > min(density[i - 1], density[i + 1]):
            continue
        while position < len(across) and across[position] <= places[i] + step / 2:
            position += 1
        if position == len(across):
            break
        ends.append(position)
        position += 1  # a value passes one cut at most
    return [*ends, len(across)]
