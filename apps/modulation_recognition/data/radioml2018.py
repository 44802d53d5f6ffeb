"""RadioML 2018.01a: 20 GB of HDF5, of which only what is asked for is read.

T. J. O'Shea, T. Roy, T. C. Clancy, "Over-the-Air Deep Learning Based Radio Signal Classification",
IEEE JSTSP 2018, arXiv 1712.04578.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from apps.modulation_recognition.data.published import SEED, random_split
from apps.modulation_recognition.data.radioml2016 import LICENCE
from apps.modulation_recognition.data.stores import frame_samples, only_file
from core.data.hdf5 import damage_told, opened
from core.data.index import Index, make_index
from core.data.readers import Reader
from core.errors import UserError, no_such, one_of

# In the order of the one-hot columns, which the classes.txt in the archive does not have.
CLASSES = (
    "OOK", "4ASK", "8ASK", "BPSK", "QPSK", "8PSK", "16PSK", "32PSK", "16APSK", "32APSK", "64APSK",
    "128APSK", "16QAM", "32QAM", "64QAM", "128QAM", "256QAM", "AM-SSB-WC", "AM-SSB-SC", "AM-DSB-WC",
    "AM-DSB-SC", "FM", "GMSK", "OQPSK",
)  # fmt: skip
NORMAL = (
    "OOK", "4ASK", "BPSK", "QPSK", "8PSK", "16QAM", "AM-SSB-SC", "AM-DSB-SC", "FM", "GMSK", "OQPSK",
)  # fmt: skip
SHARE = 12  # of the frames of each class and label one in so many is taken
_SUFFIXES = (".hdf5", ".h5")
_SLICE = 1 << 16  # rows
_EXPECTED = "expected the datasets X (N, n, 2), Y (N, 24) and Z (N, 1), as in GOLD_XYZ_OSC.0001"


class StackedFrames:
    """The open file; HDF5 reads one slice at a time, whatever the number of threads."""

    def __init__(self, path: Path, options: tuple = ()):
        self._path, self._file = path, opened(path)
        with damage_told(path):
            self._frames: Any = self._file["X"]

    def frame(self, row: int) -> np.ndarray:
        with damage_told(self._path):
            return self._frames[row].T


def read_radioml2018(
    path: Path,
    *,
    classes: Sequence[str] = (),
    snrs: Sequence[int] = (),
    frames_of_each: int | None = None,
) -> Index:
    """Return the index of a part of the data set, equally many frames of each class and label.

    Args:
        path: The file, or the folder around it.
        classes: Some of `CLASSES`, such as `NORMAL`; none stands for all.
        snrs: Some of the labels; none stands for all.
        frames_of_each: Of each class and label; None takes a twelfth.

    Raises:
        UserError: When the file is damaged or holds something else, or a choice is none of it.
    """
    file = only_file(path, _SUFFIXES)
    if file is None:
        raise UserError(f"{path}: holds no HDF5 file; give GOLD_XYZ_OSC.0001_1024.hdf5 itself.")
    for name in classes:
        one_of(name, CLASSES, "The class")
    labels, levels = _labels(file)
    for snr in snrs:
        if snr not in levels:
            known = [str(level) for level in np.unique(levels)]
            raise no_such("SNR label", str(snr), known, where=str(file))
    names = tuple(name for name in CLASSES if not classes or name in classes)
    rows = _chosen(labels, levels, [CLASSES.index(name) for name in names], snrs, frames_of_each)
    order = np.searchsorted([CLASSES.index(name) for name in names], labels[rows])
    samples = frame_samples(
        "hdf5", file, order.tolist(), levels[rows].tolist(), random_split(len(rows)), names,
        rows=rows.tolist(),
    )  # fmt: skip
    notes = [
        f"Took {len(rows):,} of {len(labels):,} frames, chosen at random with seed {SEED}; split "
        "60:20:20 at random.",
        *_names_note(file),
    ]
    return make_index("radioml2018", path, samples, labels=names, notes=notes)


def _labels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return class numbers int8 (N,) and SNR labels int16 (N,), read slice by slice."""
    with damage_told(path), opened(path) as file:
        found = [file.get(name) for name in "XYZ"]
        if any(one is None or not hasattr(one, "shape") for one in found):
            raise UserError(f"{path}: holds {', '.join(file) or 'nothing'}; {_EXPECTED}.")
        frames, hot, levels = found
        count = len(frames) if frames.ndim else 0
        good = frames.ndim == 3 and frames.shape[2] == 2 and hot.shape == (count, len(CLASSES))
        if not good or levels.size != count or not count:
            shapes = ", ".join(str(one.shape) for one in found)
            raise UserError(f"{path}: X, Y, Z have the shapes {shapes}; {_EXPECTED}.")
        if frames.dtype != np.float32:
            raise UserError(f"{path}: X is {frames.dtype}; expected float32.")
        labels, snrs = np.empty(count, np.int8), np.empty(count, np.int16)
        for start in range(0, count, _SLICE):
            part = slice(start, start + _SLICE)
            rows = hot[part]
            snrs[part] = levels[part].reshape(-1)
            if not ((rows == 1).sum(axis=1) == 1).all() or not ((rows == 0) | (rows == 1)).all():
                raise UserError(f"{path}: Y is not one-hot from row {start} on; {_EXPECTED}.")
            labels[part] = rows.argmax(axis=1)
    return labels, snrs


def _chosen(
    labels: np.ndarray,
    levels: np.ndarray,
    classes: Sequence[int],
    snrs: Sequence[int],
    frames_of_each: int | None,
) -> np.ndarray:
    """Return the rows to take, ascending."""
    rng = np.random.default_rng(SEED)
    taken = []
    for label in classes:
        of_class = np.flatnonzero(labels == label)
        for snr in snrs or np.unique(levels):
            rows = of_class[levels[of_class] == snr]
            wanted = max(1, len(rows) // SHARE) if frames_of_each is None else frames_of_each
            taken.append(rng.permutation(rows)[:wanted])
    return np.sort(np.concatenate(taken))


def _names_note(file: Path) -> list[str]:
    """Return a sentence on a classes.txt beside the file that has the classes in another order."""
    beside = file.with_name("classes.txt")
    if not beside.is_file():
        return []
    text = beside.read_text(encoding="utf-8", errors="replace")
    written = tuple(re.findall(r"'([^']*)'", text) or text.replace(",", " ").split())
    if written == CLASSES:
        return []
    unknown = next((name for name in written if name not in CLASSES), None)
    if unknown is not None:
        return [f"{beside.name} beside the file names '{unknown}', no class of it; left aside."]
    return [
        f"{beside.name} beside the file has the classes in an order that is not that of the "
        f"one-hot columns, a known mistake of the archive; used is {CLASSES[0]}, {CLASSES[1]}, "
        f"{CLASSES[2]}, … {CLASSES[-1]}."
    ]


def _recognises(path: Path) -> bool:
    file = only_file(path, _SUFFIXES)
    if file is None or file.suffix.lower() not in _SUFFIXES:
        return False
    import h5py

    if not h5py.is_hdf5(file):
        return file.name.startswith("GOLD_XYZ")
    with opened(file) as found:
        return {"X", "Y", "Z"} <= set(found)


READER = Reader(
    "radioml2018",
    "RadioML 2018.01a: GOLD_XYZ_OSC.0001_1024.hdf5; a twelfth of it, equal by class and SNR",
    _recognises,
    read_radioml2018,
    LICENCE,
)
