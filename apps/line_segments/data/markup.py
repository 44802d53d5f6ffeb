"""The re-annotated images of LSDNet's repository: `images/` and `markup/<image>.json`.

`{"size": [width, height], "objects": [{"type": "seg", "data": [[x1, y1], [x2, y2]]}, …]}`. They are
denser and more consistent than the original annotations of the same images.
"""

from __future__ import annotations

from pathlib import Path

from apps.line_segments.data.annotations import (
    KIND,
    Annotation,
    document,
    missing_images,
    numbers,
    whole_size,
)
from core.data.folders import find_files, first_names, subfolder
from core.data.images import find_images
from core.data.index import Index, Sample, make_index
from core.data.readers import Reader
from core.errors import UserError

_EXPECTED = '{"size": [width, height], "objects": [{"type": "seg", "data": [[x, y], [x, y]]}, …]}'


def read_markup(path: Path) -> Annotation:
    """Return the segments of a file.

    Raises:
        UserError: When it is damaged or holds something else.
    """
    found = document(path, _EXPECTED)
    objects = found.get("objects") if isinstance(found, dict) else None
    if not isinstance(objects, list) or not all(isinstance(one, dict) for one in objects):
        raise UserError(f"{path}: holds no markup; expected {_EXPECTED}.")
    ends = [one.get("data") for one in objects if one.get("type") == "seg"]
    rows = [numbers(path, pair, 2, "segments") for pair in ends]
    if any(len(row) != 2 for row in rows):
        raise UserError(f"{path}: a segment has not two ends; correct it.")
    size = found.get("size")
    if not isinstance(size, list) or len(size) != 2:
        raise UserError(f"{path}: tells no size; expected {_EXPECTED}.")
    flat = [row.reshape(4) for row in rows]
    return Annotation(numbers(path, flat, 4, "segments"), whole_size(path, size[1], size[0]))


def _read(path: Path) -> Index:
    images, markup = subfolder(path, "images"), subfolder(path, "markup")
    if images is None or markup is None:
        raise UserError(f"{path}: lacks images/ or markup/; check the path.")
    found = {file.name: file for file in find_images(images)}
    files = find_files(markup, "markup", (".json",))
    missing = [file.stem for file in files if file.stem not in found]
    missing_images(markup, missing, len(files), images)
    samples = [
        Sample(file.stem, (found[file.stem],), (file,), split="test", extra={KIND: "markup"})
        for file in files
    ]
    bare = len(found) - len(samples)
    notes = [f"{bare} image(s) without markup are left out."] if bare else []
    return make_index("reannotated", path, samples, notes=notes)


def _recognises(path: Path) -> bool:
    markup = subfolder(path, "markup")
    named = markup is not None and next(first_names(markup, (".json",), 1), None)
    return bool(named) and subfolder(path, "images") is not None


READERS = (
    Reader(
        "reannotated",
        "LSDNet's re-annotated Wireframe images: images/ and markup/NAME.jpg.json",
        _recognises,
        _read,
        "BSD-3-Clause (iitpvisionlab/LSDNet); the images are Wireframe's",
    ),
)
