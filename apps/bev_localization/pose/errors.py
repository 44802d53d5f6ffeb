"""How far estimated poses are from the truth, and how many succeed (BEVPlace++, section V).

The published script prints the mean translation error under the name of the rotation error and
the other way round; here each stands under its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from apps.bev_localization.pose.rigid import as_square, heading

SUCCESS_METRES, SUCCESS_DEGREES = 2.0, 5.0


def planar(pose: np.ndarray) -> np.ndarray:
    """Return what of a pose lies in the plane, float64 (3, 3).

    Args:
        pose: (4, 4), (3, 4) or its 12 numbers, row by row. The rotation's upper left corner is
            taken as it is, as the protocol does.
    """
    rows = np.asarray(pose, np.float64).reshape(-1, 4)[:2]
    return np.vstack([rows[:, [0, 1, 3]], [0.0, 0.0, 1.0]])


def relative_truth(query: np.ndarray, database: np.ndarray) -> np.ndarray:
    """Return the true transform from a query's frame to that of a scan of the map, (3, 3).

    Args:
        query, database: Poses as of `planar`, of the sensor in the world.
    """
    full = [np.vstack([np.asarray(p, np.float64).reshape(-1, 4)[:3], [0, 0, 0, 1]])
            for p in (query, database)]  # fmt: skip
    return planar(np.linalg.inv(full[1]) @ full[0])


def pose_error(transform: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Return the error of a transform in metres and degrees, both at least 0.

    Args:
        transform: (2, 3) or (3, 3), estimated.
        truth: (3, 3).
    """
    wrong = np.linalg.inv(as_square(transform)) @ truth
    return math.hypot(wrong[0, 2], wrong[1, 2]), abs(heading(wrong))


@dataclass(frozen=True)
class PoseScores:
    """The success of many poses.

    Attributes:
        queries: How many had a place to be found.
        rate: Share of them within 2 m and 5 degrees; NaN where there is none.
        mean_metres, mean_degrees: Of the successful ones; NaN where there is none.
        median_metres, median_degrees: Likewise.
    """

    queries: int
    rate: float
    mean_metres: float
    mean_degrees: float
    median_metres: float
    median_degrees: float


def succeeds(metres, degrees):
    """Return whether errors are of a success: below 2 m and below 5 degrees."""
    return (np.asarray(metres) < SUCCESS_METRES) & (np.asarray(degrees) < SUCCESS_DEGREES)


def pose_scores(errors: Sequence[tuple[float, float] | None]) -> PoseScores:
    """Return the scores of the errors of all queries that had a place to be found.

    Args:
        errors: (metres, degrees) of each, None for those without any pose; a pose against a wrong
            place counts like any other.
    """
    table = np.array([(math.inf, math.inf) if e is None else e for e in errors]).reshape(-1, 2)
    good = table[succeeds(table[:, 0], table[:, 1])]
    if not len(good):
        rate = 0.0 if len(table) else math.nan
        return PoseScores(len(table), rate, math.nan, math.nan, math.nan, math.nan)
    means, medians = good.mean(axis=0), np.median(good, axis=0)
    return PoseScores(len(table), len(good) / len(table), *map(float, means), *map(float, medians))
