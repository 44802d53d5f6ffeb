"""Rigid transforms of the plane between matched points: least squares, and RANSAC around it.

A transform is float64 (2, 3), a rotation and a translation: p' = R p + t.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

ITERATIONS = 1000
THRESHOLD = 0.5  # metres
_DRAWN = 3  # indices of a sample, of which two are used: so do published runs replay


@dataclass(frozen=True)
class Consensus:
    """What RANSAC found.

    Attributes:
        transform: float64 (2, 3), fitted to all inliers.
        inliers: bool (N,), of the best sample.
    """

    transform: np.ndarray
    inliers: np.ndarray


def fit_rigid(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the rotation and translation that bring points onto others, by least squares.

    Where all points are one, the rotation is none. It is the closed form in the plane of the
    solution by singular values (S. Umeyama, IEEE TPAMI 13, 1991).

    Args:
        source, target: (..., N, 2); several fits at once where there are more axes.

    Returns:
        float64 (..., 2, 3).
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    middle, aim = source.mean(axis=-2), target.mean(axis=-2)
    x, y = np.moveaxis(source - middle[..., None, :], -1, 0)
    u, v = np.moveaxis(target - aim[..., None, :], -1, 0)
    angle = np.arctan2((x * v - y * u).sum(-1), (x * u + y * v).sum(-1))
    cos, sin = np.cos(angle), np.sin(angle)
    tx = aim[..., 0] - (cos * middle[..., 0] - sin * middle[..., 1])
    ty = aim[..., 1] - (sin * middle[..., 0] + cos * middle[..., 1])
    return np.stack([np.stack([cos, -sin, tx], -1), np.stack([sin, cos, ty], -1)], axis=-2)


def ransac_rigid(
    source: np.ndarray,
    target: np.ndarray,
    *,
    iterations: int = ITERATIONS,
    threshold: float = THRESHOLD,
    seed: int = 0,
) -> Consensus:
    """Return the rigid transform that most matches agree with.

    Samples of two matches are drawn with replacement from NumPy's legacy generator, as in the
    published code, so that a seed gives the same samples.

    Args:
        source, target: (N, 2), matched points in metres, N above 0.
        iterations: Samples.
        threshold: An inlier misses its point by less than this, in metres.
        seed: Of the samples.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if source.ndim != 2 or source.shape != target.shape or not len(source):
        raise ValueError(
            "`source` and `target` must be matched points (N, 2). "
            f"Received: {source.shape} and {target.shape}"
        )
    if iterations < 1:
        raise ValueError(f"`iterations` must be positive. Received: iterations={iterations}")
    drawn = np.random.RandomState(seed).randint(0, len(source), (iterations, _DRAWN))
    pairs = drawn[:, :2]
    from apps.bev_localization.pose import rigid_kernel

    transforms = fit_rigid(source[pairs], target[pairs])
    columns, aims = np.ascontiguousarray(source.T), np.ascontiguousarray(target.T)
    counts = rigid_kernel.counts(transforms, columns, aims, threshold**2)
    best = int(counts.argmax())
    if not counts[best]:  # a sample may miss its own two points
        return Consensus(np.eye(2, 3), np.zeros(len(source), bool))
    inliers = rigid_kernel.agreeing(transforms[best], columns, aims, threshold**2)
    return Consensus(fit_rigid(source[inliers], target[inliers]), inliers)


def between_centres(transform: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Return a transform of corners of pixels as that of their middles, which are `offset` away.

    The rotation acts about the sensor: at opposite headings corners tell a place more than half a
    metre off.
    """
    corrected = np.array(transform, np.float64)
    corrected[:, 2] += offset - corrected[:, :2] @ offset
    return corrected


def heading(transform: np.ndarray) -> float:
    """Return the rotation of a transform (2 or 3, 3) in degrees, above -180 up to 180."""
    return math.degrees(math.atan2(transform[1, 0], transform[0, 0]))


def as_square(transform: np.ndarray) -> np.ndarray:
    """Return a transform as float64 (3, 3)."""
    return np.vstack([np.asarray(transform, np.float64)[:2], [0.0, 0.0, 1.0]])
