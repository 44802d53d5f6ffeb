"""Decoded sub-images on the disk, so that a random patch costs a few page reads and no decoding.

Decoding a 2K PNG takes a hundred times longer than copying a patch out of it. The reader "prepared"
opens what `apps.super_resolution.data.preparing` has written, uncompressed `.npy` with all
sub-images of a picture, memory-mapped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from core.checkpoints.archives import DAMAGE
from core.data.index import Index, Sample, make_index
from core.data.readers import Reader
from core.documents import read_json
from core.errors import UserError

RECORD = "prepared.json"
VERSION = 1
_EXPECTED = f"the {RECORD} of prepared sub-images"


def read_prepared(path: Path) -> Index:
    """Return the index of prepared data: a sample per sub-image, grouped by picture.

    Raises:
        UserError: When the record is missing, of another version, or a file is missing or cut off.
    """
    path = Path(path)
    if not _is_prepared(path):
        raise UserError(f"{path}: expected {_EXPECTED}; prepare the data again.")
    try:
        record = read_json(path / RECORD)
        if record["version"] != VERSION:
            raise UserError(
                f"{path / RECORD}: is of version {record['version']}, not {VERSION}; prepare the "
                "data again."
            )
        if type(record["scale"]) is not int or record["scale"] < 1:
            raise ValueError("no scale")
        samples = [sample for entry in record["images"] for sample in _samples(path, record, entry)]
        source, size = record["source"], record["size"]
        notes = [
            f"{len(record['images'])} pictures of '{source['format']}' ({source['fingerprint']}) "
            f"prepared for scale {record['scale']}: "
            + (f"training in sub-images of {size}x{size}." if size else "stored whole.")
        ]
        notes += map(str, source["notes"])
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path / RECORD}: is damaged; prepare the data again.") from error
    return make_index("prepared", path, samples, notes=notes)


def open_pair(sample: Sample, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (small, large) of a prepared sample as read-only views of its files.

    Raises:
        UserError: When the data was prepared for another scale, a file cannot be read, or the two
            do not fit.
    """
    files, row = sample.extra["low"], sample.extra["row"]
    if scale not in files:
        raise UserError(
            f"{sample.targets[0]}: was prepared for scale {min(files)}, not {scale}; prepare the "
            "data again for this network."
        )
    small, large = _sub_image(files[scale], row), _sub_image(sample.targets[0], row)
    if tuple(scale * side for side in small.shape[:2]) != large.shape[:2]:
        raise UserError(
            f"{files[scale]}: its sub-images are not those of {sample.targets[0].name} at scale "
            f"{scale}; prepare the data again."
        )
    return small, large


def _sub_image(path: Path, row: int) -> np.ndarray:
    """Return a sub-image of a picture, uint8 (H, W, 3), memory-mapped."""
    try:
        stack = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, *DAMAGE) as error:
        raise UserError(f"{path}: cannot be read; prepare the data again.") from error
    if stack.dtype != np.uint8 or stack.ndim != 4 or stack.shape[-1] != 3 or len(stack) <= row:
        raise UserError(f"{path}: does not hold sub-images; prepare the data again.")
    return stack[row]


def _is_prepared(path: Path) -> bool:
    return (path / RECORD).is_file()


def _samples(root: Path, record: dict[str, Any], entry: dict[str, Any]) -> list[Sample]:
    if not all(isinstance(entry[name], str) for name in ("id", "split", "group")):
        raise TypeError("names that are no text")
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
