"""A picture of networks side by side: a line for each, a panel for each score or cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.drawing import PALETTE, Sheet, shortened, text_width
from core.export.report_chart import ticks

_TEXT, _SMALL = 20, 17  # pixels
_ROW, _PANEL, _GAP, _EDGE, _HEAD, _FOOT = 52, 300, 64, 24, 58, 44
_GRID, _AXIS = (222, 226, 230), (120, 128, 136)
_LONGEST = 44  # characters of a name


@dataclass(frozen=True)
class Panel:
    """A column of the picture.

    Attributes:
        title: Above it, with the unit.
        values: (value, low, high) by network; NaN is left out.
        decimals: Of the numbers beside the dots.
    """

    title: str
    values: Sequence[tuple[float, float, float]]
    decimals: int


def interval_plot(names: Sequence[str], panels: Sequence[Panel], note: str) -> np.ndarray:
    """Return the picture, uint8 (H, W, 3).

    Args:
        names: Of the networks, from the top.
        panels: From the left; each has its own axis.
        note: A line below.
    """
    shown = [shortened(name, _LONGEST) for name in names]
    left = _EDGE + math.ceil(max(text_width(name, _TEXT) for name in shown)) + _GAP
    width = left + len(panels) * (_PANEL + _GAP)
    width = max(width, math.ceil(text_width(note, _SMALL)) + 2 * _EDGE)
    floor = _HEAD + len(names) * _ROW
    sheet = Sheet(floor + _FOOT + _ROW, width)
    for row, name in enumerate(shown):
        sheet.write(name, (_EDGE, _middle(row)), size=_TEXT, middle=True)
    for number, panel in enumerate(panels):
        _draw_panel(sheet, panel, left + number * (_PANEL + _GAP), floor)
    sheet.write(note, (_EDGE, floor + _FOOT + _ROW // 2), size=_SMALL, middle=True)
    return sheet.picture()


def _draw_panel(sheet: Sheet, panel: Panel, left: int, floor: int) -> None:
    sheet.write(panel.title, (left, _HEAD // 2), size=_TEXT, middle=True)
    finite = [v for values in panel.values for v in values if math.isfinite(v)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    span = 4 * 10.0**-panel.decimals  # of less than this the numbers beside the dots tell nothing
    if high - low < span:
        middle = (low + high) / 2
        low = max(middle - span / 2, min(low, 0.0))
        high = low + span
    marks = _marks(low, high)

    def x(value: float) -> int:
        return left + round((value - marks[0]) / (marks[-1] - marks[0]) * _PANEL)

    for mark in marks:
        sheet.stroke((x(mark), _HEAD), (x(mark), floor), _GRID, 2)
        label = f"{mark:g}"
        start = x(mark) - text_width(label, _SMALL) / 2
        sheet.write(label, (start, floor + _FOOT // 2), size=_SMALL, middle=True)
    sheet.stroke((left, floor), (left + _PANEL, floor), _AXIS, 2)
    for row, (value, low, high) in enumerate(panel.values):
        if not math.isfinite(value):
            sheet.write("-", (left + 8, _middle(row)), size=_SMALL, middle=True)
            continue
        y, first, last = _middle(row), x(low), x(high)
        sheet.stroke((first, y), (last, y), PALETTE[4], 3)
        sheet.dot((x(value), y), 6, PALETTE[4])
        label = f"{value:,.{panel.decimals}f}"
        room, beside = text_width(label, _SMALL), 12
        place = last + beside if last + beside + room <= left + _PANEL else first - beside - room
        if place < left:  # the interval fills the panel: above its line
            sheet.write(label, (x(value) - room / 2, y - _ROW // 2), size=_SMALL)
        else:
            sheet.write(label, (place, y), size=_SMALL, middle=True)


def _marks(low: float, high: float) -> list[float]:
    """Return round numbers around a range, as many as have room for their labels."""
    for count in (5, 4, 3, 2):
        marks = ticks(low, high, count)
        widest = max(text_width(f"{mark:g}", _SMALL) for mark in marks)
        if (len(marks) - 1) * (widest + 12) <= _PANEL:
            break
    return marks


def _middle(row: int) -> int:
    return _HEAD + row * _ROW + _ROW // 2
