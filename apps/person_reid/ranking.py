"""Distances between embeddings, and what a ranking by them is worth: CMC, mAP and mINP.

The protocol is Market-1501's single query (L. Zheng et al., ICCV 2015), used for DukeMTMC-reID,
CUHK03's new protocol and MSMT17 too. For each query the gallery is ordered by distance, without the
images of the query's person by the query's camera. Equal distances are ordered as the gallery is (a
stable sort), whereas the published code leaves their order open; all sums are in float64.

Only the places of a query's true matches are needed. They are looked up in its sorted distances:
sorting numbers is many times faster than sorting their indices, and no matrix of indices is held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from core.errors import UserError, no_such

METRICS = ("euclidean", "cosine")
MAX_RANK = 50  # to which CMC is computed, as published
SMALLEST_NORM = 1e-12  # an embedding of zeros has cosine distance 1 to all
BLOCK_BYTES = 64 << 20  # of distances held at a time

Rows = Callable[[int, int], np.ndarray]


@dataclass(frozen=True)
class Ranking:
    """What a ranking scored.

    Attributes:
        cmc: Share of the valid queries with a true match among the first r images, float64
            (ranks,); rank r is at r - 1. As many ranks as asked for, or as the gallery has images.
        map: Mean of `ap` over the valid queries.
        minp: Mean of `inp` over the valid queries.
        ap: Average precision of each query, float64 (Q,), NaN where skipped.
        inp: True matches over the place of the last of them, float64 (Q,), NaN where skipped.
        first_hit: Place of the first true match, from 1, int64 (Q,), 0 where skipped.
        valid: Whether a query has a true match, bool (Q,); the others are skipped.
    """

    cmc: np.ndarray
    map: float
    minp: float
    ap: np.ndarray
    inp: np.ndarray
    first_hit: np.ndarray
    valid: np.ndarray

    @property
    def skipped(self) -> int:
        """Queries without a true match by another camera, which no mean counts."""
        return int(len(self.valid) - np.count_nonzero(self.valid))

    def rank(self, r: int) -> float:
        """Return CMC at rank `r` >= 1; beyond the last rank it stays what it was there."""
        if r < 1:
            raise ValueError(f"`r` must be 1 or more. Received: r={r}")
        return float(self.cmc[min(r, len(self.cmc)) - 1])


class ProtocolMatches:
    """For each query its person's images in the gallery, and which of them the protocol removes.

    Args:
        q_ids, g_ids: Persons of queries (Q,) and gallery (G,). Id 0, the distractors of
            Market-1501, is one no query has; junk (-1) must have been left out.
        q_cams, g_cams: Cameras, from 0. None, or -1 for single images, is unknown: such an image
            is never of the same camera, so that it is not removed.

    Raises:
        UserError: Without a query or a gallery image.
        ValueError: When the lengths differ.
    """

    def __init__(self, q_ids, g_ids, q_cams=None, g_cams=None):
        q_ids, g_ids = np.asarray(q_ids), np.asarray(g_ids)
        for what, ids in (("query", q_ids), ("gallery", g_ids)):
            if not ids.size:
                raise UserError(f"The {what} holds no image; give at least one to rank.")
        self._q_cams, g_cams = _cameras(q_cams, q_ids, "q"), _cameras(g_cams, g_ids, "g")
        # Stable, so that the images of a person stay in the gallery's order.
        self._order = np.argsort(g_ids, kind="stable")
        ids = g_ids[self._order]
        self._cams = g_cams[self._order]
        self._starts = np.searchsorted(ids, q_ids, side="left")
        self._ends = np.searchsorted(ids, q_ids, side="right")
        self.queries, self.gallery = len(q_ids), len(g_ids)
        known = np.union1d(self._q_cams, g_cams)
        self._one_camera = len(known) == 1 and known[0] >= 0

    def of(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return a span's pairs of one person, by query and in the gallery's order.

        Args:
            start, stop: The span of queries.

        Returns:
            Each pair's query, its gallery image, and whether the protocol removes it.
        """
        begins = self._starts[start:stop]
        counts = self._ends[start:stop] - begins
        queries = np.repeat(np.arange(start, stop), counts)
        pairs = np.arange(len(queries)) + np.repeat(begins + counts - np.cumsum(counts), counts)
        cameras = self._q_cams[queries]
        return queries, self._order[pairs], (self._cams[pairs] == cameras) & (cameras >= 0)

    def wrong_shape(self, received: str) -> ValueError:
        """Return the error of distances that are not (Q, G)."""
        return ValueError(
            f"`distance` must have shape ({self.queries}, {self.gallery}). Received: {received}"
        )

    def nothing_to_score(self) -> UserError:
        """Return the error of a set in which every query is skipped."""
        if self._one_camera:
            return UserError(
                "All images are by one camera, and the protocol leaves out true matches by the "
                "query's own camera, so nothing is left to score; give images of two or more "
                "cameras, or leave the cameras unknown."
            )
        return UserError(
            f"None of the {self.queries} query images has a true match by another camera among "
            f"the {self.gallery} gallery images; check the persons and cameras of both."
        )


def distance_rows(query: np.ndarray, gallery: np.ndarray, metric: str = "euclidean") -> Rows:
    """Return a function of (start, stop) that computes these queries' distances to the gallery.

    Args:
        query, gallery: Embeddings (Q, D) and (G, D).
        metric: "euclidean", the squared Euclidean distance |a|^2 + |b|^2 - 2 a.b (the square root
            would not change the ranking), or "cosine", 1 - a.b of the embeddings at length 1.

    Returns:
        A function whose result is float32 (stop - start, G), never negative.

    Raises:
        UserError: For an unknown metric or an embedding with NaN or infinity.
    """
    if metric not in METRICS:
        raise no_such("metric", metric, METRICS)
    same = gallery is query
    query, q_squares = _embeddings(query, "query")
    gallery, g_squares = (query, q_squares) if same else _embeddings(gallery, "gallery")
    if query.shape[1] != gallery.shape[1]:
        raise ValueError(
            "`query` and `gallery` must have embeddings of one length. Received: "
            f"{query.shape}, {gallery.shape}"
        )
    if metric == "cosine":
        query = _at_length_one(query, q_squares)
        gallery = query if same else _at_length_one(gallery, g_squares)

    def rows(start: int, stop: int) -> np.ndarray:
        block = query[start:stop] @ gallery.T
        if metric == "cosine":
            np.subtract(1.0, block, out=block)
        else:
            block *= -2.0
            block += q_squares[start:stop, None]
            block += g_squares
        return np.maximum(block, 0.0, out=block)  # rounding leaves equal images below zero

    return rows


def distances(query: np.ndarray, gallery: np.ndarray, metric: str = "euclidean") -> np.ndarray:
    """Return the distance of each query to each gallery image, float32 (Q, G).

    Arguments and errors are those of `distance_rows`.
    """
    return distance_rows(query, gallery, metric)(0, len(query))


def rank(
    distance: np.ndarray | Iterable[np.ndarray],
    q_ids: np.ndarray,
    g_ids: np.ndarray,
    q_cams: np.ndarray | None = None,
    g_cams: np.ndarray | None = None,
    *,
    max_rank: int = MAX_RANK,
) -> Ranking:
    """Return CMC, mAP and mINP by the Market-1501 protocol.

    AP is (1/R) sum over the R true matches of (matches up to it) / (its place), without
    interpolation. mINP (M. Ye et al., arXiv 2001.04193) is the mean of R / (place of the last).
    A valid query's CMC is 1 beyond the last image that is left to it.

    Args:
        distance: (Q, G), or blocks of its rows (B, G) from the first query to the last.
        q_ids, g_ids, q_cams, g_cams: As in `ProtocolMatches`.
        max_rank: To which CMC is computed; at most the size of the gallery.

    Raises:
        UserError: Without a query, a gallery image or any true match by another camera, or when a
            distance is NaN.
    """
    if max_rank < 1:
        raise ValueError(f"`max_rank` must be 1 or more. Received: max_rank={max_rank}")
    matches = ProtocolMatches(q_ids, g_ids, q_cams, g_cams)
    queries, places = _places(distance, matches)
    counts = np.bincount(queries, minlength=matches.queries)
    valid = counts > 0
    if not valid.any():
        raise matches.nothing_to_score()
    ends, counts = np.cumsum(counts)[valid], counts[valid]
    starts = ends - counts
    matches_up_to = np.arange(1, len(places) + 1) - np.repeat(starts, counts)
    ap, inp = np.full((2, matches.queries), np.nan)
    first_hit = np.zeros(matches.queries, np.int64)
    ap[valid] = np.add.reduceat(matches_up_to / places, starts) / counts
    inp[valid] = counts / places[ends - 1]
    first_hit[valid] = places[starts]
    hits = np.bincount(first_hit[valid] - 1, minlength=matches.gallery)
    cmc = np.cumsum(hits)[: min(max_rank, matches.gallery)] / np.count_nonzero(valid)
    return Ranking(
        cmc, float(ap[valid].mean()), float(inp[valid].mean()), ap, inp, first_hit, valid
    )


def evaluate_embeddings(
    query: np.ndarray,
    gallery: np.ndarray,
    q_ids: np.ndarray,
    g_ids: np.ndarray,
    q_cams: np.ndarray | None = None,
    g_cams: np.ndarray | None = None,
    *,
    metric: str = "euclidean",
    max_rank: int = MAX_RANK,
    block: int | None = None,
) -> Ranking:
    """Return `rank` of the embeddings' distances, without ever holding all distances.

    Args:
        query, gallery: Embeddings (Q, D) and (G, D).
        q_ids, g_ids, q_cams, g_cams: As in `ProtocolMatches`.
        metric: As in `distance_rows`.
        max_rank: As in `rank`.
        block: Queries at a time; None is as many as make 64 MB of distances.

    Raises:
        UserError: As `rank` and `distance_rows`.
    """
    ProtocolMatches(q_ids, g_ids, q_cams, g_cams)  # an empty gallery shall be told as such
    rows = distance_rows(query, gallery, metric)
    blocks = (rows(*span) for span in spans(len(query), len(gallery), block))
    return rank(blocks, q_ids, g_ids, q_cams, g_cams, max_rank=max_rank)


def top_k(
    query: np.ndarray,
    gallery: np.ndarray,
    k: int,
    metric: str = "euclidean",
    *,
    block: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the `k` nearest gallery images of each query: an exact search, blocked.

    Args:
        query, gallery: Embeddings (Q, D) and (G, D).
        k: How many; of a smaller gallery all are returned.
        metric: As in `distance_rows`.
        block: Queries at a time; None is as many as make 64 MB of distances.

    Returns:
        Gallery indices int64 (Q, k), nearest first, of equal ones the earlier in the gallery; and
        their distances float32 (Q, k).

    Raises:
        UserError: Without a gallery image, or as `distance_rows`.
    """
    if k < 1:
        raise ValueError(f"`k` must be 1 or more. Received: k={k}")
    if not len(gallery):
        raise UserError("The gallery holds no image; give at least one to search in.")
    k = min(k, len(gallery))
    rows = distance_rows(query, gallery, metric)
    indices, values = np.empty((len(query), k), np.int64), np.empty((len(query), k), np.float32)
    for start, stop in spans(len(query), len(gallery), block):
        found = rows(start, stop)
        indices[start:stop] = nearest(found, k)
        values[start:stop] = np.take_along_axis(found, indices[start:stop], axis=1)
    return indices, values


def nearest(distance: np.ndarray, k: int) -> np.ndarray:
    """Return the columns of each row's `k` smallest values, int64 (B, k), in a stable order."""
    columns = np.empty((len(distance), k), np.int64)
    for row, chosen in zip(distance, columns, strict=True):
        # All that are equal to the k-th come along, so that the stable order decides among them.
        candidates = np.flatnonzero(row <= np.partition(row, k - 1)[k - 1])
        chosen[:] = candidates[np.argsort(row[candidates], kind="stable")[:k]]
    return columns


def spans(rows: int, columns: int, block: int | None = None) -> Iterable[tuple[int, int]]:
    """Return (start, stop) of blocks of `block` rows, or of 64 MB of float32 where that is None."""
    if block is None:
        block = max(1, BLOCK_BYTES // (4 * max(columns, 1)))
    if block < 1:
        raise ValueError(f"`block` must be 1 or more. Received: block={block}")
    return [(start, min(start + block, rows)) for start in range(0, rows, block)]


def _places(
    distance: np.ndarray | Iterable[np.ndarray], matches: ProtocolMatches
) -> tuple[np.ndarray, np.ndarray]:
    """Return each true match's query and its place, from 1; both ascending."""
    done, found = 0, [np.zeros((2, 0), np.int64)]
    for block in [distance] if isinstance(distance, np.ndarray) else distance:
        stop = done + len(block)
        if block.ndim != 2 or block.shape[1] != matches.gallery or stop > matches.queries:
            raise matches.wrong_shape(f"a block of shape {block.shape} at row {done}")
        queries, images, removed = matches.of(done, stop)
        places = _places_of_pairs(block, queries - done, images)
        order = np.lexsort((places, queries))
        queries, places, removed = queries[order], places[order], removed[order]
        # What is removed before a pair moves it forward; the sum runs on from query to query.
        before = np.cumsum(removed) - removed
        before -= before[np.searchsorted(queries, queries)]
        found.append(np.stack([queries, places - before + 1])[:, ~removed])
        done = stop
    if done != matches.queries:
        raise matches.wrong_shape(f"{done} rows")
    return tuple(np.concatenate(found, axis=1))


def _places_of_pairs(block: np.ndarray, rows: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return how many images of its row a stable ranking puts before each of these images."""
    values = block[rows, images]
    places, ends = np.empty((2, len(rows)), np.int64)
    limits = np.searchsorted(rows, np.arange(len(block) + 1)).tolist()
    for row, start, stop in zip(block, limits[:-1], limits[1:], strict=True):
        if start == stop:
            continue
        ordered = np.sort(row)
        if np.isnan(ordered[-1]):
            raise UserError("A distance is not a number; check the embeddings it is made from.")
        places[start:stop] = ordered.searchsorted(values[start:stop])
        ends[start:stop] = ordered.searchsorted(values[start:stop], side="right")
    for pair in np.flatnonzero(ends - places > 1):
        places[pair] += np.count_nonzero(block[rows[pair], : images[pair]] == values[pair])
    return places


def _cameras(cams, ids: np.ndarray, letter: str) -> np.ndarray:
    """Return the cameras as int64, -1 where unknown."""
    if cams is None:
        return np.full(len(ids), -1, np.int64)
    cams = np.array([-1 if cam is None else cam for cam in cams], np.int64)
    if cams.shape != ids.shape:
        raise ValueError(
            f"`{letter}_cams` must be as long as `{letter}_ids`. Received: {cams.shape}, "
            f"{ids.shape}"
        )
    return cams


def _embeddings(values: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the embeddings as float32 (N, D) and their squared lengths (N,)."""
    values = np.ascontiguousarray(values, np.float32)
    if values.ndim != 2:
        raise ValueError(f"`{what}` must have shape (N, D). Received: shape {values.shape}")
    squares, wrong = squared_lengths(values)
    if wrong:
        raise UserError(
            f"{wrong} of {len(values)} {what} embeddings hold NaN, infinity or huge numbers; "
            "the network that made them is damaged or its training diverged, use another."
        )
    return values, squares


def squared_lengths(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the squared lengths of float32 (N, D) and of how many no distance can be told."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("nd,nd->n", values, values)
        lost = ~np.isfinite(4.0 * squares)  # 4: no sum of two may overflow
    return squares, int(np.count_nonzero(lost))


def _at_length_one(values: np.ndarray, squares: np.ndarray) -> np.ndarray:
    return values / np.maximum(np.sqrt(squares), np.float32(SMALLEST_NORM))[:, None]
