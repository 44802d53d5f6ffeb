"""A data set of a simulated town, laid out as KITTI's: a map, and sequences that come back to it.

All poses are in one world, that of the map's first scan, so that a place of one sequence is looked
up in another. Every scan has a random generator of its own, keyed by the seed and its number.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from apps.bev_localization.data.kitti import CALIBRATION, SCANS, TIMES
from apps.bev_localization.data.records import SWEEP
from apps.bev_localization.data.scans import Trajectory
from apps.bev_localization.data.simulated import GENERATOR, RECORD
from apps.bev_localization.simulator.routes import SCENARIOS, SPEED, sampled, seen_again, tour
from apps.bev_localization.simulator.sensors import Scene, Sensor, sensor, sweep
from apps.bev_localization.simulator.town import build_town
from core.errors import UserError, no_such
from core.files import claim_folder, write_atomic, write_json

WHAT = "simulated LiDAR scans of a made-up town, not measurements"
VERSION = 1  # of the generator; another one makes other scans for the same seed
MAP = "00"  # the sequence that is mapped
# From the LiDAR (x forward, y left, z up) to the camera (x right, y down, z forward).
_CALIBRATION = np.array([
    [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, -1.0, -0.08], [1.0, 0.0, 0.0, -0.27], [0.0, 0.0, 0.0, 1.0],
])  # fmt: skip
_ROUTE, _MAP, _QUERIES, _PLACES = range(1, 5)  # keys of the generators


def simulate(
    folder: str | os.PathLike,
    *,
    scans: int = 72,
    queries: int = 40,
    scenarios: Sequence[str] = ("opposite",),
    blocks: int = 4,
    spacing: float = 5.0,
    lidar: str = "hdl32",
    columns: int | None = None,
    distortion: bool = False,
    seed: int = 0,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write a data set: `sequences/00`, the map, and a sequence for each scenario.

    The folder gets `sequences/<name>/velodyne/*.bin` with `calib.txt` and `times.txt`,
    `poses/<name>.txt`, and, last, `about.json` with all parameters. The fourth number of a point
    is the cosine of the incidence.

    Args:
        folder: New or empty.
        scans: Of the map, at most; a tour is driven at 8 m/s.
        queries: Of each scenario.
        scenarios: Names of `SCENARIOS`: how places are seen again.
        blocks: Of the town, to a side.
        spacing: Metres between the scans of the map.
        lidar: A name of `SENSORS`.
        columns: Directions of a turn; None: as many as the LiDAR has.
        distortion: Whether points are distorted by the sensor's motion during a turn; KITTI's are
            not. Poses are then those at the begin of each turn.
        seed: Same seed, same bytes.
        overwrite: Whether files of an earlier data set are replaced.
        progress: Called with the scans done and their number.

    Returns:
        What `about.json` holds.

    Raises:
        UserError: When a number is out of range, a name is unknown, the folder holds files or
            cannot be written, or open3d cannot be imported.
    """
    for value, low, high, what in (
        (scans, 2, 10**5, "scans of the map"),
        (queries, 1, 10**5, "queries of a scenario"),
        (blocks, 1, 50, "blocks to a side"),
        (spacing, 0.5, 100, "metres between scans"),
        (seed, 0, 2**32 - 1, "as seed"),
        (columns or 360, 8, 10**4, "columns"),
    ):
        if not low <= value <= high:
            raise UserError(f"Received {value} {what}; choose a number from {low} to {high}.")
    for name in scenarios:
        if name not in SCENARIOS:
            raise no_such("scenario", name, SCENARIOS)
    if len(set(scenarios)) < len(scenarios):
        raise UserError("A scenario is named twice; name each once.")
    own = sensor(lidar, columns=columns)
    town = build_town(blocks, seed=seed)
    scene = Scene(town.mesh)
    out = claim_folder(folder, overwrite=overwrite)
    (out / RECORD).unlink(missing_ok=True)
    length = scans * spacing
    route = tour(blocks, length, seed=int(np.random.default_rng((seed, _ROUTE)).integers(2**31)))
    mapped = sampled(route, scans, spacing)
    runs = {MAP: (scene, own, mapped)}
    later = None
    for number, name in enumerate(scenarios, 1):
        chosen = SCENARIOS[name]
        rng = np.random.default_rng((seed, _PLACES, number))
        there = seen_again(route, queries, chosen, rng, end=(len(mapped) - 1) * spacing)
        if chosen.next_day and later is None:
            later = Scene(build_town(blocks, seed=seed, day=1).mesh)
        other = sensor(chosen.sensor, columns=columns) if chosen.sensor else own
        around = later if chosen.next_day and later else scene
        runs[f"{number:02d}-{name}"] = (around, other, there)
    total, done = len(mapped) + queries * len(scenarios), 0
    world = np.linalg.inv(mapped.poses[0])
    for number, (name, (around, turning, path)) in enumerate(runs.items()):
        for frame in range(len(path)):
            rng = np.random.default_rng((seed, _MAP if name == MAP else _QUERIES, number, frame))
            poses = _in_turn(path.poses[frame], turning, moving=distortion)
            scan, remission = sweep(around, turning, poses, rng)
            points = np.column_stack([scan.points, remission]).astype("<f4")
            write_atomic(out / "sequences" / name / SCANS / f"{frame:06d}.bin", points.tobytes())
            done += 1
            if progress:
                progress(done, total)
        _describe(out, name, Trajectory(path.stamps, world @ path.poses))
    record = {
        "what": WHAT,
        "generator": GENERATOR,
        "version": VERSION,
        "map": MAP,
        "scans": len(mapped),
        "queries": queries,
        "scenarios": list(scenarios),
        "sequences": {name: SCENARIOS[name[3:]].summary if name != MAP else "the map"
                      for name in runs},
        "blocks": blocks,
        "spacing": spacing,
        "lidar": lidar,
        "columns": own.columns,
        "distortion": distortion,
        "seed": seed,
    }  # fmt: skip
    write_json(out / RECORD, record)
    return record


def _in_turn(pose: np.ndarray, turning: Sensor, *, moving: bool) -> np.ndarray:
    """Return the poses of a turn: one, or one a column of a sensor that drives straight on."""
    if not moving:
        return pose[None]
    poses = np.repeat(pose[None], turning.columns, axis=0)
    driven = SPEED * SWEEP * np.arange(turning.columns) / turning.columns
    poses[:, :3, 3] += driven[:, None] * pose[:3, 0]
    return poses


def _describe(out: Path, name: str, path: Trajectory) -> None:
    """Write times, calibration and poses of a sequence, the poses those of the camera."""
    folder = out / "sequences" / name
    cameras = _CALIBRATION @ path.poses @ np.linalg.inv(_CALIBRATION)
    identity = np.eye(3, 4)
    lines = [f"P{i}: {_row(identity)}" for i in range(4)] + [f"Tr: {_row(_CALIBRATION[:3])}"]
    write_atomic(folder / CALIBRATION, "".join(f"{line}\n" for line in lines))
    write_atomic(folder / TIMES, "".join(f"{stamp:.6e}\n" for stamp in path.stamps))
    rows = "".join(f"{_row(pose[:3])}\n" for pose in cameras)
    write_atomic(out / "poses" / f"{name}.txt", rows)


def _row(matrix: np.ndarray) -> str:
    return " ".join(f"{value:.9e}" for value in matrix.ravel())
