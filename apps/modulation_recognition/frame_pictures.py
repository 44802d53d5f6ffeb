"""The picture of a frame: I and Q over time, and the samples in their plane."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from core.drawing import PALETTE, Sheet

_WIDTH, _HEIGHT, _PLANE, _GAP = 240, 100, 140, 4  # pixels
_GRID = (222, 226, 230)
_PHASES = PALETTE[4], PALETTE[5]  # of I and Q


def frame_picture(frame: np.ndarray) -> np.ndarray:
    """Return a frame as a picture, uint8 (240, 240, 3), on the scale of its largest value.

    Args:
        frame: I and Q, float (2, n): above over time, blue and orange; below in their plane, I to
            the right and Q upwards.
    """
    sheet = Sheet(_HEIGHT + _PLANE, _WIDTH)
    values = frame / (np.abs(frame).max() or 1)
    middle, reach = _HEIGHT // 2, _HEIGHT // 2 - _GAP
    sheet.stroke((0, middle), (_WIDTH, middle), _GRID, 1)
    across = np.rint(np.linspace(0, _WIDTH - 1, frame.shape[1])).astype(int).tolist()
    for phase, colour in zip(values, _PHASES, strict=True):
        places = zip(across, _pixels(middle, -reach * phase), strict=True)
        for start, end in pairwise(places):
            sheet.stroke(start, end, colour, 1)
    centre, middle, reach = _WIDTH // 2, _HEIGHT + _PLANE // 2, _PLANE // 2 - _GAP
    sheet.stroke((centre - reach, middle), (centre + reach, middle), _GRID, 1)
    sheet.stroke((centre, middle - reach), (centre, middle + reach), _GRID, 1)
    rights, downs = _pixels(centre, reach * values[0]), _pixels(middle, -reach * values[1])
    for place in zip(rights, downs, strict=True):
        sheet.dot(place, 1, _PHASES[0])
    return sheet.picture()


def _pixels(origin: int, offsets: np.ndarray) -> list[int]:
    return (origin + np.rint(offsets).astype(int)).tolist()
