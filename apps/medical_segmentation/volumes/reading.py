"""Volumes and their labels from the files of a sample: NIfTI, or the slices of a DICOM series."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from apps.medical_segmentation.data.masks import class_indices
from apps.medical_segmentation.volumes import nifti, series
from apps.medical_segmentation.volumes.finding import (
    VOLUME_SUFFIXES,
    is_nifti,
    is_volume,
    volume_files,
)
from apps.medical_segmentation.volumes.geometry import Geometry, Volume
from apps.medical_segmentation.volumes.nifti import write_labels
from apps.medical_segmentation.volumes.values import Slices, assemble
from core.data.index import Sample
from core.errors import UserError

__all__ = [
    "VOLUME_SUFFIXES",
    "is_volume",
    "read_geometry",
    "read_labels",
    "read_volume",
    "volume_files",
    "write_labels",
]
_SAME_PLACE = 0.25  # of the smallest voxel side: between rounding and half a voxel


def read_geometry(sample: Sample) -> Geometry:
    """Return where a sample's volume lies, from headers alone.

    Raises:
        UserError: When a file cannot be read, or the slices make no volume.
    """
    if is_nifti(sample.inputs[0]):
        return nifti.read_geometry(_only(sample))
    return series.read_geometry(sample.inputs)


def read_volume(sample: Sample) -> Volume:
    """Return a sample's volume.

    Raises:
        UserError: As `read_geometry`; also when values are infinite.
    """
    geometry = read_geometry(sample)
    slices: Slices = (
        nifti.read_slices(_only(sample))
        if is_nifti(sample.inputs[0])
        else series.read_slices(sample.inputs)
    )
    return Volume(assemble(slices, geometry, _source(sample)), geometry)


def read_labels(sample: Sample, classes: int) -> np.ndarray:
    """Return the class index of every voxel, on the grid of the sample's volume.

    Args:
        sample: Its targets are NIfTI files of the volume's voxels, stored in any order of axes.
            Several are merged: of one class, foreground is what any of them marks; of more, the
            highest index counts.
        classes: 1: whatever is above 0 is foreground; 2 or more: the values are class indices.

    Returns:
        uint8 (D, H, W), 0..max(classes - 1, 1).

    Raises:
        UserError: When there are no labels, a file cannot be read, has another shape or lies
            elsewhere than the volume, or has values that are no class indices.
    """
    if not sample.targets:
        raise UserError(f"Sample '{sample.id}' has no labels; evaluate on data with labels.")
    if not 1 <= classes <= 256:
        raise UserError(f"Labels of {classes} classes cannot be read; choose 1 to 256 --classes.")
    geometry = read_geometry(sample)
    merged = np.zeros(geometry.shape, np.uint8)
    for path in sample.targets:
        if not is_nifti(path):
            raise UserError(f"{path}: labels of volumes are read from .nii or .nii.gz; convert it.")
        stored = _label_grid(path, sample, geometry).as_stored(merged)
        for k, plane in nifti.read_slices(path):
            np.maximum(stored[:, :, k], _indices(path, plane, classes), out=stored[:, :, k])
    return merged


def _indices(path: Path, plane: np.ndarray, classes: int) -> np.ndarray:
    if plane.dtype.kind == "f" and np.isnan(plane).any():
        raise UserError(f"{path}: has labels that are NaN; store class indices.")
    if classes == 1:
        return (plane > 0).astype(np.uint8)
    return class_indices(path, plane, classes)


def _label_grid(path: Path, sample: Sample, image: Geometry) -> Geometry:
    """Return the geometry by which labels are turned onto their image, or refuse them.

    Where one of the two files does not say where it lies, their voxels correspond as stored.
    """
    labels = nifti.read_geometry(path)
    placed = image.known and labels.known
    grid = labels if placed else Geometry(image.affine, labels.stored_shape, image.known)
    if grid.shape != image.shape:
        sizes = [" x ".join(map(str, one.shape)) for one in (grid, image)]
        raise UserError(
            f"{path}: has {sizes[0]} voxels (slices x rows x columns), but its image "
            f"'{_source(sample).name}' {sizes[1]}; export them on the same grid."
        )
    apart = grid.distance(image) if placed else 0.0
    if apart > _SAME_PLACE * min(image.spacing):
        raise UserError(
            f"{path}: lies up to {apart:.3g} mm from its image '{_source(sample).name}' (voxels of "
            f"{' x '.join(f'{side:.3g}' for side in image.spacing)} mm); export the labels with "
            "the image's affine, or resample them onto it."
        )
    return grid


def _only(sample: Sample) -> Path:
    if len(sample.inputs) > 1:
        raise UserError(
            f"Sample '{sample.id}' has {len(sample.inputs)} volumes ('{sample.inputs[0].name}', "
            f"'{sample.inputs[1].name}', …); networks here take one, choose it."
        )
    return sample.inputs[0]


def _source(sample: Sample) -> Path:
    """Return what a volume is called in errors: its file, or the folder of its slices."""
    return sample.inputs[0] if len(sample.inputs) == 1 else sample.inputs[0].parent
