"""Which files are volumes: NIfTI by name, DICOM slices gathered into their series."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import MappingProxyType

from apps.medical_segmentation.volumes import dicom, nifti
from apps.medical_segmentation.volumes.series import in_order
from core.data.folders import find_files
from core.data.images import SUFFIXES as IMAGE_SUFFIXES
from core.data.index import Sample
from core.errors import UserError, not_found

VOLUME_SUFFIXES = (*nifti.SUFFIXES, dicom.SUFFIX)
SLICES = MappingProxyType({"volume": "dicom"})  # marks files whose names say nothing


def is_volume(sample: Sample) -> bool:
    """Return whether a sample is a volume, by its first file's name or what its reader noted."""
    return sample.inputs[0].name.lower().endswith(VOLUME_SUFFIXES) or "volume" in sample.extra


def is_nifti(path: Path) -> bool:
    """Return whether a file is named as NIfTI is."""
    return path.name.lower().endswith(nifti.SUFFIXES)


def bare_name(name: str) -> str:
    """Return a file's name without the suffix of a volume: "a/case.nii.gz" gives "a/case"."""
    lower = name.lower()
    longest = max((len(end) for end in VOLUME_SUFFIXES if lower.endswith(end)), default=0)
    return name[: len(name) - longest]


def volume_files(inputs: Iterable[str | os.PathLike]) -> list[Sample]:
    """Return a sample for each volume among the files and folders a user names.

    Folders are looked through. A NIfTI file is a volume; of DICOM files, whatever their names, each
    SeriesInstanceUID in a folder is one. Localizers and what is no grey image (reports, doses,
    segmentations, screenshots) are left out of a folder that holds other series.

    Returns:
        Samples with ids that name the file without its suffix, or the folder of a series (with the
        series' number where it holds several).

    Raises:
        UserError: When an input does not exist or is no volume, a folder holds none, slices make
            no volume, or two volumes have the same id.
    """
    samples: list[Sample] = []
    slices: dict[Path, list[Path]] = defaultdict(list)  # that are named themselves, by folder
    for path in map(Path, inputs):
        if not path.exists():
            raise not_found(path)
        if path.is_dir():
            samples += _in_folder(path)
        elif is_nifti(path):
            samples.append(Sample(bare_name(path.name), (path,)))
        elif may_be_slice(path):
            slices[path.parent].append(path)
        else:
            raise UserError(f"{path}: is neither NIfTI nor DICOM; pass volumes.")
    for folder, files in slices.items():
        name = bare_name(files[0].name) if len(files) == 1 else folder.absolute().name
        found = series_samples(files, name)
        if not found:
            raise UserError(dicom.read_content(files[0]).refused)
        samples += found
    twice = [name for name, n in Counter(sample.id for sample in samples).items() if n > 1]
    if twice:
        first, second, *_ = (sample for sample in samples if sample.id == twice[0])
        raise UserError(
            f"{second.inputs[0]}: a second input is called '{second.id}', as "
            f"{first.inputs[0]} is; predict them into different folders."
        )
    return samples


def series_samples(files: Sequence[Path], name: str) -> list[Sample]:
    """Return a sample for each series among DICOM files, its slices in order of position.

    Localizers are left out where there are other series, and always what is no grey image.

    Args:
        files: Of one folder.
        name: The id, if they are one series; else `name/series_NUMBER`.

    Raises:
        UserError: When a file cannot be read or the slices of a series make no volume.
    """
    contents = {path: dicom.read_content(path) for path in files}
    contents = {path: content for path, content in contents.items() if not content.refused}
    measured = {path: content for path, content in contents.items() if not content.localizer}
    groups: dict[str, list[Path]] = defaultdict(list)
    for path, content in (measured or contents).items():
        groups[content.series].append(path)
    numbers = {series: contents[paths[0]].number for series, paths in groups.items()}
    clear = all(numbers.values()) and len(set(numbers.values())) == len(numbers)
    samples = []
    for uid, paths in groups.items():
        part = f"/series_{numbers[uid] if clear else uid}" if len(groups) > 1 else ""
        samples.append(Sample(name + part, in_order(paths), extra=SLICES))
    return samples


def gathered(folder: Path) -> tuple[list[Path], dict[Path, list[Path]]]:
    """Return the NIfTI files in a folder and all inside, and the DICOM files by their folder."""
    stored: list[Path] = []
    slices: dict[Path, list[Path]] = defaultdict(list)
    for path in find_files(folder, "volume", ("",), recursive=True):
        if is_nifti(path):
            stored.append(path)
        elif may_be_slice(path):
            slices[path.parent].append(path)
    return stored, slices


def _in_folder(root: Path) -> list[Sample]:
    stored, slices = gathered(root)
    samples = [Sample(bare_name(path.relative_to(root).as_posix()), (path,)) for path in stored]
    for folder, files in slices.items():
        name = root.absolute().name if folder == root else folder.relative_to(root).as_posix()
        samples += series_samples(files, name)
    if not samples:
        refused = [dicom.read_content(files[0]).refused for files in slices.values()]
        raise UserError(
            refused[0]
            if refused
            else f"{root}: holds no volumes (nii, nii.gz or DICOM slices); check the path."
        )
    return samples


def may_be_slice(path: Path) -> bool:
    """Return whether a file is named `.dcm`, or begins as DICOM does under a name of no format."""
    name = path.name.lower()
    if name.endswith((*nifti.SUFFIXES, *IMAGE_SUFFIXES)):
        return False
    return name.endswith(dicom.SUFFIX) or dicom.is_dicom(path)
