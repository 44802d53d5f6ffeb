"""Heat-map metrics of line segments, F^H and AP^H, in each of their published variants.

Segments are drawn as pixels at the image's own size, and pixels matched one to one within 0.01 of
its diagonal (K. Huang et al., CVPR 2018). Numbers of different variants are not comparable, so each
has a name: how segments are drawn ("hawp", "lcnn") and how counts become a number (`SUMMARIES`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from apps.line_segments.metrics.cases import Case
from apps.line_segments.metrics.curves import average_precision, f_measure, share
from apps.line_segments.metrics.matching import RADIUS, PixelMatcher, radius_of
from apps.line_segments.metrics.rasterising import rasteriser

# A segment counts at a threshold when its score is above it.
LCNN_THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.99, 0.995, 0.999, 0.9995, 0.9999)
HAWP_THRESHOLDS = tuple(step / 100 for step in range(100))
# Name → what it means, for tables and protocols.
SUMMARIES = {
    "pooled_sorted": "pixels of all images pooled, recalls and precisions sorted each by itself, "
    "as HAWP and L-CNN publish F^H",
    "pooled": "pixels of all images pooled, curve as it is",
    "per_image": "precision and recall averaged over images, as the Wireframe and TP-LSD papers",
}


def drawn(segments: np.ndarray, size: tuple[int, int], *, raster: str = "hawp", truth: bool = True):
    """Return segments (N, 4) as a map, bool (H, W).

    Args:
        segments: In pixels.
        size: (height, width).
        raster: Which program draws: "hawp" or "lcnn".
        truth: Whether they are true segments, which "lcnn" draws otherwise than predictions.
    """
    pixels = np.zeros(size[0] * size[1], bool)
    for inside in rasteriser(raster, truth=truth)(segments, size):
        pixels[inside] = True
    return pixels.reshape(size)


def heat_counts(
    case: Case,
    thresholds: Sequence[float] = HAWP_THRESHOLDS,
    *,
    raster: str = "hawp",
    radius: float = RADIUS,
) -> np.ndarray:
    """Return the counts of one image at each threshold.

    Args:
        case: The image.
        thresholds: On scores, in any order; a segment counts when its score is above.
        raster: Which program draws the segments.
        radius: Of the matching, as a share of the diagonal.

    Returns:
        int64 (T, 3): matched predicted pixels, other predicted pixels, true pixels.
    """
    truth = drawn(case.truth, case.size, raster=raster)
    matcher = PixelMatcher(truth, radius_of(case.size, radius))
    pixels = rasteriser(raster, truth=False)(case.found, case.size)
    counts = np.zeros((len(thresholds), 3), np.int64)
    counts[:, 2] = np.count_nonzero(truth)
    above = np.inf
    for place in np.argsort(-np.asarray(thresholds, np.float64), kind="stable"):
        threshold = thresholds[place]
        new = np.flatnonzero((case.scores > threshold) & (case.scores <= above))
        if len(new):
            matcher.add(np.concatenate([pixels[segment] for segment in new]))
        counts[place, :2] = matcher.pairs, matcher.found - matcher.pairs
        above = threshold
    return counts


def heat_curve(counts: np.ndarray, summary: str = "pooled_sorted") -> tuple[np.ndarray, np.ndarray]:
    """Return recall and precision at each threshold, from the highest threshold to the lowest.

    Args:
        counts: int (images, T, 3), of `heat_counts`, thresholds ascending.
        summary: One of `SUMMARIES`.

    Returns:
        float64 (T,) each, in 0..1; 0 where nothing was predicted, or nothing is true.
    """
    if summary not in SUMMARIES:
        raise ValueError(
            f"`summary` must be one of {tuple(SUMMARIES)}. Received: summary={summary!r}"
        )
    counts = np.asarray(counts)[:, ::-1]
    if summary == "per_image":
        hits, wrong, truth = np.moveaxis(counts, -1, 0)
        return share(hits, truth).mean(0), share(hits, hits + wrong).mean(0)
    hits, wrong, truth = counts.sum(0).T
    recall, precision = share(hits, truth), share(hits, hits + wrong)
    if summary == "pooled_sorted":
        recall, precision = np.sort(recall), np.sort(precision)[::-1]
    return recall, precision


def heat_scores(
    cases: Iterable[Case],
    thresholds: Sequence[float] = HAWP_THRESHOLDS,
    *,
    raster: str = "hawp",
    summaries: Sequence[str] = tuple(SUMMARIES),
) -> dict[str, float]:
    """Return "fh_<summary>" and "aph_<summary>" of each summary, in 0..1.

    Args:
        cases: Images; read once, so they may come one after another.
        thresholds: On scores.
        raster: Which program draws the segments.
        summaries: Which of `SUMMARIES`.

    Returns:
        NaN for all where no image has a true pixel.
    """
    ordered = sorted(thresholds)
    counts = np.array([heat_counts(case, ordered, raster=raster) for case in cases])
    return summarised(counts.reshape(-1, len(ordered), 3), summaries)


def summarised(counts: np.ndarray, summaries: Sequence[str] = tuple(SUMMARIES)) -> dict[str, float]:
    """Return `heat_scores` of counts (images, T, 3), thresholds ascending."""
    keys = [f"{kind}_{name}" for name in summaries for kind in ("fh", "aph")]
    if not counts[..., 2].sum():
        return dict.fromkeys(keys, float("nan"))
    found = {}
    for name in summaries:
        recall, precision = heat_curve(counts, name)
        found[f"fh_{name}"] = float(f_measure(recall, precision).max())
        found[f"aph_{name}"] = average_precision(recall, precision)
    return found
