"""Segments that other programs found, read in their formats to be compared on the same images.

| program | what it leaves |
|---|---|
| LSDNet | `<image>.txt`, a line a segment: x1 y1 x2 y2 score, in pixels |
| HAWP, and this suite | a JSON list of {filename, width, height, lines_pred, lines_score} |
| L-CNN | `<image>.npz` or by number: lines (N, 2, 2) as (y, x) on a grid of 128, score |
| LabelMe | `<image>.json` with shapes of the type line; their `score`, or 1 |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from apps.line_segments.data.annotations import damage_told, document, numbers, whole_size
from apps.line_segments.data.labelme import read_shapes
from apps.line_segments.data.lcnn import GRID
from apps.line_segments.detections import Detections
from apps.line_segments.geometry import scaled
from core.checkpoints.archives import read_archive
from core.data.folders import find_files
from core.data.images import read_size
from core.data.index import Sample
from core.errors import UserError, not_found

_EXPECTED = "a list of {filename, width, height, lines_pred, lines_score}"


@dataclass(frozen=True)
class _Found:
    """Segments of one image before their image is known.

    Attributes:
        segments: float (N, 4).
        scores: float (N,).
        size: (height, width) they refer to; None for the image's own.
    """

    segments: np.ndarray
    scores: np.ndarray
    size: tuple[int, int] | None = None


def read_predictions(
    path: Path, samples: Sequence[Sample]
) -> tuple[list[tuple[Sample, Detections]], list[str]]:
    """Return what a program found in each sample's image, and notes on what was left over.

    Files and entries belong to the image of the same name, whatever the suffix. Where none has an
    image's name and all are numbers, as L-CNN's, they follow the images in the order of their
    names.

    Args:
        path: A folder of files, or one file.
        samples: The images; all of them must have an entry.

    Raises:
        UserError: When something is missing, damaged, or holds NaN or infinity.
    """
    path = Path(path)
    if not path.exists():
        raise not_found(path)
    found = _read(path)
    names = {sample.id: _stem(sample.inputs[0].name) for sample in samples}
    if not set(names.values()) & set(found) and all(name.isdecimal() for name in found):
        ordered = sorted(samples, key=lambda sample: sample.inputs[0].name)
        names = {
            sample.id: name for sample, name in zip(ordered, sorted(found, key=int), strict=False)
        }
    missing = [sample for sample in samples if names.get(sample.id) not in found]
    if missing:
        raise UserError(
            f"{path}: has no predictions for {len(missing)} of {len(samples)} images, first "
            f"'{missing[0].inputs[0].name}'; run that program on all of them."
        )
    results = [(sample, _fitted(path, sample, found[names[sample.id]])) for sample in samples]
    more = len(found) - len({names[sample.id] for sample in samples})
    return results, [f"{more} image(s) of {path} are not among the samples."] if more else []


def _fitted(path: Path, sample: Sample, found: _Found) -> Detections:
    size = read_size(sample.inputs[0])
    where = path / sample.inputs[0].name if path.is_dir() else path
    scores = np.asarray(found.scores, np.float64).ravel()
    if len(scores) != len(found.segments):
        raise UserError(
            f"{where}: has {len(found.segments)} segments and {len(scores)} scores for "
            f"'{sample.inputs[0].name}'; write it again."
        )
    bad = np.flatnonzero(~np.isfinite(found.segments).all(1) | ~np.isfinite(scores))
    if bad.size:
        raise UserError(
            f"{where}: {bad.size} prediction(s) for '{sample.inputs[0].name}' hold NaN or "
            f"infinity, first number {bad[0] + 1}; mend the program that wrote them."
        )
    segments = found.segments if found.size is None else scaled(found.segments, found.size, size)
    return Detections(segments, scores, size)


def _read(path: Path) -> dict[str, _Found]:
    """Return what the files hold by the image's name without suffix."""
    suffixes = tuple(_READERS)
    files = [path] if path.is_file() else find_files(path, "prediction", suffixes, recursive=True)
    found: dict[str, _Found] = {}
    for file in files:
        reader = _READERS.get(file.suffix.lower())
        if reader is None:
            raise UserError(
                f"{file}: is no predictions file; expected one of {', '.join(suffixes)}."
            )
        for name, one in reader(file).items():
            if name in found:
                raise UserError(
                    f"{file}: a second entry for image '{name}'; keep one program's files."
                )
            found[name] = one
    return found


def _read_text(path: Path) -> dict[str, _Found]:
    rows = []
    with damage_told(path):
        lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        words = line.replace(",", " ").split()
        if not words:
            continue
        try:
            row = [float(word) for word in words]
        except ValueError:
            row = []
        if len(row) != 5:
            raise UserError(
                f"{path}, line {number + 1}: expected five numbers, x1 y1 x2 y2 score; write it "
                "again."
            )
        rows.append(row)
    table = np.array(rows, np.float64).reshape(-1, 5)
    return {_stem(path.name): _Found(table[:, :4], table[:, 4])}


def _read_json(path: Path) -> dict[str, _Found]:
    content = document(path, _EXPECTED)
    if isinstance(content, dict) and "shapes" in content:
        annotation, shapes = read_shapes(path)
        scores = numbers(path, [[one.get("score", 1.0)] for one in shapes], 1, "scores")[:, 0]
        return {_stem(path.name): _Found(annotation.segments, scores, annotation.size)}
    if not isinstance(content, list):
        raise UserError(f"{path}: holds no predictions; expected {_EXPECTED}.")
    found = {}
    for number, one in enumerate(content):
        name = _entry_name(path, number, one)
        found[name] = _Found(
            numbers(path, one["lines_pred"], 4, f"lines_pred of entry {number}"),
            numbers(path, [[s] for s in one["lines_score"]], 1, f"lines_score of entry {number}"),
            whole_size(path, one.get("height"), one.get("width")),
        )
    return found


def _entry_name(path: Path, number: int, entry: Any) -> str:
    whole = isinstance(entry, dict) and all(
        isinstance(entry.get(key), kind)
        for key, kind in (("filename", str), ("lines_pred", list), ("lines_score", list))
    )
    if not whole:
        raise UserError(f"{path}: entry {number} holds no predictions; expected {_EXPECTED}.")
    return _stem(entry["filename"])


def _read_npz(path: Path) -> dict[str, _Found]:
    with damage_told(path):
        arrays = read_archive(path)
    lines, scores = arrays.get("lines"), arrays.get("score")
    if lines is None or scores is None or lines.ndim < 3 or lines.shape[-2:] != (2, 2):
        raise UserError(f"{path}: holds no 'lines' (N, 2, 2) and 'score'; write it again.")
    ends = lines.reshape(-1, 2, 2)[..., ::-1].reshape(-1, 4).astype(np.float64)
    scores = scores.reshape(-1)
    repeats = np.flatnonzero((ends[1:] == ends[:1]).all(1))  # the tail repeats the first segment
    if repeats.size and len(scores) == len(ends):
        ends, scores = ends[: repeats[0] + 1], scores[: repeats[0] + 1]
    return {_stem(path.name): _Found(ends, scores, (GRID, GRID))}


def _stem(name: str) -> str:
    """Return an image's name without its suffix, also of "35.jpg.txt"."""
    stem = Path(name)
    while stem.suffix.lower() in (".txt", ".json", ".npz", ".jpg", ".jpeg", ".png"):
        stem = stem.with_suffix("")
    return stem.name


_READERS: dict[str, Callable[[Path], dict[str, _Found]]] = {
    ".txt": _read_text,
    ".json": _read_json,
    ".npz": _read_npz,
}
