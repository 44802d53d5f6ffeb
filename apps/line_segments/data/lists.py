"""Wireframes as JSON lists of images: the raw style of L-CNN and the style of HAWP.

Raw: `[{"filename", "width", "height", "lines": [[x1, y1, x2, y2], …]}, …]`, where width and height
may be missing. HAWP: the same with `"junctions"` and `"edges_positive"` instead of lines in its
training file, and `"junc"` beside them in the other. Files are named train, valid and test.json;
images lie in `images/` beside them, perhaps under another suffix than their entry says.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from apps.line_segments.data.annotations import (
    KIND,
    ROW,
    Annotation,
    damage_told,
    document,
    missing_images,
    numbers,
    whole_size,
)
from apps.line_segments.data.wireframe import joined
from core.data.folders import SPLIT_FOLDERS, plain, subfolder
from core.data.images import find_images
from core.data.index import Index, Sample, make_index
from core.data.readers import Reader
from core.documents import BadDocument, read_json
from core.errors import UserError

ABOUT = "about.json"  # of generated data: what it is
_EXPECTED = 'a list of images, [{"filename": …, "lines": [[x1, y1, x2, y2], …]}, …]'
_LOOKED_AT = 4096  # bytes of a list
_MIRRORED = re.compile(r"_[0-3]$")  # what L-CNN's program adds to the names of mirrored copies
_VALID = (
    "valid.json is taken as the test set: of the published Wireframe files it is the 462 test "
    "images."
)


@dataclass(frozen=True)
class Entry:
    """An image of a list."""

    filename: str
    annotation: Annotation


def read_entry(path: Path, row: int) -> Annotation:
    """Return the annotation of an image by its place in the list."""
    return read_list(path)[row].annotation


def read_list(path: Path) -> tuple[Entry, ...]:
    """Return the entries of a list, which stay in memory until the file changes.

    Raises:
        UserError: When it is damaged, or no list of images.
    """
    with damage_told(path):
        state = os.stat(path)
    return _read_list(path, (state.st_mtime_ns, state.st_size))


@lru_cache(maxsize=8)
def _read_list(path: Path, state: tuple[int, int]) -> tuple[Entry, ...]:
    found = document(path, _EXPECTED)
    if not isinstance(found, list) or not found:
        raise UserError(f"{path}: holds no list of images; expected {_EXPECTED}.")
    return tuple(_entry(path, number, one) for number, one in enumerate(found))


def _entry(path: Path, number: int, found: Any) -> Entry:
    name = found.get("filename") if isinstance(found, dict) else None
    if not isinstance(name, str) or not name or not Path(name).name:
        raise UserError(f"{path}: entry {number} names no image; expected {_EXPECTED}.")
    if "lines" in found:
        lines = numbers(path, found["lines"], 4, f"lines of '{name}'")
    elif {"junctions", "edges_positive"} <= set(found):
        points = numbers(path, found["junctions"], 2, f"junctions of '{name}'")
        pairs = numbers(path, found["edges_positive"], 2, f"edges of '{name}'")
        lines = joined(path, points, pairs)
    else:
        raise UserError(
            f"{path}: '{name}' has neither 'lines' nor 'junctions' with 'edges_positive'; expected "
            f"{_EXPECTED}."
        )
    size = None
    if found.get("width") is not None and found.get("height") is not None:
        size = whole_size(path, found["height"], found["width"])
    return Entry(name, Annotation(lines.astype(np.float32), size))


def list_files(path: Path) -> dict[str, Path]:
    """Return the lists of a folder by split, or a list itself."""
    if path.is_file():
        return {SPLIT_FOLDERS.get(plain(path.stem), ""): path}
    files = [one for one in sorted(path.glob("*.json")) if one.name != ABOUT]
    named = {SPLIT_FOLDERS.get(plain(one.stem), ""): one for one in files}
    found = {split: one for split, one in named.items() if split}
    if "val" in found and "test" not in found and found["val"].stem.lower() == "valid":
        found["test"] = found.pop("val")
    return found


def _read(path: Path) -> Index:
    files = list_files(path)
    if not files:
        raise UserError(f"{path}: holds no train.json, valid.json or test.json; check the path.")
    root = path.parent if path.is_file() else path
    folder = subfolder(root, "images", "image") or root
    images = {file.relative_to(folder).as_posix(): file for file in find_images(folder, True)}
    loose = {name.rpartition(".")[0]: file for name, file in images.items()}
    by_name = {file.name: file for file in images.values()}
    samples, renamed = [], 0
    for split, file in files.items():
        entries = read_list(file)
        missing = []
        for row, entry in enumerate(entries):
            name = entry.filename
            image = images.get(name) or by_name.get(Path(name).name)
            if image is None:
                image = loose.get(name.rpartition(".")[0] or name)
                renamed += image is not None
            if image is None:
                missing.append(name)
                continue
            called = f"{split}/{image.name}" if split else image.name
            extra, group = {KIND: "list", ROW: row}, _MIRRORED.sub("", image.stem)
            samples.append(Sample(called, (image,), (file,), group=group, split=split, extra=extra))
        missing_images(file, missing, len(entries), folder)
    return make_index(_format(root), path, samples, notes=_notes(root, files, renamed))


def _notes(root: Path, files: dict[str, Path], renamed: int) -> Sequence[str]:
    notes = []
    if "test" in files and files["test"].stem.lower() == "valid":
        notes.append(_VALID)
    if renamed:
        notes.append(f"{renamed} image(s) have another suffix than their entry says.")
    what = _about(root).get("what")
    if isinstance(what, str):
        notes.append(f"What the data are: {what}.")
    return notes


def _about(root: Path) -> dict:
    try:
        found = read_json(root / ABOUT)
    except (OSError, BadDocument):
        return {}
    return found if isinstance(found, dict) else {}


def _format(root: Path) -> str:
    return "synthetic" if _synthetic(root) else "lists"


def _synthetic(path: Path) -> bool:
    return path.is_dir() and "synthetic" in str(_about(path).get("what", ""))


def _recognises(path: Path) -> bool:
    if path.is_file() and path.suffix.lower() != ".json":
        return False
    file = next(iter(list_files(path).values()), None)
    if file is None:
        return False
    with file.open("rb") as stream:
        start = stream.read(_LOOKED_AT)
    return start.lstrip().startswith(b"[") and b'"filename"' in start


READERS = (
    Reader(
        "synthetic",
        "synthetic scenes, as `lines simulate` writes them: lists, images/ and about.json",
        lambda path: _synthetic(path) and _recognises(path),
        _read,
    ),
    Reader(
        "lists",
        "wireframes as JSON lists (L-CNN's raw style or HAWP's): train.json, valid.json, test.json "
        "with images/, or one of them",
        _recognises,
        _read,
    ),
)
