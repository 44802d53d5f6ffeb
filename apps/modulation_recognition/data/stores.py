"""Frames in files, read when they are asked for, by any thread.

A sample of a data set of frames is a file and a row in it; a store is an open file that gives rows.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from core.data.index import Sample
from core.errors import UserError

ROW, SNR, STORE = "row", "snr", "store"  # in `Sample.extra`
_OPEN = 64  # files kept open, or in memory
_LOCK = threading.Lock()
# Store's name → where its class is: the readers import nothing they do not need.
_STORES: Mapping[str, str] = MappingProxyType(
    {
        "pickle": "radioml2016:PickledFrames",
        "hdf5": "radioml2018:StackedFrames",
        "shard": "shards:ShardFrames",
        "csv": "hisarmod:WrittenFrames",
        "recording": "recordings:RecordedFrames",
    }
)


class Store(Protocol):
    """An open file of frames."""

    def __init__(self, path: Path, options: tuple = ()): ...

    def frame(self, row: int) -> np.ndarray:
        """Return a frame as stored, (2, n), I before Q; safe to call from many threads."""
        ...


def frame(sample: Sample) -> np.ndarray:
    """Return a sample's frame as stored, float32 (2, n), I before Q.

    Raises:
        UserError: When the file cannot be read, or the frame holds NaN or infinity.
    """
    path, row = sample.inputs[0], sample.extra[ROW]
    store = store_of(sample.extra[STORE], path, sample.extra.get("options", ()))
    values = np.asarray(store.frame(row), np.float32)
    if not np.isfinite(values).all():
        raise UserError(
            f"{path}, frame {row}: holds NaN or infinite values; take the frame out or make the "
            "file again."
        )
    return values


def store_of(kind: str, path: Path, options: tuple = ()) -> Store:
    """Return the open file; one that changed on the disk is opened again.

    Args:
        kind: The store's name.
        path: Of the file.
        options: Of the store, hashable.
    """
    try:
        state = os.stat(path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read: {error.strerror or error}; check the path."
        ) from error
    with _LOCK:  # so that two threads do not read a file of gigabytes at once
        return _opened(kind, path, options, (state.st_mtime_ns, state.st_size))


@lru_cache(maxsize=_OPEN)
def _opened(kind: str, path: Path, options: tuple, state: tuple[int, int]) -> Store:
    module, _, name = _STORES[kind].partition(":")
    return getattr(importlib.import_module(f"{__package__}.{module}"), name)(path, options)


def only_file(path: Path, suffixes: Sequence[str], pattern: str = "*") -> Path | None:
    """Return a file itself, or the only one of a folder with one of these endings."""
    if path.is_file():
        return path
    inside = [one for one in path.glob(pattern) if one.suffix.lower() in suffixes]
    return inside[0] if len(inside) == 1 else None


def frame_samples(
    store: str,
    path: Path,
    labels: Iterable[int],
    snrs: Iterable[int],
    splits: Iterable[str],
    names: tuple[str, ...],
    *,
    rows: Iterable[int] | None = None,
    seen: dict[tuple[int, int], int] | None = None,
    prefix: str = "",
) -> list[Sample]:
    """Return the samples of a file's frames: "QPSK/+18/00012" is the 13th of its class and label.

    Args:
        store: The store's name.
        path: Of the file.
        labels, snrs, splits: Of the frames, in the file's order.
        names: Of the classes.
        rows: Of the frames; None counts them from 0.
        seen: Frames of each (class, SNR) in the files before this one; brought up to date.
        prefix: Before the id.
    """
    count: dict[tuple[int, int], int] = {} if seen is None else seen
    found = []
    numbers = iter(rows) if rows is not None else iter(range(2**62))
    for label, snr, split in zip(labels, snrs, splits, strict=True):
        number = count.get((label, snr), 0)
        count[label, snr] = number + 1
        extra: dict[str, Any] = {ROW: int(next(numbers)), SNR: int(snr), STORE: store}
        name = f"{prefix}{names[label]}/{snr:+03d}/{number:05d}"
        found.append(Sample(name, (path,), label=int(label), split=str(split), extra=extra))
    return found
