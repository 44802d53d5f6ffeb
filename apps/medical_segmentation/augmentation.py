"""What training images go through: rotations and flips or nnU-Net's, MK-UNet's three sizes."""

from __future__ import annotations

import os
import threading

import numpy as np

from apps.medical_segmentation import nnunet_augmentation
from core.task import Example

AUGMENTATIONS = ("flips", "nnunet")
SCALES = (0.75, 1.0, 1.25)  # of MK-UNet's multi-scale training


def augmented(example: Example, rng: np.random.Generator, kind: str) -> Example:
    """Return an image and its mask as a training sees them.

    Args:
        example: uint8 (H, W, C), and uint8 (H, W) or None.
        rng: The source of all randomness.
        kind: "flips" for rotations and flips, "nnunet" for nnU-Net's default.
    """
    if kind == "nnunet":
        return nnunet_augmentation.augmented(example, rng)
    return Example(*turned(example.inputs, example.target, rng))


def turned(
    image: np.ndarray, mask: np.ndarray | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return an image and its mask rotated by up to 90 degrees and flipped, as the official script.

    Args:
        image: uint8 (H, W, C).
        mask: uint8 (H, W).
        rng: The source of all randomness.
    """
    transform = _transform()
    transform.set_random_seed(int(rng.integers(2**31)))
    changed = transform(image=image, mask=mask)
    return changed["image"].reshape(image.shape), changed["mask"]


_local = threading.local()


def _transform():
    """Return this thread's augmentation: a Compose keeps its random state to itself."""
    if not hasattr(_local, "transform"):
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
        import albumentations as A
        import cv2

        _local.transform = A.Compose(
            [
                A.Rotate(limit=90, p=0.5, border_mode=cv2.BORDER_REFLECT_101),
                A.VerticalFlip(p=0.5),
                A.HorizontalFlip(p=0.5),
            ]
        )
    return _local.transform


def multi_scale(dataset, *, legacy: bool):
    """Return a `tf.data.Dataset` with three steps for each batch, at the `SCALES` of its size.

    Args:
        dataset: Batches (images, targets), float32 (N, H, W, C) and (N, H, W, 1), or nested.
        legacy: Whether each step resizes what the one before made, as the published script does.
    """
    import tensorflow as tf

    # The published script resizes images with align_corners=True, which only this function has.
    bilinear, nearest = (
        tf.compat.v1.image.resize_bilinear,
        tf.compat.v1.image.resize_nearest_neighbor,
    )

    def resized(images, targets, size):
        images = bilinear(images, size, align_corners=True)
        shrink = lambda target: nearest(target, size)  # noqa: E731
        return images, tf.nest.map_structure(shrink, targets)

    def steps(images, targets):
        side = tf.cast(tf.shape(images)[1:3], tf.float32)
        sizes = [tf.cast(tf.round(side * scale / 32) * 32, tf.int32) for scale in SCALES]
        made = []
        for scale, size in zip(SCALES, sizes, strict=True):
            batch = (images, targets) if scale == 1.0 else resized(images, targets, size)
            if legacy:
                images, targets = batch
            made.append(tf.data.Dataset.from_tensors(batch))
        return made[0].concatenate(made[1]).concatenate(made[2])

    return dataset.flat_map(steps)
