"""What BEVPlace of 2023 makes of an image before its network, and between the network's halves.

L. Luo et al., ICCV 2023, arXiv:2302.14325; code github.com/zjuluolun/BEVPlace as of 2023. It sees
the image at 25 scales and rotations, and follows a grid of points through all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from core.errors import UserError
from core.model_card import IMAGENET_MEAN, IMAGENET_STD

SCALES = (1.0, 0.5, 0.25, 0.125, 0.0625)
DEGREES = (-90.0, -45.0, 0.0, 45.0, 90.0)
STEP = 5  # pixels from point to point
_BLUR, _SIGMA = (5, 5), 1.5  # before each further scale, of what was blurred already
_MIDDLE, _HALF = 127.0, 128.0


@dataclass(frozen=True)
class Warped:
    """An image at one scale and rotation.

    Attributes:
        image: float32 (h, w, 3), the network's input.
        points: float64 (n, 2), column and row in it of the grid's points.
    """

    image: np.ndarray
    points: np.ndarray


def grid(side: int) -> np.ndarray:
    """Return the grid's points (n, 2), column and row, along rows; none is near the border."""
    line = np.arange(STEP, side - STEP, STEP, dtype=np.float64)
    return np.stack([axis.ravel() for axis in np.meshgrid(line, line)], axis=1)


def warped_images(image: np.ndarray) -> list[Warped]:
    """Return an image at all scales and, within each, all rotations.

    Args:
        image: uint8 (n, n), grey.

    Raises:
        UserError: When it is not square, of other values, or too small for a point.
    """
    import cv2

    if image.ndim != 2 or image.shape[0] != image.shape[1] or image.dtype != np.uint8:
        raise UserError(
            f"BEVPlace takes a square grey image of uint8, but this one is {image.dtype} of shape "
            f"{image.shape}; make it with one of the recipes of bird's-eye-view images."
        )
    side = len(image)
    points = grid(side)
    if not len(points):
        raise UserError(f"An image of {side} pixels is too small for BEVPlace; take 11 or more.")
    planes = (image[..., None] / np.float32(255) - np.asarray(IMAGENET_MEAN, np.float32)) * (
        np.float32(255) / np.asarray(IMAGENET_STD, np.float32)
    )
    found = []
    for scale, degrees in product(SCALES, DEGREES):
        if degrees == DEGREES[0] and scale != SCALES[0]:
            planes = cv2.GaussianBlur(planes, _BLUR, _SIGMA)
        matrix, size = _affine(side, scale, degrees)
        turned = cv2.warpAffine(
            planes, matrix, size, flags=cv2.INTER_LINEAR, borderValue=(_MIDDLE,) * 3
        )
        followed = points @ matrix[:, :2].T + matrix[:, 2]
        found.append(Warped((turned - _MIDDLE) / np.float32(_HALF), followed))
    return found


def _affine(side: int, scale: float, degrees: float) -> tuple[np.ndarray, tuple[int, int]]:
    """Return the (2, 3) matrix of a warp, and width and height of what the image then fills."""
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = scale * np.array([[cosine, -sine], [sine, cosine]])
    corners = np.array([[0, 0], [side, 0], [0, side], [side, side]]) @ turn.T
    low, high = corners.min(axis=0), corners.max(axis=0)
    width, height = np.rint(high - low).astype(int)
    return np.column_stack([turn, -low]), (int(width), int(height))


def sampled(features: np.ndarray, warped: Warped) -> np.ndarray:
    """Return the features (n, C) of a warped image's points, bilinear, 0 outside.

    Args:
        features: float32 (h, w, C), of `warped.image`.
        warped: The image.
    """
    height, width, channels = features.shape
    pool = warped.image.shape[1] // width
    size = np.array([width, height])
    inner = (warped.points + 0.5) / pool - 0.5
    # The published code divides by (size - 1) / 2 what is then read as fractions of the size.
    position = (inner / ((size - 1) / 2) * size - 1) / 2
    first = np.floor(position).astype(int)
    share = position - first
    padded = np.zeros((height + 2, width + 2, channels), np.float32)
    padded[1:-1, 1:-1] = features
    total = np.zeros((len(position), channels))
    for right, down in product((0, 1), repeat=2):
        weight = np.abs(1 - right - share[:, 0]) * np.abs(1 - down - share[:, 1])
        column = np.clip(first[:, 0] + right + 1, 0, width + 1)
        row = np.clip(first[:, 1] + down + 1, 0, height + 1)
        total += weight[:, None] * padded[row, column]
    return total.astype(np.float32)
