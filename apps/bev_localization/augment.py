"""The one augmentation of REIN's training: images turned about their middle."""

from __future__ import annotations

import numpy as np


def turned(image: np.ndarray, degrees: float) -> np.ndarray:
    """Return an image turned counter-clockwise about (width // 2, height // 2), borders black.

    Args:
        image: uint8 (H, W, C).
        degrees: The angle.

    Returns:
        Its pixels by bilinear interpolation, same shape and type.
    """
    import cv2

    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width // 2, height // 2), degrees, 1.0)
    found = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR)
    return found.reshape(image.shape)
