"""Cutting a data set into decoded sub-images, once, so that training never waits for files.

Training pictures are cut into overlapping sub-images (480x480 every 240 pixels, as BasicSR does for
DIV2K), stored as uncompressed `.npy`, one file for all sub-images of a picture. Overlapping
sub-images take about four times the room of the decoded pictures (DIV2K: about 28 GB at scale 2);
`size=None` stores whole ones.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from apps.super_resolution.data.pairs import pair
from apps.super_resolution.data.prepared import RECORD, VERSION, read_prepared
from core.data.images import read_size
from core.data.index import Index
from core.errors import UserError
from core.files import claim_folder, write_atomic, write_json


def prepare(
    index: Index,
    scale: int,
    out_folder: str | os.PathLike,
    *,
    size: int | None = 480,
    step: int = 240,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Index:
    """Cut an index's pictures into aligned sub-images and return the index of what was written.

    Only training pictures (and those of no split) are cut: scores are of whole pictures, so val and
    test are stored whole. A sub-image that would cross the border is moved back to end there; a
    picture smaller than `size` is stored whole. Files are written atomically and the record last,
    so a folder without it is one that was not finished.

    Args:
        index: Of this app.
        scale: Of the networks to be trained.
        out_folder: Empty or new.
        size: Side of a sub-image in high-resolution pixels, a multiple of the scale; None does not
            cut.
        step: Distance of two sub-images, a multiple of the scale.
        overwrite: Accept a folder that holds files.
        progress: Called with the pictures done and their number.

    Raises:
        UserError: When size or step does not fit the scale, the disk has too little room, or a
            picture cannot be read.
    """
    if size is not None and (min(size, step) < scale or size % scale or step % scale):
        raise UserError(
            f"Sub-images of {size} pixels every {step} do not fit scale {scale}; choose multiples "
            "of it."
        )
    out = claim_folder(out_folder, overwrite=overwrite)
    _refuse_full_disk(index, scale, out, size, step)
    (out / RECORD).unlink(missing_ok=True)  # from here on the folder is unfinished
    images = []
    for done, sample in enumerate(index.samples, 1):
        low, high = pair(sample, scale)
        corners = _corners(high.shape, None if sample.split in ("val", "test") else size, step)
        stacks = {
            "high": _cut(high, corners),
            "low": _cut(low, [[n // scale for n in corner] for corner in corners]),
        }
        entry: dict[str, Any] = {"id": sample.id, "split": sample.split, "group": sample.group}
        for name, stack in stacks.items():
            file = f"{sample.split or 'images'}/{name}/{sample.id}.npy"
            path = write_atomic(out / file, partial(np.save, arr=stack))
            entry[name] = {"file": file, "bytes": path.stat().st_size}
        images.append({**entry, "corners": [corner[:2] for corner in corners]})
        if progress:
            progress(done, len(index))
    record = {
        "version": VERSION,
        "scale": scale,
        "size": size,
        "step": step,
        "source": {
            "format": index.format,
            "root": str(index.root),
            "fingerprint": index.fingerprint(),
            "notes": list(index.notes),
        },
        "images": images,
    }
    write_json(out / RECORD, record)
    return read_prepared(out)


def starts(length: int, size: int, step: int) -> list[int]:
    """Return where sub-images begin along an axis; the last one ends at the border.

    Args:
        length: Of the axis; `size` or less gives [0].
        size: Of a sub-image.
        step: Between two beginnings.
    """
    if length <= size:
        return [0]
    found = list(range(0, length - size + 1, step))
    return found if found[-1] == length - size else [*found, length - size]


def _corners(shape: tuple[int, ...], size: int | None, step: int) -> list[tuple[int, ...]]:
    """Return (top, left, height, width) of every sub-image."""
    height, width = shape[:2]
    if size is None:
        return [(0, 0, height, width)]
    rows, columns = min(size, height), min(size, width)
    return [
        (top, left, rows, columns)
        for top in starts(height, size, step)
        for left in starts(width, size, step)
    ]


def _cut(image: np.ndarray, corners) -> np.ndarray:
    return np.stack([image[y : y + rows, x : x + columns] for y, x, rows, columns in corners])


def _refuse_full_disk(index: Index, scale: int, out: Path, size: int | None, step: int) -> None:
    needed = 0
    for sample in index.samples:
        if sample.targets and sample.targets[0].suffix != ".npy":
            shape = read_size(sample.targets[0])
            corners = _corners(shape, None if sample.split in ("val", "test") else size, step)
            needed += 3 * len(corners) * corners[0][2] * corners[0][3]
    needed = round(needed * (1 + 1 / scale**2))
    free = shutil.disk_usage(out).free
    if needed > free:
        raise UserError(
            f"{out}: the sub-images need {needed / 1e9:.1f} GB but {free / 1e9:.1f} GB are free; "
            "choose another folder, a larger step, or whole pictures."
        )
