"""Exact nearest neighbours among global descriptors.

One search among ten thousand descriptors of 32 KiB costs what it takes to read them. A sum of
squares only grows, so a row that is already too far by its first quarters need not be read on: that
is exact, and spares most of the reading wherever the query was seen before.
"""

from __future__ import annotations

import numpy as np

from core.errors import UserError

BACKENDS = ("numpy", "faiss")
_TOGETHER = 256  # queries whose distances are held at a time
_FEW = 8  # queries up to which one by one is quicker than a product of matrices
_PARTS = 4  # of a descriptor, which are looked at one after the other
_SHORT = 1024  # numbers of a descriptor that has no parts
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
        length = self.database.shape[1]
        step = -(-length // _PARTS) if length > _SHORT else max(length, 1)
        self._parts = [slice(start, start + step) for start in range(0, length, step)]
        self._norms = [squared_norms(self.database[:, part]) for part in self._parts]
        self._whole_norms = np.sum(self._norms, axis=0)
        self._largest = float(self._whole_norms.max())

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
        if len(queries) <= _FEW:
            found = [self._one(query, top) for query in queries]
        else:
            found = self._many(queries, top)
        places = np.array([place for place, _ in found], np.int64).reshape(-1, top)
        distances = np.array([distance for _, distance in found], np.float32).reshape(-1, top)
        return places, distances

    def _one(self, query: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
        slack = _ROUNDING * (float(query @ query) + self._largest)
        scores, bound = np.zeros(len(self.database), np.float32), np.inf
        for part, norms in zip(self._parts, self._norms, strict=True):
            ours = query[part]
            scores += norms - 2 * (self.database[:, part] @ ours) + ours @ ours
            likely = np.argpartition(scores, top - 1)[:top]
            bound = min(bound, self._squared(query, likely).max())
            chosen = np.flatnonzero(scores <= bound + slack)
            if len(chosen) * _PARTS <= len(self.database):
                break
        return self._ordered(query, chosen, top)

    def _many(self, queries: np.ndarray, top: int) -> list[tuple[np.ndarray, np.ndarray]]:
        found = []
        for start in range(0, len(queries), _TOGETHER):
            block = queries[start : start + _TOGETHER]
            scores = self._whole_norms - 2 * (block @ self.database.T)
            kth = np.partition(scores, top - 1, axis=1)[:, top - 1]
            most = kth + 2 * _ROUNDING * (squared_norms(block) + self._largest)
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
