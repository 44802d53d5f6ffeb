"""Segments drawn with LabelMe: a JSON file of the same name beside each image.

Shapes of the type "line" are taken, others are not. Folders called train, val and test are splits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from apps.line_segments.data.annotations import KIND, Annotation, document, numbers, whole_size
from core.data.folders import find_files, first_names, split_folders
from core.data.images import SUFFIXES, find_images
from core.data.index import Index, Sample, make_index
from core.data.readers import Reader
from core.errors import UserError

_EXPECTED = "what LabelMe writes: an object with 'shapes'"
_LOOKED_AT = 64  # files of a folder


def read_labelme(path: Path) -> Annotation:
    """Return the lines of a file.

    Raises:
        UserError: When it is damaged, or not LabelMe's.
    """
    return read_shapes(path)[0]


def read_shapes(path: Path) -> tuple[Annotation, list[dict[str, Any]]]:
    """Return the lines of a file, and their shapes as the file has them."""
    found = document(path, _EXPECTED)
    shapes = found.get("shapes") if isinstance(found, dict) else None
    if not isinstance(shapes, list) or not all(isinstance(one, dict) for one in shapes):
        raise UserError(f"{path}: is not LabelMe's; expected {_EXPECTED}.")
    lines = [one for one in shapes if one.get("shape_type") == "line"]
    rows = []
    for one in lines:
        ends = numbers(path, one.get("points", []), 2, "points")
        if len(ends) != 2:
            raise UserError(f"{path}: a line has {len(ends)} points instead of two; correct it.")
        rows.append(ends.reshape(4))
    size = None
    if found.get("imageWidth") is not None and found.get("imageHeight") is not None:
        size = whole_size(path, found["imageHeight"], found["imageWidth"])
    return Annotation(np.array(rows, np.float64).reshape(-1, 4), size), lines


def _read(path: Path) -> Index:
    splits = split_folders(path) or {"": path}
    samples, bare = [], 0
    for split, folder in splits.items():
        images = {
            file.relative_to(folder).with_suffix(""): file for file in find_images(folder, True)
        }
        for file in find_files(folder, "annotation", (".json",), recursive=True):
            image = images.pop(file.relative_to(folder).with_suffix(""), None)
            if image is None:
                raise UserError(
                    f"{file}: its image is missing; put '{file.stem}.jpg' beside it or take the "
                    "file out."
                )
            name = image.relative_to(path).as_posix()
            samples.append(Sample(name, (image,), (file,), split=split, extra={KIND: "labelme"}))
        bare += len(images)
    notes = [f"{bare} image(s) without a JSON file are left out."] if bare else []
    return make_index("labelme", path, samples, notes=notes)


def _recognises(path: Path) -> bool:
    around = [path, *split_folders(path).values()] if path.is_dir() else []
    for folder in around:
        for name in first_names(folder, (".json",), _LOOKED_AT):
            file = folder / name
            if any(file.with_suffix(suffix).is_file() for suffix in SUFFIXES):
                return True
    return False


READERS = (
    Reader(
        "labelme",
        "your own images with LabelMe's JSON files beside them, shapes of the type line",
        _recognises,
        _read,
    ),
)
