"""Data sets whose scans and poses are matched by their time: NCLT, MulRan, HeLiPR, Oxford.

N. Carlevaris-Bianco et al., "University of Michigan North Campus long-term vision and LIDAR data
set", IJRR 2016; G. Kim et al., "MulRan", ICRA 2020; M. Jung et al., "HeLiPR", IJRR 2024; M. A. Uy,
G. H. Lee, "PointNetVLAD", CVPR 2018 (the Oxford benchmark).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from apps.bev_localization.data import pose_files
from apps.bev_localization.data.samples import scan_samples
from apps.bev_localization.data.scans import Trajectory
from core.data.folders import find_files, folders, subfolder
from core.data.index import Index, Sample, make_index
from core.data.readers import Reader
from core.errors import UserError

SLACK = 0.5  # seconds by which a scan may lie before the first or after the last pose
# MulRan: where the Ouster stands on the base, metres and degrees (roll, pitch, yaw).
_OUSTER_AT, _OUSTER_TURNED = (1.7042, -0.021, 1.8047), (0.0001, 0.0003, 179.6654)
_ENDINGS = (".bin", ".ply")  # HeLiPR comes in both
_MULRAN_TRUTH = "global_pose.csv"
_HELIPR_LAYOUTS = {
    "ouster": "helipr-ouster", "velodyne": "helipr-velodyne", "avia": "helipr-avia",
    "aeva": "helipr-aeva",
}  # fmt: skip
_OXFORD_SCANS = "pointcloud_20m_10overlap"

Found = list[tuple[str, Path, str, Path, Callable[[Path], Trajectory], float]]


def _stamp(file: Path, unit: float) -> float:
    try:
        return int(file.stem) * unit
    except ValueError as error:
        raise UserError(
            f"{file}: its name is no time; expected the stamp of the scan, as in the data set."
        ) from error


def _matched(
    files: Iterable[Path], sequence: str, layout: str, truth: Path,
    read: Callable[[Path], Trajectory], unit: float,
) -> tuple[list[Sample], int]:  # fmt: skip
    """Return samples of the scans within the trajectory, and how many lie outside."""
    files = list(files)
    stamps = np.array([_stamp(file, unit) for file in files])
    trajectory = read(truth)
    inside = (stamps > trajectory.stamps[0] - SLACK) & (stamps < trajectory.stamps[-1] + SLACK)
    if not inside.any():
        begin, end = trajectory.stamps[[0, -1]]
        raise UserError(
            f"{truth}: tells of the times {begin:.0f} to {end:.0f} s, the scans of '{sequence}' of "
            f"{stamps[0]:.0f} to {stamps[-1]:.0f} s; take the poses of this sequence."
        )
    kept = [file for file, one in zip(files, inside, strict=True) if one]
    poses = trajectory.at(stamps[inside]).poses
    made = scan_samples(kept, sequence, layout, poses=poses, stamps=stamps[inside])
    return made, int(np.count_nonzero(~inside))


def _read(path: Path, name: str, found: Found, notes: Iterable[str] = ()) -> Index:
    samples: list[Sample] = []
    outside = 0
    for sequence, folder, layout, truth, read, unit in found:
        files = find_files(folder, "scan", _ENDINGS)
        made, left = _matched(files, sequence, layout, truth, read, unit)
        samples += made
        outside += left
    told = [*notes]
    if outside:
        told.append(f"{outside} scan(s) before the first or after the last pose are left out.")
    return make_index(name, path, samples, notes=told)


def _around(path: Path) -> list[Path]:
    """Return the folder itself and those in it: a sequence or many."""
    return [path, *folders(path)]


def _nclt(path: Path) -> Found:
    found: Found = []
    for day in _around(path):
        scans = next(
            (f for p in (day, day / "velodyne_data", day / f"{day.name}_vel")
             if (f := subfolder(p, "velodyne_sync"))), None,
        )  # fmt: skip
        if scans is None:
            continue
        name = f"groundtruth_{day.name}.csv"
        places = (day / name, day.parent / name, day.parent / "ground_truth" / name)
        truth = next((file for file in places if os.path.isfile(file)), places[0])
        found.append((day.name, scans, "nclt", truth, pose_files.read_nclt_truth, 1e-6))
    return found


def _mulran_truth(file: Path) -> Trajectory:
    from scipy.spatial.transform import Rotation

    ouster = np.eye(4)
    ouster[:3, :3] = Rotation.from_euler("xyz", _OUSTER_TURNED, degrees=True).as_matrix()
    ouster[:3, 3] = _OUSTER_AT
    base = pose_files.read_stamped_rows(file, pose_files.NANOSECOND)
    return Trajectory(base.stamps, base.poses @ ouster)


def _mulran(path: Path) -> Found:
    found: Found = []
    for folder in _around(path):
        inside = subfolder(folder, "sensor_data")
        scans = next((f for p in (inside, folder) if p and (f := subfolder(p, "Ouster"))), None)
        places = [p / _MULRAN_TRUTH for p in (folder, inside) if p]
        truth = next((file for file in places if file.is_file()), None)
        if scans and truth:
            found.append((folder.name, scans, "mulran", truth, _mulran_truth, 1e-9))
    return found


def _helipr(path: Path) -> Found:
    found: Found = []
    for folder in _around(path):
        scans, truths = subfolder(folder, "LiDAR"), subfolder(folder, "LiDAR_GT")
        if not scans or not truths:
            continue
        for sensor in folders(scans):
            layout = _HELIPR_LAYOUTS.get(sensor.name.lower())
            truth = truths / f"global_{sensor.name}_gt.txt"
            if layout and os.path.isfile(truth):
                name = f"{folder.name}-{sensor.name}"
                found.append((name, sensor, _older(layout, sensor), truth, _helipr_truth, 1e-9))
    return found


def _older(layout: str, folder: Path) -> str:
    """Return the layout without the last field where the size of the first file says so."""
    if layout != "helipr-aeva":
        return layout
    from apps.bev_localization.data.records import LAYOUTS

    first = find_files(folder, "scan", _ENDINGS)[0]
    if first.suffix.lower() != ".bin":
        return layout
    try:
        size = first.stat().st_size
    except OSError:  # whoever reads it says what is wrong
        return layout
    older = f"{layout}-older"
    fits = [name for name in (layout, older) if not size % LAYOUTS[name].record.itemsize]
    return fits[0] if fits else layout


def _helipr_truth(file: Path) -> Trajectory:
    return pose_files.read_tum(file, pose_files.NANOSECOND)


def _oxford(path: Path) -> Found:
    found: Found = []
    for folder in _around(path):
        scans = subfolder(folder, _OXFORD_SCANS, "pointcloud_25m_25", "pointcloud_25m_10")
        if scans is None:
            continue
        name = scans.name.removeprefix("pointcloud")
        truth = folder / f"pointcloud_locations{name}.csv"
        found.append((folder.name, scans, "oxford", truth, _oxford_truth, 1e-6))
    return found


def _oxford_truth(file: Path) -> Trajectory:
    """Return the positions of submaps, x east and y north; their headings are not known."""
    rows = pose_files.read_numbers(file, 3, skip_text=True)
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :2, 3] = rows[:, [2, 1]]
    return pose_files.checked(Trajectory(rows[:, 0] * pose_files.MICROSECOND, poses), file)


def _reader(name: str, summary: str, find: Callable[[Path], Found], licence: str, *notes: str):
    def read(path: Path) -> Index:
        return _read(path, name, find(path), notes)

    return Reader(name, summary, lambda path: path.is_dir() and bool(find(path)), read, licence)


READERS = (
    _reader(
        "nclt", "NCLT: <date>/velodyne_sync/<µs>.bin, groundtruth_<date>.csv", _nclt, "ODbL",
        "y and z of scans and poses are turned, so that z points up.",
    ),
    _reader(
        "mulran", "MulRan: <sequence>/Ouster/<ns>.bin, global_pose.csv", _mulran,
        "CC BY-NC-SA 4.0",
    ),
    _reader(
        "helipr",
        "HeLiPR: <sequence>/LiDAR/<sensor>/<ns>.bin (or .ply), LiDAR_GT/global_<sensor>_gt.txt",
        _helipr,
        "CC BY-NC-SA 4.0",
    ),
    _reader(
        "oxford-benchmark",
        "Oxford benchmark: <run>/pointcloud_20m_10overlap/<µs>.bin, pointcloud_locations_….csv",
        _oxford, "by request",
        "Submaps are stored in -1..1 and read as 40 m a unit; their headings are not known.",
    ),
)  # fmt: skip
