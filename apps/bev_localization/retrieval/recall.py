"""Recall at k of place recognition, by the protocols of KITTI, NCLT and the Oxford benchmark.

BEVPlace++ (L. Luo et al., IEEE T-RO 41, 2025), section V-B, and the published code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import UserError, no_such

RADIUS = 5.0  # metres within which two scans show the same place
OXFORD_RADIUS = 25.0
KS = (1, 5, 10, 20)
KITTI_SPLITS = {"00": 3000, "02": 3400, "05": 1000, "06": 600, "08": 1000}
KITTI_GAP = 200  # frames between database and queries
NCLT_DATABASE = "2012-01-15"
NCLT_QUERIES = ("2012-02-04", "2012-03-17", "2012-06-15", "2012-09-28", "2012-11-16", "2013-02-23")
SPACE, PLANE = (0, 1, 2), (0, 1)  # coordinates that count: KITTI and NCLT


@dataclass(frozen=True)
class Recall:
    """Recall at k over the queries that have a place to be found.

    Attributes:
        at: k → share of those queries with a true place among the first k; NaN where none has one.
        has_positive: bool (Q,).
        first_hit: int64 (Q,), rank of the first true place, from 1; 0 where none was found.
    """

    at: dict[int, float]
    has_positive: np.ndarray
    first_hit: np.ndarray

    @property
    def queries(self) -> int:
        """How many queries count."""
        return int(np.count_nonzero(self.has_positive))


def kitti_frames(sequence: str, frames: int, interval: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return the frames of KITTI's database and queries, int64, out of every `interval`-th.

    Args:
        sequence: "00", "02", "05", "06" or "08".
        frames: Of the sequence.
        interval: Takes every so manieth frame; split and gap shrink alike.

    Raises:
        UserError: For another sequence, or one that ends before its queries begin.
    """
    if sequence not in KITTI_SPLITS:
        raise no_such("sequence of KITTI's protocol", sequence, KITTI_SPLITS)
    return split_frames(frames, KITTI_SPLITS[sequence], KITTI_GAP, interval)


def split_frames(
    frames: int, split: int, gap: int, interval: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return database frames [0, split) and query frames [split + gap, frames), by an interval.

    Raises:
        UserError: When no query is left.
    """
    if min(frames, split, interval) < 1 or gap < 0:
        raise ValueError(
            "`frames`, `split` and `interval` must be positive, `gap` not negative. "
            f"Received: frames={frames}, split={split}, interval={interval}, gap={gap}"
        )
    taken = np.arange(0, frames, interval)
    end, start = split // interval, split // interval + gap // interval
    if not end or start >= len(taken):
        raise UserError(
            f"A sequence of {frames} frames ends before the queries of the protocol, which begin "
            f"at frame {split + gap}; take a longer sequence or another split."
        )
    return taken[:end], taken[start:]


def one_percent(places: int) -> int:
    """Return the k of the Oxford benchmark's recall at 1 %: a hundredth of the places, at least 1.

    M. A. Uy, G. H. Lee, "PointNetVLAD", CVPR 2018.
    """
    return max(round(places / 100), 1)


def positions(poses: np.ndarray) -> np.ndarray:
    """Return the positions (N, 3) of poses (N, 4, 4), (N, 3, 4) or (N, 12)."""
    return np.asarray(poses, np.float64).reshape(len(poses), -1)[:, [3, 7, 11]]


def recall_at(
    ranked: np.ndarray,
    queries: np.ndarray,
    database: np.ndarray,
    *,
    radius: float = RADIUS,
    inclusive: bool = False,
    ks: Sequence[int] = KS,
) -> Recall:
    """Return recall at k of a ranking.

    Args:
        ranked: int (Q, at least max(ks) or all of the database), places nearest first.
        queries, database: Positions in metres (Q, 2 or 3) and (N, 2 or 3): as many coordinates as
            the protocol counts (3 on KITTI, 2 on NCLT and in version 1 of BEVPlace).
        radius: Of a true place.
        inclusive: Whether a distance of exactly the radius is one (version 1 of BEVPlace).
        ks: Ranks that are told.
    """
    from scipy.spatial import cKDTree

    ranked, queries, database = np.asarray(ranked), np.asarray(queries), np.asarray(database)
    if len(ranked) != len(queries) or ranked.shape[1] < min(max(ks), len(database)):
        raise ValueError(
            "`ranked` must hold the first max(ks) places of every query. "
            f"Received: shape={ranked.shape} for {len(queries)} queries and ks={tuple(ks)}"
        )
    nearest = cKDTree(database).query(queries)[0]
    apart = np.linalg.norm(database[ranked] - queries[:, None], axis=-1)
    inside = np.less_equal if inclusive else np.less
    true, has = inside(apart, radius), inside(nearest, radius)
    hits = np.where(true.any(axis=1), true.argmax(axis=1) + 1, 0)
    counted = hits[has]
    at = {
        k: float(np.mean((counted > 0) & (counted <= k))) if len(counted) else float("nan")
        for k in ks
    }
    return Recall(at, has, hits.astype(np.int64))
