"""Random changes of a picture for training: a random part, enlarged, and mirrored or not.

As torchvision's RandomResizedCrop and RandomHorizontalFlip, but no part is smaller than half of
the picture: a photograph of AQUA20 often shows its animal small and at the edge.
"""

from __future__ import annotations

import math

import numpy as np

from core.data.images import resized

AREAS, ASPECTS = (0.5, 1.0), (3 / 4, 4 / 3)
_TRIES = 10


def augmented(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a random part of a picture at the picture's size, mirrored with even chances.

    Args:
        image: uint8 (H, W, C), C is 1 or 3.
        rng: The source of all randomness.
    """
    top, left, height, width = random_box(image.shape[:2], rng)
    part = resized(image[top : top + height, left : left + width], image.shape[:2])
    return np.ascontiguousarray(part[:, ::-1]) if rng.random() < 0.5 else part


def random_box(size: tuple[int, int], rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Return (top, left, height, width) of a random part of a picture of (height, width).

    Its area is a share of the picture's drawn evenly from `AREAS`, its aspect ratio is drawn from
    `ASPECTS` evenly in the logarithm; what does not fit is drawn anew, at last the whole is taken.
    """
    for _ in range(_TRIES):
        area = size[0] * size[1] * rng.uniform(*AREAS)
        aspect = math.exp(rng.uniform(math.log(ASPECTS[0]), math.log(ASPECTS[1])))
        height, width = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < height <= size[0] and 0 < width <= size[1]:
            top = int(rng.integers(0, size[0] - height + 1))
            return top, int(rng.integers(0, size[1] - width + 1)), height, width
    return 0, 0, *size
