"""FAST corners of density images, and where they lie in metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apps.bev_localization.images.recipes import BevRecipe

THRESHOLD = 10  # grey levels


@dataclass(frozen=True)
class Keypoints:
    """Corners of an image, in the order of detection (row by row).

    Attributes:
        pixels: int32 (N, 2), column and row.
        responses: float32 (N,), the larger the surer.
    """

    pixels: np.ndarray
    responses: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels)


def fast_keypoints(image: np.ndarray, *, threshold: int = THRESHOLD) -> Keypoints:
    """Return the FAST-9/16 corners of an image, with non-maximum suppression.

    E. Rosten, T. Drummond, "Machine learning for high-speed corner detection", ECCV 2006; OpenCV's.

    Args:
        image: uint8 (H, W).
        threshold: By how much nine pixels in a row of the circle are brighter or darker.
    """
    import cv2

    if image.ndim != 2 or image.dtype != np.uint8:
        raise ValueError(
            f"`image` must be uint8 (H, W). Received: shape={image.shape}, dtype={image.dtype}"
        )
    found = cv2.FastFeatureDetector.create(threshold, True).detect(np.ascontiguousarray(image))
    rows = np.array([(*one.pt, one.response) for one in found], np.float32).reshape(-1, 3)
    return Keypoints(rows[:, :2].astype(np.int32), rows[:, 2])


def metric_points(pixels: np.ndarray, recipe: BevRecipe) -> np.ndarray:
    """Return where pixels lie, float64 (N, 2) of x (forward) and y (left) in metres.

    It is the corner of a pixel that is nearest to the rear right, as the published code has it;
    `half_cell` away from its middle.

    Args:
        pixels: (N, 2), column and row.
        recipe: Of the image.
    """
    return (recipe.side // 2 - np.asarray(pixels, np.float64)[:, ::-1]) * recipe.resolution


def half_cell(recipe: BevRecipe) -> np.ndarray:
    """Return what leads from a pixel's corner of `metric_points` to its middle, float64 (2,)."""
    return np.full(2, recipe.resolution / 2)
