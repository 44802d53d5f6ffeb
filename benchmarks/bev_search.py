"""How long does a search among 10,000 mapped places take, and how much memory do they?

    .venv/bin/python benchmarks/bev_search.py

Time of one core, after warm-up, for one query at a time. Descriptors are random but built as
NetVLAD's are: 64 blocks of 128 numbers with one length each, a common part and a part of the place
of its own. A query is a place seen again, or nowhere on the map, which is the worst case. Beside it
stand a product with the whole matrix and, where it is installed, faiss. All must find the same.
Fails where an exact search takes more than `--most` milliseconds, the worst case included.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

BLOCKS, WIDTH = 64, 128


def normalised(descriptors: np.ndarray) -> np.ndarray:
    """Return descriptors with blocks of one length, and of unit length as a whole."""
    blocks = descriptors.reshape(-1, BLOCKS, WIDTH)
    blocks /= np.linalg.norm(blocks, axis=2, keepdims=True) * np.sqrt(BLOCKS)
    return blocks.reshape(-1, BLOCKS * WIDTH)


def seconds(run, queries) -> float:
    """Return the median time of one core for a query."""
    taken = []
    for query in queries:
        start = time.process_time()
        run(query)
        taken.append(time.process_time() - start)
    return float(np.median(taken))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--places", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--most", type=float, default=20.0, help="milliseconds of a search")
    options = parser.parse_args()

    from threadpoolctl import threadpool_limits

    from apps.bev_localization.retrieval.index import build_index

    rng = np.random.default_rng(0)
    size = (options.places, BLOCKS * WIDTH)
    common = rng.standard_normal(size[1], dtype=np.float32)
    places = normalised(common + rng.standard_normal(size, dtype=np.float32))
    chosen = rng.choice(options.places, options.rounds, replace=False)
    noise = rng.standard_normal((2, options.rounds, size[1]), dtype=np.float32)
    again = normalised(places[chosen] * float(np.sqrt(size[1])) + noise[0] * 0.6)
    nowhere = normalised(common + noise[1])

    start = time.process_time()
    short = build_index(places, dimensions=256)
    fitted = time.process_time() - start
    whole = build_index(places)
    ways = {
        "exact, 8,192 numbers": (whole.search, whole.nbytes),
        "PCA-256, float16": (short.search, short.nbytes),
        "product with the matrix": (
            lambda query: int(np.argmax(places @ query)), places.nbytes
        ),
    }  # fmt: skip
    try:
        import faiss

        faiss.omp_set_num_threads(1)
        index = faiss.IndexFlatL2(size[1])
        index.add(places)
        ways["faiss, flat"] = (lambda query: index.search(query[None], 1), 2 * places.nbytes)
    except ImportError:
        print("without faiss")
    with threadpool_limits(1):
        for name, (search, nbytes) in ways.items():
            search(again[0])
            seen, unknown = (1000 * seconds(search, queries) for queries in (again, nowhere))
            print(
                f"{name:24} {nbytes / 1e6:7.1f} MB  a place seen again {seen:6.1f} ms  "
                f"nowhere {unknown:6.1f} ms"
            )
            if name.startswith("exact"):
                ours = max(seen, unknown)
    for name, index in (("exact", whole), ("PCA-256", short)):
        found = index.search(again)[0][:, 0]
        print(f"{name}: {np.mean(found == chosen):.0%} of the places seen again are found")
    print(f"PCA of {options.places:,} places: {fitted:.1f} s")
    if ours > options.most:
        sys.exit(f"an exact search takes more than {options.most:g} ms")


if __name__ == "__main__":
    main()
