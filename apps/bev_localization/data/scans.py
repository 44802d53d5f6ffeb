"""A LiDAR scan and a trajectory: what every format becomes, and every algorithm takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scan:
    """One turn of a LiDAR, in its own frame: x forward, y left, z up.

    Attributes:
        points: float32 (N, 3) in metres, all finite.
        times: float32 (N,), seconds since the scan began, or None where the format has none.
        stamp: Seconds, or None.
        source: Where it comes from: a path.
        dropped: Points that were NaN, infinite or (0, 0, 0), which is how sensors write no return.
    """

    points: np.ndarray
    times: np.ndarray | None = None
    stamp: float | None = None
    source: str = ""
    dropped: int = 0


def make_scan(
    points: np.ndarray,
    times: np.ndarray | None = None,
    *,
    stamp: float | None = None,
    source: str = "",
) -> Scan:
    """Return a scan of the points that are returns.

    Args:
        points: (N, 3) in metres.
        times: (N,) in seconds, or None.
        stamp, source: As of `Scan`.
    """
    points = np.ascontiguousarray(points, np.float32)
    x, y, z = points.T
    with np.errstate(over="ignore", invalid="ignore"):
        returned = np.isfinite(x + y + z) & ((x != 0) | (y != 0) | (z != 0))
    lost = int(np.count_nonzero(~returned))
    if lost:
        points, times = points[returned], None if times is None else times[returned]
    kept = None if times is None else np.ascontiguousarray(times, np.float32)
    return Scan(points, kept, stamp, source, lost)


@dataclass(frozen=True)
class Trajectory:
    """Poses of the LiDAR over time.

    Attributes:
        stamps: float64 (N,), seconds, or frame numbers where there are no times.
        poses: float64 (N, 4, 4), which bring points of the sensor into the world.
    """

    stamps: np.ndarray
    poses: np.ndarray

    def __post_init__(self):
        if self.poses.shape != (len(self.stamps), 4, 4):
            raise ValueError(
                "`poses` must be (N, 4, 4) for N stamps. "
                f"Received: {self.poses.shape} for {len(self.stamps)} stamps"
            )

    def __len__(self) -> int:
        return len(self.stamps)

    @property
    def positions(self) -> np.ndarray:
        """Return where the sensor was, float64 (N, 3)."""
        return self.poses[:, :3, 3]

    def at(self, stamps: np.ndarray) -> Trajectory:
        """Return the poses at other times, each between its two neighbours.

        Positions are interpolated linearly, rotations along the shortest turn. Times outside
        get the first or the last pose.

        Args:
            stamps: float64 (M,). The trajectory's own must ascend.
        """
        from scipy.spatial.transform import Rotation, Slerp

        stamps = np.asarray(stamps, np.float64)
        if len(self) == 1:
            return Trajectory(stamps, np.repeat(self.poses, len(stamps), axis=0))
        asked = np.clip(stamps, self.stamps[0], self.stamps[-1])
        poses = np.tile(np.eye(4), (len(stamps), 1, 1))
        poses[:, :3, :3] = Slerp(self.stamps, Rotation.from_matrix(self.poses[:, :3, :3]))(
            asked
        ).as_matrix()
        for axis in range(3):
            poses[:, axis, 3] = np.interp(asked, self.stamps, self.positions[:, axis])
        return Trajectory(stamps, poses)

    def inverted(self) -> Trajectory:
        """Return the poses the other way round, from the world to the sensor."""
        return Trajectory(self.stamps, np.linalg.inv(self.poses))

    def from_first(self) -> Trajectory:
        """Return the poses in the frame of the first one, which becomes the identity."""
        return Trajectory(self.stamps, np.linalg.inv(self.poses[0]) @ self.poses)


def as_poses(rows: np.ndarray) -> np.ndarray:
    """Return rows of 12 numbers, or of positions and quaternions, as float64 (N, 4, 4).

    Args:
        rows: (N, 12), the first three rows of each matrix; or (N, 7): x, y, z, qx, qy, qz, qw.
    """
    rows = np.asarray(rows, np.float64)
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    if rows.shape[1] == 12:
        poses[:, :3] = rows.reshape(-1, 3, 4)
        return poses
    from scipy.spatial.transform import Rotation

    poses[:, :3, 3] = rows[:, :3]
    poses[:, :3, :3] = Rotation.from_quat(rows[:, 3:]).as_matrix()
    return poses


def transformed(points: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Return points (N, 3) brought by a pose (4, 4), float64."""
    return np.asarray(points, np.float64) @ pose[:3, :3].T + pose[:3, 3]
