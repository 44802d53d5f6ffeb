"""Volumes in the task: what becomes of a sample that is no image but a case of many slices.

A network for images sees a volume slice by slice, at the sample's own spacing; one for volumes in
windows, at the card's. Both get grey levels of the card's window (see `intensity`), and results go
back to the grid of the file.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from apps.medical_segmentation.protocols import binary_prediction, class_prediction
from apps.medical_segmentation.volumes import intensity, nifti, resample
from apps.medical_segmentation.volumes.finding import is_nifti, may_be_slice
from apps.medical_segmentation.volumes.patches import (
    VolumeExample,
    slice_at,
    whole,
    window_at,
)
from apps.medical_segmentation.volumes.reading import (
    is_volume,
    read_geometry,
    read_labels,
    read_volume,
    volume_files,
    write_labels,
)
from apps.medical_segmentation.volumes.windows import blended, slice_wise
from core.data.folders import find_files
from core.data.images import SUFFIXES
from core.data.index import Index, Sample
from core.engines import Engine
from core.errors import UserError
from core.model_card import ModelCard, shown_size

COLUMNS, CELL, GAP = 3, 256, 4  # of the sheet of slices: columns and rows, pixels of a slice

OPTIONS = {"window": intensity.AUTO, "spacing": 0, "patches": 8}
LEAST = {"patches": 1}
WINDOWS = {"lits": "abdomen"}  # that "auto" is for data of a layout
_EVEN = 1.05  # sides that differ by no more are equal
_LOOKED_AT, _NAMED = 3, 6  # files of labels that notes read, values they name
WORKERS = 2  # of a check, as each holds a volume


def takes_volumes(card: ModelCard) -> bool:
    """Return whether a network is one for volumes."""
    return len(card.input_size) == 3


def holds_volumes(index: Index) -> bool:
    """Return whether the samples of an index are volumes."""
    return bool(index.samples) and is_volume(index.samples[0])


# --- choices --------------------------------------------------------------------------------------


def check_options(options: Mapping[str, Any]) -> None:
    """Raise a `UserError` for a window or spacing that cannot be."""
    intensity.check_window(options["window"], auto=True)
    resample.spacing_of(options["spacing"])


def settled_options(options: Mapping[str, Any], index: Index) -> dict[str, Any]:
    """Return the options with the window that "auto" stands for with this data.

    CT is known by the layout, or by the first volume that can be read: it reaches down to air. What
    is settled stays with the run, and holds for whatever the network is used on later.
    """
    options = {n: list(v) if isinstance(v, tuple) else v for n, v in options.items()}  # as files do
    if options["window"] != intensity.AUTO or not holds_volumes(index):
        return options
    if index.format in WINDOWS:
        return {**options, "window": WINDOWS[index.format]}
    for sample in sorted(index.samples, key=lambda sample: sample.split != "train"):
        with contextlib.suppress(UserError):  # whoever needs that volume says so
            return {**options, "window": intensity.chosen_for(read_volume(sample).values)}
    return options


def card_for(card: ModelCard, options: Mapping[str, Any], index: Index) -> ModelCard:
    """Return the card with what volumes are decoded by: window, and spacing of a 3-D network.

    Raises:
        UserError: When a network for volumes shall be trained on images.
    """
    if index.samples and not holds_volumes(index):
        refuse_images(card)
    window = options["window"]
    if window == intensity.AUTO:
        window = card.decode.get("window", intensity.PERCENTILES)
    decode = {**card.decode, "window": window}
    if takes_volumes(card):
        decode["spacing"] = options["spacing"]
    return card.replace(decode=decode)


def refuse_images(card: ModelCard) -> None:
    """Raise a `UserError` for a network that takes volumes."""
    if takes_volumes(card):
        raise UserError(
            f"{card.network} {card.variant} takes volumes, and these samples are images; choose a "
            "variant for images (gossamer medseg models)."
        )


def check_decoding(card: ModelCard) -> None:
    """Raise a `UserError` for a card whose window or spacing cannot be."""
    intensity.check_window(_window(card))
    resample.spacing_of(card.decode.get("spacing", 0))


# --- from files to the network --------------------------------------------------------------------


def split_inputs(inputs: Iterable[Path]) -> tuple[list[Path], list[Sample]]:
    """Return which files and folders a user names are to be read as images, and the volumes.

    A folder with volumes is one for images too where it holds any.
    """
    images, volumes = [], []
    for path in map(Path, inputs):
        files = [path]
        if path.is_dir():
            with contextlib.suppress(UserError):  # of an empty one; `Task.files` says so
                files = find_files(path, "file", ("",), recursive=True)
        holds_volume = any(is_nifti(file) or may_be_slice(file) for file in files)
        if holds_volume:
            volumes.append(path)
        if not holds_volume or any(file.suffix.lower() in SUFFIXES for file in files):
            images.append(path)
    return images, volume_files(volumes) if volumes else []


def load(sample: Sample, card: ModelCard, classes: int) -> VolumeExample:
    """Return a whole volume in grey levels with its labels, at the card's spacing if it has one."""
    values = grey_levels(sample, card)
    labels = None
    if sample.targets:
        labels = resample.resample_labels(read_labels(sample, classes), values.shape[:3])
    return whole(values, labels, tuple(card.input_size))


def grey_levels(sample: Sample, card: ModelCard) -> np.ndarray:
    """Return a volume as a network gets it: uint8 (D, H, W, 1)."""
    volume = read_volume(sample)
    grey = intensity.to_grey(volume.values, _window(card))
    if takes_volumes(card):
        wanted = resample.spacing_of(card.decode.get("spacing", 0))
        shape = resample.shape_at(grey.shape, volume.geometry.spacing, wanted)
        grey = resample.resample_grey(grey, shape)
    return grey[..., None]


def network_inputs(sample: Sample, card: ModelCard, limit: int) -> list[np.ndarray]:
    """Return float32 inputs of exactly the card's size, evenly from a volume.

    Of a network for images the middles of `limit` equal parts, of one for volumes windows side by
    side, from the middle where there is but one.
    """
    example = whole(grey_levels(sample, card), None, tuple(card.input_size))
    shape = example.inputs.shape[:3]
    if not takes_volumes(card):
        count = min(limit, shape[0])
        depths = ((np.arange(count) + 0.5) * (shape[0] / count)).astype(int)
        return [card.normalise(slice_at(example, depth).inputs) for depth in depths]
    along = []
    for length, side in zip(shape, card.input_size, strict=True):
        spare = length - max(1, length // side) * side
        along.append([spare // 2 + side * n for n in range(max(1, length // side))])
    places = list(itertools.product(*along))
    count = min(limit, len(places))
    chosen = ((np.arange(count) + 0.5) * (len(places) / count)).astype(int)
    return [card.normalise(window_at(example, places[place]).inputs) for place in chosen]


def infer(engine: Engine, values: np.ndarray) -> list[np.ndarray]:
    """Return the logits for a volume as `grey_levels` gives it, float32 (D, h, w, classes)."""
    run = blended if takes_volumes(engine.card) else slice_wise
    return [run(engine, values, engine.card)]


def decode(logits: np.ndarray, sample: Sample, card: ModelCard) -> np.ndarray:
    """Return the class index of every voxel of the file, uint8 (D, H, W), from `infer`'s logits."""
    if card.decode.get("protocol", "native") != "native":
        raise UserError(
            f"Sample '{sample.id}': is a volume, for which the protocol "
            f"'{card.decode['protocol']}' is not defined; choose 'native'."
        )
    depth, height, width = read_geometry(sample).shape
    mask = np.empty((depth, height, width), np.uint8)
    threshold = card.decode.get("threshold", 0.5)
    for plane, found in zip(mask, resample.planes(logits, depth), strict=True):
        if len(card.labels) > 1:
            plane[...] = class_prediction(found, (height, width))
        else:
            plane[...] = binary_prediction(found[..., 0], (height, width), threshold=threshold)
    return mask


def protocol_in_words(card: ModelCard) -> str:
    """Return how volumes are segmented and scored, to be printed with every table of scores."""
    several = len(card.labels) > 1
    window = _window(card)
    shown = window if isinstance(window, str) else f"{window[0]:g} to {window[1]:g}"
    size = shown_size(card.input_size)
    if takes_volumes(card):
        spacing = resample.spacing_of(card.decode.get("spacing", 0))
        where = "as stored" if spacing is None else f"at {' x '.join(f'{s:g}' for s in spacing)} mm"
        how = f"windows of {size} voxels {where}, 50 % overlap, Gaussian weights"
    else:
        how = f"slice-wise, axial slices resized to {size}"
    rule = "argmax" if several else f"threshold {card.decode.get('threshold', 0.5):g}"
    return (
        f"native, volumes: {how}; intensities {shown}; logits interpolated linearly to the file's "
        f"own voxels, {rule}, against the stored labels; mean of per-case scores; HD95 in "
        "millimetres of the file's spacing (100 where one of two masks is empty)"
    )


def write(sample: Sample, mask: np.ndarray, folder: Path) -> Path:
    """Write a mask (D, H, W) as NIfTI that lies on the sample's volume."""
    return write_labels(sample.file_in(folder, "_mask.nii.gz"), mask, read_geometry(sample))


# --- pictures and checks --------------------------------------------------------------------------


def sheet(
    sample: Sample, card: ModelCard, classes: int, mask: np.ndarray | None = None
) -> np.ndarray:
    """Return axial slices from the feet to the head, three in a row, uint8 (H, W, 3).

    Evenly spaced among those with foreground of the sample's own labels, or of `mask` where it has
    none, so that pictures of a sample show the same slices; where fewer hold any, among all.

    Args:
        sample: The volume.
        card: For the window.
        classes: Of the labels.
        mask: uint8 (D, H, W), drawn over the slices; None leaves them plain.
    """
    import cv2

    from core.drawing import grid, regions

    labels = read_labels(sample, classes) if sample.targets else mask
    volume = read_volume(sample)
    window = intensity.ends(_window(card), volume.values)
    _, height, width = np.multiply(volume.values.shape, volume.geometry.spacing)
    size = tuple(max(1, round(CELL * n / max(height, width))) for n in (width, height))
    cells = []
    for depth in _chosen(len(volume.values), labels):
        grey = intensity.to_grey(volume.values[depth : depth + 1], window)[0]
        picture = cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR)
        picture = np.repeat(picture[..., None], 3, axis=-1)
        if mask is not None:
            drawn = cv2.resize(mask[depth], size, interpolation=cv2.INTER_NEAREST)
            picture = regions(picture, drawn)
        cells.append(picture)
    return grid(cells, COLUMNS, GAP)


def _chosen(depth: int, labels: np.ndarray | None) -> Sequence[int]:
    """Return the numbers of the slices to show."""
    count = min(COLUMNS**2, depth)
    among = np.arange(depth)
    if labels is not None:
        filled = np.flatnonzero([plane.any() for plane in labels])
        among = filled if len(filled) >= count else among
    steps = ((np.arange(count) + 0.5) * (len(among) / count)).astype(int)
    return among[steps].tolist()


def data_notes(index: Index) -> list[str]:
    """Return how large voxels are, where they are no cubes of one size, and classes that merge."""
    return [*_spacing_notes(index), *_merging_notes(index)]


def _spacing_notes(index: Index) -> list[str]:
    spacings = []
    for sample in index.samples if holds_volumes(index) else ():
        with contextlib.suppress(UserError):  # which the check names
            spacings.append(read_geometry(sample).spacing)
    if not spacings or np.max(spacings) <= _EVEN * np.min(spacings):
        return []
    slices, rows, columns = (
        f"{low:.3g}" if high <= _EVEN * low else f"{low:.3g} to {high:.3g}"
        for low, high in zip(np.min(spacings, axis=0), np.max(spacings, axis=0), strict=True)
    )
    return [
        f"Voxels are no cubes of one size: slices are {slices} mm apart, rows {rows} and columns "
        f"{columns} mm; for networks for volumes --set options.spacing makes them one."
    ]


def _merging_notes(index: Index) -> list[str]:
    """Say that labels without names become one foreground, by the first that has several values."""
    if index.labels or not holds_volumes(index):
        return []
    paths = [path for sample in index.samples for path in sample.targets if is_nifti(path)]
    for path in paths[:_LOOKED_AT]:
        with contextlib.suppress(UserError):  # which the check names
            planes = [np.unique(plane) for _, plane in nifti.read_slices(path)]
            values = np.unique(np.concatenate(planes))
            if np.count_nonzero(values) > 1:
                held = ", ".join(f"{value:g}" for value in values[:_NAMED])
                return [
                    f"The labels have no names, and '{path.name}' holds {held}"
                    f"{', …' if len(values) > _NAMED else ''}: training takes all above 0 for one "
                    "foreground; --classes N takes them for the class indices 0 to N - 1."
                ]
    return []


def check(index: Index, classes: int) -> list[str]:
    """Read every volume of an index and its labels; return what is wrong, a sentence each.

    Found are files that cannot be read or make no volume, labels of another shape or place than
    their volume or of other classes, and volumes that are in two splits voxel by voxel.
    """
    from core.data.check import check_samples, digest

    def examine(sample: Sample) -> tuple[list[str], str]:
        if sample.targets:
            read_labels(sample, classes)
        return [], digest(read_volume(sample).values)

    return check_samples(index.samples, examine, workers=WORKERS)


def _window(card: ModelCard) -> intensity.Window:
    return card.decode.get("window", intensity.PERCENTILES)
