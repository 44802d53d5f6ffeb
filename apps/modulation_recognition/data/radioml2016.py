"""RadioML 2016.10a, 2016.10b and 2016.04c: pickles of Python 2, read without running anything.

A dictionary {(class, SNR label): float32 (N, 2, 128)}. T. J. O'Shea, N. West, GRCon 2016.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np

from apps.modulation_recognition.data.published import published_split
from apps.modulation_recognition.data.stores import frame_samples, only_file, store_of
from apps.modulation_recognition.signals.parameters import CLASSES
from apps.modulation_recognition.signals.shards import write_shards
from core.checkpoints.pickled_values import Leaf, Malformed
from core.checkpoints.pickles import Interpreter
from core.checkpoints.reading import damage_explained
from core.data.index import Index, make_index
from core.data.readers import Reader
from core.errors import UserError, no_such
from core.files import refuse_special, sha256

LICENCE = "CC BY-NC-SA 4.0 (DeepSig)"
SUFFIXES = (".pkl", ".dat", ".pickle")
_EXPECTED = "expected a dictionary {(class, SNR): float32 array (N, 2, n)}, as RML2016.10a_dict.pkl"
_ADVICE = "Download the data set from its publisher again."

Key = tuple[str, int]


class PickledFrames:
    """A data set in memory, its frames numbered class after class and label after label."""

    def __init__(self, path: Path, options: tuple = ()):
        self.arrays = read_dictionary(path)
        self._ends = np.cumsum([len(values) for values in self.arrays.values()])
        self._values = list(self.arrays.values())

    def frame(self, row: int) -> np.ndarray:
        place = int(np.searchsorted(self._ends, row, side="right"))
        return self._values[place][row - self._ends[place]]


def read_dictionary(path: Path) -> dict[Key, np.ndarray]:
    """Return a data set's frames by (class, SNR label), sorted, each float32 (N, 2, n).

    The file is a program of its own kind; none of it is run.

    Raises:
        UserError: When the file is damaged, asks to run something, or holds something else.
    """
    refuse_special(path)
    with damage_explained(path, _ADVICE):
        with path.open("rb") as stream:
            head = stream.read(3)
            _refuse_archive(path, head)
            if head[:1] not in (b"(", b"\x80", b"}"):
                raise UserError(f"{path}: is not a pickle; {_EXPECTED}.")
            stream.seek(0)
            found = Interpreter(stream).run()
        if not isinstance(found, dict) or not found:
            raise UserError(f"{path}: holds no dictionary of frames; {_EXPECTED}.")
        for key in found:
            _check_key(path, key)
        arrays = {}
        for key in sorted(found):
            value = found.pop(key)
            if not isinstance(value, Leaf):
                raise UserError(f"{path}: {_named(key)} is not an array; {_EXPECTED}.")
            arrays[key[0], int(key[1])] = _checked(path, key, value)
        return arrays


def read_radioml2016(path: Path, *, rule: str = "benchmark") -> Index:
    """Return the index of a data set, split as published.

    Args:
        path: The pickle, or the folder around it.
        rule: "benchmark" or "vt-cnn2", of `published_split`.

    Raises:
        UserError: As `read_dictionary`, and for a class that no RadioML 2016 has.
    """
    file = only_file(path, SUFFIXES, "*2016*")
    if file is None:
        raise UserError(f"{path}: holds no RadioML 2016 pickle; give RML2016.10a_dict.pkl itself.")
    arrays = cast(PickledFrames, store_of("pickle", file)).arrays
    names = tuple(sorted({name for name, _ in arrays}))
    for name in names:
        if name not in CLASSES:
            raise no_such("class of RadioML 2016", name, CLASSES, where=str(file))
    counts = [len(values) for values in arrays.values()]
    labels = np.repeat([names.index(name) for name, _ in arrays], counts)
    snrs = np.repeat([snr for _, snr in arrays], counts)
    splits = published_split(counts, rule)
    samples = frame_samples("pickle", file, labels.tolist(), snrs.tolist(), splits, names)
    notes = [
        f"Split as published ({rule}); frames are used as stored.",
        "SNR labels are those of the files, which are no SNRs: a label L is about 2 L dB.",
    ]
    if "AM-SSB" in names:
        notes.append("AM-SSB holds no signal, only noise: chance names it at any label.")
    return make_index("radioml2016", path, samples, labels=names, notes=notes)


def convert(path: Path, folder: Path, *, format: str = "npz") -> dict:
    """Write a pickled data set as shards, which open at once and need no unpickling again.

    Args:
        path: The pickle.
        folder: New or empty.
        format: "npz" or "hdf5".

    Returns:
        What `about.json` holds.
    """
    arrays = read_dictionary(path)
    names = sorted({name for name, _ in arrays})
    length = next(iter(arrays.values())).shape[-1]
    record = {
        "what": "frames of a RadioML 2016 data set, as stored in its pickle",
        "source": path.name,
        "source_sha256": sha256(path),
        "snrs": sorted({snr for _, snr in arrays}),
        "length": length,
        "licence": LICENCE,
    }
    return write_shards(folder, _by_label(arrays), names, record, format=format)


def _by_label(arrays: dict[Key, np.ndarray]) -> Iterator[tuple[str, int, np.ndarray]]:
    for name, snr in sorted(arrays, key=lambda key: (key[1], key[0])):
        yield name, snr, arrays[name, snr]


def _check_key(path: Path, key: object) -> None:
    pair = isinstance(key, tuple) and len(key) == 2
    if not (pair and isinstance(key[0], str) and isinstance(key[1], int | np.integer)):  # type: ignore[index]
        raise UserError(f"{path}: has the key {_named(key)}, no (class, SNR); {_EXPECTED}.")


def _checked(path: Path, key: Key, leaf: Leaf) -> np.ndarray:
    try:
        values = leaf.array()
    except Malformed as error:
        raise UserError(f"{path}: {_named(key)} is {error}; {_EXPECTED}.") from error
    if values.dtype != np.float32 or values.ndim != 3 or values.shape[1] != 2 or not values.size:
        raise UserError(
            f"{path}: {_named(key)} is {values.dtype} of shape {values.shape}; expected float32 of "
            "shape (N, 2, n)."
        )
    bad = np.flatnonzero(~np.isfinite(values).all(axis=(1, 2)))
    if bad.size:
        raise UserError(
            f"{path}: {_named(key)} holds NaN or infinite values in {bad.size} frame(s), first in "
            f"frame {bad[0]}; take them out or download the file again."
        )
    return values


def _named(key: object) -> str:
    return repr(key) if isinstance(key, tuple | str | int) else type(key).__name__


def _refuse_archive(path: Path, head: bytes) -> None:
    if head in (b"BZh", b"\x1f\x8b\x08"):
        raise UserError(f"{path}: is compressed; unpack it and give the .pkl or .dat file inside.")


def _recognises(path: Path) -> bool:
    file = only_file(path, SUFFIXES, "*2016*")
    return file is not None and (
        file.suffix.lower() in SUFFIXES or file.name.lower().startswith("rml2016")
    )


READER = Reader(
    "radioml2016",
    "RadioML 2016.10a, 2016.10b or 2016.04c: the pickle (.pkl, .dat), or the folder it is in",
    _recognises,
    read_radioml2016,
    LICENCE,
)
