"""Pictures of a classifier: what it names, its confusion matrix, its reliability diagram."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from core.classification.calibration import ReliabilityBins
from core.drawing import PALETTE, Colour, Sheet, shortened, text_width

_TEXT, _SMALL = 16, 13  # pixels
_EDGE, _GAP = 20, 10
_GRID, _AXIS = (222, 226, 230), (120, 128, 136)
_RIGHT, _WRONG = PALETTE[4], PALETTE[5]
_FAINTEST, _STRONGEST = 0.12, 0.7  # opacity of a cell; text stays readable on the strongest
_MATRIX, _SMALLEST, _LARGEST = 1000, 4, 46  # pixels: of the matrix about, of a cell
LONGEST = 24  # characters of a name
_PLOT, _BARS = 440, 90  # pixels: side of the diagram, height of the bars below
_LEAST, _MOST = 224, 480  # pixels: sides of a picture that is labelled


def confusion_picture(
    matrix: np.ndarray, names: Sequence[str], title: str = "Confusion matrix"
) -> np.ndarray:
    """Return a confusion matrix as a picture, uint8 (H, W, 3).

    The colour of a cell is its share of the true class's samples, right ones blue, wrong ones
    orange; cells hold their counts, as far as they have room. Right of a row stand the samples of
    the class and its recall.

    Args:
        matrix: int (K, K), rows true, columns predicted.
        names: Of the classes.
        title: Above it.
    """
    if matrix.shape != (len(names),) * 2 or not len(names):
        raise ValueError(
            f"`matrix` must be (K, K) for K names. Received: {matrix.shape} for {len(names)} names"
        )
    cell = min(_LARGEST, max(_SMALLEST, _MATRIX // len(names)))
    named = cell > _SMALL
    shown = [shortened(name, LONGEST) for name in names]
    room = _widest(shown) + _GAP if named else 0
    totals = [f"{count:,}" for count in matrix.sum(axis=1)]
    recalls = [_percent(row[n], row.sum()) for n, row in enumerate(matrix)]
    heads = "samples", "recall"
    beside = [_widest((head, *texts)) for head, texts in zip(heads, (totals, recalls), strict=True)]
    left, top = _EDGE + room, _EDGE + 2 * _TEXT + max(room, 2 * _GAP)
    side = cell * len(names)
    width = left + side + (sum(beside) + 3 * _GAP if named else 0) + _EDGE
    legend = "rows: true, columns: predicted; colour: share of the row, blue right, orange wrong"
    width = max(width, math.ceil(text_width(legend, _SMALL)) + 2 * _EDGE)
    sheet = Sheet(top + side + 3 * _GAP + _EDGE, width)
    sheet.write(title, (_EDGE, _EDGE), size=_TEXT)
    sheet.write(legend, (_EDGE, top + side + 2 * _GAP), size=_SMALL, middle=True)
    _draw_cells(sheet, matrix, (left, top), cell, lines=named)
    if named:
        for row, name in enumerate(shown):
            middle = row * cell + cell // 2
            _write_before(sheet, name, (left - _GAP, top + middle))
            _write_upwards(sheet, name, (left + middle, top - _GAP))
        right = left + side
        for head, texts, space in zip(heads, (totals, recalls), beside, strict=True):
            right += space + _GAP
            _write_before(sheet, head, (right, top - _SMALL))
            for row, text in enumerate(texts):
                _write_before(sheet, text, (right, top + row * cell + cell // 2))
    return sheet.picture()


def reliability_picture(bins: ReliabilityBins, title: str = "Reliability") -> np.ndarray:
    """Return a reliability diagram, uint8 (H, W, 3).

    A bar is the accuracy of a bin, a line its interval, a dot stands at the mean confidence; where
    dots lie on the diagonal the probabilities are what they say. Below: where the samples are.

    Args:
        bins: Samples by confidence.
        title: Above it.
    """
    left, top = _EDGE + 44, _EDGE + 2 * _TEXT
    floor = top + _PLOT
    foot = floor + 2 * _GAP + _BARS
    sheet = Sheet(foot + 4 * _SMALL + _EDGE, left + _PLOT + 2 * _EDGE)
    total, most = bins.count.sum(), bins.count.max()
    line = f"{title}: ECE {bins.expected_error:.3f}, {total:,} samples"
    sheet.write(line, (left, _EDGE), size=_TEXT)

    def x(value: float) -> int:
        return left + round(value * _PLOT)

    def y(value: float) -> int:
        return floor - round(value * _PLOT)

    for mark in np.linspace(0, 1, 6):
        sheet.stroke((left, y(mark)), (left + _PLOT, y(mark)), _GRID, 1)
        label = f"{mark:.1f}"
        _write_before(sheet, label, (left - _GAP, y(mark)))
        start = x(mark) - text_width(label, _SMALL) / 2
        sheet.write(label, (start, foot + _SMALL), size=_SMALL, middle=True)
    for number in np.flatnonzero(bins.count):
        start, end = x(bins.edges[number]) + 1, x(bins.edges[number + 1]) - 1
        for height, ground, colour in (
            (floor - y(bins.accuracy[number]), floor, _faded(_RIGHT, 0.4)),
            (math.ceil(_BARS * bins.count[number] / most), foot, _AXIS),
        ):
            _fill(sheet, (start, ground - height), (height, end - start), colour)
    sheet.stroke((left, floor), (left + _PLOT, top), _AXIS, 2)
    for number in np.flatnonzero(bins.count):
        at = x(bins.confidence[number])
        low, high = bins.interval[number]
        sheet.stroke((at, y(low)), (at, y(high)), _RIGHT, 2)
        sheet.dot((at, y(bins.accuracy[number])), 5, _WRONG)
    for ground in (floor, foot):
        sheet.stroke((left, ground), (left + _PLOT, ground), _AXIS, 2)
    _write_upwards(sheet, "accuracy", (_EDGE, (top + floor) // 2 + 30))
    _write_upwards(sheet, "samples", (_EDGE, foot - _GAP))
    _write_before(sheet, f"{most:,}", (left - _GAP, foot - _BARS))
    _centred(sheet, "confidence", (left + _PLOT / 2, foot + 3 * _SMALL), _PLOT)
    return sheet.picture()


def labelled_picture(image: np.ndarray, classes: Sequence[tuple[str, float]]) -> np.ndarray:
    """Return a picture with classes named below it, a bar for the probability of each.

    Args:
        image: uint8 (H, W, 3); drawn at a side of at most 480 and at least 224 pixels.
        classes: Names and probabilities, in [0, 1]; one alone of probability 1 is a truth, and
            gets no bar.

    Returns:
        uint8 (H', W', 3).
    """
    if len(classes) == 1 and classes[0][1] == 1:
        return captioned_picture(image, [(shortened(classes[0][0], LONGEST), 0)])
    return captioned_picture(
        image, [(f"{shortened(name, LONGEST)} {share:.1%}", share) for name, share in classes]
    )


def captioned_picture(image: np.ndarray, lines: Sequence[tuple[str, float]]) -> np.ndarray:
    """Return a picture with lines of text below it, each on a bar of a share of its width.

    Args:
        image: uint8 (H, W, 3), drawn as of `labelled_picture`.
        lines: Texts and shares, in [0, 1].
    """
    longest = max(image.shape[:2])
    scale = min(_MOST, max(_LEAST, longest)) / longest
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    line = _TEXT + _GAP
    room = max(width, _LEAST)
    sheet = Sheet(height + _GAP + line * len(lines), room)
    sheet.paste(image, (0, 0), (height, room))
    for number, (text, share) in enumerate(lines):
        top = height + _GAP // 2 + number * line
        _fill(sheet, (0, top), (line - 2, round(room * share)), _faded(_RIGHT, 0.25))
        sheet.write(text, (_GAP // 2, top + line // 2), size=_SMALL, middle=True)
    return sheet.picture()


def _draw_cells(
    sheet: Sheet, matrix: np.ndarray, place: tuple[int, int], cell: int, *, lines: bool
) -> None:
    """Draw the cells from a place on, with lines between all of them or around them only."""
    left, top = place
    for row, counts in enumerate(matrix):
        for column in np.flatnonzero(counts):
            colour = _faded(_RIGHT if row == column else _WRONG, counts[column] / counts.sum())
            x, y = left + int(column) * cell, top + row * cell
            _fill(sheet, (x, y), (cell, cell), colour)
            _centred(sheet, f"{counts[column]}", (x + cell / 2, y + cell / 2), cell)
    side = cell * len(matrix)
    for start in range(0, side + 1, cell if lines else side):
        sheet.stroke((left, top + start), (left + side, top + start), _GRID, 1)
        sheet.stroke((left + start, top), (left + start, top + side), _GRID, 1)


def _widest(texts: Sequence[str]) -> int:
    return math.ceil(max(text_width(text, _SMALL) for text in texts))


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _faded(colour: Colour, share: float) -> Colour:
    opacity = _FAINTEST + (_STRONGEST - _FAINTEST) * share
    red, green, blue = (round(255 + opacity * (value - 255)) for value in colour)
    return red, green, blue


def _fill(sheet: Sheet, place: tuple[int, int], size: tuple[int, int], colour: Colour) -> None:
    if min(size) > 0:
        sheet.paste(np.full((*size, 3), colour, np.uint8), place)


def _centred(sheet: Sheet, text: str, middle: tuple[float, float], room: int) -> None:
    """Write a line around a place if it fits."""
    width = text_width(text, _SMALL)
    if width + 2 <= room and room > _SMALL:
        sheet.write(text, (middle[0] - width / 2, middle[1]), size=_SMALL, middle=True)


def _write_before(sheet: Sheet, text: str, end: tuple[int, int]) -> None:
    """Write a line that ends at a place, the right end of its middle."""
    place = (end[0] - text_width(text, _SMALL), end[1])
    sheet.write(text, place, size=_SMALL, middle=True)


def _write_upwards(sheet: Sheet, text: str, foot: tuple[int, int]) -> None:
    """Write a line from the bottom to the top, its middle above a place."""
    strip = Sheet(_SMALL + 4, math.ceil(text_width(text, _SMALL)) + 2)
    strip.write(text, (0, (_SMALL + 4) // 2), size=_SMALL, middle=True)
    turned = np.rot90(strip.picture())
    sheet.paste(turned, (foot[0] - turned.shape[1] // 2, foot[1] - turned.shape[0]))
