"""Two views of a picture, for training without labels: what may differ between them does not count.

The changes are those of Barlow-Swin's official code; the colours, which it has but switches off,
are of the Barlow Twins paper's kind (arXiv:2103.03230, App. A).
"""

from __future__ import annotations

import numpy as np

from core.data.jitter import jitter

JITTER = {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.1}
JITTERED, GREYED, SOLARISED = 0.9, 0.3, 0.3  # how probable each change of colours is
SOLARISED_FROM = 128  # pixels as bright as this are inverted


def view(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    crop: float = 450 / 512,
    rotate: float = 10.0,
    color: bool = False,
) -> np.ndarray:
    """Return a randomly changed picture of the same size.

    Args:
        image: uint8 (H, W, C), C is 1 or 3.
        rng: The source of all randomness.
        crop: Sides of a random part, as a share of the picture's; it is enlarged to the whole.
        rotate: Every second view is turned by up to so many degrees, mirrored beyond its edges.
        color: Whether colours change too: jitter, grey, solarisation.
    """
    import cv2

    height, width = image.shape[:2]
    if rng.random() < 0.5:
        image = image[:, ::-1]
    tall, wide = (max(1, round(crop * side)) for side in (height, width))
    top, left = rng.integers(0, height - tall + 1), rng.integers(0, width - wide + 1)
    part = np.ascontiguousarray(image[top : top + tall, left : left + wide])
    changed = cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        middle = (width - 1) / 2, (height - 1) / 2
        turn = cv2.getRotationMatrix2D(middle, rng.uniform(-rotate, rotate), 1.0)
        changed = cv2.warpAffine(
            changed,
            turn,
            (width, height),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        )
    changed = changed.reshape(image.shape)
    return recoloured(changed, rng) if color else changed


def recoloured(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a picture, uint8 (H, W, C), in randomly changed colours."""
    if rng.random() < JITTERED:
        image = jitter(image, rng, **JITTER)
    if rng.random() < GREYED and image.shape[-1] == 3:
        grey = image @ np.array((0.299, 0.587, 0.114))
        image = np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=-1)
    if rng.random() < SOLARISED:
        image = np.where(image >= SOLARISED_FROM, 255 - image, image)
    return image
