"""Maps of a picture: at its size, and in [0, 1] as `core.drawing.overlaid` shows them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def enlarged(values: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Return a map (h, w) at (height, width): bilinear, half-pixel centres, no antialias."""
    import cv2

    height, width = size
    return cv2.resize(
        np.asarray(values, np.float32), (width, height), interpolation=cv2.INTER_LINEAR
    )


def unit_scaled(values: np.ndarray) -> np.ndarray:
    """Return (L - min) / (max - min); zeros where all values are the same."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def evidence(values: np.ndarray) -> np.ndarray:
    """Return what speaks for a class in a map with signs (LIME, occlusion), in [0, 1].

    What speaks against it counts as what does not matter: 0. The largest value becomes 1.
    """
    positive = np.maximum(values, 0)
    return positive / (positive.max() or 1)
