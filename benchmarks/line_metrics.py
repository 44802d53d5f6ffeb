"""The heat-map F of one image at twelve thresholds, and its matching against SciPy's.

    .venv/bin/python benchmarks/line_metrics.py [--rounds N]

One image of 640x480 with 90 true segments of about 3,000 pixels and 104 predictions of about 4,000,
most of them near a true one. Printed: the median time of everything that F^H needs of the image
(drawing, matching, counting) at L-CNN's twelve thresholds, and of the largest matching at the
lowest threshold beside `scipy.sparse.csgraph.maximum_bipartite_matching` on the same graph, its
building included for both. Both must find as many pairs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from apps.line_segments.metrics.cases import Case
from apps.line_segments.metrics.heatmap import LCNN_THRESHOLDS, drawn, heat_counts
from apps.line_segments.metrics.matching import match_pixels, radius_of

SIZE = (480, 640)
TRUE, NEAR, ELSEWHERE = 90, 80, 24
BOUND = 2.0  # seconds for the image at twelve thresholds


def example(seed: int = 0) -> Case:
    """Return an image's segments: predictions near true ones, and some that are not."""
    rng = np.random.default_rng(seed)
    truth = _segments(rng, TRUE)
    near = truth[rng.integers(0, TRUE, NEAR)] + rng.normal(0, 4, (NEAR, 4))
    found = np.concatenate([near, _segments(rng, ELSEWHERE)])
    return Case(found, 1 - rng.random(len(found)) ** 3 * 0.5, truth, SIZE)


def _segments(rng: np.random.Generator, count: int) -> np.ndarray:
    middle = rng.uniform((20, 20), (SIZE[1] - 20, SIZE[0] - 20), (count, 2))
    angle, reach = rng.uniform(0, np.pi, count), rng.uniform(10, 28, count)
    half = np.stack([np.cos(angle), np.sin(angle)], 1) * reach[:, None]
    return np.concatenate([middle - half, middle + half], 1)


def scipy_pairs(found: np.ndarray, truth: np.ndarray, radius: float) -> int:
    """Return how many pixels SciPy matches."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching
    from scipy.spatial import cKDTree

    left, right = np.argwhere(found), np.argwhere(truth)
    near = cKDTree(left).query_ball_tree(cKDTree(right), radius)
    ends = np.cumsum([0, *map(len, near)])
    columns = np.concatenate([np.sort(one) for one in near]).astype(np.int32)
    graph = csr_matrix((np.ones(len(columns), np.int8), columns, ends), (len(left), len(right)))
    return int((maximum_bipartite_matching(graph, "column") >= 0).sum())


def timed(function: Callable, rounds: int) -> tuple[float, object]:
    """Return the median of some runs in seconds, and what the last one gave."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    case = example()
    heat_counts(case, LCNN_THRESHOLDS)  # compiles
    all_thresholds, _ = timed(lambda: heat_counts(case, LCNN_THRESHOLDS), rounds)
    truth, found = drawn(case.truth, SIZE), drawn(case.found, SIZE)
    radius = radius_of(SIZE)
    ours, pairs = timed(lambda: match_pixels(found, truth, radius), rounds)
    theirs, expected = timed(lambda: scipy_pairs(found, truth, radius), 1)
    print(f"{found.sum():,} predicted and {truth.sum():,} true pixels, radius {radius:.1f}")
    print(f"one image, {len(LCNN_THRESHOLDS)} thresholds   {all_thresholds * 1e3:10.1f} ms")
    print(f"one matching, ours          {ours * 1e3:10.1f} ms   {pairs} pairs")
    print(f"one matching, SciPy         {theirs * 1e3:10.1f} ms   {expected} pairs")
    print(f"SciPy takes {theirs / ours:.0f} times as long")
    if pairs != expected:
        raise SystemExit("The matchings are not of one size.")
    if all_thresholds > BOUND:
        raise SystemExit(f"One image takes more than {BOUND} s.")


if __name__ == "__main__":
    main()
