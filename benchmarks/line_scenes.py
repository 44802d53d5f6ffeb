"""How many synthetic wireframe scenes one core renders a second, by kind.

    .venv/bin/python benchmarks/line_scenes.py [--scenes N] [--size SIDE]

Printed: the mean time of a scene with its exact segments, without writing the file, as time of the
processor (which other work on the machine does not change much) and by the clock. OpenCV is kept to
one thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from apps.line_segments.scenes.rendering import KINDS, SHARES, render


def main() -> None:
    import cv2

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=40, help="of each kind")
    parser.add_argument("--size", type=int, default=320, help="sides in pixels")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    size = (given.size, given.size)
    for kind in KINDS:
        render(np.random.default_rng(0), size, kind)  # compiles
    mean = 0.0
    for kind, share in zip(KINDS, SHARES, strict=True):
        clock, processor, segments = time.perf_counter(), time.process_time(), 0
        for number in range(given.scenes):
            segments += len(render(np.random.default_rng([1, number]), size, kind).segments)
        processor = (time.process_time() - processor) / given.scenes
        clock = (time.perf_counter() - clock) / given.scenes
        mean += share * processor
        print(
            f"{kind:<8} {processor * 1e3:6.1f} ms of the processor, {clock * 1e3:6.1f} ms by the "
            f"clock, {segments / given.scenes:5.1f} segments"
        )
    print(f"in their shares of a data set: {1 / mean:.0f} scenes a second and core")


if __name__ == "__main__":
    main()
