"""Peak memory and time of enlarging a large photograph into a PNG file, network left aside.

    .venv/bin/python benchmarks/upscale_memory.py [--size 6000 8000] [--scales 2 4]

The "network" repeats pixels, so that only the way from the array to the file is measured; a real
one adds its tile. Each scale runs in a process of its own, which tells its highest memory.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


class Repeat:
    """An engine that repeats every pixel."""

    name = "repeat"

    def __init__(self, card):
        self.card = card

    def __call__(self, batch: np.ndarray) -> list[np.ndarray]:
        scale = self.card.decode["scale"]
        return [batch.repeat(scale, axis=1).repeat(scale, axis=2)]


def enlarge(height: int, width: int, scale: int) -> None:
    from apps.super_resolution.enlarge import strips
    from apps.super_resolution.picture_writing import write_picture
    from core.model_card import ModelCard

    card = ModelCard("repeat", "a", "superres", mean=(0, 0, 0), std=(1, 1, 1),
                     decode={"scale": scale})  # fmt: skip
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        made = strips(Repeat(card), image, card)
        size = (height * scale, width * scale)
        write_picture(Path(folder) / "large.png", made, size, 3, np.uint8)
        seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    result = size[0] * size[1] * 3 / 1e6
    print(f"x{scale}: {peak:.0f} MB at most for a result of {result:.0f} MB, {seconds:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=(6000, 8000))
    parser.add_argument("--scales", type=int, nargs="+", default=(2, 4))
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        enlarge(*options.size, options.one)
        return
    for scale in options.scales:
        size = map(str, options.size)
        command = [sys.executable, __file__, "--size", *size, "--one", str(scale)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
