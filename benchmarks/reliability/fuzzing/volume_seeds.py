"""Small volumes: NIfTI in its forms, DICOM series, and the layouts of their data sets."""

from __future__ import annotations

import gzip
import json

import numpy as np

from benchmarks.reliability.fuzzing.cases import Case, Entry
from benchmarks.reliability.fuzzing.picture_seeds import ROOT

_SHAPE = (7, 6, 5)  # i, j, k
_TURNED = np.array([[0, -2, 0, 40], [1.5, 0, 0, -30], [0, 0, 3, 5], [0, 0, 0, 1]], float)
_CT = "1.2.840.10008.5.1.4.1.1.2"
_ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"


def _values(number: int = 0, dtype: type = np.int16) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 100, _SHAPE).astype(dtype)


def _labels(number: int = 0, classes: int = 3) -> np.ndarray:
    return np.random.default_rng(number).integers(0, classes, _SHAPE).astype(np.uint8)


def nifti(values: np.ndarray, affine=None, *, version: int = 1, packed=True, scale=None) -> bytes:
    """Return a NIfTI file."""
    import nibabel

    kind = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
    image = kind(values, _TURNED if affine is None else affine)
    if scale is not None:
        image.header.set_slope_inter(*scale)
    content = image.to_bytes()
    return gzip.compress(content, mtime=0) if packed else content


def nifti_cases() -> list[Case]:
    """Return files of every version, type and orientation."""
    import nibabel

    unplaced = nibabel.Nifti1Image(_values(1), None)
    big_endian = nibabel.Nifti1Image(_values(2), _TURNED, nibabel.Nifti1Header(endianness=">"))
    return [
        Case.file("volume.nii.gz", nifti(_values())),
        Case.file("volume.nii", nifti(_values(3), packed=False)),
        Case.file("volume.nii", nifti(_values(4, np.float32), packed=False, scale=(0.5, -7))),
        Case.file("volume.nii.gz", nifti(_values(5, np.float64), np.diag([-1, -1, 2, 1]))),
        Case.file("volume.nii", nifti(_values(6, np.uint8), version=2, packed=False)),
        Case.file("volume.nii", nifti(_values(7)[..., None], packed=False)),
        Case.file("volume.nii", unplaced.to_bytes()),
        Case.file("volume.nii", big_endian.to_bytes()),
    ]


def slices(count: int = 4, series: str = "1.2.3", first: int = 0, **elements) -> dict[str, Entry]:
    """Return the files of a DICOM series; slices of another `first` number have other pixels."""
    return {
        f"IM{n}.dcm": _slice(first + n, (0, 0, 3 * n), series, **elements) for n in range(count)
    }


def _slice(number: int, position, series: str, *, rle: bool = False, **elements) -> bytes:
    import io

    from pydicom import Dataset, dcmwrite
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, RLELossless

    pixels = np.random.default_rng(number).integers(-1000, 1000, (6, 7)).astype(np.int16)
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    filled = {
        **{"SOPClassUID": _CT, "SOPInstanceUID": f"1.2.3.{number}", "SeriesInstanceUID": series},
        **{"Modality": "CT", "SamplesPerPixel": 1, "BitsAllocated": 16, "BitsStored": 16},
        **{"HighBit": 15, "PixelRepresentation": 1, "PhotometricInterpretation": "MONOCHROME2"},
        **{"Rows": 6, "Columns": 7, "PixelSpacing": [0.5, 0.75], "SliceThickness": 3},
        **{"ImagePositionPatient": list(position), "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
        **{"RescaleSlope": 1, "RescaleIntercept": -10, "PixelData": pixels.tobytes()},
        **elements,
    }
    for name, value in filled.items():
        setattr(made, name, value)
    if rle:
        made.compress(RLELossless, generate_instance_uid=False)
    stream = io.BytesIO()
    dcmwrite(stream, made, enforce_file_format=True)
    return stream.getvalue()


def _frames() -> bytes:
    """Return an enhanced CT: many slices in a file."""
    from pydicom import Dataset, Sequence

    def group(height: int) -> Dataset:
        place = Dataset()
        place.ImagePositionPatient = [0, 0, height]
        made = Dataset()
        made.PlanePositionSequence = Sequence([place])
        return made

    return _slice(
        0, (0, 0, 0), "1.2.9", SOPClassUID=_ENHANCED_CT, NumberOfFrames=3,
        PerFrameFunctionalGroupsSequence=Sequence([group(3 * n) for n in range(3)]),
        PixelData=np.arange(126, dtype=np.int16).tobytes(),
    )  # fmt: skip


def dicom_cases() -> list[Case]:
    """Return a series as it is, one compressed by run lengths, two in a folder, one file."""
    return [
        Case(slices()),
        Case(slices(rle=True)),
        Case(slices() | {f"other/{n}": c for n, c in slices(series="1.2.4").items()}),
        Case.file("enhanced.dcm", _frames()),
    ]


def _lits() -> Case:
    entries: dict[str, Entry] = {}
    for case in (0, 1, 10):
        entries[f"batch{case // 10 + 1}/volume-{case}.nii"] = nifti(_values(case), packed=False)
        entries[f"batch{case // 10 + 1}/segmentation-{case}.nii"] = nifti(
            _labels(case), packed=False
        )
    return Case(entries)


def _nnunet() -> Case:
    about = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "liver": 1, "tumour": 2},
        "numTraining": 3,
        "file_ending": ".nii.gz",
    }
    entries: dict[str, Entry] = {"Dataset801_Liver/dataset.json": json.dumps(about).encode()}
    for case in range(3):
        inside = f"Dataset801_Liver/{{}}/Liver_{case:04d}{{}}.nii.gz"
        entries[inside.format("imagesTr", "_0000")] = nifti(_values(case))
        entries[inside.format("labelsTr", "")] = nifti(_labels(case))
    return Case(entries)


def _volumes() -> list[Case]:
    plain: dict[str, Entry] = {}
    for name in ("a", "b", "c", "d"):
        plain[f"images/{name}.nii.gz"] = nifti(_values(ord(name)))
        plain[f"labels/{name}.nii.gz"] = nifti(_labels(ord(name), 2))
    scanned: dict[str, Entry] = {}
    place = np.diag([-0.75, -0.5, 3, 1])
    for split in ("train", "val", "test"):
        inside = slices(5, series=f"1.2.{len(scanned)}", first=len(scanned))
        scanned |= {f"{split}/images/p1/{name}": content for name, content in inside.items()}
        truth = np.zeros((7, 6, 5), np.uint8)
        scanned[f"{split}/masks/p1.nii.gz"] = nifti(truth, place)
    return [Case(plain), Case(scanned)]


def _sample() -> Case:
    from benchmarks.reliability.fuzzing.cases import read_case

    return read_case(ROOT / "apps" / "medical_segmentation" / "sample_volumes")


VOLUMES = {"sample-volumes": _sample, "lits": _lits, "nnunet": _nnunet, "volumes": _volumes}
