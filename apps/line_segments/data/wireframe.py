"""The Wireframe (ShanghaiTech) data set as published: images, pickles of Python 2, MATLAB files.

K. Huang, Y. Wang, Z. Zhou, T. Ding, S. Gao, Y. Ma, "Learning to parse wireframes in images of
man-made environments", CVPR 2018. 5,000 images to train with and 462 to test. The pickles are read
without running anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from apps.line_segments.data.annotations import (
    KIND,
    Annotation,
    damage_told,
    missing_images,
    numbers,
)
from core.checkpoints.pickled_values import Leaf
from core.checkpoints.pickles import Interpreter
from core.data.folders import find_files, split_folders, subfolder
from core.data.images import find_images
from core.data.index import Index, Sample, make_index
from core.data.matlab5 import read_matlab5
from core.data.readers import Reader
from core.errors import UserError

LICENCE = "MIT, as its repository says of code and data (huangkuns/wireframe)"
_POINTLINES, _LINEMAT = ("pointlines",), ("line_mat", "linemat")


def read_pointlines(path: Path) -> Annotation:
    """Return the segments of a pickle of `pointlines.zip`.

    Raises:
        UserError: When it is damaged, asks to run something, or holds something else.
    """
    with damage_told(path), path.open("rb") as stream:
        found = Interpreter(stream).run()
    if not isinstance(found, dict) or not {"points", "lines"} <= set(found):
        raise UserError(
            f"{path}: holds no wireframe; expected a dictionary with 'points' and 'lines', as in "
            "pointlines.zip."
        )
    points = numbers(path, _plain(found["points"]), 2, "points")
    pairs = numbers(path, _plain(found["lines"]), 2, "lines")
    picture = found.get("img")
    size = None
    if isinstance(picture, Leaf) and picture.nbytes is not None:
        height, width = picture.array().shape[:2]
        size = (height, width)
    return Annotation(joined(path, points, pairs), size)


def joined(path: Path, points: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return segments (N, 4) between points (M, 2) by their positions, (N, 2) from 0.

    Raises:
        UserError: When a position is none of a point.
    """
    places = np.nan_to_num(pairs, nan=-1).astype(np.int64)
    wrong = (places != pairs) | (places < 0) | (places >= len(points))
    if wrong.any():
        line = int(np.flatnonzero(wrong.any(1))[0])
        raise UserError(
            f"{path}: line {line + 1} joins {pairs[line].tolist()}, but there are {len(points)} "
            "points, numbered from 0; download it again."
        )
    return points[places].reshape(-1, 4)


def read_linemat(path: Path) -> Annotation:
    """Return the segments of a MATLAB file of `linemat.zip`: `lines`, (N, 4).

    Raises:
        UserError: When it is damaged or holds something else.
    """
    return Annotation(matlab_rows(path, "lines", 4))


def matlab_rows(path: Path, name: str, columns: int) -> np.ndarray:
    """Return an array of a MATLAB file as float64 (N, columns)."""
    with damage_told(path):
        found = read_matlab5(path).get(name)
    if not isinstance(found, np.ndarray) or len(found) % columns:
        raise UserError(f"{path}: holds no array '{name}' of {columns} columns; download it again.")
    return found.reshape(columns, -1).T  # MATLAB stores column after column


def _plain(value: Any) -> Any:
    """Return pickled points or pairs as nested lists of numbers."""
    if isinstance(value, Leaf):
        return value.array().tolist()
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def _places(path: Path, names: Sequence[str]) -> tuple[dict[str, Path], Path] | None:
    """Return the image folders by split and the folder of annotations, wherever both lie."""
    around = [path, *filter(None, [subfolder(path, "v1.1")])]
    images = next((found for one in around if "test" in (found := split_folders(one))), None)
    truths = next((folder for one in around if (folder := subfolder(one, *names))), None)
    return (images, truths) if images and truths else None


def _annotated(folder: Path, names: Sequence[str], suffix: str) -> dict[str, Path]:
    found = find_files(folder, "annotation", (suffix,))
    return {file.name.removesuffix(suffix): file for file in found}


def _read(path: Path, kind: str) -> Index:
    names, suffix = (_POINTLINES, ".pkl") if kind == "pointlines" else (_LINEMAT, "_line.mat")
    places = _places(path, names)
    if places is None:
        raise UserError(
            f"{path}: is not the Wireframe data set; expected v1.1/train/, v1.1/test/ and "
            f"{names[0]}/ in it."
        )
    images, truths = places
    annotated = _annotated(truths, names, suffix)
    samples, without, used = [], 0, set()
    for split, folder in images.items():
        for file in find_images(folder):
            truth = annotated.get(file.stem)
            if truth is None:
                without += 1
                continue
            used.add(file.stem)
            samples.append(
                Sample(f"{split}/{file.name}", (file,), (truth,), split=split, extra={KIND: kind})
            )
    notes = []
    if {"train", "test"} <= set(images):  # else a part of the data set was downloaded
        missing_images(truths, (n for n in annotated if n not in used), len(annotated), path)
    if without:
        notes.append(f"{without} image(s) without a file in {truths.name}/ are left out.")
    name = "wireframe" if kind == "pointlines" else "wireframe-linemat"
    return make_index(name, path, samples, notes=notes)


READERS = (
    Reader(
        "wireframe",
        "Wireframe as published: v1.1/train/, v1.1/test/ and pointlines/",
        lambda path: _places(path, _POINTLINES) is not None,
        partial(_read, kind="pointlines"),
        LICENCE,
    ),
    Reader(
        "wireframe-linemat",
        "Wireframe's test images with line_mat/, the files of the published heat-map metric",
        lambda path: _places(path, _LINEMAT) is not None,
        partial(_read, kind="linemat"),
        LICENCE,
    ),
)
