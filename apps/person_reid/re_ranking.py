"""k-reciprocal re-ranking: distances that also compare whom two images have as neighbours.

Z. Zhong et al.: "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017. Of all
images, queries and gallery, those that are among each other's nearest describe an image; two images
are near when their descriptions overlap (Jaccard distance), blended with their original distance.

Two conventions: the authors take squared Euclidean distances; the re-identification library whose
numbers are compared with squares the squared ones once more (and 1 - cosine). The latter is the
default, as most published numbers were made with it.

No (N, N) matrix is held: distances are computed in blocks, twice, and the descriptions are sparse.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from apps.person_reid.ranking import Rows, distance_rows, nearest, spans
from core.errors import UserError, no_such

CONVENTIONS = ("library", "authors")
K1, K2, WEIGHT = 20, 6, 0.3  # of the paper


def re_rank(
    query: np.ndarray,
    gallery: np.ndarray,
    metric: str = "euclidean",
    *,
    convention: str = "library",
    k1: int = K1,
    k2: int = K2,
    weight: float = WEIGHT,
) -> np.ndarray:
    """Return re-ranked distances of each query to each gallery image, float32 (Q, G).

    Args:
        query, gallery: Embeddings (Q, D) and (G, D).
        metric: As in `apps.person_reid.ranking.distance_rows`.
        convention: "library" squares the metric's distances once more; "authors" does not.
        k1: Neighbours among which mutual ones are looked for.
        k2: Nearest images, with the image itself, whose descriptions are averaged; 1 is none.
        weight: Of the original distance, from 0 to 1 (lambda of the paper).

    Raises:
        UserError: For an unknown metric or convention, numbers out of range, no image, or an
            embedding with NaN or infinity.
    """
    blocks = re_ranked_blocks(
        query, gallery, metric, convention=convention, k1=k1, k2=k2, weight=weight
    )
    return _stacked(blocks, len(query), len(gallery))


def re_rank_distances(
    query_gallery: np.ndarray,
    query_query: np.ndarray,
    gallery_gallery: np.ndarray,
    *,
    convention: str = "library",
    k1: int = K1,
    k2: int = K2,
    weight: float = WEIGHT,
) -> np.ndarray:
    """Return `re_rank` of distances that are there already: (Q, G), (Q, Q) and (G, G)."""
    queries, gallery = query_gallery.shape
    for name, block, size in (
        ("query_query", query_query, queries),
        ("gallery_gallery", gallery_gallery, gallery),
    ):
        if block.shape != (size, size):
            raise ValueError(
                f"`{name}` must have shape ({size}, {size}). Received: shape {block.shape}"
            )

    def rows(start: int, stop: int) -> np.ndarray:
        of_queries = slice(start, min(stop, queries))
        of_gallery = slice(max(start - queries, 0), max(stop - queries, 0))
        above = np.hstack([query_query[of_queries], query_gallery[of_queries]])
        below = np.hstack([query_gallery[:, of_gallery].T, gallery_gallery[of_gallery]])
        return np.maximum(np.vstack([above, below]).astype(np.float32), 0.0)

    blocks = _blocks(rows, queries, queries + gallery, convention, k1, k2, weight, None)
    return _stacked(blocks, queries, gallery)


def re_ranked_blocks(
    query: np.ndarray,
    gallery: np.ndarray,
    metric: str = "euclidean",
    *,
    convention: str = "library",
    k1: int = K1,
    k2: int = K2,
    weight: float = WEIGHT,
    block: int | None = None,
) -> Iterator[np.ndarray]:
    """Yield the rows of `re_rank` in blocks (B, G), as `apps.person_reid.ranking.rank` takes them.

    Args:
        query, gallery, metric, convention, k1, k2, weight: As in `re_rank`.
        block: Images at a time; None is as many as make 64 MB of distances.

    Raises:
        UserError: As `re_rank`, before the first block.
    """
    together = np.concatenate([query, gallery]).astype(np.float32, copy=False)
    rows = distance_rows(together, together, metric)
    return _blocks(rows, len(query), len(together), convention, k1, k2, weight, block)


def _blocks(
    rows: Rows,
    queries: int,
    count: int,
    convention: str,
    k1: int,
    k2: int,
    weight: float,
    block: int | None,
) -> Iterator[np.ndarray]:
    """Check the choices and return the blocks, which are computed as they are asked for."""
    if convention not in CONVENTIONS:
        raise no_such("convention", convention, CONVENTIONS)
    if not 0 < queries < count:
        raise UserError("Re-ranking needs at least one query and one gallery image; give both.")
    for name, value in (("k1", k1), ("k2", k2)):
        if value < 1:
            raise UserError(f"Re-ranking with {name} = {value}: give a whole number from 1.")
    if not 0.0 <= weight <= 1.0:
        raise UserError(f"Re-ranking with weight {weight}: give a number from 0 to 1.")

    def powers(start: int, stop: int) -> np.ndarray:
        found = rows(start, stop)
        return np.square(found, out=found) if convention == "library" else found

    return _re_ranked(powers, queries, count, k1, k2, weight, list(spans(count, count, block)))


def _re_ranked(
    rows: Rows, queries: int, count: int, k1: int, k2: int, weight: float, blocks: list
) -> Iterator[np.ndarray]:
    """Yield the re-ranked rows of the queries; `rows` gives those of the (N, N) distances D."""
    kept = min(max(k1 + 1, k2), count)
    neighbours, largest = np.empty((count, kept), np.int64), np.empty(count, np.float32)
    for start, stop in blocks:
        found = rows(start, stop)
        neighbours[start:stop] = nearest(found, kept)
        largest[start:stop] = found.max(axis=1)
    largest[largest == 0.0] = 1.0  # all images equal

    described = _descriptions(rows, _expanded(neighbours, k1), largest, blocks)
    if k2 != 1:
        described = _indicator(neighbours[:, :k2]).astype(np.float32) @ described
        described /= np.float32(min(k2, kept))
    of_gallery = described[queries:].tocsc()
    for start, stop in blocks:
        if start >= queries:
            return
        stop = min(stop, queries)
        result = rows(start, stop)[:, queries:] / largest[start:stop, None]
        result *= np.float32(weight)
        for row, image in zip(result, range(start, stop), strict=True):
            row += np.float32(1.0 - weight) * _jaccard(described[[image]], of_gallery)
        yield result


def _indicator(members: np.ndarray) -> sparse.csr_array:
    """Return a matrix (N, N) with 1 at (i, j) for each j of row i of `members` (N, k)."""
    count, width = members.shape
    ends = np.arange(0, members.size + 1, width)
    ones = np.ones(members.size, np.int32)
    matrix = sparse.csr_array((ones, members.flatten(), ends), shape=(count, count))
    matrix.sort_indices()
    return matrix


def _reciprocal(neighbours: np.ndarray, k: int) -> sparse.csr_array:
    """Return which images are mutually among the first k + 1 (N, N) of `neighbours` (N, K)."""
    forward = _indicator(neighbours[:, : k + 1])
    return (forward * forward.T).tocsr()


def _expanded(neighbours: np.ndarray, k1: int) -> sparse.csr_array:
    """Return the expanded reciprocal sets (section 3.2, equation 3), non-zero at the members.

    A member j brings its own set with half the neighbours, h, when more than two thirds of that
    are members already, before any expansion.
    """
    sets = _reciprocal(neighbours, k1)
    halves = _reciprocal(neighbours, round(k1 / 2))
    sizes = halves.sum(axis=1)
    common = (sets * (sets @ halves.T)).tocoo()
    brings = 3 * common.data > 2 * sizes[common.col]
    brought = sparse.csr_array(
        (common.data[brings], (common.row[brings], common.col[brings])), shape=sets.shape
    )
    expanded = (sets + brought @ halves).tocsr()
    expanded.sort_indices()
    return expanded


def _descriptions(
    rows: Rows, sets: sparse.csr_array, largest: np.ndarray, blocks: list
) -> sparse.csr_array:
    """Return V (N, N) float32: exp(-D) on each image's set, with sum 1, zero elsewhere."""
    values = np.empty(sets.nnz, np.float32)
    sizes = np.diff(sets.indptr)
    for start, stop in blocks:
        inside = slice(sets.indptr[start], sets.indptr[stop])
        images = np.repeat(np.arange(start, stop), sizes[start:stop])
        found = rows(start, stop)[images - start, sets.indices[inside]]
        values[inside] = np.exp(-found / largest[images])
    described = sparse.csr_array((values, sets.indices, sets.indptr), shape=sets.shape)
    values /= np.repeat(described.sum(axis=1), sizes)
    return described


def _jaccard(image: sparse.csr_array, gallery: sparse.csc_array) -> np.ndarray:
    """Return 1 - s / (2 - s), s the sum of the smaller of both descriptions, float32 (G,)."""
    columns = gallery[:, image.indices]
    mine = np.repeat(image.data, np.diff(columns.indptr))
    common = np.bincount(
        columns.indices, np.minimum(mine, columns.data), minlength=gallery.shape[0]
    )
    return (1.0 - common / (2.0 - common)).astype(np.float32)


def _stacked(blocks: Iterator[np.ndarray], queries: int, gallery: int) -> np.ndarray:
    """Return the blocks as one matrix, of which nothing is held twice."""
    result = np.empty((queries, gallery), np.float32)
    done = 0
    for block in blocks:
        result[done : done + len(block)] = block
        done += len(block)
    return result
