"""Which images a step of training compares: a query, a scan of its place, scans of other places.

L. Luo et al., IEEE Transactions on Robotics 41, 2025, arXiv:2408.01841, as the published code has
it: places nearer than 5 m are the same, beyond 7 m others. The negatives of a query are the scans
whose descriptors are nearest to its own, over all of the training data.
"""

from __future__ import annotations

import numpy as np

from core.errors import UserError

POSITIVE, NEGATIVE = 5.0, 7.0  # metres
_TOGETHER = 256  # queries whose distances are held at a time


def check_batch(batch: int, negatives: int) -> int:
    """Return the queries of a batch, each of which brings a positive and its negatives.

    Raises:
        UserError: When the batch does not hold them as a whole.
    """
    images = negatives + 2
    if batch < images or batch % images:
        raise UserError(
            f"A batch of {batch} images does not hold queries of {images} images each (itself, a "
            f"positive, {negatives} negatives); choose a multiple of {images}, such as "
            f"{max(1, batch // images) * images}."
        )
    return batch // images


def neighbours(where: np.ndarray, radius: float) -> list[np.ndarray]:
    """Return for every position those within a radius, itself among them, in ascending order.

    Args:
        where: Metres (N, 3).
        radius: Metres.
    """
    from scipy.spatial import cKDTree

    # Threads of TensorFlow take the smallest floats for zero. SciPy parts positions behind the
    # float next to their smallest coordinate; where that is 0, as a first pose's is, it never ends.
    moved = where - where.min(axis=0, initial=0.0) + 1.0
    found = cKDTree(moved).query_ball_point(moved, radius)
    return [np.array(sorted(near), np.int64) for near in found]


def places_order(
    where: np.ndarray,
    batch: int,
    rng: np.random.Generator,
    *,
    negatives: int,
    descriptors: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Return an epoch's positions by batch: every query once, in groups for `PlaceTripletLoss`.

    A position beyond the samples is the same sample once more, so that it is turned otherwise.

    Args:
        where: Metres (N, 3) of the training samples.
        batch: Images in a batch.
        rng: The source of all randomness.
        negatives: Of each query.
        descriptors: float32 (N, D), which choose the hardest negatives; None draws them at random.

    Returns:
        int64 (batch,) each; the last may be smaller. How many follows from `where` and `batch`.

    Raises:
        UserError: When the batch does not fit, or no sample has a positive and enough negatives.
    """
    together = check_batch(batch, negatives)
    count = len(where)
    same = neighbours(where, NEGATIVE)
    positives = []
    for query, near in enumerate(same):
        apart = np.linalg.norm(where[near] - where[query], axis=1)
        positives.append(near[(apart < POSITIVE) & (near != query)])
    usable = [q for q in range(count) if len(positives[q]) and count - len(same[q]) >= negatives]
    if not usable:
        raise UserError(
            f"No training scan has another within {POSITIVE:g} m and {negatives} beyond "
            f"{NEGATIVE:g} m; train on more scans, or on denser ones."
        )
    queries = rng.permutation(usable)
    others = _hardest(queries, same, descriptors, negatives) if descriptors is not None else None
    groups = []
    for number, query in enumerate(queries):
        positive = rng.choice(positives[query])
        if others is None:
            allowed = np.setdiff1d(np.arange(count), same[query])
            chosen = rng.choice(allowed, negatives, replace=False)
        else:
            chosen = others[number]
        groups.append(np.concatenate([[query], [positive], chosen]))
    table = np.array(groups, np.int64)
    # The query is turned as it was when its descriptor was taken, all others anew.
    table[:, 1:] += count * (1 + np.arange(len(table))[:, None])
    return [table[i : i + together].ravel() for i in range(0, len(table), together)]


def _hardest(
    queries: np.ndarray, same: list[np.ndarray], descriptors: np.ndarray, negatives: int
) -> np.ndarray:
    """Return the nearest other places of queries by descriptor, nearest first, int64 (Q, n)."""
    descriptors = np.asarray(descriptors, np.float32)
    squares = np.einsum("ij,ij->i", descriptors, descriptors)
    found = np.empty((len(queries), negatives), np.int64)
    for start in range(0, len(queries), _TOGETHER):
        some = queries[start : start + _TOGETHER]
        scores = squares - 2 * (descriptors[some] @ descriptors.T)
        for row, query in enumerate(some):
            scores[row, same[query]] = np.inf
        found[start : start + len(some)] = np.argsort(scores, axis=1, kind="stable")[:, :negatives]
    return found
