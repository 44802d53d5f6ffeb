"""The descriptors of a map, whole or shortened, and the search among them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from apps.bev_localization.retrieval.projection import Projection, fit_projection
from apps.bev_localization.retrieval.search import ExactSearch
from core.errors import UserError


@dataclass(frozen=True)
class PlaceIndex:
    """The global descriptors of a map.

    Attributes:
        stored: (N, D) float32, or float16 after the projection.
        projection: What shortened them; None where they are whole.
    """

    stored: np.ndarray
    projection: Projection | None = None

    def __len__(self) -> int:
        return len(self.stored)

    @property
    def nbytes(self) -> int:
        """Memory of all that a search needs: descriptors, their sketch, the projection."""
        if self.projection is None:
            return self._search.nbytes
        extra = self.projection.mean.nbytes + self.projection.components.nbytes
        return self.stored.nbytes + self._search.nbytes + extra

    def search(
        self, descriptors: np.ndarray, top: int = 1, *, backend: str = "numpy"
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the nearest places; see `ExactSearch.nearest`.

        Args:
            descriptors: float32 (Q, D), or (D,) of one query, as the network gives them.
            top, backend: As of `ExactSearch.nearest`.

        Returns:
            int64 and float32 (Q, top): places, and distances between what is stored.

        Raises:
            UserError: When the descriptors are of another length or not finite.
        """
        queries = np.atleast_2d(np.asarray(descriptors, np.float32))
        whole = self.stored.shape[1] if self.projection is None else len(self.projection.mean)
        if queries.shape[1] != whole:
            raise UserError(
                f"The query's descriptor has {queries.shape[1]} numbers, those of the map {whole}; "
                "use the network the map was built with."
            )
        _refuse_infinite(queries, "The query's descriptor")
        if self.projection is not None:
            queries = self.projection(queries)
        return self._search.nearest(queries, top, backend=backend)

    @cached_property
    def _search(self) -> ExactSearch:
        """What is searched: the descriptors as float32, which shortened ones become once."""
        return ExactSearch(self.stored)


def build_index(descriptors: np.ndarray, *, dimensions: int | None = None) -> PlaceIndex:
    """Return the index of a map's descriptors.

    Args:
        descriptors: float32 (N, D), N above 0; kept, not copied, where they stay whole.
        dimensions: None keeps float32 and all numbers; otherwise the strongest so many principal
            components, whitened, in float16 (256: 512 bytes a place instead of 32 KiB).

    Raises:
        UserError: When there is none, one is not finite, or they span too few dimensions.
    """
    descriptors = np.ascontiguousarray(descriptors, np.float32)
    if descriptors.ndim != 2 or not descriptors.size:
        raise UserError("A map needs at least one place with a descriptor; give it scans.")
    _refuse_infinite(descriptors, "A descriptor of the map")
    if dimensions is None:
        return PlaceIndex(descriptors)
    projection = fit_projection(descriptors, dimensions)
    return PlaceIndex(projection(descriptors).astype(np.float16), projection)


def _refuse_infinite(descriptors: np.ndarray, what: str) -> None:
    if not np.isfinite(np.einsum("ij->", descriptors)) and not np.isfinite(descriptors).all():
        raise UserError(f"{what} holds NaN or infinite values; check the network's weights.")
