"""Trajectories as text: rows of 12 numbers with or without stamps, quaternions, NCLT's angles."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from apps.bev_localization.data.scans import Trajectory, as_poses
from core.errors import UserError, not_found
from core.files import refuse_special

_FARTHEST = 1e9  # metres; coordinates of the Earth are far nearer
_ROTATION_SLACK = 1e-2  # by which a rotation's columns may miss length 1 and right angles
NANOSECOND, MICROSECOND = 1e-9, 1e-6


def read_numbers(path: Path, *columns: int, skip_text: bool = False) -> np.ndarray:
    """Return a text file of numbers as float64 (N, C); commas and blanks part them.

    Args:
        path: The file. Empty lines and those that begin with '#' are skipped.
        columns: How many numbers a row may have.
        skip_text: Whether a first line without numbers is a header.

    Raises:
        UserError: When it is missing, empty, or a row holds something else.
    """
    refuse_special(path)
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError as error:
        raise not_found(path) from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; check the path.") from error
    rows: list[list[float]] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.replace(",", " ").split()
        if not words or words[0].startswith("#"):
            continue
        try:
            row = [float(word) for word in words]
        except ValueError as error:
            if skip_text and not rows:
                continue
            raise UserError(
                f"{path}: line {number} holds '{line[:40]}', not numbers; repair or replace it."
            ) from error
        wanted = {len(rows[0])} if rows else set(columns)
        if len(row) not in wanted:
            expected = " or ".join(map(str, sorted(wanted)))
            raise UserError(
                f"{path}: line {number} has {len(row)} numbers; expected {expected}; it may be "
                "truncated or a file of another format."
            )
        rows.append(row)
    if not rows:
        raise UserError(f"{path}: holds no pose; copy it again.")
    return np.array(rows)


def read_pose_rows(path: Path) -> Trajectory:
    """Return the trajectory of a file of 12 numbers a row, or 13 with a stamp before them.

    Without stamps the frames are numbered. So are stored the poses of KITTI, of SemanticKITTI and
    of BEVPlace++'s BEV images (NCLT's with stamps).

    Raises:
        UserError: As `read_numbers`, and when a row holds no pose.
    """
    rows = read_numbers(path, 12, 13)
    stamps = rows[:, 0] if rows.shape[1] == 13 else np.arange(len(rows), dtype=np.float64)
    return checked(Trajectory(stamps, as_poses(rows[:, -12:])), path)


def read_tum(path: Path, unit: float = 1.0) -> Trajectory:
    """Return the trajectory of rows "stamp x y z qx qy qz qw", as HeLiPR and TUM store them.

    Args:
        path: The file.
        unit: Seconds of one step of the stamp.

    Raises:
        UserError: As `read_numbers`, and when a quaternion is none.
    """
    rows = read_numbers(path, 8)
    lengths = np.linalg.norm(rows[:, 4:], axis=1)
    wrong = np.flatnonzero(~(np.abs(lengths - 1) < _ROTATION_SLACK))
    if len(wrong):
        raise UserError(
            f"{path}: the quaternion of pose {wrong[0] + 1} has the length "
            f"{lengths[wrong[0]]:.3g}, not 1; expected rows of stamp x y z qx qy qz qw."
        )
    return checked(Trajectory(rows[:, 0] * unit, as_poses(rows[:, 1:])), path)


def read_stamped_rows(path: Path, unit: float) -> Trajectory:
    """Return the trajectory of rows "stamp, 12 numbers", as MulRan's global_pose.csv."""
    rows = read_numbers(path, 13)
    return checked(Trajectory(rows[:, 0] * unit, as_poses(rows[:, 1:])), path)


def read_nclt_truth(path: Path) -> Trajectory:
    """Return NCLT's ground truth, rows "utime, x, y, z, roll, pitch, yaw", with z up.

    The file's frame has z down, like the scans: both are turned about x. Rows with NaN, with which
    files begin, are left out.
    """
    from scipy.spatial.transform import Rotation

    rows = read_numbers(path, 7, skip_text=True)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if not len(rows):
        raise UserError(f"{path}: all its poses are NaN; download it again.")
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3, :3] = Rotation.from_euler("ZYX", rows[:, [6, 5, 4]]).as_matrix()
    poses[:, :3, 3] = rows[:, 1:4]
    turn = np.diag([1.0, -1.0, -1.0, 1.0])
    return checked(Trajectory(rows[:, 0] * MICROSECOND, turn @ poses @ turn), path)


def read_kitti_calibration(path: Path) -> np.ndarray:
    """Return `Tr` of a calib.txt, which brings the LiDAR's points to camera 0, (4, 4).

    Raises:
        UserError: When it is missing or not 12 numbers.
    """
    refuse_special(path)
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; put it there.") from error
    for line in lines:
        name, _, values = line.partition(":")
        if name.strip() not in ("Tr", "Tr_velo_cam", "Tr_velo_to_cam"):
            continue
        try:
            lidar = as_poses(np.array([values.split()], np.float64))
        except (ValueError, IndexError) as error:
            raise UserError(f"{path}: 'Tr' is not 12 numbers; copy the file again.") from error
        return checked(Trajectory(np.zeros(1), lidar), path, "'Tr'").poses[0]
    raise UserError(
        f"{path}: has no line 'Tr:', which leads from the LiDAR to the camera; take the calib.txt "
        "of the odometry data set."
    )


def pose_problem(poses: np.ndarray, what: str = "") -> str:
    """Return which of poses (N, 4, 4) is not rigid or farther away than anything, or ""."""
    turns = poses[:, :3, :3]
    with np.errstate(over="ignore", invalid="ignore"):
        off = np.abs(turns @ turns.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
    wrong = ~(off < _ROTATION_SLACK) | ~np.isfinite(poses).all(axis=(1, 2))
    wrong |= ~(np.linalg.det(np.where(np.isfinite(turns), turns, 0)) > 0)
    if wrong.any():
        named = what or f"pose {int(wrong.argmax()) + 1}"
        return f"{named} is no rotation with a translation"
    far = np.abs(poses[:, :3, 3]).max(axis=1)
    if far.max() > _FARTHEST:
        return f"{what or f'pose {int(far.argmax()) + 1}'} lies {far.max():.3g} m from the origin"
    return ""


def checked(trajectory: Trajectory, path: Path, what: str = "") -> Trajectory:
    """Return a trajectory of finite rigid poses, in the order of its stamps.

    Args:
        trajectory: As it was read.
        path: Of the file.
        what: Its only pose, for the error; "" numbers them.

    Raises:
        UserError: When a pose is not rigid or farther away than anything, or a stamp is no number.
    """
    if problem := pose_problem(trajectory.poses, what):
        raise UserError(f"{path}: {problem}; it may be damaged or a file of another format.")
    if not np.isfinite(trajectory.stamps).all():
        place = int(np.argmin(np.isfinite(trajectory.stamps))) + 1
        raise UserError(f"{path}: the time of pose {place} is no number; repair or replace it.")
    order = np.argsort(trajectory.stamps, kind="stable")
    stamps = trajectory.stamps[order]
    kept = np.append(True, np.diff(stamps) > 0)  # of rows that are repeated the first
    return Trajectory(stamps[kept], trajectory.poses[order][kept])
