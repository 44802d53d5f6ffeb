"""How fast is a bird's-eye-view density image, beside plain Python and Open3D with a loop?

    .venv/bin/python benchmarks/bev_images.py

Time of one core, after warm-up, on a scan of 120,000 points: 64 beams in a street of house
fronts. The plain version is the recipe with a dictionary of voxels; the other thins with Open3D,
where that is installed, and counts in a loop, as the official script does. All three must agree
pixel by pixel. Fails where ours takes more than `--most` milliseconds or is not `--times` as fast
as plain Python.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

BEAMS, COLUMNS, HEIGHT = 64, 1875, 1.73


def street_scan(seed: int = 0) -> np.ndarray:
    """Return a scan of 120,000 points, float32 (N, 3): ground and house fronts, 2 cm of noise."""
    rng = np.random.default_rng(seed)
    elevation = np.radians(np.linspace(2.0, -24.8, BEAMS))[None]
    azimuth = np.linspace(0, 2 * np.pi, COLUMNS, endpoint=False)[:, None]
    ground = np.where(elevation < 0, HEIGHT / np.tan(-np.minimum(elevation, -1e-3)), np.inf)
    fronts = np.repeat(rng.uniform(6.0, 60.0, 75), COLUMNS // 75)[:, None]
    flat = np.minimum(ground, fronts) + rng.normal(0.0, 0.02, (COLUMNS, BEAMS))
    points = [flat * np.cos(azimuth), flat * np.sin(azimuth), flat * np.tan(elevation)]
    return np.stack(points, axis=-1).reshape(-1, 3).astype(np.float32)


def counted(means, recipe) -> np.ndarray:
    """Return the image of voxel means, one by one."""
    counts = np.zeros((recipe.side, recipe.side))
    for x, y, _ in means:
        column = recipe.centre - math.floor(y / recipe.resolution)
        row = recipe.centre - math.floor(x / recipe.resolution)
        if (
            0 <= row < recipe.side
            and 0 <= column < recipe.side
            and counts[row, column] < recipe.cap
        ):
            counts[row, column] += 1
    return np.rint(counts / counts.max() * 255).astype(np.uint8)


def plain_image(points: np.ndarray, recipe) -> np.ndarray:
    """Return the image of the recipe "place40", written down in plain Python."""
    kept = [p for p in points.astype(float).tolist() if max(map(abs, p)) < recipe.crop]
    low = [min(p[axis] for p in kept) - recipe.voxel / 2 for axis in range(3)]
    voxels: dict[tuple, list] = {}
    for p in kept:
        key = tuple(math.floor((p[axis] - low[axis]) / recipe.voxel) for axis in range(3))
        total = voxels.setdefault(key, [0.0, 0.0, 0.0, 0])
        for axis in range(3):
            total[axis] += p[axis]
        total[3] += 1
    return counted([(x / n, y / n, z / n) for x, y, z, n in voxels.values()], recipe)


def open3d_image(points: np.ndarray, recipe) -> np.ndarray:
    """Return the image with Open3D's voxels and a loop over them."""
    import open3d

    kept = points[(np.abs(points) < recipe.crop).all(axis=1)]
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(kept.astype(np.float64)))
    return counted(np.asarray(cloud.voxel_down_sample(recipe.voxel).points), recipe)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--most", type=float, default=15.0, help="milliseconds of ours")
    parser.add_argument("--times", type=float, default=20.0, help="as fast as plain Python")
    options = parser.parse_args()

    from apps.bev_localization.images.density import density_image
    from apps.bev_localization.images.recipes import RECIPES

    recipe, points = RECIPES["place40"], street_scan()
    ways = {"ours": density_image, "plain Python": plain_image}
    try:
        open3d_image(points, recipe)
        ways["Open3D and a loop"] = open3d_image
    except ImportError as error:
        print(f"without Open3D: {error}")
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    expected = plain_image(points, recipe)
    for name, make in ways.items():
        assert np.array_equal(make(points, recipe), expected), name
    for _ in range(options.rounds):
        for name, make in ways.items():
            start = time.thread_time()
            make(points, recipe)
            seconds[name].append(time.thread_time() - start)
    taken = {name: 1000 * float(np.median(times)) for name, times in seconds.items()}
    for name, milliseconds in taken.items():
        ratio = milliseconds / taken["ours"]
        print(f"{name:18} {milliseconds:7.1f} ms  {ratio:6.1f} times ours")
    if taken["ours"] > options.most:
        sys.exit(f"ours takes more than {options.most:g} ms")
    if taken["plain Python"] < options.times * taken["ours"]:
        sys.exit(f"ours is not {options.times:g} times as fast as plain Python")


if __name__ == "__main__":
    main()
