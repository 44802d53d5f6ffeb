"""Volumes with labels: LiTS, the layout of nnU-Net, and any folder of NIfTI files or DICOM series.

NIfTI files are paired by name and not opened; of DICOM slices the headers are, as their names do
not say where they belong.
"""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apps.medical_segmentation.data import folder, layout
from apps.medical_segmentation.volumes import finding, nifti
from core.data.folders import find_files, first_names, folders, subfolder
from core.data.index import Index, Sample, make_index
from core.data.readers import Reader
from core.documents import read_json
from core.errors import UserError

SAMPLE_VOLUMES: Path = Path(__file__).resolve().parent.parent / "sample_volumes"
SAMPLE_LABELS = ("background", "grey matter", "white matter")

_LITS = re.compile(r"(volume|segmentation|test-volume)-(\d+)\.nii(\.gz)?", re.I)
_CHANNEL = re.compile(r"_(\d{4})$")  # of nnU-Net: case_0000.nii.gz
_NAMED = 3  # files in a note
_NAMES_SEEN = 20  # of a folder, to recognise it by


def _index(format: str, root: Path, samples: list[Sample], labels, notes: list[str]) -> Index:
    """Return an index that says which volumes do not say where they lie."""
    unplaced = []
    for sample in samples:
        with contextlib.suppress(UserError):  # said by the check of the data
            if finding.is_nifti(sample.inputs[0]):
                known = nifti.read_geometry(sample.inputs[0]).known
                unplaced += [] if known else [sample.inputs[0].name]
    if unplaced:
        more = ", …" if len(unplaced) > _NAMED else ""
        notes = [
            *notes,
            f"{len(unplaced)} volume(s) do not say where they lie ({', '.join(unplaced[:_NAMED])}"
            f"{more}): slices, rows and columns are taken as stored, their spacing as told.",
        ]
    return make_index(format, root, samples, labels=labels, notes=notes)


# --- LiTS ---------------------------------------------------------------------------------------


def _is_lits(path: Path) -> bool:
    return path.is_dir() and any(
        (found := _LITS.fullmatch(name)) and found[1].lower() == "volume"
        for place in (path, *folders(path))
        for name in first_names(place, nifti.SUFFIXES, 10 * _NAMES_SEEN)
    )


def read_lits(path: Path) -> Index:
    """Return the index of LiTS: `volume-N.nii` with `segmentation-N.nii`, in any folders inside."""
    expected = "files 'volume-0.nii' and 'segmentation-0.nii'"
    root = layout.located(path, _is_lits, expected)
    parts: dict[str, dict[int, Path]] = defaultdict(dict)
    for file in find_files(root, "volume", nifti.SUFFIXES, recursive=True):
        found = _LITS.fullmatch(file.name)
        if not found:
            continue
        same = parts[found[1].lower()]
        other = same.setdefault(int(found[2]), file)
        if other != file:
            raise UserError(
                f"{root}: '{other.relative_to(root)}' and '{file.relative_to(root)}' are the same "
                "case; remove one."
            )
    volumes, truths = parts["volume"], parts["segmentation"]
    layout.refuse_unpaired(
        [file for case, file in volumes.items() if case not in truths],
        [file for case, file in truths.items() if case not in volumes],
    )
    samples = [
        Sample(f"volume-{case}", (file,), (truths[case],), group=str(case))
        for case, file in volumes.items()
    ]
    notes = []
    if parts["test-volume"]:
        notes.append(f"{len(parts['test-volume'])} test volumes have no labels and are left out.")
    return _index("lits", root, samples, ("background", "liver", "tumour"), notes)


# --- nnU-Net ------------------------------------------------------------------------------------


def _is_nnunet(path: Path) -> bool:
    parts = subfolder(path, "imagesTr") and subfolder(path, "labelsTr")
    return bool(parts) and (path / "dataset.json").is_file()


def read_nnunet(path: Path) -> Index:
    """Return the index of a raw nnU-Net data set, or of one of the Medical Segmentation Decathlon.

    `imagesTr` with `labelsTr`; `imagesTs` is the test split where `labelsTs` exists. The classes
    are those of `dataset.json`, version 1 or 2; one class beside the background is a single
    foreground.

    Raises:
        UserError: When pairs are incomplete, the images have several channels, or `dataset.json`
            has no classes 0, 1, 2, …
    """
    root = layout.located(path, _is_nnunet, "the folders 'imagesTr' and 'labelsTr', dataset.json")
    names = _classes(root / "dataset.json")
    testing = subfolder(root, "labelsTs") is not None and subfolder(root, "imagesTs") is not None
    samples = _nnunet_part(root, "Tr", "train" if testing else "")
    notes = []
    if testing:
        samples += _nnunet_part(root, "Ts", "test")
    elif subfolder(root, "imagesTs"):
        notes.append("The folder 'imagesTs' has no labels and is left out.")
    labels = names if len(names) > 2 else names[1:]
    return _index("nnunet", root, samples, labels, notes)


def _nnunet_part(root: Path, part: str, split: str) -> list[Sample]:
    images = layout.present(subfolder(root, f"images{part}"), root)
    truths = layout.present(subfolder(root, f"labels{part}"), root)
    by_name: dict[str, Path] = {}
    for name, file in _nifti_by_name(images).items():
        channel = _CHANNEL.search(name)
        if channel and int(channel[1]):
            raise UserError(
                f"{file}: is a second channel (modality) of a case; networks here take one, so "
                "keep the files of _0000."
            )
        by_name[_CHANNEL.sub("", name)] = file
    found = layout.masks_by_name(by_name, truths, _nifti_by_name(truths))
    prefix = f"{split}/" if split else ""
    return [
        Sample(f"{prefix}{name}", (file,), (found[name],), split=split)
        for name, file in by_name.items()
    ]


def _classes(path: Path) -> tuple[str, ...]:
    """Return the names of the classes in `dataset.json`, in the order of their values."""
    try:
        document = read_json(path)
    except ValueError as error:
        raise UserError(f"{path}: is not JSON ({error}); copy or download it again.") from error
    document = document if isinstance(document, Mapping) else {}
    channels = document.get("channel_names", document.get("modality"))
    if isinstance(channels, Mapping | list) and len(channels) > 1:
        raise UserError(
            f"{path}: the images have {len(channels)} channels (modalities); networks here take "
            "one, so keep one of them in a data set of its own."
        )
    labels = document.get("labels")
    values = _values(labels) if isinstance(labels, Mapping) else {}
    if len(values) < 2 or sorted(values) != list(range(len(values))):
        raise UserError(
            f"{path}: its 'labels' are not names for the values 0, 1, 2, … (regions and 'ignore' "
            "are not supported); store class indices and name them."
        )
    return tuple(values[n] for n in range(len(values)))


def _values(labels: Mapping[Any, Any]) -> dict[int, str]:
    """Return value → name of {"liver": 1} (version 2) or {"1": "liver"} (version 1)."""
    if "ignore" in labels:
        return {}
    if all(isinstance(value, int) for value in labels.values()):
        return {value: str(name) for name, value in labels.items()}
    keys = [str(key) for key in labels]
    if not all(key.isdecimal() for key in keys):
        return {}
    return {int(key): str(name) for key, name in zip(keys, labels.values(), strict=True)}


# --- folders ------------------------------------------------------------------------------------


def _is_volumes(path: Path) -> bool:
    try:
        pairs = folder.parts(path)
    except UserError:
        return False
    return any(_holds_volumes(images) for images, _ in pairs.values())


def _holds_volumes(images: Path) -> bool:
    """Return whether a look at a folder, or at its first folder, finds volumes."""
    for place in (images, *folders(images)[:1]):
        names = list(first_names(place, ("",), _NAMES_SEEN))
        if any(name.lower().endswith(finding.VOLUME_SUFFIXES) for name in names):
            return True
        if any(finding.may_be_slice(place / name) for name in names):
            return True
    return False


def read_volumes(path: Path, format: str = "volumes", labels: tuple[str, ...] = ()) -> Index:
    """Return the index of volumes and labels paired by base name, split by folders or not.

    An image is a NIfTI file, or a folder of the slices of a DICOM series; labels are NIfTI files.

    Args:
        path: The folder around `images` and `labels` (or `masks`, `segmentations`), which may lie
            in `train`, `val` and `test`.
        format: Name in the index.
        labels: Names of the classes, where they are known.
    """
    root = layout.located(
        path, _is_volumes, "a folder images/ of NIfTI files or DICOM series beside labels/"
    )
    samples: list[Sample] = []
    for split, (images, truths) in folder.parts(root).items():
        inputs = _volumes_by_name(images)
        shown = {
            name: files[0] if len(files) == 1 else images / name for name, files in inputs.items()
        }
        found = layout.masks_by_name(shown, truths, _nifti_by_name(truths))
        for name, files in inputs.items():
            prefix = f"{split}/" if split else ""
            extra = {} if finding.is_nifti(files[0]) else finding.SLICES
            samples.append(
                Sample(f"{prefix}{name}", files, (found[name],), split=split, extra=extra)
            )
    return _index(format, root, samples, labels, [])


def _volumes_by_name(images: Path) -> dict[str, tuple[Path, ...]]:
    """Return the files of every volume in a folder of images by its name."""
    stored, slices = finding.gathered(images)
    by_name = layout.by_stem(images, stored, finding.bare_name)
    found: dict[str, tuple[Path, ...]] = {name: (file,) for name, file in by_name.items()}
    for place, inside in slices.items():
        if place == images:
            raise UserError(
                f"{images}: holds DICOM slices side by side; put those of each volume into a "
                "folder of its own, named as its labels."
            )
        name = place.relative_to(images).as_posix()
        series = finding.series_samples(inside, name)
        if len(series) != 1 or name in found:
            raise UserError(
                f"{place}: holds {len(series)} DICOM series for the labels of one; keep one."
            )
        found[name] = series[0].inputs
    return found


def _nifti_by_name(place: Path) -> dict[str, Path]:
    files = find_files(place, "NIfTI", nifti.SUFFIXES, recursive=True)
    return layout.by_stem(place, files, finding.bare_name)


def _read_sample(path: Path) -> Index:
    """Read the built-in volumes; of `--data sample` they are what this format asks for."""
    named = path.resolve() == SAMPLE_VOLUMES.with_name("sample_data")
    return read_volumes(SAMPLE_VOLUMES if named else path, "sample-volumes", SAMPLE_LABELS)


SAMPLE = Reader(
    "sample-volumes",
    "the built-in volumes: six blocks of an averaged brain (MR), grey and white matter",
    lambda path: path.resolve() == SAMPLE_VOLUMES,
    _read_sample,
    "free with notice, McConnell Brain Imaging Centre (sample_volumes/LICENSE.txt)",
)

READERS = (
    SAMPLE,
    Reader(
        "lits",
        "LiTS: CT of the abdomen, 131 with liver and tumours",
        _is_lits,
        read_lits,
        "CC BY-NC-ND 4.0",
    ),
    Reader(
        "nnunet",
        "nnU-Net raw or Medical Segmentation Decathlon, one channel",
        lambda path: layout.locate(path, _is_nnunet) is not None,
        read_nnunet,
    ),
    Reader(
        "volumes",
        "any images/ of NIfTI or DICOM series beside labels/, also inside train/, val/ and test/",
        lambda path: layout.locate(path, _is_volumes) is not None,
        read_volumes,
    ),
)
