"""Scan Context: the largest height in each cell of a polar grid around the sensor.

G. Kim, A. Kim, "Scan Context: Egocentric Spatial Descriptor for Place Recognition within 3D Point
Cloud Map", IROS 2018. Candidates are found by ring keys, which do not depend on the heading, and
compared by the cosines of columns at every shift, which also tells the heading.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.errors import UserError

RINGS, SECTORS = 20, 60
RANGE = 80.0  # metres
SENSOR_HEIGHT = 2.0  # metres that are added, so that the ground lies near 0 and nothing below
CANDIDATES = 10  # whose contexts are compared, found by ring keys


@dataclass(frozen=True)
class Found:
    """The best places of one query.

    Attributes:
        places: int64 (K,), nearest first.
        distances: float32 (K,), 0 for equal contexts, 1 where nothing agrees.
        yaws: float64 (K,), degrees by which the query is turned against the place, counter-
            clockwise, in steps of 6.
    """

    places: np.ndarray
    distances: np.ndarray
    yaws: np.ndarray


def scan_context(
    points: np.ndarray, *, rings: int = RINGS, sectors: int = SECTORS, reach: float = RANGE
) -> np.ndarray:
    """Return the context of a scan, float32 (rings, sectors); 0 where a cell holds no point.

    Args:
        points: (N, 3) in metres, in the frame of the sensor.
        rings, sectors: Cells outward and around, the first sector to the left of straight ahead.
        reach: Metres to the outermost ring.
    """
    x, y, z = np.asarray(points, np.float64)[:, :3].T
    apart = np.hypot(x, y)
    kept = apart < reach  # false for NaN
    ring = (apart[kept] / reach * rings).astype(np.int64)
    turn = np.mod(np.arctan2(y[kept], x[kept]), 2 * np.pi) / (2 * np.pi)
    sector = np.minimum((turn * sectors).astype(np.int64), sectors - 1)
    found = np.zeros(rings * sectors, np.float32)
    heights = np.maximum(z[kept] + SENSOR_HEIGHT, 0).astype(np.float32)
    np.maximum.at(found, ring * sectors + sector, heights)
    return found.reshape(rings, sectors)


def ring_keys(contexts: np.ndarray) -> np.ndarray:
    """Return the mean of each ring, float32 (N, rings), of contexts (N, rings, sectors)."""
    return np.asarray(contexts, np.float32).mean(axis=2)


def distances(query: np.ndarray, contexts: np.ndarray) -> np.ndarray:
    """Return how far a context is from others at every shift, float32 (N, sectors).

    At shift s, sector j of the query is laid on sector j - s of the other: the query's sensor is
    turned clockwise by s sectors. Columns that are empty in one of both do not count.

    Args:
        query: (rings, sectors).
        contexts: (N, rings, sectors).
    """
    sectors = query.shape[1]
    own, ours = _unit_columns(query[None])
    other, theirs = _unit_columns(np.asarray(contexts, np.float32))
    cosines = np.einsum("ri,nrj->nij", own[0], other, optimize=True)
    both = (ours[0][:, None] & theirs[:, None, :]).astype(np.float32)
    # Sums along the diagonals j = i - s.
    column = (np.arange(sectors)[None] - np.arange(sectors)[:, None]) % sectors  # [s, i]
    shifted = np.arange(sectors)[None]
    agreeing = cosines[:, shifted, column].sum(axis=2)
    counted = both[:, shifted, column].sum(axis=2)
    return 1 - np.divide(agreeing, counted, out=np.zeros_like(agreeing), where=counted > 0)


def _unit_columns(contexts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    norms = np.linalg.norm(contexts, axis=1, keepdims=True)
    units = np.divide(contexts, norms, out=np.zeros_like(contexts), where=norms > 0)
    return units, norms[:, 0] > 0


class ScanContextIndex:
    """Contexts of a map's scans.

    Args:
        contexts: (N, rings, sectors), N above 0.
        candidates: How many are compared, found by ring keys; 0 compares all.
    """

    def __init__(self, contexts: np.ndarray, *, candidates: int = CANDIDATES):
        from scipy.spatial import cKDTree

        self.contexts = np.asarray(contexts, np.float32)
        if self.contexts.ndim != 3 or not len(self.contexts):
            raise UserError("Scan Context needs at least one scan to compare with; give it some.")
        self._candidates = min(candidates or len(self.contexts), len(self.contexts))
        self._tree = cKDTree(ring_keys(self.contexts))

    def search(self, query: np.ndarray, top: int = 1) -> Found:
        """Return the nearest places of a context (rings, sectors), of the candidates."""
        picks = np.atleast_1d(self._tree.query(ring_keys(query[None])[0], self._candidates)[1])
        picks = np.sort(picks)
        table = distances(query, self.contexts[picks])
        shifts = table.argmin(axis=1)
        best = table[np.arange(len(picks)), shifts]
        order = np.argsort(best, kind="stable")[:top]
        sector = 360.0 / query.shape[1]
        yaws = np.mod(-shifts[order] * sector + 180.0, 360.0) - 180.0
        return Found(picks[order], best[order], yaws)
