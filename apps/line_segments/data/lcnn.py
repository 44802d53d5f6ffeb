"""Wireframes as L-CNN's program prepares them: squares of 512 pixels with `_label.npz` beside them.

`<name>_<k>.png`, where k says how the picture is mirrored: 0 not, 1 left-right, 2 up-down, 3 both.
`lpos` in the labels holds the segments' ends as (y, x, type) on a grid of 128x128.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from apps.line_segments.data.annotations import KIND, Annotation, damage_told
from core.checkpoints.archives import read_archive
from core.data.folders import find_files, first_names, split_folders
from core.data.images import find_images
from core.data.index import Index, Sample, make_index
from core.data.readers import Reader
from core.errors import UserError

GRID = 128
_ENDING = "_label.npz"


def read_label(path: Path) -> Annotation:
    """Return the segments of a label file, on its grid of 128x128.

    Raises:
        UserError: When it is damaged or holds something else.
    """
    with damage_told(path):
        found = read_archive(path).get("lpos")
    if found is None or found.ndim != 3 or found.shape[1] != 2 or found.shape[2] < 2:
        raise UserError(f"{path}: holds no segments 'lpos' (N, 2, 3); prepare the data again.")
    return Annotation(found[:, :, [1, 0]].reshape(-1, 4).astype(np.float32), (GRID, GRID))


def _read(path: Path) -> Index:
    splits = split_folders(path) or {"": path}
    if "val" in splits and "test" not in splits:
        splits["test"] = splits.pop("val")
    samples, copies = [], 0
    for split, folder in splits.items():
        images = {file.stem: file for file in find_images(folder)}
        for label in find_files(folder, "label", (_ENDING,)):
            name = label.name.removesuffix(_ENDING)
            image = images.get(name)
            if image is None:
                raise UserError(
                    f"{label}: its image '{name}.png' is missing; put it there or take the label "
                    "out."
                )
            group, _, mirrored = name.rpartition("_")
            copies += mirrored in ("1", "2", "3")
            called = f"{split}/{image.name}" if split else image.name
            extra = {KIND: "lcnn"}
            samples.append(
                Sample(called, (image,), (label,), group=group or name, split=split, extra=extra)
            )
    notes = []
    if copies:
        notes.append(f"{copies} image(s) are mirrored copies of others; augmentation mirrors too.")
    if "test" in splits and "valid" in splits["test"].name.lower():
        notes.append("valid/ is taken as the test set: it holds the 462 published test images.")
    return make_index("lcnn", path, samples, notes=notes)


def _recognises(path: Path) -> bool:
    if not path.is_dir():
        return False
    around = [path, *split_folders(path).values()]
    return any(next(first_names(one, (_ENDING,), 1), None) for one in around)


READERS = (
    Reader(
        "lcnn",
        "Wireframe as L-CNN prepares it: train/ and valid/ with NAME_K.png and NAME_K_label.npz",
        _recognises,
        _read,
    ),
)
