"""The app's own shards, as `signals.shards` writes them: .npz or HDF5, each SNR label a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from apps.modulation_recognition.data.published import published_split
from apps.modulation_recognition.data.stores import SNR, frame_samples
from apps.modulation_recognition.signals.shards import RECORD, SUFFIXES
from core.checkpoints.reading import damage_explained
from core.data import hdf5
from core.data.folders import find_files, first_names
from core.data.index import Index, Sample, make_index
from core.data.readers import Reader
from core.documents import parse_json, read_json
from core.errors import UserError
from core.files import refuse_special

_NAMES = ("frames", "labels", "snrs")
_EXPECTED = "expected 'frames' float32 (N, 2, n), 'labels' and 'snrs' integers (N,)"
_ADVICE = "Make the data set again."
_SUFFIXES = tuple(SUFFIXES.values())


class ShardFrames:
    """An open shard: an .npz in memory, HDF5 read row by row."""

    def __init__(self, path: Path, options: tuple = ()):
        self._path = path
        self._frames: Any = _arrays(path)["frames"]

    def frame(self, row: int) -> np.ndarray:
        with hdf5.damage_told(self._path):
            return self._frames[row]


def read_shards(path: Path, *, rule: str = "benchmark") -> Index:
    """Return the index of shards, split by the published rule.

    Args:
        path: The folder of them, or one shard.
        rule: "benchmark" or "vt-cnn2", of `published_split`.

    Raises:
        UserError: When a shard is damaged or holds something else, or `about.json` names no
            classes.
    """
    record = _record(path)
    names = tuple(record["classes"])
    samples: list[Sample] = []
    seen: dict[tuple[int, int], int] = {}
    for file in _files(path):
        with hdf5.damage_told(file, "is cut short or damaged; make the data set again."):
            labels, snrs = _labels(file, len(names))
        samples += frame_samples("shard", file, labels, snrs, [""] * len(labels), names, seen=seen)
    splits = published_split([seen[key] for key in sorted(seen)], rule)
    starts = dict(zip(sorted(seen), np.cumsum([0, *(seen[k] for k in sorted(seen))]), strict=False))
    samples = [_placed(sample, splits, starts) for sample in samples]
    notes = [f"Split by class and SNR as RadioML's benchmarks are ({rule})."]
    for key in ("what", "snr_meaning", "amssb_meaning"):
        if isinstance(record.get(key), str) and (key != "amssb_meaning" or "AM-SSB" in names):
            notes.append(f"{record[key][:1].upper()}{record[key][1:]}.")
    return make_index("shards", path, samples, labels=names, notes=notes)


def _placed(sample: Sample, splits: np.ndarray, starts: dict) -> Sample:
    number = int(sample.id.rpartition("/")[2])
    start = starts[sample.label, sample.extra[SNR]]
    return replace(sample, split=str(splits[start + number]))


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return [path / name for name in find_files(path, "shard", _SUFFIXES)]


def _record(path: Path) -> dict[str, Any]:
    if path.is_file():
        record = about(path)
    elif (path / RECORD).is_file():
        with damage_explained(path / RECORD, _ADVICE):
            record = read_json(path / RECORD)
    else:
        raise UserError(f"{path}: is no folder of shards with its {RECORD}; give that folder.")
    names = record.get("classes") if isinstance(record, dict) else None
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise UserError(f"{path}: its {RECORD} names no 'classes'; make the data set again.")
    return record


def _labels(path: Path, classes: int) -> tuple[list[int], list[int]]:
    arrays = _arrays(path)
    if not all(hasattr(arrays.get(name), "shape") for name in _NAMES):  # nor a group of HDF5
        raise UserError(f"{path}: holds {', '.join(arrays) or 'nothing'}; {_EXPECTED}.")
    frames, labels, snrs = (arrays[name] for name in _NAMES)
    labels, snrs = np.asarray(labels), np.asarray(snrs)
    shape, count = frames.shape, len(labels) if labels.ndim else 0
    good = len(shape) == 3 and shape[1] == 2 and labels.shape == snrs.shape == shape[:1]
    if (
        not good
        or frames.dtype != np.float32
        or not {labels.dtype.kind, snrs.dtype.kind} <= {*"iu"}
    ):
        raise UserError(f"{path}: holds frames {frames.dtype} of shape {shape}; {_EXPECTED}.")
    if count and (labels.min() < 0 or labels.max() >= classes):
        worst = labels[np.argmax((labels < 0) | (labels >= classes))]
        raise UserError(
            f"{path}: has the label {worst}, but {RECORD} names {classes} classes; make the data "
            "set again."
        )
    return labels.tolist(), snrs.tolist()


def _arrays(path: Path) -> dict[str, Any]:
    """Return what a shard holds by name; arrays of HDF5 are not read yet."""
    refuse_special(path)
    with damage_explained(path, _ADVICE):
        if path.suffix.lower() != SUFFIXES["npz"]:
            with hdf5.damage_told(path):
                return dict(hdf5.opened(path))
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in _NAMES if name in archive}


def about(path: Path) -> dict[str, Any]:
    """Return what a shard says of its origin: the content of its data set's `about.json`."""
    refuse_special(path)
    with damage_explained(path, _ADVICE):
        if path.suffix.lower() != SUFFIXES["npz"]:
            with hdf5.damage_told(path), hdf5.opened(path) as file:
                return parse_json(file.attrs["about"])
        with np.load(path, allow_pickle=False) as archive:
            return parse_json(str(archive["about"]))


def _recognises(path: Path) -> bool:
    if path.is_file():
        return path.suffix.lower() in _SUFFIXES and "frames" in _arrays(path)
    return (path / RECORD).is_file() and any(first_names(path, _SUFFIXES, 1))


READER = Reader(
    "shards",
    "the app's own data sets: a folder of .npz or .h5 shards with its about.json",
    _recognises,
    read_shards,
)
