"""Scores of detections on a data set: F^H and AP^H in a named variant, sAP, F at thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from apps.line_segments.detections import Detections
from apps.line_segments.metrics.cases import Case
from apps.line_segments.metrics.heatmap import (
    HAWP_THRESHOLDS,
    LCNN_THRESHOLDS,
    SUMMARIES,
    heat_counts,
    heat_curve,
    summarised,
)
from apps.line_segments.metrics.matching import RADIUS
from apps.line_segments.metrics.merging import merged
from core.errors import one_of
from core.task import Scores

HEADLINE = "pooled"  # the summary that F^H means where nothing else is said
QUICK_THRESHOLDS = tuple(step / 20 for step in range(8, 20))  # while a network is trained
SHOWN = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # thresholds of the table
_QUANTILES = 100


@dataclass(frozen=True)
class Protocol:
    """How F^H is measured.

    Attributes:
        raster: Which program draws segments as pixels.
        thresholds: Of scores in 0..1, ascending.
        program: Whose thresholds they are, in words.
        merges: Whether segments that a surer one told are taken out first (†).
    """

    raster: str
    thresholds: tuple[float, ...]
    program: str
    merges: bool = False


PROTOCOLS = {
    "hawp": Protocol("hawp", HAWP_THRESHOLDS, "HAWP's"),
    "lcnn": Protocol("lcnn", LCNN_THRESHOLDS, "L-CNN's"),
    "lcnn_merged": Protocol("lcnn", LCNN_THRESHOLDS, "L-CNN's", merges=True),
}


@dataclass(frozen=True)
class Curve:
    """Precision and recall at each threshold, pixels of all images pooled.

    Attributes:
        thresholds: float64 (T,), ascending.
        recall, precision: float64 (T,), in 0..1.
    """

    thresholds: np.ndarray
    recall: np.ndarray
    precision: np.ndarray

    @property
    def f(self) -> np.ndarray:
        """F at each threshold, float64 (T,), in 0..1."""
        from apps.line_segments.metrics.curves import f_measure

        return f_measure(self.recall, self.precision)

    @property
    def best_threshold(self) -> float:
        """The threshold of the highest F."""
        return float(self.thresholds[self.f.argmax()])

    def at(self, threshold: float) -> dict[str, float]:
        """Return a row of the table: of the highest threshold that is not above this one."""
        place = max(0, int(np.searchsorted(self.thresholds, threshold + 1e-9)) - 1)
        return {
            "threshold": threshold,
            "recall": float(self.recall[place]),
            "precision": float(self.precision[place]),
            "fh": float(self.f[place]),
        }


def protocol_named(name: Any) -> Protocol:
    """Return a protocol; a `UserError` names the known ones."""
    one_of(name, PROTOCOLS, "protocol")
    return PROTOCOLS[name]


def case_of(found: Detections, truth: np.ndarray) -> Case:
    """Return what metrics compare: detections and true segments (N, 4) of one image."""
    return Case(found.segments, found.scores, truth, found.size)


def thresholds_for(cases: Sequence[Case], protocol: Protocol) -> tuple[float, ...]:
    """Return the thresholds of a protocol, or quantiles of scores that do not lie in 0..1.

    Classical LSD's scores are -log10 NFA, of any size: 100 of their quantiles stand for the
    thresholds, below the first of which all are taken.
    """
    scores = np.concatenate([case.scores for case in cases]) if cases else np.zeros(0)
    if not scores.size or (scores.min() >= 0 and scores.max() <= 1):
        return protocol.thresholds
    found = np.quantile(scores, np.arange(1, _QUANTILES) / _QUANTILES)
    return (-np.inf, *np.unique(found).tolist())


def line_scores(
    named: Sequence[tuple[str, Case]], protocol: str = "hawp", *, quick: bool = False
) -> Scores:
    """Return the scores of detections; `details` is a `Curve`.

    Args:
        named: (id, case) of each image.
        protocol: One of `PROTOCOLS`.
        quick: F^H and AP^H alone, at twelve thresholds.
    """
    from apps.line_segments.metrics.structural import structural_scores

    chosen = protocol_named(protocol)
    if chosen.merges:
        named = [(name, merged(case, RADIUS)) for name, case in named]
    cases = [case for _, case in named]
    thresholds = thresholds_for(cases, chosen)
    regular = thresholds == chosen.thresholds
    if quick and regular:
        thresholds = QUICK_THRESHOLDS
    counts = np.array([heat_counts(case, thresholds, raster=chosen.raster) for case in cases])
    counts = counts.reshape(-1, len(thresholds), 3)
    found = summarised(counts)
    summary = {"fh": found[f"fh_{HEADLINE}"], "aph": found[f"aph_{HEADLINE}"]}
    recall, precision = (values[::-1] for values in heat_curve(counts, "pooled"))
    curve = Curve(np.array(thresholds), recall, precision)
    words = _in_words(chosen, thresholds, regular)
    if quick:
        return Scores({**summary, "samples": len(cases)}, [], words, details=curve)
    summary |= structural_scores(cases)
    tables: dict[str, list[dict[str, Any]]] = {
        "variants": [
            {"variant": name, "fh": found[f"fh_{name}"], "aph": found[f"aph_{name}"]}
            for name in SUMMARIES
        ],
    }
    if regular:
        shown = [threshold for threshold in SHOWN if threshold >= thresholds[0]]
        tables["by_threshold"] = [curve.at(threshold) for threshold in shown]
    best = int(curve.f.argmax())
    rows = [
        {
            "id": name,
            "true_segments": len(case.truth),
            "found_segments": int(np.count_nonzero(case.scores > thresholds[best])),
            **_at_best(counts[place, best]),
        }
        for place, (name, case) in enumerate(named)
    ]
    return Scores({**summary, "samples": len(cases)}, rows, words, tables, curve)


def _at_best(counts: np.ndarray) -> dict[str, float]:
    """Return recall, precision and F of one image's counts."""
    hits, wrong, truth = (float(count) for count in counts)
    recall = hits / truth if truth else float("nan")
    precision = hits / (hits + wrong) if hits + wrong else float("nan")
    return {"recall": recall, "precision": precision, "fh": 2 * hits / (hits + wrong + truth)
            if hits + wrong + truth else float("nan")}  # fmt: skip


def _in_words(protocol: Protocol, thresholds: Sequence[float], regular: bool) -> str:
    which = f"{len(thresholds)} quantiles of the scores as thresholds"
    if regular:
        which = f"{len(thresholds)} thresholds"
        if len(thresholds) == len(protocol.thresholds):
            which = f"{protocol.program} {which}"
    merging = f"merging (†) within {RADIUS:g}" if protocol.merges else "no merging"
    return (
        f"F^H and AP^H: pixels drawn as {protocol.program} program does, matched one to one within "
        f"{RADIUS:g} of the diagonal, {SUMMARIES[HEADLINE]}, {which}, {merging} of segments; sAP "
        "at 128x128, predictions sorted by score; rows of an image at the best threshold of all"
    )
