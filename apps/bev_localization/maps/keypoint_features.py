"""Local features as a map keeps them: a byte a number.

A feature has unit length, so that its direction is all there is to keep: the integers of a row need
no scale, as the row is brought to unit length again.
"""

from __future__ import annotations

import numpy as np

KINDS = {"int8": np.int8, "float16": np.float16}
_MOST = 127
_SMALLEST = 1e-12


def packed(features: np.ndarray, kind: str = "int8") -> np.ndarray:
    """Return features (N, C), float32 of unit length, as int8 or float16."""
    if kind == "float16":
        return features.astype(np.float16)
    largest = np.abs(features).max(axis=1, keepdims=True, initial=_SMALLEST)
    return np.rint(features * (_MOST / largest)).astype(np.int8)


def unpacked(stored: np.ndarray) -> np.ndarray:
    """Return stored features (N, C) as float32 of unit length; zeros stay zeros."""
    features = stored.astype(np.float32)
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.maximum(norms, np.float32(_SMALLEST))
