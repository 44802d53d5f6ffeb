"""Shards: frames with their classes and SNR labels, in files that say where they come from.

A shard is an .npz or HDF5 file with "frames" float32 (N, 2, n), "labels" int16 (N,), "snrs" int16
(N,) and "about", JSON. A folder of them, one for each SNR label, has the same in `about.json`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from apps.modulation_recognition.signals.generator import VERSION, chosen, expected_snr, generate
from apps.modulation_recognition.signals.parameters import FRAME, Recipe
from core.errors import one_of
from core.files import claim_folder, explained, folder_aside, plain, write_atomic, write_json

RECORD = "about.json"
SUFFIXES: Mapping[str, str] = {"npz": ".npz", "hdf5": ".h5"}
LICENCE = "Apache-2.0, as the generator; no recorded signal is in it"

Blocks = Iterable[tuple[str, int, np.ndarray]]


def write_generated(
    folder: str | os.PathLike,
    recipe: Recipe,
    count: int,
    *,
    classes: Sequence[str] = (),
    snrs: Sequence[int] = (),
    format: str = "npz",
    workers: int = 1,
    advance: Callable[[int], None] = lambda frames: None,
) -> dict[str, Any]:
    """Write a generated data set, a shard for each SNR label, and last `about.json`.

    Nothing appears before every frame is made. The same recipe gives the same bytes, whatever the
    number of workers.

    Args:
        folder: New or empty.
        recipe: Every choice.
        count: Frames for each class and label.
        classes: Some of the set's classes; none stands for all.
        snrs: SNR labels; none stands for the set's.
        format: "npz" or "hdf5".
        workers: Processes.
        advance: Called with the frames that were made since.

    Returns:
        What `about.json` holds.

    Raises:
        UserError: When a choice is wrong, or the folder holds files or cannot be written.
    """
    names, labels = chosen(recipe, count, classes, snrs)
    record = {
        "what": "frames made from the description of the RadioML data sets, not recorded ones",
        "generator": "gossamer modrec generate",
        "version": VERSION,
        **recipe.record(),
        "classes": names,
        "snrs": labels,
        "mean_snr_db": {snr: round(expected_snr(recipe, snr), 2) for snr in labels},
        "frames_of_each": count,
        "length": FRAME,
        "licence": LICENCE,
    }
    made = generate(recipe, count, classes=names, snrs=labels, workers=workers)
    return write_shards(folder, _told(made, advance), names, record, format=format)


def write_shards(
    folder: str | os.PathLike,
    blocks: Blocks,
    classes: Sequence[str],
    record: Mapping[str, Any],
    *,
    format: str = "npz",
) -> dict[str, Any]:
    """Write frames as a folder of shards, one for each SNR label.

    Args:
        folder: New or empty.
        blocks: (class, SNR label, frames (N, 2, n)), label after label.
        classes: By number.
        record: Where the frames come from.
        format: "npz" or "hdf5".

    Returns:
        What `about.json` holds.

    Raises:
        UserError: When the format is unknown, or the folder holds files or cannot be written.
    """
    one_of(format, SUFFIXES, "The shards' format")
    out = claim_folder(folder)
    whole = plain({**record, "classes": classes})
    fill = _fill_npz if format == "npz" else _fill_hdf5
    with folder_aside(out, "generating") as aside:
        names = []
        for snr, parts in groupby(blocks, itemgetter(1)):
            kept = [(classes.index(name), frames) for name, _, frames in parts]
            frames = np.concatenate([frames for _, frames in kept])
            labels = np.concatenate([np.full(len(f), label, np.int16) for label, f in kept])
            arrays = {"frames": frames, "labels": labels, "snrs": np.full(len(labels), snr, "i2")}
            names.append(f"snr{snr:+03d}{SUFFIXES[format]}")
            write_atomic(aside / names[-1], lambda path, a=arrays: fill(path, a, whole))  # type: ignore[misc]
        write_json(aside / RECORD, whole)
        with explained(out):
            for name in (*names, RECORD):
                (aside / name).replace(out / name)
    return whole


def _told(blocks: Blocks, advance: Callable[[int], None]) -> Iterator[tuple[str, int, np.ndarray]]:
    for block in blocks:
        yield block
        advance(len(block[2]))


def _fill_npz(path: Path, arrays: Mapping[str, np.ndarray], record: Mapping[str, Any]) -> None:
    with path.open("r+b") as stream:
        np.savez(stream, allow_pickle=False, **arrays, about=np.array(json.dumps(record)))


def _fill_hdf5(path: Path, arrays: Mapping[str, np.ndarray], record: Mapping[str, Any]) -> None:
    import h5py

    # The one writer holds a lock on the file already.
    with h5py.File(path, "w", locking=False) as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values, track_times=False)
        file.attrs["about"] = json.dumps(record)
