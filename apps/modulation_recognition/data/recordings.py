"""Recordings of a receiver: interleaved I and Q, complex64 or int16, raw or described by SigMF."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from apps.modulation_recognition.data import sigmf
from apps.modulation_recognition.data.stores import ROW, STORE
from apps.modulation_recognition.signals.channel import scaled_frames
from apps.modulation_recognition.signals.parameters import FRAME
from core.data.index import Index, Sample, make_index
from core.data.readers import Reader
from core.errors import UserError, one_of

# Endings in use → the type of a number.
SUFFIXES = {
    ".cfile": "complex64", ".cf32": "complex64", ".fc32": "complex64", ".c64": "complex64",
    ".complex64": "complex64", ".cs16": "int16", ".sc16": "int16", ".ci16": "int16",
    ".int16": "int16",
}  # fmt: skip
TYPES = {"complex64": np.dtype("<c8"), "int16": np.dtype(("<i2", 2))}
_LOOKED_AT = 1 << 16  # samples that tell whether a recording is real-valued


@dataclasses.dataclass(frozen=True)
class Recording:
    """A recording on the disk.

    Attributes:
        path: Of the file.
        kind: "complex64" or "int16".
        sample_rate: In Hz; None where it is not known.
        samples: How many.
    """

    path: Path
    kind: str
    sample_rate: float | None
    samples: int

    def read(self, start: int, count: int) -> np.ndarray:
        """Return samples, complex64 (count,); int16 ones over 32,768, in [-1, 1).

        Raises:
            UserError: When one of them is NaN or infinite.
        """
        values = np.memmap(self.path, TYPES[self.kind], "r")[start : start + count]
        if self.kind == "int16":
            parts = values.astype(np.float32) / 32768
            return parts[:, 0] + 1j * parts[:, 1]
        if not np.isfinite(values).all():
            place = start + int(np.argmin(np.isfinite(values)))
            raise UserError(
                f"{self.path}: sample {place} is NaN or infinite; cut it out, or pass the type of "
                "number the file really has."
            )
        return np.array(values, np.complex64)


def open_recording(
    path: Path, *, sample_rate: float | None = None, kind: str = "", least: int = FRAME
) -> Recording:
    """Return a recording that can be read.

    Args:
        path: The file, for SigMF either of the two.
        sample_rate: In Hz; None takes SigMF's.
        kind: "complex64" or "int16"; "" takes SigMF's, or goes by the ending.
        least: Samples it must have.

    Raises:
        UserError: When it is no whole number of samples, too short or real-valued, or its kind is
            not known.
    """
    if path.suffix.lower() in (sigmf.META, sigmf.DATA):
        path, known, rate = sigmf.described(path)
        kind, sample_rate = kind or known, rate if sample_rate is None else sample_rate
    kind = kind or SUFFIXES.get(path.suffix.lower(), "")
    if not kind:
        raise UserError(
            f"{path}: its ending does not tell how numbers are stored; name it "
            f"{', '.join(SUFFIXES)}, or say which with --number-type."
        )
    one_of(kind, TYPES, "The type of a recording's numbers")
    if sample_rate is not None and not 0 < sample_rate < float("inf"):
        raise UserError(f"{path}: a sample rate of {sample_rate:g} Hz is none; give one above 0.")
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; check the path.") from error
    each = TYPES[kind].itemsize
    if size % each:
        raise UserError(
            f"{path}: has {size:,} bytes, no whole number of {kind} samples of {each} bytes; copy "
            "it again or pass its real type."
        )
    if size < each * least:
        raise UserError(
            f"{path}: has {size // each} samples; a frame takes {least}, give a longer recording."
        )
    found = Recording(path, kind, sample_rate, size // each)
    look = found.read(0, min(found.samples, _LOOKED_AT))
    if look.real.any() and not look.imag.any():
        raise UserError(
            f"{path}: is real-valued, all its Q samples are 0; make it complex (I and Q) first."
        )
    return found


class RecordedFrames:
    """A recording cut in frames, one after the other, on the scale of RadioML's frames."""

    def __init__(self, path: Path, options: tuple = ()):
        kind, self._length = options
        self._recording = open_recording(path, kind=kind, least=self._length)

    def frame(self, row: int) -> np.ndarray:
        values = self._recording.read(row * self._length, self._length)
        if not values.any():
            return np.zeros((2, self._length), np.float32)
        return scaled_frames(values[None].astype(np.complex128))[0]


def read_recording(
    path: Path, *, sample_rate: float | None = None, kind: str = "", length: int = FRAME
) -> Index:
    """Return the index of a recording's frames, which have no class.

    Args:
        path: The file, for SigMF either of the two.
        sample_rate: In Hz, for times; None takes SigMF's, or leaves them out.
        kind: "complex64" or "int16"; "" takes SigMF's, or goes by the ending.
        length: Samples of a frame.

    Raises:
        UserError: As `open_recording`.
    """
    found = open_recording(path, sample_rate=sample_rate, kind=kind, least=length)
    samples = []
    for row in range(found.samples // length):
        extra = {ROW: row, STORE: "recording", "options": (found.kind, length)}
        if found.sample_rate is not None:
            extra["seconds"] = row * length / found.sample_rate
        samples.append(Sample(f"{path.stem}/{row:07d}", (found.path,), extra=extra))
    notes = ["A recording without classes: it can be predicted, not evaluated."]
    left = found.samples % length
    if left:
        notes.append(f"The last {left} samples are no whole frame and are left out.")
    return make_index("recording", path, samples, notes=notes)


READER = Reader(
    "recording",
    "a recording of I and Q: .cfile, .cf32, .fc32, .c64 (complex64), .cs16, .sc16 (int16), SigMF",
    lambda path: path.is_file() and path.suffix.lower() in (*SUFFIXES, sigmf.META, sigmf.DATA),
    read_recording,
)
