"""The pose of one scan in the frame of another, from their images' keypoints and features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apps.bev_localization.images.recipes import BevRecipe
from apps.bev_localization.pose import keypoints as corners
from apps.bev_localization.pose.features import features_at
from apps.bev_localization.pose.matching import nearest
from apps.bev_localization.pose.rigid import (
    ITERATIONS,
    between_centres,
    heading,
    ransac_rigid,
)

INLIER_PIXELS = 1.25  # the published half metre, of pixels of 0.4 m


@dataclass(frozen=True)
class LocalView:
    """What a map keeps of a scan for poses.

    Attributes:
        pixels: int32 (N, 2), column and row of keypoints.
        features: float32 (N, C), of unit length.
    """

    pixels: np.ndarray
    features: np.ndarray


@dataclass(frozen=True)
class PoseEstimate:
    """Where a query scan was taken, seen from a scan of the map.

    Attributes:
        transform: float64 (2, 3), which brings points of the query into the frame of the other;
            x and y in metres.
        matches: int32 (N, 2), positions of keypoints of query and map.
        inliers: bool (N,), which matches agree with the transform.
    """

    transform: np.ndarray
    matches: np.ndarray
    inliers: np.ndarray

    @property
    def yaw(self) -> float:
        """Return the rotation in degrees, above -180 up to 180, counter-clockwise."""
        return heading(self.transform)

    @property
    def inlier_count(self) -> int:
        return int(np.count_nonzero(self.inliers))


def local_view(
    image: np.ndarray, small_map: np.ndarray, *, threshold: int = corners.THRESHOLD
) -> LocalView:
    """Return the keypoints of an image with their features.

    Args:
        image: uint8 (H, H), a density image.
        small_map: float32 (h, h, C), the network's map of it.
        threshold: Of FAST, in grey levels.
    """
    pixels = corners.fast_keypoints(image, threshold=threshold).pixels
    return LocalView(pixels, features_at(small_map, pixels, len(image)))


def inlier_distance(recipe: BevRecipe) -> float:
    """Return by how many metres a match may miss and still agree with a pose.

    It grows with the pixels: a keypoint is a whole pixel, whose corner is known to half of one.
    """
    return INLIER_PIXELS * recipe.resolution


def estimate_pose(
    query: LocalView,
    database: LocalView,
    recipe: BevRecipe,
    *,
    center_cells: bool = False,
    iterations: int = ITERATIONS,
    threshold: float | None = None,
    seed: int = 0,
) -> PoseEstimate | None:
    """Return the pose of a query in the frame of a scan of the map; None without keypoints.

    Args:
        query, database: Keypoints and features of both.
        recipe: Of both images.
        center_cells: Whether points are the middles of pixels; False takes their corners, as the
            published numbers do.
        iterations, threshold, seed: Of RANSAC; None takes `inlier_distance`.
    """
    if not len(query.pixels) or not len(database.pixels):
        return None
    found = nearest(query.features, database.features)
    consensus = ransac_rigid(
        corners.metric_points(query.pixels, recipe),
        corners.metric_points(database.pixels[found], recipe),
        iterations=iterations,
        threshold=inlier_distance(recipe) if threshold is None else threshold,
        seed=seed,
    )
    transform = consensus.transform
    if center_cells:
        transform = between_centres(transform, corners.half_cell(recipe))
    matches = np.stack([np.arange(len(found), dtype=np.int32), found], axis=1)
    return PoseEstimate(transform, matches, consensus.inliers)
