"""Segments drawn over their picture: in the colours of their scores, or as the truth."""

from __future__ import annotations

import numpy as np

from core.drawing import PALETTE, dark_to_light, straight_lines

TRUTH = PALETTE[2]
_PALEST = 0.25  # of the scale from dark to light, where it is still seen on most pictures


def drawn_segments(
    image: np.ndarray, segments: np.ndarray, scores: np.ndarray | None = None
) -> np.ndarray:
    """Return a picture with segments over it.

    Args:
        image: uint8 (H, W, 3).
        segments: float (N, 4), x1, y1, x2, y2 in pixels of it.
        scores: float (N,), in 0..1: the sure ones are light and on top; None draws all as true
            ones are.
    """
    width = max(1, round(max(image.shape[:2]) / 400))
    if scores is None:
        green = np.full((len(segments), 3), TRUTH, np.uint8)
        return straight_lines(image, segments, green, width)
    order = np.argsort(scores, kind="stable")
    levels = _PALEST + (1 - _PALEST) * np.clip(np.asarray(scores)[order], 0, 1)
    colours = dark_to_light(levels[None])[0] if len(levels) else np.zeros((0, 3), np.uint8)
    return straight_lines(image, np.asarray(segments)[order], colours, width)
