"""Structural average precision of line segments: sAP5, sAP10, sAP15, msAP and sF.

Y. Zhou, H. Qi, Y. Ma: "End-to-end wireframe parsing", ICCV 2019 (L-CNN). Segments are compared by
their end points on a grid of 128x128, whatever the image's aspect ratio. Each image's predictions
are taken from the surest to the least sure; the published code relies on that order in its files.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from apps.line_segments.metrics.cases import Case
from apps.line_segments.metrics.curves import average_precision, f_measure, share

THRESHOLDS = (5, 10, 15)  # squared pixels of the grid, the sum of both ends
GRID = 128


def on_grid(segments: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return segments (N, 4) of an image of (height, width) scaled to the grid of 128x128."""
    height, width = size
    return segments * np.array([GRID / width, GRID / height] * 2)


def end_distances(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the sum of both squared end-point distances, in the better of the two orders.

    Args:
        found: float (N, 4).
        truth: float (M, 4).

    Returns:
        float (N, M).
    """
    apart = found[:, None, None, :] - np.stack([truth, truth[:, [2, 3, 0, 1]]])[None]
    return (apart**2).sum(-1).min(1)


def true_positives(
    case: Case, thresholds: Sequence[float] = THRESHOLDS
) -> tuple[np.ndarray, np.ndarray]:
    """Return which predictions of an image are right.

    A prediction is right when its nearest true segment (the first of equally near ones) is nearer
    than the threshold and not taken yet; a taken one is not replaced by the second nearest.

    Returns:
        bool (T, N) in the order of falling scores, and that order, int (N,).
    """
    order = np.argsort(-case.scores, kind="stable")
    flags = np.zeros((len(thresholds), len(order)), bool)
    if not len(order) or not len(case.truth):
        return flags, order
    distances = end_distances(on_grid(case.found[order], case.size), on_grid(case.truth, case.size))
    nearest = distances.argmin(1)
    least = distances[np.arange(len(order)), nearest]
    for row, threshold in zip(flags, thresholds, strict=True):
        near = np.flatnonzero(least < threshold)
        _, first = np.unique(nearest[near], return_index=True)  # the surest of each true segment
        row[near[first]] = True
    return flags, order


def structural_scores(
    cases: Sequence[Case], thresholds: Sequence[float] = THRESHOLDS
) -> dict[str, float]:
    """Return "sap5", "sf5", … for each threshold and their mean "msap", each in 0..1.

    The predictions of all images are pooled and sorted by score; sF is the best F along the curve.
    NaN where no image has a true segment.
    """
    pairs = [true_positives(case, thresholds) for case in cases]
    total = sum(len(case.truth) for case in cases)
    names = [f"{threshold:g}" for threshold in thresholds]
    if not total:
        keys = [f"{kind}{name}" for name in names for kind in ("sap", "sf")]
        return dict.fromkeys([*keys, "msap"], float("nan"))
    scores = np.concatenate([case.scores[o] for case, (_, o) in zip(cases, pairs, strict=True)])
    order = np.argsort(-scores, kind="stable")
    flags = np.concatenate([found for found, _ in pairs], axis=1)[:, order]
    summary: dict[str, float] = {}
    for name, right in zip(names, flags, strict=True):
        hits = np.cumsum(right)
        recall, precision = hits / total, share(hits, np.arange(1, len(hits) + 1))
        summary[f"sap{name}"] = average_precision(recall, precision)
        summary[f"sf{name}"] = float(f_measure(recall, precision).max(initial=0.0))
    summary["msap"] = float(np.mean([summary[f"sap{name}"] for name in names]))
    return summary
