"""LiDARs that turn, and what they measure in a mesh. Rays are cast by Open3D, imported late."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from apps.bev_localization.data.records import SWEEP
from apps.bev_localization.data.scans import Scan
from apps.bev_localization.simulator.meshes import Mesh
from core.errors import UserError, no_such


@dataclass(frozen=True)
class Sensor:
    """A LiDAR.

    Attributes:
        name: Of its kind.
        lowest, highest: Elevations of its beams in degrees, evenly spaced between.
        beams: How many.
        columns: Directions of a turn.
        nearest, farthest: What it measures, metres.
        noise: Deviation of a range, metres.
        dropout: Share of returns that get lost.
    """

    name: str
    lowest: float
    highest: float
    beams: int
    columns: int
    nearest: float = 2.0
    farthest: float = 90.0
    noise: float = 0.02
    dropout: float = 0.02


SENSORS = {
    one.name: one
    for one in (
        Sensor("hdl64", -24.8, 2.0, 64, 1800),
        Sensor("hdl32", -30.67, 10.67, 32, 720),
        Sensor("os1-64", -22.5, 22.5, 64, 1024),
        Sensor("vlp16", -15.0, 15.0, 16, 900),
    )
}


def sensor(name: str, *, columns: int | None = None) -> Sensor:
    """Return a LiDAR by name, with as many directions as it has, or others.

    Raises:
        UserError: When there is none of that name.
    """
    if name not in SENSORS:
        raise no_such("LiDAR", name, SENSORS)
    found = SENSORS[name]
    return found if columns is None else replace(found, columns=columns)


def load_open3d() -> Any:
    """Return the module open3d.

    Raises:
        UserError: When it, or a system library of it, is missing.
    """
    try:
        import open3d
    except ModuleNotFoundError as error:
        raise UserError(
            "The simulator needs the extra 'lidar', which is not installed: pip install "
            "'gossamer-keras[lidar]'."
        ) from error
    except (ImportError, OSError) as error:
        raise UserError(
            f"open3d cannot be imported ({error}); install the system libraries it needs, on "
            "Debian: apt install libusb-1.0-0 libgl1 libgomp1."
        ) from error
    return open3d


class Scene:
    """A mesh that rays are cast into.

    Raises:
        UserError: When open3d cannot be imported.
    """

    def __init__(self, mesh: Mesh):
        self._open3d = load_open3d()
        self._rays = self._open3d.t.geometry.RaycastingScene()
        self._rays.add_triangles(
            self._open3d.core.Tensor(np.ascontiguousarray(mesh.vertices, np.float32)),
            self._open3d.core.Tensor(np.ascontiguousarray(mesh.triangles, np.uint32)),
        )

    def cast(self, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how far rays go and how squarely they hit.

        Args:
            rays: float32 (N, 6), origins and unit directions.

        Returns:
            float32 (N,): metres, infinite where nothing is hit; and the cosine of the incidence.
        """
        found = self._rays.cast_rays(self._open3d.core.Tensor(np.ascontiguousarray(rays)))
        normals = found["primitive_normals"].numpy()
        return found["t_hit"].numpy(), np.abs(np.einsum("ij,ij->i", normals, rays[:, 3:]))


def sweep(
    scene: Scene, lidar: Sensor, poses: np.ndarray, rng: np.random.Generator, *, stamp: float = 0.0
) -> tuple[Scan, np.ndarray]:
    """Return what a LiDAR measures in a turn, and the remissions.

    Args:
        scene: What is around.
        lidar: The sensor, which turns clockwise from its rear.
        poses: float64 (columns, 4, 4), of the sensor when each direction is measured: points are
            distorted by its motion, as real ones are. (1, 4, 4) is a sensor at rest.
        rng: Of noise and lost returns.
        stamp: Seconds, when the turn begins.

    Returns:
        The scan, its points in the frame of the sensor at their time, and float32 (N,) in 0..1.
    """
    elevation = np.radians(np.linspace(lidar.highest, lidar.lowest, lidar.beams))
    azimuth = np.pi - 2 * np.pi * np.arange(lidar.columns) / lidar.columns
    flat = np.cos(elevation)
    directions = np.stack([
        np.outer(np.cos(azimuth), flat), np.outer(np.sin(azimuth), flat),
        np.repeat(np.sin(elevation)[None], lidar.columns, axis=0),
    ], axis=-1)  # fmt: skip
    poses = np.broadcast_to(poses, (lidar.columns, 4, 4))
    world = directions @ poses[:, :3, :3].transpose(0, 2, 1)
    origins = np.repeat(poses[:, None, :3, 3], lidar.beams, axis=1)
    rays = np.concatenate([origins, world], axis=-1).reshape(-1, 6).astype(np.float32)
    ranges, squarely = scene.cast(rays)
    kept = (ranges >= lidar.nearest) & (ranges <= lidar.farthest)
    kept &= rng.random(len(ranges)) >= lidar.dropout
    ranges = ranges + rng.normal(0.0, lidar.noise, len(ranges)).astype(np.float32)
    points = directions.reshape(-1, 3)[kept] * ranges[kept, None]
    times = np.repeat(np.arange(lidar.columns) * (SWEEP / lidar.columns), lidar.beams)[kept]
    scan = Scan(points.astype(np.float32), times.astype(np.float32), stamp, "simulation")
    return scan, squarely[kept].astype(np.float32)
