"""The plainest descriptor of a map of local features: their mean."""

from __future__ import annotations

import numpy as np

from core.engines import Engine

_SMALLEST = 1e-12


class MeanPooled:
    """A network whose place descriptor is the mean of its local features in place of NetVLAD's.

    Args:
        engine: Of REIN; its outputs are the map and a descriptor.

    Attributes:
        name, card: The engine's.
    """

    def __init__(self, engine: Engine):
        self.name, self.card = engine.name, engine.card
        self._engine = engine

    def __call__(self, batch: np.ndarray) -> list[np.ndarray]:
        """Return the map (N, h, h, C) as it is, and descriptors (N, C) of unit length."""
        features, *_ = self._engine(batch)
        units = features / np.maximum(np.linalg.norm(features, axis=-1, keepdims=True), _SMALLEST)
        means = units.mean(axis=(1, 2))
        lengths = np.linalg.norm(means, axis=-1, keepdims=True)
        return [features, means / np.maximum(lengths, _SMALLEST)]
