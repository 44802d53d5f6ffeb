"""Segments as arrays: (N, 4), x1, y1, x2, y2, in pixels whose first one spans 0 to 1."""

from __future__ import annotations

import numpy as np


def as_segments(values) -> np.ndarray:
    """Return segments as float32 (N, 4), from (N, 4), (N, 2, 2) as (x, y) ends, or nothing."""
    return np.asarray(values, np.float32).reshape(-1, 4)


def lengths(segments: np.ndarray) -> np.ndarray:
    """Return the length of each segment (N, 4) in pixels."""
    return np.hypot(segments[:, 2] - segments[:, 0], segments[:, 3] - segments[:, 1])


def scaled(segments: np.ndarray, size: tuple[int, int], new: tuple[int, int]) -> np.ndarray:
    """Return segments of an image of (height, width) as they lie in it at another size.

    Args:
        segments: float (N, 4).
        size: Of the image they belong to.
        new: Of the resized image; the aspect ratio may change.
    """
    factors = np.array([new[1] / size[1], new[0] / size[0]] * 2, np.float64)
    return (segments * factors).astype(np.float32)


def clipped(
    segments: np.ndarray, box: tuple[float, float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the parts of segments within a box, and which segments they are of.

    Args:
        segments: float (N, 4).
        box: Left, top, right and bottom; its border belongs to it.

    Returns:
        float32 (M, 4), without parts of no length, and int (M,), positions in `segments`.
    """
    ends = np.asarray(segments, np.float64).reshape(-1, 4)
    shares, kept = clip_shares(ends, box)
    ends, (enter, leave) = ends[kept], shares.T
    step = ends[:, 2:] - ends[:, :2]
    # An end that was inside is kept to the bit.
    first = np.where(enter[:, None] == 0, ends[:, :2], ends[:, :2] + step * enter[:, None])
    last = np.where(leave[:, None] == 1, ends[:, 2:], ends[:, :2] + step * leave[:, None])
    return np.concatenate([first, last], 1).astype(np.float32), kept


def clip_shares(
    ends: np.ndarray, box: tuple[float, float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return from where to where, as shares of their lengths, segments lie within a box.

    Liang and Barsky, "A new concept and method for line clipping" (1984).

    Args:
        ends: float64 (N, 4).
        box: Left, top, right and bottom; its border belongs to it.

    Returns:
        float64 (M, 2), of those that have a part of some length in it, and int (M,), which.
    """
    start, step = ends[:, :2], ends[:, 2:] - ends[:, :2]
    low, high = np.array(box[:2], np.float64), np.array(box[2:], np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        one, other = (low - start) / step, (high - start) / step
    enter, leave = np.minimum(one, other), np.maximum(one, other)
    still = step == 0
    inside = (start >= low) & (start <= high)
    enter = np.where(still, np.where(inside, -np.inf, np.inf), enter).max(1).clip(min=0)
    leave = np.where(still, np.where(inside, np.inf, -np.inf), leave).min(1).clip(max=1)
    kept = np.flatnonzero((enter < leave) & (step != 0).any(1))
    return np.stack([enter[kept], leave[kept]], 1), kept


def mirrored(segments: np.ndarray, size: tuple[int, int], axis: int) -> np.ndarray:
    """Return segments of an image of (height, width) that is flipped as `numpy.flip` does.

    Args:
        segments: float (N, 4).
        size: Of the image.
        axis: 0 swaps top and bottom, 1 left and right.
    """
    turned = segments.copy()
    places = [1, 3] if axis == 0 else [0, 2]
    turned[:, places] = size[axis] - segments[:, places]
    return turned


def quarter_turned(segments: np.ndarray, size: tuple[int, int], turns: int) -> np.ndarray:
    """Return segments of an image of (height, width) that is turned as `numpy.rot90` does.

    Args:
        segments: float (N, 4).
        size: Of the image before it is turned.
        turns: Quarter turns against the clock.
    """
    height, width = size
    found = segments
    for _ in range(turns % 4):
        x, y = found[:, [0, 2]], found[:, [1, 3]]
        found = np.stack([y[:, 0], width - x[:, 0], y[:, 1], width - x[:, 1]], 1)
        height, width = width, height
    return found if turns % 4 else segments.copy()


def angles(segments: np.ndarray) -> np.ndarray:
    """Return the direction of each segment (N, 4) from x towards y, in [0, pi)."""
    turn = np.arctan2(segments[:, 3] - segments[:, 1], segments[:, 2] - segments[:, 0]) % np.pi
    return np.where(turn >= np.pi, 0, turn)
