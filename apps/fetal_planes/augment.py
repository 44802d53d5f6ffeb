"""Random changes of a picture for training that leave it an ultrasound picture.

A fetus lies either way round, so pictures are mirrored; the transducer is always on top, so they
are not turned upside down.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

TURNED = 15.0  # degrees
SHIFTED = 0.05  # of a side
SCALED = (0.9, 1.1)
CHANGED = 0.2  # of brightness and contrast
SPECKLE = 0.08  # largest standard deviation of the factors


def augmented(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a picture mirrored, moved by one affine warp, its brightness and speckle changed.

    Args:
        image: uint8 (H, W, C), C is 1 or 3.
        rng: The source of all randomness.
    """
    moved = cv2.warpAffine(
        image,
        random_warp(image.shape[:2], rng),
        image.shape[1::-1],
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
    )
    contrast, brightness = rng.uniform(1 - CHANGED, 1 + CHANGED, 2)
    values = moved.reshape(image.shape).astype(np.float32)
    mean = values.mean()
    values = ((values - mean) * contrast + mean) * brightness
    grain = rng.standard_normal(image.shape[:2], np.float32) * (SPECKLE * rng.random())
    values *= 1 + grain[..., None]
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def random_warp(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return the matrix (2, 3) that moves a picture of (height, width) about its middle.

    It mirrors with even chances, turns by up to `TURNED`, scales within `SCALED` and shifts by up
    to `SHIFTED`.
    """
    height, width = size
    angle = math.radians(rng.uniform(-TURNED, TURNED))
    scale = rng.uniform(*SCALED)
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    shift = rng.uniform(-SHIFTED, SHIFTED, 2) * (width, height)
    turn = scale * np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    turn[:, 0] *= mirror
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    return np.column_stack([turn, middle - turn @ middle + shift])
