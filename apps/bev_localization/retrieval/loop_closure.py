"""Loop closures: has the sensor been here before? The usual curve of precision and recall.

The published code of BEVPlace++ holds no such evaluation. This is the field's usual form: a query
is compared with older frames only; its score is the negative distance of the nearest one; accepted
ones are true where they lie within a radius. A query with an older frame in the radius that is
rejected, or accepted with a wrong one, is missed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from apps.bev_localization.retrieval.search import squared_norms

GAP_FRAMES = 50
GAP_SECONDS = 30.0
RADII = (5.0, 10.0)  # metres
_TOGETHER = 512  # queries whose distances are held at a time


@dataclass(frozen=True)
class Loops:
    """The nearest older frame of every frame.

    Attributes:
        places: int64 (N,), -1 where no frame is old enough.
        distances: float32 (N,), between descriptors, infinite likewise.
    """

    places: np.ndarray
    distances: np.ndarray


@dataclass(frozen=True)
class LoopScores:
    """Precision and recall over all thresholds.

    Attributes:
        precision, recall: float64 (T,), at each distinct distance, the strictest first.
        thresholds: float32 (T,), the distances up to which a loop is accepted.
        average_precision: Area under the curve, summed in steps of the recall.
        max_f1: Largest harmonic mean of both.
        recall_at_full_precision: Largest recall without a false loop; 0 where the surest is false.
        revisits: Frames that have an older one in the radius; where there is none, all are NaN.
    """

    precision: np.ndarray
    recall: np.ndarray
    thresholds: np.ndarray
    average_precision: float
    max_f1: float
    recall_at_full_precision: float
    revisits: int


def oldest_allowed(
    frames: int,
    *,
    gap_frames: int = GAP_FRAMES,
    stamps: np.ndarray | None = None,
    gap_seconds: float = GAP_SECONDS,
) -> np.ndarray:
    """Return how many of the first frames each frame may be compared with, int64 (N,).

    Args:
        frames: N.
        gap_frames: A frame this many before is the newest that counts.
        stamps: Seconds (N,), ascending; where given, the gap is in time.
        gap_seconds: Likewise.
    """
    if stamps is None:
        return np.maximum(np.arange(frames) - gap_frames + 1, 0)
    stamps = np.asarray(stamps, np.float64)
    if len(stamps) != frames or np.any(np.diff(stamps) < 0):
        raise ValueError(f"`stamps` must be {frames} ascending times. Received: {len(stamps)}")
    return np.searchsorted(stamps, stamps - gap_seconds, side="right")


def find_loops(descriptors: np.ndarray, allowed: np.ndarray) -> Loops:
    """Return the nearest older frame of every frame by descriptor; of equals the older one.

    Args:
        descriptors: float32 (N, D), in the order of time.
        allowed: int64 (N,), of `oldest_allowed`.
    """
    descriptors = np.ascontiguousarray(descriptors, np.float32)
    norms = squared_norms(descriptors)
    places = np.full(len(descriptors), -1, np.int64)
    distances = np.full(len(descriptors), np.inf, np.float32)
    for start in range(0, len(descriptors), _TOGETHER):
        stop = min(start + _TOGETHER, len(descriptors))
        most = int(allowed[start:stop].max())
        if not most:
            continue
        scores = norms[:most] - 2 * (descriptors[start:stop] @ descriptors[:most].T)
        scores[np.arange(most)[None] >= allowed[start:stop, None]] = np.inf
        found = scores.argmin(axis=1)
        some = np.flatnonzero(allowed[start:stop] > 0)
        places[start + some] = found[some]
    some = np.flatnonzero(places >= 0)
    apart = descriptors[some] - descriptors[places[some]]
    distances[some] = np.sqrt(squared_norms(apart))
    return Loops(places, distances)


def loop_scores(
    loops: Loops, positions: np.ndarray, allowed: np.ndarray, *, radius: float = RADII[0]
) -> LoopScores:
    """Return the curve of loops against the truth.

    Args:
        loops: Of `find_loops`.
        positions: Metres (N, 2 or 3) of the frames.
        allowed: As given to `find_loops`.
        radius: Within which (strictly) a loop is true; papers take 5 or 10 m.
    """
    positions = np.asarray(positions, np.float64)
    possible = _revisits(positions, allowed, radius)
    asked = loops.places >= 0
    apart = np.full(len(positions), np.inf)
    apart[asked] = np.linalg.norm(positions[asked] - positions[loops.places[asked]], axis=1)
    order = np.argsort(loops.distances, kind="stable")[: np.count_nonzero(asked)]
    true = (apart < radius)[order]
    revisits = int(np.count_nonzero(possible))
    if not revisits:
        nothing = np.empty(0)
        return LoopScores(nothing, nothing, nothing, math.nan, math.nan, math.nan, 0)
    # Equal distances are accepted together.
    distances = loops.distances[order]
    last = np.append(np.flatnonzero(np.diff(distances) > 0), len(order) - 1)
    hits = np.cumsum(true)[last]
    precision, recall = hits / (last + 1), hits / revisits
    gained = np.diff(recall, prepend=0.0)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    return LoopScores(
        precision,
        recall,
        distances[last],
        float(np.sum(gained * precision)),
        float(f1.max()),
        float(recall[precision == 1].max(initial=0.0)),
        revisits,
    )


def _revisits(positions: np.ndarray, allowed: np.ndarray, radius: float) -> np.ndarray:
    """Return which frames have an allowed older one in the radius, bool (N,)."""
    from scipy.spatial import cKDTree

    near = cKDTree(positions).query_ball_point(positions, radius)
    found = np.zeros(len(positions), bool)
    for frame, others in enumerate(near):
        some = np.array([other for other in others if other < allowed[frame]], np.int64)
        apart = np.linalg.norm(positions[some] - positions[frame], axis=1)
        found[frame] = bool(np.any(apart < radius))
    return found
