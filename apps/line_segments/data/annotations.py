"""A sample's true segments: read by the kind of its annotation, checked against its image, cleaned.

An annotation file is opened when its sample is asked for; lists of many images stay in memory.
Segments of no length, or wholly outside the image, are dropped, and those that leave it by more
than two pixels are cut at its border: published annotations leave theirs by about one.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from apps.line_segments.geometry import clipped, lengths, scaled
from core.checkpoints.reading import damage_explained
from core.data.images import read_size
from core.data.index import Index, Sample
from core.documents import BadDocument, read_json
from core.errors import UserError
from core.files import refuse_special

KIND, ROW = "annotation", "row"  # in `Sample.extra`
OUTSIDE = 2.0  # pixels that a segment may leave its image by
_SAME_SHAPE = 0.01  # by which the two factors of a scaled annotation may differ
_DAMAGED = "Download the data set from its publisher again."
# Kind → where the function is that reads it: of the file alone, or of the file and a row in it.
_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "pointlines": "wireframe:read_pointlines",
        "linemat": "wireframe:read_linemat",
        "list": "lists:read_entry",
        "lcnn": "lcnn:read_label",
        "york": "york:read_york",
        "markup": "markup:read_markup",
        "labelme": "labelme:read_labelme",
    }
)


@dataclass(frozen=True)
class Annotation:
    """What a file says of one image.

    Attributes:
        segments: float (N, 4), x1, y1, x2, y2.
        size: (height, width) of the picture they were drawn on, or None where it is not said.
    """

    segments: np.ndarray
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Truth:
    """The true segments of an image.

    Attributes:
        segments: float32 (N, 4), x1, y1, x2, y2 in pixels of the image.
        size: (height, width) of the image.
        dropped: Segments that were left out: of no length, or outside.
        cut: Segments that were cut at the border.
        scaled: Whether the annotation belongs to the image at another size.
    """

    segments: np.ndarray
    size: tuple[int, int]
    dropped: int = 0
    cut: int = 0
    scaled: bool = False


def read_truth(sample: Sample) -> Truth:
    """Return the true segments of a sample; of its image only the header is read.

    Raises:
        UserError: When the annotation is missing, damaged, or of a picture of another shape.
    """
    path = sample.targets[0]
    module, _, name = _KINDS[sample.extra[KIND]].partition(":")
    read = getattr(importlib.import_module(f"{__package__}.{module}"), name)
    row = (sample.extra[ROW],) if ROW in sample.extra else ()
    annotation = read(path, *row)
    size = read_size(sample.inputs[0])
    where = f"{path}, '{sample.inputs[0].name}'" if row else str(path)
    return cleaned(annotation, size, where=where, image=sample.inputs[0])


def cleaned(annotation: Annotation, size: tuple[int, int], *, where: str, image: Path) -> Truth:
    """Return an annotation's segments as they lie in its image, what is no segment left out.

    Args:
        annotation: As the file has it.
        size: (height, width) of the image.
        where: The file, for errors.
        image: The image, for errors.

    Raises:
        UserError: When it is of a picture of another shape, or holds NaN or infinity.
    """
    segments = np.asarray(annotation.segments, np.float64).reshape(-1, 4)
    bad = np.flatnonzero(~np.isfinite(segments).all(1))
    if bad.size:
        raise UserError(
            f"{where}: segment {bad[0] + 1} holds NaN or infinity; take it out or annotate it anew."
        )
    said = annotation.size
    changed = said is not None and said != tuple(size)
    if said is not None and changed:
        rows, columns = size[0] / said[0], size[1] / said[1]
        if abs(rows / columns - 1) > _SAME_SHAPE:
            raise UserError(
                f"{where}: is of a picture of {said[1]}x{said[0]} pixels, but {image} has "
                f"{size[1]}x{size[0]}; put the picture there that was annotated."
            )
        segments = scaled(segments, said, size)
    height, width = size
    long = segments[lengths(segments) > 0]
    inside, which = clipped(long, (0, 0, width, height))
    most = np.array([width, height] * 2) + OUTSIDE
    cut = np.any((long < -OUTSIDE) | (long > most), axis=1)[which]
    kept = np.where(cut[:, None], inside, long[which])
    return Truth(
        kept.astype(np.float32), (height, width), len(segments) - len(kept), int(cut.sum()), changed
    )


def notes_on(index: Index) -> list[str]:
    """Return what was left out of the annotations, in sentences; every annotation is read."""
    dropped = cut = resized = 0
    touched = set()
    for sample in index.samples:
        if not sample.targets:
            continue
        truth = read_truth(sample)
        dropped, cut = dropped + truth.dropped, cut + truth.cut
        resized += truth.scaled
        if truth.dropped or truth.cut:
            touched.add(sample.id)
    notes = []
    if dropped:
        notes.append(f"{dropped} segment(s) of no length or outside their image are left out.")
    if cut:
        notes.append(f"{cut} segment(s) leave their image by more than {OUTSIDE:g} pixels and are "
                     "cut at its border.")  # fmt: skip
    if touched:
        notes.append(f"Images with such segments: {len(touched)}, first '{min(touched)}'.")
    if resized:
        notes.append(f"{resized} annotation(s) are of their picture at another size and scaled.")
    return notes


@contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """Turn what is wrong with an annotation file into one sentence."""
    if not os.path.exists(path):
        raise UserError(f"{path}: no such annotation file; put it there or take its image out.")
    refuse_special(path)
    with damage_explained(path, _DAMAGED):
        yield


def document(path: Path, expected: str) -> Any:
    """Return the value of a JSON file.

    Args:
        path: The file.
        expected: What it should hold: "a list of images".

    Raises:
        UserError: When it is missing, or no JSON.
    """
    with damage_told(path):
        try:
            return read_json(path)
        except BadDocument as error:
            raise UserError(f"{path}: is no JSON ({error}); expected {expected}.") from error


def numbers(path: Path, value: Any, columns: int, what: str) -> np.ndarray:
    """Return numbers of a file as float64 (N, columns).

    Raises:
        UserError: When they are none, or of another shape.
    """
    try:
        found = np.asarray(value, np.float64)
        if not found.size:
            return np.zeros((0, columns))
        return found.reshape(len(found), columns)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(
            f"{path}: its {what} are not rows of {columns} numbers; correct or replace it."
        ) from error


def whole_size(path: Path, height: Any, width: Any) -> tuple[int, int]:
    """Return a size that a file tells, as (height, width).

    Raises:
        UserError: When it is none.
    """
    sides = (height, width)
    if not all(isinstance(s, int | float) and 0 < s < 2**31 and s == int(s) for s in sides):
        raise UserError(f"{path}: tells a size of {width!r} x {height!r} pixels; correct it.")
    return int(height), int(width)


def missing_images(path: Path, names: Iterable[str], total: int, folder: Path) -> None:
    """Raise a `UserError` that names the first image that is missing, if one is."""
    missing = list(names)
    if missing:
        raise UserError(
            f"{path}: {len(missing)} of its {total} images are missing, first '{missing[0]}' "
            f"(looked in {folder}); put them there or take their entries out."
        )
