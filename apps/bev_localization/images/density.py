"""The density image of a scan (BEVPlace++, L. Luo et al., IEEE T-RO 41, 2025, section III).

How many voxels are occupied above each pixel of the ground. The frame of points is x forward,
y left, z up; in the image up is forward and left is left. The pixel (`centre`, `centre`) covers
x and y in [0, resolution): the sensor sits on its lower right corner.
"""

from __future__ import annotations

import math
import warnings

import numpy as np

from apps.bev_localization.images.recipes import INPUT_DIVISOR, WHITE, BevRecipe


def density_image(points: np.ndarray, recipe: BevRecipe) -> np.ndarray:
    """Return the density image of a scan; one without a point in range is black, with a warning.

    Args:
        points: (N, 3 or more), x, y, z in metres first; float32 as scans store them. What is not
            finite is left out.
        recipe: What makes the image.

    Returns:
        uint8 (side, side), the value count / largest count · 255, rounded half to even.
    """
    counts = count_image(points, recipe)
    largest = int(counts.max())
    if largest <= recipe.suppress:
        warnings.warn(
            f"No point of the scan is in the {recipe.half_range:g} m of its BEV image, which is "
            "left black; check the units and the frame of the points.",
            RuntimeWarning,
            stacklevel=2,
        )
        return np.zeros_like(counts)
    levels = np.rint(np.arange(largest + 1) / largest * WHITE).astype(np.uint8)
    levels[: recipe.suppress + 1] = 0
    return levels.take(counts)


def count_image(points: np.ndarray, recipe: BevRecipe) -> np.ndarray:
    """Return the occupied voxels above each pixel, at most the cap: uint8 (side, side).

    Args:
        points, recipe: As of `density_image`; nothing is suppressed yet.
    """
    from apps.bev_localization.images import density_kernel

    means = thinned(points, recipe)
    return density_kernel.counts(
        means, recipe.side, recipe.centre, recipe.resolution, recipe.cap, recipe.alignment == "zero"
    )


def thinned(points: np.ndarray, recipe: BevRecipe) -> np.ndarray:
    """Return the mean of the points in each occupied voxel, float64 (V, 3), after the crop."""
    from apps.bev_localization.images import density_kernel

    points = np.asarray(points)
    if points.ndim != 2 or points.shape[1] < 3 or points.dtype.kind not in "fiu":
        raise ValueError(
            "`points` must be numbers of the shape (N, 3 or more). "
            f"Received: shape={points.shape}, dtype={points.dtype}"
        )
    if points.dtype not in (np.float32, np.float64) or not points.flags.c_contiguous:
        points = np.ascontiguousarray(points[:, :3], np.float64)
    crop = math.inf if recipe.crop is None else recipe.crop
    return density_kernel.voxel_means(
        points, recipe.metres_a_unit, crop, recipe.voxel, recipe.alignment == "cloud"
    )


def network_input(images: np.ndarray) -> np.ndarray:
    """Return density images (..., H, W), uint8, as networks take them: float32, value / 256."""
    return np.asarray(images, np.float32) / np.float32(INPUT_DIVISOR)
