"""Shorter descriptors: principal components, whitened, of the descriptors of a map.

H. Jégou, O. Chum, "Negative evidences and co-occurences in image retrieval", ECCV 2012. BEVPlace++
leaves it to later; the search among the full descriptors stays the reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.errors import UserError

DIMENSIONS = 256
_ROWS = 2048  # descriptors that are looked at, evenly spaced; of more the time grows with the cube
_SMALLEST = 1e-6  # share of the largest variance, below which a direction is noise
_NORM = 1e-12


@dataclass(frozen=True)
class Projection:
    """A linear map to fewer numbers.

    Attributes:
        mean: float32 (D,).
        components: float32 (K, D), scaled so that each result has variance 1 where whitened.
    """

    mean: np.ndarray
    components: np.ndarray

    def __call__(self, descriptors: np.ndarray) -> np.ndarray:
        """Return descriptors (N, D) as float32 (N, K) of unit length."""
        centred = np.asarray(descriptors, np.float32) - self.mean
        found = centred @ self.components.T
        norms = np.linalg.norm(found, axis=1, keepdims=True)
        return found / np.maximum(norms, np.float32(_NORM))


def fit_projection(
    descriptors: np.ndarray, dimensions: int = DIMENSIONS, *, whiten: bool = True
) -> Projection:
    """Return the projection on the strongest principal components.

    Args:
        descriptors: float32 (N, D), of a map; of more than 2,048 as many, evenly spaced.
        dimensions: K.
        whiten: Whether each component is divided by its deviation.

    Raises:
        UserError: When the descriptors span less than `dimensions`.
    """
    descriptors = np.asarray(descriptors, np.float32)
    if dimensions < 1:
        raise ValueError(f"`dimensions` must be positive. Received: dimensions={dimensions}")
    picks = np.linspace(0, len(descriptors) - 1, min(len(descriptors), _ROWS)).round()
    some = descriptors[picks.astype(np.int64)]
    mean = some.mean(axis=0, dtype=np.float64).astype(np.float32)
    some = some - mean
    # The eigenvectors of the smaller Gram matrix give those of the covariance.
    variances, vectors = np.linalg.eigh((some @ some.T).astype(np.float64))
    order = np.argsort(variances)[::-1][:dimensions]
    variances, vectors = variances[order], vectors[:, order]
    spanned = int(np.count_nonzero(variances > _SMALLEST * max(variances.max(initial=0), 1e-30)))
    if spanned < dimensions:
        raise UserError(
            f"The {len(descriptors)} descriptors of the map span {spanned} dimensions, less than "
            f"the {dimensions} to keep; keep fewer or map more places."
        )
    components = (vectors / np.sqrt(variances)).T.astype(np.float32) @ some  # of unit length
    if whiten:
        components *= np.sqrt(len(some) / variances)[:, None].astype(np.float32)
    return Projection(mean, components)
