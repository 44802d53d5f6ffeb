"""Random changes of a picture's colours, as torchvision's ColorJitter makes them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np


def jitter(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
) -> np.ndarray:
    """Return a picture in other colours; the changes come one after another, in any order.

    Args:
        image: uint8 (H, W, 3), or (H, W, 1), which has neither saturation nor hue.
        rng: The source of all randomness.
        brightness, contrast, saturation: Largest change of each, as a share: a factor is drawn
            from 1 - share to 1 + share.
        hue: Largest turn of the hue, as a share of the whole circle, up to 0.5.

    Returns:
        uint8 of the same shape.
    """
    from PIL import Image, ImageEnhance

    grey = image.shape[-1] == 1
    factors = [(ImageEnhance.Brightness, brightness), (ImageEnhance.Contrast, contrast)]
    factors += [] if grey else [(ImageEnhance.Color, saturation)]
    steps: list[Callable] = [
        partial(_enhanced, kind=kind, factor=rng.uniform(1 - share, 1 + share))
        for kind, share in factors
        if share
    ]
    if hue and not grey:
        steps.append(partial(_turned, turn=rng.uniform(-hue, hue)))
    picture = Image.fromarray(np.ascontiguousarray(image[..., 0] if grey else image))
    for step in rng.permutation(len(steps)):
        picture = steps[step](picture)
    return np.array(picture).reshape(image.shape)


def _enhanced(picture, kind, factor: float):
    return kind(picture).enhance(factor)


def _turned(picture, turn: float):
    """Turn the hue of a Pillow picture by a share of the circle."""
    from PIL import Image

    hue, *rest = picture.convert("HSV").split()
    turned = np.asarray(hue) + np.uint8(round(255 * turn) % 256)  # wraps round as the circle does
    return Image.merge("HSV", (Image.fromarray(turned), *rest)).convert("RGB")
