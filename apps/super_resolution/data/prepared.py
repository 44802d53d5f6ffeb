"""Decoded sub-images on the disk, so that a random patch costs a few page reads and no decoding.

Decoding a 2K PNG takes a hundred times longer than copying a patch out of it. `prepare` cuts the
training pictures into overlapping sub-images once (480x480 every 240 pixels, as BasicSR does for
DIV2K) and stores them as uncompressed `.npy`, one file for all sub-images of a picture; the reader
"prepared" opens them memory-mapped. Overlapping sub-images take about four times the room of the
decoded pictures (DIV2K: about 28 GB at scale 2); `size=None` stores whole ones.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from apps.super_resolution.data.pairs import pair
from core.data.images import read_size
from core.data.index import Index, Sample, make_index
from core.data.readers import Reader
from core.errors import UserError
from core.files import claim_folder, write_atomic, write_json

RECORD = "prepared.json"
_VERSION = 1
_EXPECTED = f"the {RECORD} of prepared sub-images"


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
    (out / RECORD).unlink(missing_ok=True)  # from here on the folder is unfinished
    _refuse_full_disk(index, scale, out, size, step)
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
            path = write_atomic(out / file, lambda part, stack=stack: np.save(part, stack))
            entry[name] = {"file": file, "bytes": path.stat().st_size}
        images.append({**entry, "corners": [corner[:2] for corner in corners]})
        if progress:
            progress(done, len(index))
    record = {
        "version": _VERSION,
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


def read_prepared(path: Path) -> Index:
    """Return the index of prepared data: a sample per sub-image, grouped by picture.

    Raises:
        UserError: When the record is missing, of another version, or a file is missing or cut off.
    """
    path = Path(path)
    if not _is_prepared(path):
        raise UserError(f"{path}: expected {_EXPECTED}; prepare the data again.")
    try:
        record = json.loads((path / RECORD).read_text(encoding="utf-8"))
        if record["version"] != _VERSION:
            raise UserError(
                f"{path / RECORD}: is of version {record['version']}, not {_VERSION}; prepare the "
                "data again."
            )
        samples = [sample for entry in record["images"] for sample in _samples(path, record, entry)]
        source, size = record["source"], record["size"]
        notes = [
            f"{len(record['images'])} pictures of '{source['format']}' ({source['fingerprint']}) "
            f"prepared for scale {record['scale']}: "
            + (f"training in sub-images of {size}x{size}." if size else "stored whole.")
        ]
        notes += source["notes"]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path / RECORD}: is damaged; prepare the data again.") from error
    return make_index("prepared", path, samples, notes=notes)


def open_pair(sample: Sample, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (small, large) of a prepared sample as read-only views of its files.

    Raises:
        UserError: When the data was prepared for another scale, or a file cannot be read.
    """
    files, row = sample.extra["low"], sample.extra["row"]
    if scale not in files:
        raise UserError(
            f"{sample.targets[0]}: was prepared for scale {min(files)}, not {scale}; prepare the "
            "data again for this network."
        )
    return _open_stack(files[scale])[row], _open_stack(sample.targets[0])[row]


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


def _open_stack(path: Path) -> np.ndarray:
    """Return the sub-images of a picture, uint8 (n, H, W, 3), memory-mapped."""
    try:
        stack = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: cannot be read; prepare the data again.") from error
    if stack.dtype != np.uint8 or stack.ndim != 4:
        raise UserError(f"{path}: does not hold sub-images; prepare the data again.")
    return stack


def _is_prepared(path: Path) -> bool:
    return (path / RECORD).is_file()


def _samples(root: Path, record: dict[str, Any], entry: dict[str, Any]) -> list[Sample]:
    paths = {}
    for name in ("high", "low"):
        path = root / entry[name]["file"]
        have = path.stat().st_size if path.is_file() else 0
        if have != entry[name]["bytes"]:
            raise UserError(
                f"{path}: has {have} bytes, not the {entry[name]['bytes']} that were written; copy "
                "it again or prepare the data again."
            )
        paths[name] = path
    several = len(entry["corners"]) > 1
    return [
        Sample(
            id=f"{entry['id']}_s{row + 1:03d}" if several else entry["id"],
            inputs=(paths["high"],),
            targets=(paths["high"],),
            group=entry["group"] or entry["id"],
            split=entry["split"],
            extra={"low": {record["scale"]: paths["low"]}, "row": row},
        )
        for row in range(len(entry["corners"]))
    ]


READER = Reader(
    "prepared",
    "sub-images cut and decoded beforehand: prepared.json",
    _is_prepared,
    read_prepared,
)
