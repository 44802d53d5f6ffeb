"""NIfTI files and DICOM slices to be read: small, and wrong where a test wants them to be."""

from pathlib import Path

import nibabel
import numpy as np
import pydicom
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from core.data.index import Sample

CT = "1.2.840.10008.5.1.4.1.1.2"
AXIAL = (1, 0, 0, 0, 1, 0)


def nifti(path: Path, values, affine=None, **header) -> Path:
    """Write values (I, J, K) as NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(np.asarray(values), np.eye(4) if affine is None else affine)
    for name, value in header.items():
        image.header[name] = value
    image.to_filename(path)
    return path


def sample(path: Path, *targets: Path) -> Sample:
    return Sample("case", (path,), targets)


def dataset(pixels, position=(0, 0, 0), **elements) -> pydicom.Dataset:
    """Return a CT slice with 16-bit pixels (rows, columns); an element of None is left out."""
    pixels = np.asarray(pixels, np.int16)
    slice_ = pydicom.Dataset()
    slice_.file_meta = pydicom.dataset.FileMetaDataset()
    slice_.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    slice_.Rows, slice_.Columns = pixels.shape[-2:]
    slice_.PixelData = pixels.tobytes()
    filled = {
        **{"SOPClassUID": CT, "SOPInstanceUID": generate_uid(), "SeriesInstanceUID": "1.2.3"},
        **{"SeriesNumber": 4, "Modality": "CT", "SamplesPerPixel": 1, "BitsAllocated": 16},
        **{"BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1, "SliceThickness": 3},
        **{"PhotometricInterpretation": "MONOCHROME2", "PixelSpacing": [0.5, 0.75]},
        **{"ImagePositionPatient": list(position), "ImageOrientationPatient": list(AXIAL)},
        **elements,
    }
    for name, value in filled.items():
        if value is not None:
            setattr(slice_, name, value)
        elif name in slice_:
            delattr(slice_, name)
    return slice_


def dicom(path: Path, pixels, position=(0, 0, 0), **elements) -> Path:
    """Write a CT slice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset(pixels, position, **elements).save_as(path, enforce_file_format=True)
    return path


def series(folder: Path, heights=(0, 3, 6), **elements) -> list[Path]:
    """Write a slice of 4 x 5 pixels at each height in millimetres, whose values are the height."""
    return [
        dicom(folder / f"IM{n}.dcm", np.full((4, 5), height), (0, 0, height), **elements)
        for n, height in enumerate(heights)
    ]
