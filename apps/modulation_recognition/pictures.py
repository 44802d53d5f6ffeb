"""Pictures of scores: accuracy against the SNR label, a curve for each run, and confusion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from apps.modulation_recognition.evaluation import SnrScores
from core.classification.pictures import confusion_picture
from core.drawing import PALETTE, Colour, Place, Sheet, shortened, text_width
from core.export.report_chart import ticks

_TEXT, _SMALL = 18, 15  # pixels
_WIDTH, _HEIGHT = 760, 460
_EDGE, _GAP, _LINE, _DASH = 24, 12, 28, 9
_LEFT, _TOP = _EDGE + 64, _EDGE + 2 * _TEXT
_RIGHT, _FLOOR = _LEFT + _WIDTH, _TOP + _HEIGHT
_GRID, _AXIS = (222, 226, 230), (120, 128, 136)
# Yellow, which is hard to see on white, comes last.
_COLOURS = (*(PALETTE[n] for n in (4, 5, 2, 6, 0, 1)), (60, 60, 60), PALETTE[3])
_LONGEST = 36  # characters of a name
_HEAD = "mean over the labels"


@dataclass(frozen=True)
class _Axes:
    """A plot of accuracy over SNR labels from `marks[0]` to `marks[-1]`."""

    sheet: Sheet
    marks: Sequence[float]

    def at(self, snr: float, accuracy: float = 0.0) -> Place:
        share = (snr - self.marks[0]) / (self.marks[-1] - self.marks[0])
        return _LEFT + round(share * _WIDTH), _FLOOR - round(accuracy * _HEIGHT)

    def draw(self) -> None:
        """Draw the axes with their marks and numbers."""
        for share in np.linspace(0, 1, 6):
            _, y = self.at(self.marks[0], share)
            self.sheet.stroke((_LEFT, y), (_RIGHT, y), _GRID, 1)
            label = f"{share:.0%}"
            start = _LEFT - _GAP - text_width(label, _SMALL)
            self.sheet.write(label, (start, y), size=_SMALL, middle=True)
        for mark in self.marks:
            x, _ = self.at(mark)
            self.sheet.stroke((x, _TOP), (x, _FLOOR), _GRID, 1)
            self.sheet.stroke((x, _FLOOR), (x, _FLOOR + 6), _AXIS, 2)
            self._centre(f"{mark:g}", (x, _FLOOR + _LINE // 2 + 6))
        self.sheet.stroke((_LEFT, _FLOOR), (_RIGHT, _FLOOR), _AXIS, 2)
        self.sheet.stroke((_LEFT, _TOP), (_LEFT, _FLOOR), _AXIS, 2)
        self._centre("SNR label", (_LEFT + _WIDTH // 2, _FLOOR + 2 * _LINE))

    def dashed(self, accuracy: float) -> None:
        """Draw a dashed line at an accuracy."""
        _, y = self.at(self.marks[0], accuracy)
        for x in range(_LEFT, _RIGHT, 2 * _DASH):
            self.sheet.stroke((x, y), (min(x + _DASH, _RIGHT), y), _AXIS, 2)

    def curve(self, scores: SnrScores, colour: Colour) -> None:
        points = [self.at(*pair) for pair in zip(scores.snrs, scores.accuracy, strict=True)]
        for start, end in pairwise(points):
            self.sheet.stroke(start, end, colour, 3)
        for point in points:
            self.sheet.dot(point, 4, colour)

    def _centre(self, text: str, middle: Place) -> None:
        start = middle[0] - text_width(text, _SMALL) / 2
        self.sheet.write(text, (start, middle[1]), size=_SMALL, middle=True)


def accuracy_picture(
    runs: Mapping[str, SnrScores], *, title: str = "Accuracy against SNR", note: str = ""
) -> np.ndarray:
    """Return the curves of several runs in one picture, uint8 (H, W, 3).

    A dashed line is chance, one over the number of classes. Right of the plot stand the runs and
    their mean accuracy over the labels, from the best down.

    Args:
        runs: Name → scores; 8 can be told apart by colour.
        title: Above.
        note: A line below, such as what the label means.
    """
    if not runs:
        raise ValueError("`runs` must hold at least one. Received: none")
    legend = _legend(runs)
    beside = max(text_width(line, _SMALL) for line in (_HEAD, *(line for line, _ in legend)))
    width = _RIGHT + 4 * _GAP + _LINE + math.ceil(beside) + _EDGE
    width = max(width, math.ceil(text_width(note, _SMALL)) + _LEFT + _EDGE)
    sheet = Sheet(_FLOOR + 3 * _LINE + (_LINE if note else 0), width)
    sheet.write(title, (_LEFT, _EDGE), size=_TEXT)
    sheet.write(note, (_LEFT, _FLOOR + 3 * _LINE), size=_SMALL, middle=True)
    labels = [snr for scores in runs.values() for snr in scores.snrs]
    axes = _Axes(sheet, ticks(min(labels), max(labels), 11))
    axes.draw()
    for classes in sorted({len(scores.names) for scores in runs.values()}):
        axes.dashed(1 / classes)
    for scores, colour in zip(runs.values(), _colours(len(runs)), strict=True):
        axes.curve(scores, colour)
    left, y = _RIGHT + 3 * _GAP, _TOP + _GAP
    sheet.write(_HEAD, (left, y), size=_SMALL, middle=True)
    for line, colour in legend:
        y += _LINE
        sheet.stroke((left, y), (left + _LINE, y), colour, 3)
        sheet.dot((left + _LINE // 2, y), 4, colour)
        sheet.write(line, (left + _LINE + _GAP, y), size=_SMALL, middle=True)
    return sheet.picture()


def score_pictures(scores: SnrScores) -> dict[str, np.ndarray]:
    """Return the pictures of a network's scores by name, uint8 (H, W, 3) each.

    "accuracy" is the curve, "confusion" the matrix over all frames, "confusion_snr+18" and so on
    that of an SNR label.
    """
    pictures = {
        "accuracy": accuracy_picture({"this network": scores}),
        "confusion": confusion_picture(scores.confusion_at(), scores.names),
    }
    for snr in scores.snrs:
        title = f"Confusion matrix at SNR label {snr}"
        matrix = scores.confusion_at(snr)
        pictures[f"confusion_snr{snr:+03d}"] = confusion_picture(matrix, scores.names, title)
    return pictures


def _legend(runs: Mapping[str, SnrScores]) -> list[tuple[str, Colour]]:
    """Return a line and its colour for each run, from the best down."""
    pairs = zip(runs, _colours(len(runs)), strict=True)
    found = [(runs[name].average, name, colour) for name, colour in pairs]
    found.sort(key=lambda run: -run[0])
    return [(f"{shortened(name, _LONGEST)}  {mean:.1%}", colour) for mean, name, colour in found]


def _colours(count: int) -> list[Colour]:
    return [_COLOURS[number % len(_COLOURS)] for number in range(count)]
