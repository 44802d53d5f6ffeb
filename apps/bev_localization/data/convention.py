"""Do the poses of a sequence lead from the sensor to the world, or are they the wrong way round?

Nothing in a file of poses tells. But two scans a few metres apart must lie on each other by their
poses, better than by the inverse ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from apps.bev_localization.data.samples import (
    IMAGE,
    LAYOUT,
    POSE,
    scan_of,
    sequences,
    trajectory_of,
)
from apps.bev_localization.data.scans import Trajectory, transformed
from core.data.index import Sample
from core.errors import UserError

PAIRS = 5
_LEAST_MOVE, _MOST_MOVE = 2.0, 12.0  # metres between the scans of a pair
_CELL = 0.5  # metres
_LOWEST = 0.5  # metres above the lowest points: the ground lies on itself whatever the pose
_FARTHEST = 40.0  # metres; what is farther is seen by one of both only
_CLEARLY = 1.1  # times as much overlap
_LEAST = 0.1  # share of cells; less is chance, as where no headings are known


@dataclass(frozen=True)
class Convention:
    """How scans lie on each other.

    Attributes:
        given: Mean share of cells that scans have in common by the poses as they are.
        inverted: The same by the inverse poses.
        pairs: Scans that were compared; 0 where the sensor hardly moves.
    """

    given: float
    inverted: float
    pairs: int

    @property
    def is_inverted(self) -> bool:
        """Whether the poses are clearly the wrong way round."""
        return self.pairs > 0 and self.inverted > max(_CLEARLY * self.given, _LEAST)

    def problem(self, sequence: str) -> str:
        """Return what is wrong with a sequence's poses, or ""."""
        if not self.is_inverted:
            return ""
        return (
            f"The poses of '{sequence}' are the wrong way round: neighbouring scans have "
            f"{self.given:.0%} of their cells in common by them, {self.inverted:.0%} by their "
            "inverses; store poses that bring the sensor's points into the world."
        )


def pose_convention(samples: list[Sample], pairs: int = PAIRS) -> Convention:
    """Return how well the scans of a sequence lie on each other by its poses.

    Args:
        samples: Of one sequence, in the order of time, with poses.
        pairs: How many are compared, spread over the sequence.
    """
    trajectory = trajectory_of(samples)
    shares = []
    for first, second in _pairs(trajectory, pairs):
        one, other = (_walls(scan_of(samples[frame]).points) for frame in (first, second))
        shares.append([
            overlap(one, transformed(other, np.linalg.inv(poses[first]) @ poses[second]))
            for poses in (trajectory.poses, trajectory.inverted().poses)
        ])  # fmt: skip
    if not shares:
        return Convention(float("nan"), float("nan"), 0)
    given, inverted = np.mean(shares, axis=0)
    return Convention(float(given), float(inverted), len(shares))


def check_convention(samples: list[Sample], pairs: int = PAIRS) -> Convention:
    """Return `pose_convention`, and raise where the poses are the wrong way round.

    Raises:
        UserError: When scans lie on each other clearly better by the inverse poses.
    """
    found = pose_convention(samples, pairs)
    if problem := found.problem(samples[0].group):
        raise UserError(problem)
    return found


def problems_of_poses(samples: Sequence[Sample]) -> list[str]:
    """Return the sequences whose poses are the wrong way round, a sentence each."""
    problems = []
    for name, own in sequences(samples).items():
        if any(POSE not in one.extra or one.extra.get(LAYOUT) == IMAGE for one in own):
            continue
        try:
            problem = pose_convention(own).problem(name)
        except UserError:  # of a damaged scan, which is told where all are read
            continue
        problems += [problem] if problem else []
    return problems


def refuse_inverted(samples: Sequence[Sample]) -> None:
    """Refuse to learn from sequences whose poses are the wrong way round.

    Raises:
        UserError: Which names the first of them.
    """
    if problems := problems_of_poses(samples):
        raise UserError(problems[0])


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Return the share of the cells of 0.5 m of a cloud (N, 3) that another has too."""
    cells = [{tuple(cell) for cell in np.floor(points / _CELL).astype(np.int64).tolist()}
             for points in (one, other)]  # fmt: skip
    return len(cells[0] & cells[1]) / max(min(map(len, cells)), 1)


def _walls(points: np.ndarray) -> np.ndarray:
    """Return what stands on the ground and is not far."""
    near = points[np.abs(points[:, :2]).max(axis=1) < _FARTHEST]
    if not len(near):
        return near
    return near[near[:, 2] > np.percentile(near[:, 2], 5) + _LOWEST]


def _pairs(trajectory: Trajectory, count: int) -> list[tuple[int, int]]:
    """Return pairs of frames some metres apart, spread over a trajectory."""
    where, found = trajectory.positions, []
    starts = np.linspace(0, len(where) - 1, min(8 * count, len(where))).astype(int)
    for first in starts:
        apart = np.linalg.norm(where[first + 1 :] - where[first], axis=1)
        far = np.flatnonzero(apart >= _LEAST_MOVE)
        if len(far) and apart[far[0]] <= _MOST_MOVE:
            found.append((int(first), int(first + 1 + far[0])))
    picks = np.linspace(0, len(found) - 1, min(count, len(found))).astype(int)
    return [found[i] for i in picks]
