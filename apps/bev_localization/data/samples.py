"""What the samples of LiDAR data tell beyond their file, and how scan and pose are got from one.

A sample is a scan (or a ready image) of a sequence, its group. Its pose, where the data set has
one, is found while the index is made, so that what is wrong with a sequence is told at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from apps.bev_localization.data.clouds import SUFFIXES, read_cloud
from apps.bev_localization.data.records import read_records
from apps.bev_localization.data.scans import Scan, Trajectory, as_poses
from core.data.index import Sample
from core.errors import UserError

LAYOUT, POSE, STAMP = "layout", "pose", "stamp"  # keys of a sample's extra
IMAGE = "image"  # the layout of a BEV image that is ready
_TRAINED = 3000  # frames of KITTI 00 that published networks are trained on


def scan_of(sample: Sample) -> Scan:
    """Return the scan of a sample.

    Raises:
        UserError: When its file is damaged or holds another format, or it is an image.
    """
    (path, *_), layout = sample.inputs, sample.extra.get(LAYOUT, "")
    if layout == IMAGE:
        raise UserError(f"{path}: is a BEV image, not a scan; its points are not known.")
    stamp = sample.extra.get(STAMP)
    if path.suffix.lower() in SUFFIXES:
        return read_cloud(path, stamp=stamp)
    return read_records(path, layout or "kitti", stamp=stamp)


def pose_of(sample: Sample) -> np.ndarray | None:
    """Return the pose of the sensor in the world, float64 (4, 4), or None where it is not known."""
    row = sample.extra.get(POSE)
    return None if row is None else as_poses(np.array([row]))[0]


def sequences(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    """Return the samples by sequence, each in the order of its scans."""
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.group, []).append(sample)
    return found


def trajectory_of(samples: Sequence[Sample]) -> Trajectory:
    """Return the poses of samples, all of which must have one.

    Raises:
        UserError: When one has none.
    """
    without = next((sample for sample in samples if POSE not in sample.extra), None)
    if without is not None or not samples:
        name = without.id if without else "no sample"
        raise UserError(
            f"{name}: its pose is not known; give the sequence a file of poses, which a map needs."
        )
    stamps = [sample.extra.get(STAMP, frame) for frame, sample in enumerate(samples)]
    poses = as_poses(np.array([sample.extra[POSE] for sample in samples]))
    return Trajectory(np.array(stamps, np.float64), poses)


def scan_samples(
    files: Iterable[Path],
    sequence: str,
    layout: str,
    *,
    poses: np.ndarray | None = None,
    stamps: Sequence[float] | np.ndarray | None = None,
    splits: Mapping[int, str] | None = None,
    split: str = "",
) -> list[Sample]:
    """Return samples of the scans of a sequence.

    Args:
        files: In the order of time.
        sequence: Its name.
        layout: Of the files.
        poses: float64 (N, 4, 4), or None.
        stamps: Seconds, or None.
        splits: Frame → split, for those that are not of `split`.
        split: Of the sequence.
    """
    samples = []
    for frame, file in enumerate(files):
        extra: dict[str, object] = {LAYOUT: layout}
        if poses is not None:
            extra[POSE] = tuple(poses[frame, :3].ravel().tolist())
        if stamps is not None:
            extra[STAMP] = float(stamps[frame])
        own = split if splits is None else splits.get(frame, split)
        samples.append(
            Sample(f"{sequence}/{file.name}", (file,), group=sequence, split=own, extra=extra)
        )
    return samples


def kitti_split(sequence: str, frames: int) -> dict[int, str]:
    """Return the split of each frame of a KITTI sequence as published networks are trained."""
    if sequence != "00":
        return dict.fromkeys(range(frames), "test")
    return {frame: "train" if frame < _TRAINED else "test" for frame in range(frames)}


def counted(path: Path, scans: int, poses: int, what: str) -> None:
    """Raise where a sequence has not as many poses as scans."""
    if scans != poses:
        raise UserError(
            f"{path}: has {poses:,} poses, but there are {scans:,} {what}; take the file of this "
            "sequence, or put back the scans that are missing."
        )
