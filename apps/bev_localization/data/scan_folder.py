"""A user's own scans: a folder of .pcd, .ply or KITTI-like .bin files, with poses or without."""

from __future__ import annotations

from pathlib import Path

from apps.bev_localization.data.clouds import SUFFIXES
from apps.bev_localization.data.pose_files import read_pose_rows
from apps.bev_localization.data.samples import counted, scan_samples
from core.data.folders import find_files, first_names
from core.data.index import Index, make_index
from core.data.readers import Reader

ENDINGS = (*SUFFIXES, ".bin")
POSES = "poses.txt"
OWN = "scans"  # the format's name


def _read(path: Path) -> Index:
    files = [path] if path.is_file() else find_files(path, "scan", ENDINGS)
    folder = path.parent if path.is_file() else path
    truth = folder / POSES
    poses, notes = None, []
    if path.is_dir() and truth.is_file():
        trajectory = read_pose_rows(truth)
        counted(truth, len(files), len(trajectory), "scans")
        poses = trajectory.poses
    else:
        notes.append(
            f"Scans without poses; a file '{POSES}' beside them tells them, 12 numbers a scan."
        )
    samples = scan_samples(files, folder.name or "scans", "kitti", poses=poses)
    return make_index(OWN, path, samples, notes=notes)


def _recognises(path: Path) -> bool:
    if path.is_file():
        return path.suffix.lower() in ENDINGS
    return any(True for _ in first_names(path, ENDINGS, 1))


READERS = (
    Reader(
        OWN,
        "a folder of scans (.pcd, .ply, or .bin as KITTI's), and poses.txt of 12 numbers a scan",
        _recognises,
        _read,
    ),
)
