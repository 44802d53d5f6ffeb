"""How long does the grouping of LSDNet's maps take, beside the same in plain Python?

    .venv/bin/python benchmarks/line_grouping.py

One core, on maps of 288x288 like those of a photograph: segments as thick as the network draws
them, some heat beside them, and angles that are not quite sure. Compiled and plain take turns, must
agree; of each map the best processor time counts, and of the maps the median. Then the start: a
process that has to compile, and one that finds the compiled code on disk. Fails where the refined
way, the default, takes more than `--most` milliseconds, or the plain version less than `--least`
times as long.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

SIDE, PICTURE = 288, (375, 500)


def maps(segments: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return heat (H, W) and angle by pi (H, W) of random segments, a fifth or so of them hot."""
    from apps.line_segments.targets import line_maps

    rng = np.random.default_rng(seed)
    middle, half = rng.uniform(10, SIDE - 10, (segments, 2)), rng.uniform(8, 50, (segments, 1))
    turn = rng.choice([0.0, np.pi / 2, 0.3, 1.2], segments) + rng.normal(0, 0.05, segments)
    along = half * np.stack((np.cos(turn), np.sin(turn)), axis=1)
    drawn = line_maps(np.concatenate((middle - along, middle + along), axis=1), (SIDE, SIDE))
    wide = drawn[..., 0] > 0
    heat = np.where(wide, rng.uniform(0.55, 0.98, wide.shape), rng.beta(1, 12, wide.shape))
    angle = np.where(wide, drawn[..., 1], rng.random(wide.shape))
    angle = (angle + 0.008 * rng.standard_normal(wide.shape)) % 1.0
    return heat.astype(np.float32), angle.astype(np.float32)


def milliseconds(function) -> float:
    start = time.process_time()
    function()
    return 1000 * (time.process_time() - start)


def compare(pairs: int, rounds: int, segments: int) -> tuple[float, float]:
    """Print the times; return the refined way's milliseconds, and the ratio of plain to it."""
    from apps.line_segments.grouping import reference
    from apps.line_segments.grouping.grouper import MODES, group

    samples = [maps(segments, seed) for seed in range(pairs)]
    ways = {mode: lambda m, mode=mode: group(*m, size=PICTURE, mode=mode) for mode in MODES}
    best = {name: np.full(pairs, np.inf) for name in (*ways, "plain")}
    found, hot = [], []
    for heat, angle in samples:
        ours, sure = group(heat, angle, size=PICTURE)  # and compiled
        theirs, also = reference.group(heat, angle, PICTURE)
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
        np.testing.assert_allclose(sure, also, atol=1e-6)
        group(heat, angle, size=PICTURE, mode="official")
        found.append(len(ours))
        hot.append(float((heat > 0.4).mean()))
    ways["plain"] = lambda m: reference.group(*m, PICTURE)
    for number in range(rounds):
        for k, sample in enumerate(samples):
            for name, way in ways.items():
                if name != "plain" or number < 3:
                    best[name][k] = min(best[name][k], milliseconds(lambda s=sample, w=way: w(s)))
    median = {name: float(np.median(times)) for name, times in best.items()}
    ratio = median["plain"] / median["refined"]
    print(
        f"{pairs} maps of {SIDE}x{SIDE}, {100 * np.mean(hot):.0f} % of the pixels hot, "
        f"{np.mean(found):.0f} segments:"
    )
    print(
        f"  refined {median['refined']:.2f} ms; in plain Python {median['plain']:.0f} ms, "
        f"{ratio:.0f} times that; the same segments"
    )
    print(f"  official {median['official']:.2f} ms")
    return median["refined"], ratio


def start_up() -> None:
    """Print what the first call of a fresh process takes, with and without compiled code."""
    with tempfile.TemporaryDirectory() as empty:
        for said in ("compiled and kept", "kept code read"):
            done = subprocess.run(
                [sys.executable, __file__, "--first"],
                env={**os.environ, "NUMBA_CACHE_DIR": empty},
                check=True,
                capture_output=True,
                text=True,
            )
            print(f"  first call of a process, {said}: {done.stdout.strip()}")


def first() -> None:
    from apps.line_segments.grouping.grouper import group

    sample = maps(20, 0)
    start = time.perf_counter()
    group(*sample)
    print(f"{time.perf_counter() - start:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--maps", type=int, default=5)
    parser.add_argument("--segments", type=int, default=90, help="drawn on each map")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--most", type=float, default=6.0, help="milliseconds of a map")
    parser.add_argument("--least", type=float, default=30.0, help="times, of plain Python")
    parser.add_argument("--first", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.first:
        first()
        return
    import cv2

    cv2.setNumThreads(1)
    taken, ratio = compare(options.maps, options.rounds, options.segments)
    start_up()
    if taken > options.most or ratio < options.least:
        sys.exit(
            f"a map takes {taken:.2f} ms (at most {options.most:g} are wanted), plain Python "
            f"{ratio:.0f} times as long (at least {options.least:g})"
        )


if __name__ == "__main__":
    main()
