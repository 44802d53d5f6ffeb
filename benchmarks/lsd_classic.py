"""How fast is the classical LSD in NumPy and numba, beside OpenCV's in C++?

    .venv/bin/python benchmarks/lsd_classic.py

One core, after warm-up, on scikit-learn's two photographs (640x427) or any other. OpenCV's default
does not count false alarms ("standard"); its "advanced" detector does, as ours always. They take
turns; the ratios are those of the medians. Fails where ours takes longer than `--most` times
OpenCV's on a photograph.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def photographs(paths: list[Path]) -> dict[str, np.ndarray]:
    """Return grey uint8 pictures (H, W) by name."""
    from core.data.images import read_image

    if paths:
        return {path.name: cv2.cvtColor(read_image(path), cv2.COLOR_RGB2GRAY) for path in paths}
    from sklearn.datasets import load_sample_image

    names = ("china.jpg", "flower.jpg")
    return {name: cv2.cvtColor(load_sample_image(name), cv2.COLOR_RGB2GRAY) for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("images", type=Path, nargs="*", help="photographs of your own")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--most", type=float, default=3.0, help="times OpenCV's milliseconds")
    options = parser.parse_args()

    from apps.line_segments.lsd.detector import detect

    cv2.setNumThreads(1)
    standard = cv2.createLineSegmentDetector(cv2.LSD_REFINE_STD)
    advanced = cv2.createLineSegmentDetector(cv2.LSD_REFINE_ADV)
    detectors = {"ours": detect, "standard": standard.detect, "advanced": advanced.detect}
    slow = []
    for name, image in photographs(options.images).items():
        found = {kind: run(image) for kind, run in detectors.items()}  # and compiled
        seconds: dict[str, list[float]] = {kind: [] for kind in detectors}
        for _ in range(options.rounds):
            for kind, run in detectors.items():
                start = time.perf_counter()
                run(image)
                seconds[kind].append(time.perf_counter() - start)
        taken = {kind: 1000 * float(np.median(times)) for kind, times in seconds.items()}
        print(
            f"{name} {image.shape[1]}x{image.shape[0]}: "
            f"ours {taken['ours']:.1f} ms, {len(found['ours'])} segments"
        )
        for kind in ("standard", "advanced"):
            ratio = taken["ours"] / taken[kind]
            print(
                f"  OpenCV {kind} {taken[kind]:.1f} ms, {len(found[kind][0])} segments: "
                f"ours takes {ratio:.2f} times that"
            )
            if ratio > options.most:
                slow.append(f"{name}, {kind}")
    if slow:
        sys.exit(f"more than {options.most:g} times OpenCV's: {'; '.join(slow)}")


if __name__ == "__main__":
    main()
