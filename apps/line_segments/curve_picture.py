"""The picture of precision against recall over all thresholds, a curve for each detector."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from apps.line_segments.evaluation import Curve
from core.drawing import PALETTE, Place, Sheet, shortened, text_width

_SIDE, _LEFT, _TOP, _EDGE = 440, 80, 64, 24  # pixels; of the plot, and around it
_TEXT, _SMALL, _LINE = 18, 14, 26
_GRID, _AXIS = (222, 226, 230), (120, 128, 136)
_COLOURS = (*(PALETTE[n] for n in (4, 5, 2, 6, 0, 1)), (60, 60, 60))
_LONGEST = 40  # characters of a name
_EQUAL_F = (0.2, 0.4, 0.6, 0.8)


def curve_picture(curves: Mapping[str, Curve]) -> np.ndarray:
    """Return the curves, uint8 (H, W, 3); a dot is the best F of each, thin lines are equal F.

    Args:
        curves: By the name of the detector, which stands beside its F; 7 have colours of their own.
    """
    if not curves:
        raise ValueError("`curves` must hold at least one. Received: none")
    named = [
        (f"F {float(curve.f.max()):.1%}  {shortened(name, _LONGEST)}".rstrip(), curve)
        for name, curve in curves.items()
    ]
    beside = max(text_width(line, _SMALL) for line, _ in named)
    sheet = Sheet(_TOP + _SIDE + 3 * _LINE, _LEFT + _SIDE + 80 + math.ceil(beside) + _EDGE)
    sheet.write("Pixels of line segments: precision against recall", (_LEFT, _EDGE - 8), size=_TEXT)
    _axes(sheet)
    for number, (line, curve) in enumerate(named):
        colour = _COLOURS[number % len(_COLOURS)]
        seen = curve.recall + curve.precision > 0  # a threshold above which there is nothing
        points = [
            _at(*pair) for pair in zip(curve.recall[seen], curve.precision[seen], strict=True)
        ]
        for start, end in pairwise(points):
            sheet.stroke(start, end, colour, 3)
        if points:
            sheet.dot(points[int(curve.f[seen].argmax())], 6, colour)
        left, y = _LEFT + _SIDE + 36, _TOP + _LINE // 2 + number * _LINE
        sheet.stroke((left, y), (left + 24, y), colour, 3)
        sheet.write(line, (left + 34, y), size=_SMALL, middle=True)
    return sheet.picture()


def _axes(sheet: Sheet) -> None:
    """Draw the axes with their numbers, and lines of equal F."""
    for share in np.linspace(0, 1, 6):
        sheet.stroke(_at(share, 0), _at(share, 1), _GRID, 1)
        sheet.stroke(_at(0, share), _at(1, share), _GRID, 1)
        label, half = f"{share:g}", text_width(f"{share:g}", _SMALL) / 2
        sheet.write(label, (_at(share, 0)[0] - half, _at(0, 0)[1] + 14), size=_SMALL, middle=True)
        sheet.write(label, (_LEFT - 12 - 2 * half, _at(0, share)[1]), size=_SMALL, middle=True)
    for f in _EQUAL_F:
        recalls = np.linspace(f / (2 - f), 1, 60)
        for start, end in pairwise(zip(recalls, f * recalls / (2 * recalls - f), strict=True)):
            sheet.stroke(_at(*start), _at(*end), _GRID, 2)
    sheet.stroke(_at(0, 0), _at(1, 0), _AXIS, 2)
    sheet.stroke(_at(0, 0), _at(0, 1), _AXIS, 2)
    left = _LEFT + (_SIDE - text_width("recall", _SMALL)) / 2
    sheet.write("recall", (left, _TOP + _SIDE + 2 * _LINE - 8), size=_SMALL, middle=True)
    sheet.write("precision", (_EDGE, _TOP - 16), size=_SMALL, middle=True)


def _at(recall: float, precision: float) -> Place:
    return _LEFT + round(recall * _SIDE), _TOP + round((1 - precision) * _SIDE)
