"""Random changes of an image with its segments: mirrored, turned, a part of it, other colours.

Segments move with the image, so their angles are right whatever was done; maps are made afterwards.
"""

from __future__ import annotations

import math

import numpy as np

from apps.line_segments.geometry import clipped, lengths, mirrored, quarter_turned, scaled
from core.data.images import resized
from core.data.jitter import jitter

AREAS, ASPECTS = (0.35, 1.0), (3 / 4, 4 / 3)  # of a part, as shares of the whole
WHOLE = 0.3  # how often the whole image is taken
SHORTEST = 4.0  # pixels; what a cut leaves of a segment and is shorter is forgotten
COLOURS = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.04}


def augmented(
    image: np.ndarray, segments: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return a randomly changed image at its size, and its segments.

    Args:
        image: uint8 (H, W, C), C is 1 or 3. Only a square is turned by quarters.
        segments: float32 (N, 4), in its pixels.
        rng: The source of all randomness.

    Returns:
        The image, and float32 (M, 4): the parts of segments that are seen.
    """
    if rng.random() >= WHOLE:
        image, segments = part(image, segments, random_box(image.shape[:2], rng))
    for axis in (0, 1):
        if rng.random() < 0.5:
            segments = mirrored(segments, image.shape[:2], axis)
            image = np.flip(image, axis)
    turns = int(rng.integers(0, 4))
    if image.shape[0] == image.shape[1] and turns:
        segments = quarter_turned(segments, image.shape[:2], turns)
        image = np.rot90(image, turns)
    return jitter(np.ascontiguousarray(image), rng, **COLOURS), segments


def part(
    image: np.ndarray, segments: np.ndarray, box: tuple[int, int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return a part of an image, brought to the image's size, and what is left of its segments.

    Args:
        image: uint8 (H, W, C).
        segments: float (N, 4).
        box: Top, left, height and width of the part.
    """
    top, left, height, width = box
    inside, which = clipped(segments, (left, top, left + width, top + height))
    enlarged = scaled(
        inside - np.array([left, top, left, top], np.float32), (height, width), image.shape[:2]
    )
    whole = (inside == np.asarray(segments, np.float32).reshape(-1, 4)[which]).all(1)
    kept = enlarged[whole | (lengths(enlarged) >= SHORTEST)]
    picture = resized(image[top : top + height, left : left + width], image.shape[:2])
    return picture, kept


def cut(
    image: np.ndarray, segments: np.ndarray, side: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return a random square of an image at its scale, and what is left of its segments.

    Args:
        image: uint8 (H, W, C).
        segments: float (N, 4).
        side: In pixels; at most H and W.
        rng: The source of all randomness.
    """
    top, left = (int(rng.integers(0, length - side + 1)) for length in image.shape[:2])
    inside, which = clipped(segments, (left, top, left + side, top + side))
    whole = (inside == np.asarray(segments, np.float32).reshape(-1, 4)[which]).all(1)
    kept = inside[whole | (lengths(inside) >= SHORTEST)]
    square = image[top : top + side, left : left + side]
    return square, kept - np.array([left, top, left, top], np.float32)


def random_box(size: tuple[int, int], rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Return top, left, height and width of a random part of an image of (height, width).

    Its share of the area is drawn from `AREAS`, the aspect ratio's change from `ASPECTS`.
    """
    stretch = math.exp(rng.uniform(math.log(ASPECTS[0]), math.log(ASPECTS[1])) / 2)
    side = math.sqrt(rng.uniform(*AREAS))
    height = min(size[0], max(1, round(size[0] * side / stretch)))
    width = min(size[1], max(1, round(size[1] * side * stretch)))
    top = int(rng.integers(0, size[0] - height + 1))
    return top, int(rng.integers(0, size[1] - width + 1)), height, width
