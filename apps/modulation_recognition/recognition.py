"""A recording through a network: frames that slide over it, and the class of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from apps.modulation_recognition.data.recordings import Recording
from apps.modulation_recognition.signals.channel import scaled_frames
from apps.modulation_recognition.task import scaled
from core.classification.metrics import softmax
from core.engines import Engine
from core.errors import UserError

SILENT = -1  # instead of a class: every sample of the frame is 0
_QUIET = 1e-12  # power of a sample that is told as silence


@dataclass(frozen=True)
class Recognised:
    """What the frames of a recording were taken for.

    Attributes:
        hop: Samples between the starts of two frames.
        length: Samples of a frame.
        classes: Number of each frame's likeliest class int16 (F,), of equal ones the lower;
            `SILENT` where there is nothing.
        probability: Of that class, float32 (F,); 0 for silence.
        power: Mean |x|² of each frame in dB, float32 (F,); 0 dB is amplitude 1.
    """

    hop: int
    length: int
    classes: np.ndarray
    probability: np.ndarray
    power: np.ndarray

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def starts(self) -> np.ndarray:
        """First sample of each frame, int64 (F,)."""
        return self.hop * np.arange(len(self))


def frame_count(samples: int, length: int, hop: int) -> int:
    """Return how many frames fit into a recording."""
    return 1 + (samples - length) // hop


def recognise(
    engine: Engine,
    recording: Recording,
    *,
    hop: int | None = None,
    batch: int = 256,
    advance: Callable[[int], None] = lambda frames: None,
) -> Recognised:
    """Return the class of each frame of a recording.

    Frames are scaled as those of RadioML, by the sum of their magnitudes, so that the receiver's
    gain does not matter.

    Args:
        engine: Of a network that takes one length of frame.
        recording: At least as long.
        hop: Samples between the starts of two frames; None lays them side by side.
        batch: Frames that go through the network at once.
        advance: Called with the frames that are done since.

    Raises:
        UserError: When the hop is below 1, or a sample is NaN or infinite.
    """
    length = engine.card.input_size[0]
    hop = length if hop is None else hop
    if hop < 1:
        raise UserError(f"Received {hop} samples as hop; choose 1 or more.")
    parts = []
    for signals in _windows(recording, length, hop, batch):
        parts.append(_classes_of(engine, signals))
        advance(len(signals))
    classes, probability, power = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Recognised(hop, length, classes, probability, power)


def _windows(recording: Recording, length: int, hop: int, batch: int) -> Iterator[np.ndarray]:
    """Yield the recording's frames in batches, complex64 (B, length)."""
    total = frame_count(recording.samples, length, hop)
    for first in range(0, total, batch):
        count = min(batch, total - first)
        values = recording.read(first * hop, (count - 1) * hop + length)
        yield np.lib.stride_tricks.sliding_window_view(values, length)[::hop]


def _classes_of(engine: Engine, signals: np.ndarray) -> tuple[np.ndarray, ...]:
    power = np.mean(np.abs(signals) ** 2, axis=-1)
    heard = np.flatnonzero(signals.any(axis=-1))
    classes = np.full(len(signals), SILENT, np.int16)
    probability = np.zeros(len(signals), np.float32)
    if heard.size:
        frames = scaled_frames(signals[heard].astype(np.complex128)).transpose(0, 2, 1)
        outputs = engine(engine.card.normalise(scaled(frames, engine.card)))[0]
        shares = softmax(outputs.reshape(len(frames), -1))
        classes[heard], probability[heard] = shares.argmax(axis=-1), shares.max(axis=-1)
    decibels = 10 * np.log10(np.maximum(power, _QUIET))
    return classes, probability, decibels.astype(np.float32)


def frame_rows(found: Recognised, names: Sequence[str], rate: float | None) -> list[dict[str, Any]]:
    """Return a row for each frame: start, seconds, class, probability, power_db.

    Args:
        found: The frames.
        names: Of the classes.
        rate: Samples per second; None leaves the seconds out.
    """
    rows = []
    columns = (found.starts, found.classes, found.probability, found.power)
    for start, number, share, power in zip(*(c.tolist() for c in columns), strict=True):
        row: dict[str, Any] = {"start": start}
        if rate is not None:
            row["seconds"] = start / rate
        silent = number == SILENT
        row["class"] = None if silent else names[number]
        row["probability"] = None if silent else round(share, 6)
        rows.append({**row, "power_db": round(power, 2)})
    return rows


def class_shares(
    classes: np.ndarray, probability: np.ndarray, names: Sequence[str]
) -> list[dict[str, Any]]:
    """Return a row for each class that occurs, the commonest first; silence is named None.

    Args:
        classes, probability: Of `Recognised`.
        names: Of the classes.

    Returns:
        Keys: class, frames, share (of all frames), mean_probability (None for silence).
    """
    rows = []
    for number in np.unique(classes):
        own = classes == number
        silent = number == SILENT
        rows.append(
            {
                "class": None if silent else names[number],
                "frames": int(own.sum()),
                "share": float(own.mean()),
                "mean_probability": None if silent else float(probability[own].mean()),
            }
        )
    return sorted(rows, key=lambda row: -row["frames"])


def stretches(
    found: Recognised, names: Sequence[str], rate: float | None = None
) -> list[dict[str, Any]]:
    """Return a row for each stretch of consecutive frames of one class, in order.

    Keys: start and end (samples, the end after the last frame), start_seconds and end_seconds
    (with a rate), class, frames, mean_probability (None for silence).
    """
    edges = np.flatnonzero(np.diff(found.classes)) + 1
    rows = []
    for first, last in zip([0, *edges.tolist()], [*edges.tolist(), len(found)], strict=True):
        number = int(found.classes[first])
        start, end = first * found.hop, (last - 1) * found.hop + found.length
        row: dict[str, Any] = {"start": start, "end": end}
        if rate is not None:
            row |= {"start_seconds": start / rate, "end_seconds": end / rate}
        mean = float(found.probability[first:last].mean())
        row["class"] = None if number == SILENT else names[number]
        row["frames"] = last - first
        rows.append({**row, "mean_probability": None if number == SILENT else mean})
    return rows
