"""Scoring a re-identification ranking against a plain loop over queries; memory of large sets.

    .venv/bin/python benchmarks/reid_ranking.py [--set market|msmt17]

First CMC and mAP of a matrix of distances: ours and two plain NumPy loops, which argsort each row
with the default and with the stable kind, take turns on one core, and make the same scores, which
is checked. The ratio is that of the medians. Then, from embeddings and each in a process of its
own, which tells its highest memory: evaluation in blocks, search, and re-ranking with evaluation.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

# Queries, gallery, persons and cameras.
SETS = {"market": (3_368, 15_913, 751, 6), "msmt17": (11_659, 82_161, 3_060, 15)}
LARGEST_MATRIX = 3_368  # queries whose distances are held for the comparison
TASKS = ("evaluate", "search", "re-rank")


def plain(distance, q_ids, g_ids, q_cams, g_cams, kind: str | None = None):
    """Return CMC to rank 50 and mAP as the protocol is usually written."""
    curves, precisions = [], []
    for row, person, camera in zip(distance, q_ids, q_cams, strict=True):
        order = np.argsort(row, kind=kind)
        same = g_ids[order] == person
        match = same[~(same & (g_cams[order] == camera))]
        if not match.any():
            continue
        found = np.cumsum(match)
        curves.append(np.minimum(found[:50], 1))
        precisions.append((found / np.arange(1, len(found) + 1))[match].mean())
    return np.mean(curves, axis=0), np.mean(precisions)


def plain_stable(*arguments):
    return plain(*arguments, kind="stable")


def labels(queries: int, gallery: int, persons: int, cameras: int) -> list[np.ndarray]:
    """Return random q_ids, g_ids, q_cams and g_cams."""
    rng = np.random.default_rng(0)
    return [
        rng.integers(0, highest, size)
        for highest in (persons, cameras)
        for size in (queries, gallery)
    ]


def compare(size: tuple[int, ...], rounds: int) -> None:
    from apps.person_reid.ranking import rank

    queries, gallery = min(size[0], LARGEST_MATRIX), size[1]
    of = labels(queries, *size[1:])
    distance = np.random.default_rng(1).random((queries, gallery), dtype=np.float32)
    seconds = {plain: [], plain_stable: [], rank: []}
    scores = {}
    for _ in range(rounds):
        for score, taken in seconds.items():
            start = time.process_time()
            scores[score] = score(distance, *of)
            taken.append(time.process_time() - start)
    for cmc, mean in (scores[plain], scores[plain_stable]):
        np.testing.assert_allclose(scores[rank].cmc, cmc)
        np.testing.assert_allclose(scores[rank].map, mean, rtol=1e-6)
    tracemalloc.start()
    rank(distance, *of)
    extra = tracemalloc.get_traced_memory()[1] / 1e6
    default, stable, ours = (float(np.median(taken)) for taken in seconds.values())
    print(
        f"CMC and mAP of {queries} x {gallery}: ours {ours:.2f} s and {extra:.0f} MB more memory; "
        f"plain loop {default:.2f} s ({default / ours:.1f}x), with a stable sort {stable:.2f} s "
        f"({stable / ours:.1f}x)"
    )


def embeddings(q_ids: np.ndarray, g_ids: np.ndarray) -> list[np.ndarray]:
    """Return embeddings (N, 512) that are near for one person, not negative as OSNet's."""
    rng = np.random.default_rng(2)
    centres = rng.standard_normal((max(q_ids.max(), g_ids.max()) + 1, 512), dtype=np.float32)
    made = []
    for ids in (q_ids, g_ids):
        images = rng.standard_normal((len(ids), 512), dtype=np.float32)
        images *= 2.0
        images += centres[ids]
        made.append(np.maximum(images, 0.0, out=images))
    return made


def run(task: str, size: tuple[int, ...]) -> None:
    from apps.person_reid.ranking import evaluate_embeddings, rank, top_k
    from apps.person_reid.re_ranking import re_ranked_blocks

    of = labels(*size)
    query, gallery = embeddings(*of[:2])
    start, used = time.perf_counter(), time.process_time()
    if task == "search":
        top_k(query, gallery, 20)
        result = "20 nearest of each query"
    else:
        if task == "evaluate":
            scores = evaluate_embeddings(query, gallery, *of)
        else:
            scores = rank(re_ranked_blocks(query, gallery), *of)
        result = f"mAP {scores.map:.3f}"
    seconds, used = time.perf_counter() - start, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{task} {size[0]} x {size[1]} embeddings: {seconds:.0f} s ({used:.0f} s of processor "
        f"time), {peak:.2f} GB at most, {result}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", choices=SETS, default="market", help="whose size to take")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    size = SETS[options.set]
    if options.task:
        run(options.task, size)
        return
    compare(size, options.rounds)
    for task in TASKS:
        sys.stdout.flush()
        command = [sys.executable, __file__, "--set", options.set, "--task", task]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
