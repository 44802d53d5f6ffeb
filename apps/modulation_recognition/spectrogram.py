"""The picture of a recording: its spectrogram, and below it the predicted class over time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from apps.modulation_recognition.data.recordings import Recording
from apps.modulation_recognition.recognition import SILENT, Recognised
from core.drawing import PALETTE, Sheet, dark_to_light, shortened, text_width
from core.export.report_chart import ticks

_WIDTH, _HEIGHT, _LANE = 900, 256, 24  # pixels: of the plots, of a class
_TEXT, _SMALL = 16, 13
_EDGE, _GAP, _LEFT = 20, 10, 120
_TOP = _EDGE + 2 * _TEXT
_MOST = 12  # classes that get a lane
_LONGEST = 14  # characters of a class's name
_BINS, _AVERAGED = 256, 4  # of a spectrum; spectra averaged in a column
_RANGE = 60.0  # dB below the strongest that are told apart
_GRID, _AXIS = (222, 226, 230), (120, 128, 136)
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))
_HERTZ = ((1e6, "MHz"), (1e3, "kHz"), (1.0, "Hz"))


def spectrogram(recording: Recording, columns: int, bins: int = _BINS) -> np.ndarray:
    """Return power over frequency and time in dB, float64 (bins, columns), high frequencies first.

    A column is the mean of up to four Hann-windowed spectra from its part of the recording.

    Args:
        recording: At least `bins` samples long.
        columns: Equal parts of it.
        bins: Of the spectrum.
    """
    window = np.hanning(bins + 2)[1:-1]
    last = recording.samples - bins
    found = np.empty((bins, columns))
    for column in range(columns):
        at = (column + (np.arange(_AVERAGED) + 0.5) / _AVERAGED) / columns * recording.samples
        starts = np.unique(np.clip(at - bins / 2, 0, last).astype(int))
        parts = np.stack([recording.read(int(start), bins) for start in starts])
        spectra = np.abs(np.fft.fft(parts * window, axis=-1)) ** 2
        found[:, column] = np.fft.fftshift(spectra.mean(axis=0))[::-1]
    return 10 * np.log10(found / np.sum(window**2) + 1e-20)


def class_lanes(found: Recognised, samples: int, columns: int) -> dict[int, np.ndarray]:
    """Return, for each class from the commonest down, its probability over time, (columns,).

    A column has the mean over the frames whose middle lies in it, or where frames are fewer than
    columns the frame that begins last before its middle; frames taken for another class count as
    0. Silence has no lane.
    """
    numbers = np.unique(found.classes[found.classes != SILENT]).tolist()
    numbers.sort(key=lambda number: -int(np.sum(found.classes == number)))
    if len(found) <= columns:
        middles = (np.arange(columns) + 0.5) / columns * samples
        which = np.clip(middles // found.hop, 0, len(found) - 1).astype(int)
        return {n: np.where(found.classes == n, found.probability, 0)[which] for n in numbers}
    at = (found.starts + found.length // 2) * columns // samples
    counts = np.maximum(np.bincount(at, minlength=columns), 1)
    return {
        n: np.bincount(at, np.where(found.classes == n, found.probability, 0), columns) / counts
        for n in numbers
    }


def recognition_picture(
    recording: Recording, found: Recognised, names: Sequence[str]
) -> np.ndarray:
    """Return the spectrogram with a lane for each class below it, uint8 (H, W, 3).

    A lane is the darker the likelier its class; right of it stands the share of the frames.

    Args:
        recording: What was recognised.
        found: Its frames.
        names: Of the classes.
    """
    bins = min(_BINS, 2 ** int(math.log2(recording.samples)))
    columns = max(1, min(_WIDTH, recording.samples // (bins // 4)))
    power = spectrogram(recording, columns, bins)
    shades = np.clip(1 + (power - power.max()) / _RANGE, 0, 1)
    lanes = dict(list(class_lanes(found, recording.samples, _WIDTH).items())[:_MOST])
    lane_top = _TOP + _HEIGHT + 2 * _GAP
    floor = lane_top + max(1, len(lanes)) * _LANE
    sheet = Sheet(floor + 4 * _SMALL + _EDGE, _LEFT + _WIDTH + 70 + _EDGE)
    title = f"{shortened(recording.path.name, 60)}: {len(found):,} frames of {found.length} samples"
    sheet.write(title, (_LEFT, _EDGE), size=_TEXT)
    sheet.paste(_stretched(dark_to_light(shades), _HEIGHT, _WIDTH), (_LEFT, _TOP))
    _draw_frequencies(sheet, recording.sample_rate)
    for row, (number, lane) in enumerate(lanes.items()):
        top = lane_top + row * _LANE
        sheet.paste(_lane_colours(lane), (_LEFT, top + 1))
        _write_before(sheet, shortened(names[number], _LONGEST), (_LEFT - _GAP, top + _LANE // 2))
        share = f"{np.mean(found.classes == number):.1%}"
        place = (_LEFT + _WIDTH + _GAP, top + _LANE // 2)
        sheet.write(share, place, size=_SMALL, middle=True)
    if not lanes:
        sheet.write("silence", (_LEFT, lane_top + _LANE // 2), size=_SMALL, middle=True)
    _draw_times(sheet, recording, floor)
    return sheet.picture()


def _draw_frequencies(sheet: Sheet, rate: float | None) -> None:
    half = 0.5 if rate is None else rate / 2
    scale, unit = (1.0, "of the rate") if rate is None else _unit(half, _HERTZ)
    for mark in ticks(-half / scale, half / scale, 5):
        if abs(mark) * scale <= half:
            y = _TOP + round((0.5 - mark * scale / (2 * half)) * _HEIGHT)
            sheet.stroke((_LEFT - 5, y), (_LEFT, y), _AXIS, 2)
            _write_before(sheet, f"{mark:g}", (_LEFT - _GAP, y))
    _write_before(sheet, unit, (_LEFT - _GAP, _TOP - _SMALL))


def _draw_times(sheet: Sheet, recording: Recording, floor: int) -> None:
    whole = recording.samples / (recording.sample_rate or 1)
    scale, unit = (1.0, "samples") if recording.sample_rate is None else _unit(whole, _UNITS)
    for mark in ticks(0, whole / scale, 8):
        x = _LEFT + round(mark * scale / whole * _WIDTH)
        if x > _LEFT + _WIDTH:
            continue
        sheet.stroke((x, _TOP + _HEIGHT + 2 * _GAP), (x, floor + 5), _GRID, 1)
        label = f"{mark:,g}" if mark < 1e6 else f"{mark:,.0f}"
        start = x - text_width(label, _SMALL) / 2
        sheet.write(label, (start, floor + _SMALL), size=_SMALL, middle=True)
    sheet.stroke((_LEFT, floor), (_LEFT + _WIDTH, floor), _AXIS, 2)
    sheet.write(unit, (_LEFT + _WIDTH // 2, floor + 3 * _SMALL), size=_SMALL, middle=True)


def _unit(value: float, units: Sequence[tuple[float, str]]) -> tuple[float, str]:
    """Return the largest unit that a value has at least one of, or the smallest."""
    return next((unit for unit in units if value >= unit[0]), units[-1])


def _lane_colours(shares: np.ndarray) -> np.ndarray:
    """Return a lane's pixels, white where its class is not predicted."""
    colours = 255 + shares[:, None] * (np.array(PALETTE[4]) - 255)
    return np.repeat(np.rint(colours).astype(np.uint8)[None], _LANE - 2, axis=0)


def _stretched(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    rows = np.arange(height) * len(picture) // height
    return picture[rows][:, np.arange(width) * picture.shape[1] // width]


def _write_before(sheet: Sheet, text: str, end: tuple[int, int]) -> None:
    """Write a line that ends at a place, the right end of its middle."""
    place = (end[0] - text_width(text, _SMALL), end[1])
    sheet.write(text, place, size=_SMALL, middle=True)
