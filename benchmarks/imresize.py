"""How much faster is the exact bicubic resize than a plain NumPy translation of the algorithm?

    .venv/bin/python benchmarks/imresize.py

Both make the same bytes, which is checked first. The plain one gathers the taps of an axis, weighs
and sums them in float64, and rounds. The two take turns; the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def plain_axis(values: np.ndarray, axis: int, new: int, scale: float) -> np.ndarray:
    """Resize one axis of uint8 (H, W, C), written as the algorithm is described."""
    old = values.shape[axis]
    shrink = min(scale, 1.0)
    width = 4 / shrink
    centre = np.arange(1, new + 1) / scale + 0.5 * (1 - 1 / scale)
    index = np.floor(centre - width / 2)[:, None] + np.arange(math.ceil(width) + 2)
    x = np.abs(shrink * (centre[:, None] - index))
    weights = np.where(
        x <= 1,
        1.5 * x**3 - 2.5 * x**2 + 1,
        np.where(x <= 2, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2, 0),
    )
    weights /= weights.sum(axis=1, keepdims=True)
    used = weights.any(axis=0)
    weights, index = weights[:, used], index[:, used].astype(int) - 1
    border = np.concatenate([np.arange(old), np.arange(old)[::-1]])
    moved = np.moveaxis(values, axis, 0)
    gathered = moved[border[index % (2 * old)]]
    sums = (gathered * weights[:, :, None, None]).sum(axis=1)
    return np.moveaxis(np.floor(np.clip(sums, 0, 255) + 0.5).astype(np.uint8), 0, axis)


def plain(image: np.ndarray, scale: float) -> np.ndarray:
    """Resize uint8 (H, W, C), rows first."""
    for axis in (0, 1):
        image = plain_axis(image, axis, math.ceil(scale * image.shape[axis]), scale)
    return image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, nargs=2, default=(1356, 2040), help="height width")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    from apps.super_resolution.imresize import imresize

    image = np.random.default_rng(0).integers(0, 256, (*options.size, 3), np.uint8)
    for name, scale in (("1/2", 1 / 2), ("1/3", 1 / 3), ("1/4", 1 / 4), ("2", 2.0)):
        assert (imresize(image, scale) == plain(image, scale)).all(), f"scale {name} differs"
        seconds = {plain: [], imresize: []}
        for _ in range(options.rounds):
            for resize, taken in seconds.items():
                start = time.perf_counter()
                resize(image, scale)
                taken.append(time.perf_counter() - start)
        theirs, ours = (1000 * float(np.median(taken)) for taken in seconds.values())
        print(
            f"scale {name:3s} plain NumPy {theirs:7.0f} ms, ours {ours:6.1f} ms: "
            f"{theirs / ours:.1f}x"
        )


if __name__ == "__main__":
    main()
