"""Line segments of the maps of LSDNet: pixels of one direction are grouped, and groups fitted.

L. Teplyakov et al., "LSDNet: Trainable Modification of LSD Algorithm for Real-Time Line Segment
Detection", IEEE Access 10 (2022). `reference` has the refined way in plain Python, for those who
bring it to a device.
"""

from __future__ import annotations

import numpy as np

from apps.line_segments.grouping.maps import PUBLISHED, Field, Parameters, field_of

MODES = ("refined", "official")


def group(
    heat: np.ndarray,
    direction: np.ndarray,
    *,
    size: tuple[int, int] | None = None,
    mode: str = "refined",
    parameters: Parameters = PUBLISHED,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the line segments of an image, with their confidence.

    `official` gives what the published program does, in float32: quadrants are grown apart and
    joined, some pixels count twice, regions one pixel wide along an axis become points, and
    coordinates are cut down to integers, of the maps and once more of the picture. `refined` grows
    over the whole map, fits such regions as others, keeps fractions, measures from the picture's
    corner (the first pixel's centre is at 0.5), and leaves out what is shorter than
    `parameters.shortest`; on photographs with the published weights that finds more.

    Args:
        heat: (H, W) in [0, 1]: how sure it is that a pixel lies on a segment.
        direction: Of the segment there, in the maps' own pixels, x to the right and y down: the
            angle by pi (H, W), or (cos 2θ, sin 2θ) of any length (H, W, 2).
        size: Height and width of the picture the segments are for; None: those of the maps.
        mode: One of `MODES`.
        parameters: The thresholds.

    Returns:
        float32 (N, 4) x1, y1, x2, y2 in pixels of the picture, and float32 (N,) the mean heat of
        each segment's pixels, which the published demonstration wants to be 0.7.

    Raises:
        ValueError: When shapes, size or mode are none of these.
        UserError: When a map holds NaN or infinite values.
    """
    if mode not in MODES:
        raise ValueError(f"`mode` must be one of {MODES}. Received: {mode!r}")
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise ValueError(f"`size` must be (height, width). Received: size={size}")
    official = mode == "official"
    field = field_of(heat, direction, np.float32 if official else np.float64, parameters)
    found = fitted(field, *regions_of(field, mode, parameters), mode, parameters)
    size = field.shape if size is None else size
    if official:
        ends = _published_scale(found[:, :4], field.shape, size)
    else:
        spans = np.hypot(found[:, 2] - found[:, 0], found[:, 3] - found[:, 1])
        found = found[spans >= parameters.shortest]
        ends = _exact_scale(found[:, :4], field.shape, size)
    return ends.astype(np.float32), found[:, 4].astype(np.float32)


def regions_of(field: Field, mode: str, parameters: Parameters) -> tuple[np.ndarray, np.ndarray]:
    """Return the regions that segments are fitted to.

    Args:
        field: The pixels.
        mode: One of `MODES`: "official" grows quadrants and joins them.
        parameters: Their `spread`, `deviation` and `least` count.

    Returns:
        int32 (P,) numbers of the pixels of all regions, one region after the other, and int32
        (R + 1,) where each begins.
    """
    seeds, cells = field.hottest_first(), _cells(field)
    if mode != "official":
        return _grown(field, cells, seeds, parameters)[:2]
    from apps.line_segments.grouping.quadrants import Quadrant, join, windows

    parts = windows(*field.shape)
    (_, bottom, _, right), *_ = parts
    quadrant = np.array(((0, 1), (3, 2)), np.int8)[
        (field.rows >= bottom).view(np.int8), (field.columns >= right).view(np.int8)
    ][seeds]
    quadrants = [
        Quadrant(window, *_grown(field, cells, seeds[quadrant == number], parameters))
        for number, window in enumerate(parts)
    ]
    spread = field.pixels.dtype.type(parameters.spread)
    joined = join(quadrants, field.rows, field.columns, spread)
    starts = np.cumsum([0, *map(len, joined)], dtype=np.int32)
    return np.concatenate([*joined, np.empty(0, np.int32)]), starts


def fitted(
    field: Field, members: np.ndarray, starts: np.ndarray, mode: str, parameters: Parameters
) -> np.ndarray:
    """Return the segments of regions, in pixels of the maps, whose centres have whole numbers.

    Args:
        field: The pixels.
        members, starts: The regions, as `regions_of` returns them.
        mode: One of `MODES`: "official" makes points of regions of one row or column.
        parameters: Their `split` counts.

    Returns:
        (N, 6) of the pixels' type: x1, y1, x2, y2, mean heat, and number of pixels.
    """
    from apps.line_segments.grouping.fitting import fit

    dtype = field.pixels.dtype
    rows, columns = field.rows.astype(dtype), field.columns.astype(dtype)
    heats, two = field.pixels[:, 2].copy(), dtype.type(2)
    return fit(members, starts, rows, columns, heats, two, mode == "official", parameters.split)


def _cells(field: Field) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the map for `growing.grow` without pixels, each pixel's cell, and cells of a row."""
    height, row = field.shape[0], field.shape[1] + 1  # one column parts a row from the next
    numbers = np.full((height + 2) * row + 1, -1, np.int32)
    return numbers, (field.rows + 1) * row + field.columns + 1, row


def _grown(field: Field, cells, seeds: np.ndarray, parameters: Parameters):
    """Return members, starts and mean directions of the regions of some pixels.

    The cells are free again afterwards: all of the seeds were taken.
    """
    from apps.line_segments.grouping.growing import grow

    numbers, places, row = cells
    numbers[places[seeds]] = seeds
    limits = np.array((1.0, parameters.spread, parameters.deviation), field.pixels.dtype)
    return grow(seeds, numbers, places, field.pixels, row, limits, parameters.least)


def _published_scale(ends: np.ndarray, shape: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Cut off fractions, before and after the maps' pixels become the picture's."""
    sides = np.array((shape[1], shape[0]) * 2, np.float32)
    target = np.array((size[1], size[0]) * 2, np.float32)
    return np.trunc(np.trunc(ends) / sides * target)


def _exact_scale(ends: np.ndarray, shape: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Measure from the corner, in pixels of the picture; nothing lies outside."""
    target = np.array((size[1], size[0]) * 2, np.float64)
    scaled = (ends + 0.5) * (target / np.array((shape[1], shape[0]) * 2))
    return np.clip(scaled, 0.0, target)
