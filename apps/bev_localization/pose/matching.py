"""Nearest neighbours between the features of two images, without any further test."""

from __future__ import annotations

import numpy as np


def nearest(query: np.ndarray, database: np.ndarray) -> np.ndarray:
    """Return for each feature its nearest one by Euclidean distance; of equals the first.

    Args:
        query: float32 (N, C).
        database: float32 (M, C), M above 0.

    Returns:
        int32 (N,), positions in `database`. There is no ratio test and no cross check: outliers
        are left to RANSAC.
    """
    import cv2

    if query.ndim != 2 or database.ndim != 2 or query.shape[1] != database.shape[1]:
        raise ValueError(
            f"features must be (N, C) and (M, C). Received: {query.shape} and {database.shape}"
        )
    if not len(database):
        raise ValueError(f"`database` must hold a feature. Received: shape={database.shape}")
    if not len(query):
        return np.empty(0, np.int32)
    _, found = cv2.batchDistance(
        np.ascontiguousarray(query, np.float32),
        np.ascontiguousarray(database, np.float32),
        cv2.CV_32F,
        normType=cv2.NORM_L2,
        K=1,
    )
    return found[:, 0]
