"""HisarMod2019.1: 26 classes of 1,024 samples, written as complex numbers in CSV.

K. Tekbıyık et al., "Robust and Fast Automatic Modulation Classification with CNN under Multipath
Fading Channels", VTC 2020. The files are many gigabytes: only the places of their lines are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from apps.modulation_recognition.data.stores import frame_samples
from core.data.folders import find_files
from core.data.index import Index, Sample, make_index
from core.data.readers import Reader
from core.errors import UserError
from core.files import refuse_special

# The code in the label files → the class.
CODES = {
    0: "BPSK", 10: "QPSK", 20: "8PSK", 30: "16PSK", 40: "32PSK", 50: "64PSK", 1: "4QAM",
    11: "8QAM", 21: "16QAM", 31: "32QAM", 41: "64QAM", 51: "128QAM", 61: "256QAM", 2: "2FSK",
    12: "4FSK", 22: "8FSK", 32: "16FSK", 3: "4PAM", 13: "8PAM", 23: "16PAM", 4: "AM-DSB",
    14: "AM-DSB-SC", 24: "AM-USB", 34: "AM-LSB", 44: "FM", 54: "PM",
}  # fmt: skip
CLASSES = tuple(sorted(CODES.values()))
_CHUNK = 1 << 24  # bytes


class WrittenFrames:
    """A CSV file and where its lines begin."""

    def __init__(self, path: Path, options: tuple = ()):
        self._path = path
        self._starts = line_starts(path)

    def __len__(self) -> int:
        return len(self._starts) - 1

    def frame(self, row: int) -> np.ndarray:
        with _reading(self._path) as stream:  # a place of its own for each thread
            stream.seek(self._starts[row])
            line = stream.read(self._starts[row + 1] - self._starts[row])
        text = line.decode("ascii", "replace").strip().replace("i", "j")
        try:
            values = np.array([complex(one.replace(" ", "")) for one in text.split(",")])
        except ValueError as error:
            raise UserError(
                f"{self._path}, line {row + 1}: is no row of complex numbers such as "
                "0.0121-0.0034i; download the file again."
            ) from error
        return np.stack([values.real, values.imag])


def line_starts(path: Path) -> np.ndarray:
    """Return where each line begins and where the last one ends, int64 (lines + 1,)."""
    found, size = [np.zeros(1, np.int64)], 0
    last = b"\n"
    with _reading(path) as stream:
        while chunk := stream.read(_CHUNK):
            ends = np.flatnonzero(np.frombuffer(chunk, np.uint8) == ord("\n"))
            found.append(ends + size + 1)
            size, last = size + len(chunk), chunk[-1:]
    if size and last != b"\n":
        found.append(np.array([size]))
    return np.concatenate(found)


@contextmanager
def _reading(path: Path) -> Iterator[BinaryIO]:
    refuse_special(path)
    try:
        with path.open("rb") as stream:
            yield stream
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; put it there.") from error


def read_hisarmod(path: Path) -> Index:
    """Return the index of the data set, with its own training and test files.

    Raises:
        UserError: When a file is missing, their numbers of lines differ, or a code is unknown.
    """
    samples: list[Sample] = []
    found = _parts(path)
    if not found:
        raise UserError(
            f"{path}: expected train_data.csv, train_labels.csv and train_snr.csv, or the same of "
            "test; check the path or the --format."
        )
    for split, files in found.items():
        missing = [name for name in ("data", "labels", "snr") if name not in files]
        if missing:
            raise UserError(
                f"{path}: has no {split}_{missing[0]}.csv; put it beside the {split}_data.csv."
            )
        labels = [_class(files["labels"], code) for code in _integers(files["labels"])]
        snrs = _integers(files["snr"])
        count = len(line_starts(files["data"])) - 1
        if not count == len(labels) == len(snrs):
            raise UserError(
                f"{files['data']}: has {count} lines, its labels {len(labels)} and its SNRs "
                f"{len(snrs)}; download the files again."
            )
        splits = [split] * count
        samples += frame_samples(
            "csv", files["data"], labels, snrs, splits, CLASSES, prefix=f"{split}/"
        )
    return make_index("hisarmod", path, samples, labels=CLASSES)


def _class(path: Path, code: int) -> int:
    if code not in CODES:
        raise UserError(
            f"{path}: holds the class code {code}; known are {', '.join(map(str, sorted(CODES)))}."
        )
    return CLASSES.index(CODES[code])


def _integers(path: Path) -> list[int]:
    with _reading(path) as stream:
        text = stream.read().decode("utf-8-sig", "replace").replace(",", " ")
    try:
        return [int(float(one)) for one in text.split()]
    except (ValueError, OverflowError) as error:
        raise UserError(f"{path}: is no list of numbers; download it again.") from error


def _parts(path: Path) -> dict[str, dict[str, Path]]:
    """Return split → "data", "labels" and "snr" → file."""
    if not path.is_dir():
        return {}
    try:
        files = find_files(path, "CSV", (".csv",), recursive=True)
    except UserError:  # none
        return {}
    found: dict[str, dict[str, Path]] = {}
    for file in files:
        split, _, kind = file.stem.lower().partition("_")
        kind = {"label": "labels", "snrs": "snr"}.get(kind, kind)
        if split in ("train", "test") and kind in ("data", "labels", "snr"):
            found.setdefault(split, {})[kind] = path / file
    return {split: files for split, files in found.items() if "data" in files}


READER = Reader(
    "hisarmod",
    "HisarMod2019.1 as CSV: train_data.csv, train_labels.csv, train_snr.csv and those of test",
    lambda path: bool(_parts(path)),
    read_hisarmod,
    "not stated by the publisher (IEEE DataPort)",
)
