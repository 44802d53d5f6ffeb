"""What L-CNN does to detections before its † numbers: no part of an image's edge is told twice.

Y. Zhou, H. Qi, Y. Ma, "End-to-End Wireframe Parsing", ICCV 2019, arXiv:1905.03246; the rules are
those of its `post.py`, with a tolerance of 0.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from apps.line_segments.metrics.cases import Case

_SHORTEST = 1e-9  # squared; below it a segment is a point


def merged(case: Case, radius: float) -> Case:
    """Return a case whose found segments do not tell again what a surer one told.

    From the surest on, a segment is held against each one that is kept and lies along it: the ends
    of one of the two are within a distance of the line through the other. Where the kept one
    covers what is left of it, it is dropped; where it reaches over one end, that end is cut off;
    where it lies within, nothing happens.

    Args:
        case: Segments and scores of one image, in any order.
        radius: The distance, as a share of the image's diagonal.
    """
    order = np.argsort(-case.scores, kind="stable")
    limit = (radius * np.hypot(*case.size)) ** 2
    kept = np.empty((len(order), 4))
    scores: list[float] = []
    for segment, score in zip(case.found[order], case.scores[order], strict=True):
        others = kept[: len(scores)]
        begin, end = _left(segment, others[_along(segment, others, limit)])
        if begin < end:
            first, step = segment[:2], segment[2:] - segment[:2]
            kept[len(scores)] = np.concatenate([first + step * begin, first + step * end])
            scores.append(score)
    return dataclasses.replace(case, found=kept[: len(scores)], scores=np.array(scores))


def _along(segment: np.ndarray, others: np.ndarray, limit: float) -> np.ndarray:
    """Return which others lie along a segment, bool (N,)."""
    ends = others.reshape(-1, 2, 2)
    theirs = _squared_distances(segment, ends).max(1, initial=0)
    ours = _squared_distances(others[:, None], segment.reshape(2, 2)).max(1, initial=0)
    return np.minimum(theirs, ours) <= limit


def _left(segment: np.ndarray, others: np.ndarray) -> tuple[float, float]:
    """Return what others leave of a segment, from where to where as shares of its length."""
    begin, end = 0.0, 1.0
    shares = np.sort(_shares(segment, others.reshape(-1, 2, 2)), axis=1)
    for low, high in shares.tolist():
        within, apart = begin < low and high < end, high < begin or low > end
        if within or apart:
            continue
        if low <= begin and end <= high:
            return 1.0, 0.0
        if low <= begin:
            begin = high
        if end <= high:
            end = low
    return begin, end


def _shares(lines: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return where points (…, 2) project on lines (…, 4): 0 is the first end, 1 the second."""
    step = lines[..., 2:] - lines[..., :2]
    length = np.maximum((step * step).sum(-1), _SHORTEST)
    return ((points - lines[..., :2]) * step).sum(-1) / length


def _squared_distances(lines: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the squared distances of points (…, 2) from the lines through (…, 4)."""
    step = lines[..., 2:] - lines[..., :2]
    feet = lines[..., :2] + _shares(lines, points)[..., None] * step
    return ((feet - points) ** 2).sum(-1)
