"""NIfTI files (.nii, .nii.gz; versions 1 and 2): read slice by slice, labels written.

nibabel reads and writes the header. The values are read here, one slice at a time, so that a
compressed file is never held beside the volume made of it and a header can claim what it likes.
"""

from __future__ import annotations

import gzip
import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from apps.medical_segmentation.volumes.geometry import Geometry, affine_defect
from apps.medical_segmentation.volumes.opening import explained, package, refuse_huge
from apps.medical_segmentation.volumes.values import scaled
from core.errors import UserError
from core.files import write_atomic

SUFFIXES = (".nii", ".nii.gz")
_GZIP = b"\x1f\x8b"
_LONGEST_HEADER = 540  # bytes, of version 2
_MOST_BEHIND = 2**24  # bytes read behind the voxels; a file may go on for terabytes
_NIFTI_1_SIDE = 2**15 - 1  # voxels; version 1 counts in 16 bits
_SCANNER = 1  # the code of a NIfTI affine that leads to the scanner's millimetres
_SAME_AFFINE = 1e-3  # millimetres per voxel

_SILENT = logging.Logger("nifti")  # for repairs of a header that nobody needs to know of
_SILENT.addHandler(logging.NullHandler())


def read_geometry(path: str | os.PathLike) -> Geometry:
    """Return where the volume of a file lies, from its header.

    The affine is the sform, else the qform. A file with neither code is placed by its voxel sizes
    alone and is not `known`.

    Raises:
        UserError: When the file is no NIfTI, damaged, holds several volumes or colours, claims
            more than it can hold, or has an affine that places nothing.
    """
    path = Path(path)
    with explained(path, "NIfTI"):
        header = _header(path)
        return _geometry(path, header, _shape(path, header))


def read_slices(path: str | os.PathLike) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (k, values (I, J)) for every slice of a file, scaled, in the header's order.

    Whole numbers without a scale keep their type; others are float64.

    Raises:
        UserError: As `read_geometry`; also when the file ends early or its checksum is wrong.
    """
    path = Path(path)
    with explained(path, "NIfTI"):
        header = _header(path)
        *plane, slices = _shape(path, header)
        dtype = header.get_data_dtype()
        slope, intercept = header.get_slope_inter()
        scale = (1, 0) if slope is None else (slope, intercept)
        with _opened(path) as stream:
            stream.seek(header.get_data_offset())
            for k in range(slices):
                raw = stream.read(plane[0] * plane[1] * dtype.itemsize)
                values = np.frombuffer(raw, dtype).reshape(plane, order="F")
                yield k, scaled(values.astype(dtype.newbyteorder("=")), *scale)
            # A compressed file ends with its checksum, and one with a wrong bit is often longer.
            stream.read(_MOST_BEHIND)


def write_labels(path: str | os.PathLike, mask: np.ndarray, geometry: Geometry) -> Path:
    """Write a mask as NIfTI onto the file it was made of: the same voxels, the same affine.

    The same mask gives the same bytes. A sheared affine (a tilted gantry) has no qform; a file
    that does not say where it lies gets a mask that does not either.

    Args:
        path: The file, named `.nii.gz`; written as a whole or not at all.
        mask: uint8 or bool (D, H, W).
        geometry: Of the input.

    Returns:
        The path.

    Raises:
        UserError: When nibabel is not installed or the file cannot be written.
    """
    path = Path(path)
    if not path.name.endswith(".nii.gz"):
        raise ValueError(f"`path` must end in .nii.gz. Received: path={path}")
    if mask.shape != geometry.shape or mask.dtype not in (np.uint8, bool):
        raise ValueError(
            f"`mask` must be uint8 or bool {geometry.shape}. Received: {mask.dtype} {mask.shape}"
        )
    nibabel = package("nibabel", "NIfTI")
    small = max(geometry.stored_shape) <= _NIFTI_1_SIDE
    kind = nibabel.Nifti1Image if small else nibabel.Nifti2Image
    place = geometry.affine if geometry.known else None
    image = kind(np.asarray(geometry.as_stored(mask), np.uint8), place)
    image.header.set_data_dtype(np.uint8)
    image.header.set_xyzt_units("mm")
    if geometry.known:
        image.set_sform(geometry.affine, _SCANNER)
        image.set_qform(geometry.affine, _SCANNER)
        if np.abs(image.get_qform() - geometry.affine).max() > _SAME_AFFINE:
            image.header["qform_code"] = 0
    else:
        image.header.set_zooms(np.linalg.norm(geometry.affine[:3, :3], axis=0))
    return write_atomic(path, gzip.compress(image.to_bytes(), mtime=0))


def _header(path: Path):
    """Return a checked header; the extensions that may follow it are nothing a network needs."""
    nibabel = package("nibabel", "NIfTI")
    with _opened(path) as stream:
        start = stream.read(_LONGEST_HEADER)
    if not start:
        raise UserError(f"{path}: is empty (0 bytes); copy or download it again.")
    for kind in (nibabel.Nifti1Header, nibabel.Nifti2Header):
        if kind.may_contain_header(start):
            header = kind(start[: kind.template_dtype.itemsize], check=False)
            if bytes(header["magic"]).startswith(b"ni"):
                raise UserError(
                    f"{path}: is the header of a pair of files (.hdr, .img); save the volume as "
                    "one .nii or .nii.gz file."
                )
            _refuse_flat(path, header)
            header.check_fix(logger=_SILENT)
            return header
    raise UserError(
        f"{path}: is not NIfTI (its content, whatever its name); export it as .nii or .nii.gz."
    )


def _refuse_flat(path: Path, header) -> None:
    """Refuse voxels of no size where an affine is made of them; a repair would make them 1 mm."""
    sizes = header["pixdim"][1 : 1 + min(3, int(header["dim"][0]))]
    if header["sform_code"] <= 0 and not (np.isfinite(sizes) & (sizes != 0)).all():
        raise UserError(
            f"{path}: has voxels of {' x '.join(f'{size:g}' for size in sizes)} mm and no sform; "
            "export it again with its voxel sizes."
        )


def _shape(path: Path, header) -> tuple[int, int, int]:
    """Return the voxels along i, j and k, or refuse what is no single volume of numbers."""
    shape = tuple(map(int, header.get_data_shape()))
    dtype = header.get_data_dtype()
    if len(shape) < 2 or min(shape) < 1:
        raise UserError(
            f"{path}: claims {' x '.join(map(str, shape)) or 'no'} voxels, which is no volume; "
            "export it again."
        )
    if dtype.kind not in "uif":
        kind = "colours" if dtype.names else "complex numbers"
        raise UserError(f"{path}: holds {kind}; export a volume of grey values or labels.")
    refuse_huge(path, shape, dtype.itemsize, compressed=_is_compressed(path))
    volumes = int(np.prod(shape[3:]))
    if volumes > 1:
        raise UserError(
            f"{path}: holds {volumes} volumes (times, echoes or channels); save the one to be "
            "segmented as a file of its own."
        )
    i, j, k = (*shape[:3], 1)[:3]
    return i, j, k


def _geometry(path: Path, header, shape: tuple[int, int, int]) -> Geometry:
    known = bool(header["sform_code"] > 0 or header["qform_code"] > 0)
    if known:
        affine = np.array(header.get_best_affine(), np.float64)
    else:
        sizes = np.abs(np.array(header["pixdim"][1:4], np.float64))
        # Rows from front to back, columns from right to left: k, j, i as they are stored.
        affine = np.diag([-sizes[0], -sizes[1], sizes[2], 1.0])
    wrong = affine_defect(affine)
    if wrong:
        raise UserError(
            f"{path}: does not say where its voxels lie ({wrong}); export it again, or set its "
            "sform and qform codes to 0 to go by the voxel sizes alone."
        )
    return Geometry(affine, shape, known)


def _is_compressed(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == _GZIP


def _opened(path: Path) -> io.BufferedIOBase:
    """Open a file by its content: downloads are unpacked, or packed, under their old names."""
    return gzip.open(path, "rb") if _is_compressed(path) else path.open("rb")
