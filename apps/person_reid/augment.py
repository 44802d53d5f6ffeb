"""Random changes of a person's image for training, in the order of the published recipe.

K. Zhou, T. Xiang: "Torchreid", arXiv 1910.10093, and its code: horizontal flip, random crop, random
patch, colour jitter, random erasing (Z. Zhong et al., AAAI 2020). Sizes and boxes are height before
width, top before left. All randomness comes from the generator that is passed, so the images
follow neither from the number of workers nor from the order in which they are made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.data.index import Index
from core.data.jitter import jitter
from core.model_card import IMAGENET_MEAN, IMAGENET_STD

PROBABILITY = 0.5
ENLARGED = 1.125
BRIGHTNESS, CONTRAST = 0.2, 0.15
ERASED_AREAS, ERASED_ASPECTS = (0.02, 0.4), (0.3, 1 / 0.3)
PATCH_AREAS, PATCH_ASPECTS = (0.01, 0.5), (0.1, 10.0)
PATCH_DEGREES = 10
_TRIES = 100

Box = tuple[int, int, int, int]


class Donors:
    """Training images that random patches are cut from.

    The published code keeps the last 50,000 crops of the images it happened to see. Here donor
    and crop are drawn from the whole training set by the generator of the image that is pasted
    on: the same crops in distribution, but an image never depends on what was made before it.
    Nothing is kept in memory; an image is decoded where it is drawn.

    Args:
        index: The training samples.
    """

    def __init__(self, index: Index):
        self._paths: Sequence[Path] = [sample.inputs[0] for sample in index.samples]

    def __len__(self) -> int:
        return len(self._paths)

    def image(self, position: int, size: tuple[int, int]) -> np.ndarray:
        """Return an image at (height, width), uint8 (H, W, 3)."""
        from core.data.images import read_image, resized

        return resized(read_image(self._paths[position]), size)


def augmented(
    image: np.ndarray,
    rng: np.random.Generator,
    options: Mapping[str, Any],
    donors: Donors | None = None,
) -> np.ndarray:
    """Return a randomly changed image.

    Args:
        image: uint8 (H, W, 3) at the network's size.
        rng: The source of all randomness.
        options: "on" or "off" for "flip", "crop", "patch", "jitter" and "erase"; off by default.
        donors: Where patches come from; needed for "patch".

    Returns:
        float32 (H, W, 3), 0..255; not rounded where erased.
    """

    def wished(name: str) -> bool:
        return options.get(name, "off") == "on"

    if wished("flip") and rng.random() < PROBABILITY:
        image = image[:, ::-1]
    if wished("crop"):
        image = random_crop(image, rng)
    if wished("patch"):
        if donors is None:
            raise ValueError("`donors` must be given for random patches. Received: donors=None")
        image = random_patch(image, rng, donors)
    if wished("jitter"):
        image = color_jitter(image, rng)
    changed = np.array(image, np.float32)
    return random_erasing(changed, rng) if wished("erase") else changed


def random_crop(
    image: np.ndarray, rng: np.random.Generator, *, probability: float = PROBABILITY
) -> np.ndarray:
    """Return the image, or a part of its size of the image enlarged by 1.125."""
    if rng.random() >= probability:
        return image
    from core.data.images import resized

    height, width = image.shape[:2]
    top, left = draw_offset((height, width), rng)
    return resized(image, _enlarged((height, width)))[top : top + height, left : left + width]


def random_patch(
    image: np.ndarray,
    rng: np.random.Generator,
    donors: Donors,
    *,
    probability: float = PROBABILITY,
) -> np.ndarray:
    """Return the image, or a copy with a part of another training image pasted on.

    K. Zhou et al., TPAMI 2021. The patch is flipped and rotated by up to 10 whole degrees, each
    with even chances; the corners of a rotated one are black.
    """
    if rng.random() >= probability:
        return image
    size = image.shape[:2]
    donor = donors.image(int(rng.integers(len(donors))), size)
    box = draw_box(size, rng, PATCH_AREAS, PATCH_ASPECTS)
    if box is None:
        return image
    patch = donor[box[0] : box[2], box[1] : box[3]]
    top, left = (
        int(rng.integers(0, whole - part + 1))
        for whole, part in zip(size, patch.shape[:2], strict=True)
    )
    if rng.random() < PROBABILITY:
        patch = patch[:, ::-1]
    if rng.random() < PROBABILITY:
        patch = _rotated(patch, int(rng.integers(-PATCH_DEGREES, PATCH_DEGREES + 1)))
    changed = np.array(image)
    changed[top : top + patch.shape[0], left : left + patch.shape[1]] = patch
    return changed


def color_jitter(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the image in another brightness (±20 %) and contrast (±15 %), in either order."""
    return jitter(image, rng, brightness=BRIGHTNESS, contrast=CONTRAST)


def erased_pixel(
    mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD
) -> np.ndarray:
    """Return the pixel, float64 (3,) in 0..255, that erased parts have.

    The published code erases after normalisation, but with the mean before it: the part is not 0
    but `mean` in normalised units. This is the pixel that becomes so.
    """
    before = np.asarray(mean)
    return 255.0 * (before * np.asarray(std) + before)


def random_erasing(
    image: np.ndarray, rng: np.random.Generator, *, probability: float = PROBABILITY
) -> np.ndarray:
    """Return the image, or a copy with a rectangle of `erased_pixel`.

    Args:
        image: float32 (H, W, 3), 0..255.
        rng: The source of all randomness.
        probability: Of erasing.
    """
    if rng.random() >= probability:
        return image
    box = draw_box(image.shape[:2], rng, ERASED_AREAS, ERASED_ASPECTS)
    if box is None:
        return image
    changed = np.array(image)
    changed[box[0] : box[2], box[1] : box[3]] = erased_pixel()
    return changed


def draw_offset(size: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """Return top and left of a part of `size` in an image 1.125 times as large."""
    tall, wide = _enlarged(size)
    left = round(rng.uniform(0, wide - size[1]))
    top = round(rng.uniform(0, tall - size[0]))
    return top, left


def draw_box(
    size: tuple[int, int],
    rng: np.random.Generator,
    areas: tuple[float, float],
    aspects: tuple[float, float],
) -> Box | None:
    """Return a random rectangle smaller than the image in both directions.

    Args:
        size: Height and width of the image.
        rng: The source of all randomness.
        areas: Range of its share of the image's area.
        aspects: Range of height to width.

    Returns:
        Top, left, bottom, right, the last two exclusive; None if a hundred drawn ones do not fit.
    """
    height, width = size
    for _ in range(_TRIES):
        area = rng.uniform(*areas) * height * width
        aspect = rng.uniform(*aspects)
        tall, wide = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < tall < height and 0 < wide < width:
            top = int(rng.integers(0, height - tall + 1))
            left = int(rng.integers(0, width - wide + 1))
            return top, left, top + tall, left + wide
    return None


def _enlarged(size: tuple[int, int]) -> tuple[int, int]:
    return round(size[0] * ENLARGED), round(size[1] * ENLARGED)


def _rotated(patch: np.ndarray, degrees: int) -> np.ndarray:
    from PIL import Image

    return np.array(Image.fromarray(np.ascontiguousarray(patch)).rotate(degrees))
