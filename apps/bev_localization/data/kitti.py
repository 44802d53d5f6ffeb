"""KITTI odometry, and SemanticKITTI's poses of it.

A. Geiger, P. Lenz, R. Urtasun, "Are we ready for autonomous driving? The KITTI vision benchmark
suite", CVPR 2012; J. Behley et al., "SemanticKITTI", ICCV 2019. `sequences/00/velodyne/000000.bin`,
`calib.txt` and `times.txt`, `poses/00.txt` of camera 0. The pose of the LiDAR is inv(Tr) P Tr.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from apps.bev_localization.data import pose_files
from apps.bev_localization.data.samples import counted, kitti_split, scan_samples
from core.data.folders import find_files, folders, subfolder
from core.data.index import Index, make_index
from core.data.readers import Reader
from core.errors import UserError

SCANS, CALIBRATION, TIMES = "velodyne", "calib.txt", "times.txt"


def _sequences(path: Path) -> list[Path]:
    """Return the folders of sequences, wherever in the data set the user points to."""
    if subfolder(path, SCANS):
        return [path]
    around = next((f for p in (path, path / "dataset") if (f := subfolder(p, "sequences"))), path)
    return [folder for folder in folders(around) if subfolder(folder, SCANS)]


def _pose_files(sequence: Path, *, slam_first: bool) -> Iterator[Path]:
    """Yield where the poses of a sequence may lie, SemanticKITTI's own first or last."""
    own, name = sequence / "poses.txt", f"{sequence.name}.txt"
    if slam_first:
        yield own
    yield sequence.parent.parent / "poses" / name
    yield sequence.parent / "poses" / name
    if not slam_first:
        yield own


def read_kitti(path: Path, *, slam_first: bool = False) -> Index:
    """Return the index of a data set, or of a sequence, in KITTI's layout.

    Args:
        path: Its folder.
        slam_first: Whether SemanticKITTI's poses are taken before KITTI's.

    Raises:
        UserError: When scans, poses and times are not equally many, or a file is damaged.
    """
    samples, without = [], []
    for folder in _sequences(path):
        files = find_files(folder / SCANS, "scan", (".bin",))
        truth = next((f for f in _pose_files(folder, slam_first=slam_first) if f.is_file()), None)
        poses = None
        if truth is None:
            without.append(folder.name)
        else:
            cameras = pose_files.read_pose_rows(truth).poses
            counted(truth, len(files), len(cameras), "scans")
            lidar = pose_files.read_kitti_calibration(folder / CALIBRATION)
            poses = np.linalg.inv(lidar) @ cameras @ lidar
        stamps = _times(folder, len(files))
        samples += scan_samples(
            files, folder.name, "kitti", poses=poses, stamps=stamps,
            splits=kitti_split(folder.name, len(files)),
        )  # fmt: skip
    notes = ["Train: the first 3,000 frames of sequence 00, as the published networks; test: all "
             "others."]  # fmt: skip
    if without:
        notes.append(f"Without poses: {', '.join(without)}; they can be localized, not scored.")
    return make_index("semantickitti" if slam_first else "kitti", path, samples, notes=notes)


def _times(folder: Path, scans: int) -> np.ndarray | None:
    file = folder / TIMES
    if not file.is_file():
        return None
    times = pose_files.read_numbers(file, 1)[:, 0]
    if len(times) != scans:
        raise UserError(
            f"{file}: has {len(times):,} times, but there are {scans:,} scans; copy the sequence "
            "again."
        )
    return times


READERS = (
    Reader(
        "kitti",
        "KITTI odometry: sequences/00/velodyne/*.bin, calib.txt, poses/00.txt",
        lambda path: path.is_dir() and bool(_sequences(path)),
        read_kitti,
        "CC BY-NC-SA 3.0",
    ),
    Reader(
        "semantickitti",
        "KITTI odometry with SemanticKITTI's sequences/00/poses.txt",
        lambda path: False,  # its folders are KITTI's; it is chosen by name
        partial(read_kitti, slam_first=True),
        "CC BY-NC-SA 4.0 (SemanticKITTI), CC BY-NC-SA 3.0 (KITTI)",
    ),
)
