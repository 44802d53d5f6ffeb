"""Exact nearest neighbours among global descriptors.

One search among ten thousand descriptors of 32 KiB costs what it takes to read them. So most of
their numbers are kept in a byte each besides, with the error of that for each descriptor: what is
too far off even so is not looked at again, and the rest is compared by the numbers themselves. That
is exact.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from core.errors import UserError

BACKENDS = ("numpy", "faiss")
_TOGETHER = 256  # queries whose distances are held at a time
_FEW = 8  # queries up to which one by one is quicker than a product of matrices
_SMALL, _SHORT = 1 << 20, 1024  # numbers of a database, of a descriptor, that is multiplied whole
_SHARE = 7 / 8  # of the numbers that get a byte: with it 10,000 descriptors stay below 400 MB
_MANY = 16  # descriptors that are worth a second look before they are compared
_ROUNDING = 1e-4  # share of squared lengths by which a product in float32 may be wrong, at most


class ExactSearch:
    """Descriptors to be searched.

    Args:
        database: float32 (N, D), N above 0; kept, not copied.
    """

    def __init__(self, database: np.ndarray):
        self.database = np.ascontiguousarray(database, np.float32)
        if self.database.ndim != 2 or not len(self.database):
            raise ValueError(f"`database` must be (N, D). Received: shape={self.database.shape}")

    @property
    def nbytes(self) -> int:
        """Memory of the descriptors and of what is kept besides."""
        extra = 0 if self._is_small else int(len(self.database) * (self._sketched_length + 12))
        return self.database.nbytes + extra

    def nearest(
        self, queries: np.ndarray, top: int = 1, *, backend: str = "numpy"
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the nearest descriptors by Euclidean distance; of equals the lower place first.

        Args:
            queries: float32 (Q, D).
            top: How many; of fewer places all.
            backend: "numpy", or "faiss" (the extra 'retrieval'), which copies the database.

        Returns:
            Places int64 (Q, top), nearest first, and their distances float32 (Q, top).

        Raises:
            UserError: When faiss is not installed.
        """
        queries = np.ascontiguousarray(queries, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.database.shape[1]:
            raise ValueError(
                f"`queries` must be (Q, {self.database.shape[1]}). Received: {queries.shape}"
            )
        if top < 1:
            raise ValueError(f"`top` must be at least 1. Received: top={top}")
        if backend not in BACKENDS:
            raise ValueError(f"`backend` must be one of {BACKENDS}. Received: backend={backend!r}")
        top = min(top, len(self.database))
        if backend == "faiss":
            return _by_faiss(queries, self.database, top)
        if len(queries) <= _FEW and not self._is_small:
            found = [self._one(query, top) for query in queries]
        else:
            found = self._many(queries, top)
        places = np.array([place for place, _ in found], np.int64).reshape(-1, top)
        distances = np.array([distance for _, distance in found], np.float32).reshape(-1, top)
        return places, distances

    @property
    def _is_small(self) -> bool:
        return self.database.size <= _SMALL or self.database.shape[1] <= _SHORT

    @property
    def _sketched_length(self) -> int:
        return int(self.database.shape[1] * _SHARE)

    @cached_property
    def _sketch(self) -> tuple[np.ndarray, ...]:
        from apps.bev_localization.retrieval import search_kernel

        return search_kernel.sketched(self.database, self._sketched_length)

    @cached_property
    def _norms(self) -> np.ndarray:
        """Squared lengths, float32 (N,)."""
        return squared_norms(self.database)

    def _one(self, query: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
        from apps.bev_localization.retrieval import search_kernel

        codes, steps, norms, errors = self._sketch
        length = self._sketched_length
        rough, own_error = search_kernel.rough_distances(codes, steps, norms, query[:length])
        errors = errors + np.float32(own_error)
        slack = _ROUNDING * (float(query @ query) + float(norms.max()))

        def nearer(places: np.ndarray, than: np.ndarray) -> np.ndarray:
            """Return which of some places may be no farther than others that are known."""
            bound = np.sqrt(self._squared(query, than).max())
            return places[rough[places] <= (bound + errors[places]) ** 2 + slack]

        every = np.arange(len(rough))
        chosen = nearer(every, np.argpartition(rough, top - 1)[:top])
        if len(chosen) > max(_MANY, top):
            rough[chosen] += search_kernel.squared_distances(self.database, query, chosen, length)
            chosen = nearer(chosen, chosen[np.argpartition(rough[chosen], top - 1)[:top]])
        return self._ordered(query, chosen, top)

    def _many(self, queries: np.ndarray, top: int) -> list[tuple[np.ndarray, np.ndarray]]:
        found = []
        for start in range(0, len(queries), _TOGETHER):
            block = queries[start : start + _TOGETHER]
            scores = self._norms - 2 * (block @ self.database.T)
            kth = np.partition(scores, top - 1, axis=1)[:, top - 1]
            most = kth + 2 * _ROUNDING * (squared_norms(block) + self._norms.max())
            found += [
                self._ordered(query, np.flatnonzero(row <= limit), top)
                for query, row, limit in zip(block, scores, most, strict=True)
            ]
        return found

    def _ordered(self, query: np.ndarray, chosen: np.ndarray, top: int):
        squared = self._squared(query, chosen)
        order = np.lexsort((chosen, squared))[:top]
        return chosen[order], np.sqrt(squared[order])

    def _squared(self, query: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        from apps.bev_localization.retrieval import search_kernel

        return search_kernel.squared_distances(self.database, query, chosen)


def squared_norms(rows: np.ndarray) -> np.ndarray:
    """Return the squared lengths of rows (N, D), (N,)."""
    return np.einsum("ij,ij->i", rows, rows)


def _by_faiss(queries: np.ndarray, database: np.ndarray, top: int):
    try:
        import faiss
    except ImportError as error:
        raise UserError(
            "Searching with faiss needs the extra 'retrieval', which is not installed: pip install "
            "'gossamer-keras[retrieval]', or take numpy (the places are the same)."
        ) from error
    index = faiss.IndexFlatL2(database.shape[1])
    index.add(database)
    squared, places = index.search(queries, top)
    return places, np.sqrt(np.maximum(squared, 0))
