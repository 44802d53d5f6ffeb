"""Nearest neighbours between the features of two images, without any further test.

One product of matrices tells nearly every nearest neighbour. Where two features are nearer to each
other than its rounding, the distances themselves decide, as OpenCV's matcher computes them.
"""

from __future__ import annotations

import numpy as np

_ROUNDING = 4e-5  # share of squared lengths by which float32 may be wrong, at most


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
    query = np.ascontiguousarray(query, np.float32)
    database = np.ascontiguousarray(database, np.float32)
    norms = np.einsum("ij,ij->i", database, database)
    scores = query @ (-2 * database).T
    scores += norms
    found = scores.argmin(axis=1).astype(np.int32)
    least = np.take_along_axis(scores, found[:, None], axis=1)
    slack = _ROUNDING * (np.einsum("ij,ij->i", query, query) + norms.max())
    close = np.count_nonzero(scores <= least + slack[:, None], axis=1)
    unsure = np.flatnonzero(close != 1)  # of what is not finite there is none
    if len(unsure):
        _, exact = cv2.batchDistance(query[unsure], database, cv2.CV_32F, normType=cv2.NORM_L2, K=1)
        found[unsure] = exact[:, 0]
    return found
