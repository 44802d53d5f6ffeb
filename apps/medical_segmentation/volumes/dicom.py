"""DICOM files: what their headers say of every frame, and its pixels.

How the frames of a series become a volume is `apps.medical_segmentation.volumes.series`. Headers
are read without the pixels and with the elements named here only; nothing in a file is executed,
and a deflated file, which pydicom would inflate whatever its size, is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from apps.medical_segmentation.volumes.opening import explained, package, refuse_huge
from apps.medical_segmentation.volumes.values import scaled
from core.errors import UserError

SUFFIX = ".dcm"
_MAGIC = b"DICM"  # after 128 bytes of anything
_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_NEAR = 0.01  # of a unit vector; headers round
_PLUGINS = {  # a word in the name of a compression → what decodes it
    "JPEG-LS": "pyjpegls",
    "JPEG 2000": "pylibjpeg[openjpeg]",
    "High-Throughput": "pylibjpeg[openjpeg]",
    "JPEG": "pylibjpeg[libjpeg]",
}
_TAGS = (
    *("SOPClassUID", "ImageType", "SeriesInstanceUID", "SeriesNumber", "SamplesPerPixel", "Rows"),
    *("Columns", "BitsAllocated", "BitsStored", "PixelRepresentation", "PhotometricInterpretation"),
    *("NumberOfFrames", "PixelSpacing", "ImagerPixelSpacing", "SliceThickness"),
    *("SpacingBetweenSlices", "ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope"),
    *("RescaleIntercept", "ModalityLUTSequence", "SharedFunctionalGroupsSequence"),
    "PerFrameFunctionalGroupsSequence",
)


@dataclass(frozen=True, eq=False)
class Place:
    """Where a slice lies, in millimetres in LPS (to the left, to the back, to the head).

    Attributes:
        position: (3,), the centre of the first pixel.
        along, down: (3,), unit vectors: where columns count up to, and where rows do.
    """

    position: np.ndarray
    along: np.ndarray
    down: np.ndarray


@dataclass(frozen=True, eq=False)
class Frame:
    """A slice as its header describes it.

    Attributes:
        path, index: The file and which of its frames, from 0.
        series: The SeriesInstanceUID.
        size: Rows and columns.
        spacing: Millimetres between rows and between columns; 1 where the file has none.
        thickness: Millimetres to the next slice as the header claims it.
        place: None where the file does not say.
        slope, intercept: From stored numbers to values.
        inverted: None, or the sum of a stored number and of what it looks like (MONOCHROME1).
    """

    path: Path
    index: int
    series: str
    size: tuple[int, int]
    spacing: tuple[float, float]
    thickness: float
    place: Place | None
    slope: float
    intercept: float
    inverted: int | None


@dataclass(frozen=True)
class Content:
    """What a file is, to sort the files of a folder.

    Attributes:
        series, number: SeriesInstanceUID and SeriesNumber ("" where there is none).
        refused: Why it is no slice of a volume, in a sentence, or "".
        localizer: Whether it is a scout: a quick view to plan the others.
    """

    series: str
    number: str
    refused: str
    localizer: bool


def is_dicom(path: Path) -> bool:
    """Return whether a file begins as DICOM does, whatever its name."""
    try:
        if not path.is_file():  # a pipe would wait for ever
            return False
        with path.open("rb") as stream:
            return stream.read(132)[128:] == _MAGIC
    except OSError:
        return False


def read_content(path: Path) -> Content:
    """Return what a file is.

    Raises:
        UserError: When it cannot be read as DICOM.
    """
    with explained(path, "DICOM"):
        header = _header(path)
        return Content(
            str(header.get("SeriesInstanceUID", "")),
            str(header.get("SeriesNumber", "") or ""),
            _refusal(path, header),
            "LOCALIZER" in (header.get("ImageType") or ()),
        )


def read_frames(path: Path) -> list[Frame]:
    """Return the frames of a file from its header: one, or many of an enhanced CT or MR.

    Raises:
        UserError: When the file is no DICOM, no grey image (a report, a segmentation, a dose, a
            colour picture), or lacks what places its frames.
    """
    with explained(path, "DICOM"):
        header = _header(path)
        refused = _refusal(path, header)
        if refused:
            raise UserError(refused)
        count = int(header.get("NumberOfFrames") or 1)
        size = (int(header.Rows), int(header.Columns))
        compressed = header.file_meta.TransferSyntaxUID.is_compressed
        voxel_bytes = max(1, int(header.BitsAllocated) // 8)
        refuse_huge(path, (count, *size), voxel_bytes, compressed=compressed)
        if count > 1 and "PerFrameFunctionalGroupsSequence" not in header:
            raise UserError(
                f"{path}: holds {count} frames without positions (a film, or several pictures), "
                "which are no volume; export the series slice by slice."
            )
        return [_frame(path, index, size, header) for index in range(count)]


def read_values(path: Path, frames: list[Frame]) -> Iterator[tuple[Frame, np.ndarray]]:
    """Yield every frame of a file with its values (rows, columns), rescaled.

    Args:
        path: The file.
        frames: What `read_frames` returned.

    Raises:
        UserError: When the pixels are damaged, missing, or compressed in a way that needs a package
            that is not installed.
    """
    with explained(path, "DICOM"):
        pixels = package("pydicom.pixels", "DICOM")
        syntax = _syntax(path)
        if syntax.is_compressed and not pixels.get_decoder(syntax).is_available:
            raise _undecoded(path, syntax)
        if len(frames) == 1:  # the other way fails for JPEG 2000 of the wrong sign
            decoded = (pixels.pixel_array(path, raw=True, index=0) for _ in frames)
        else:
            decoded = pixels.iter_pixels(path, raw=True, allow_excess_frames=False)
        for frame in frames:
            try:
                raw = next(decoded)
            except RuntimeError as error:  # of every package that could decode it
                raise _undecoded(path, syntax) from error
            if raw.shape != frame.size:
                raise ValueError(f"{raw.shape} pixels are not {frame.size}")
            if frame.inverted is not None:
                raw = frame.inverted - raw.astype(np.int64)
            yield frame, scaled(raw, frame.slope, frame.intercept)


def _syntax(path: Path):
    """Return the transfer syntax of a file from its first elements."""
    pydicom = package("pydicom", "DICOM")
    try:
        meta = package("pydicom.filereader", "DICOM").read_file_meta_info(path)
    except pydicom.errors.InvalidDicomError as error:
        raise UserError(
            f"{path}: is not a DICOM file (its content, whatever its name); replace it."
        ) from error
    syntax = meta.get("TransferSyntaxUID")
    if not syntax:
        raise UserError(f"{path}: does not say its transfer syntax; export it again.")
    if syntax == _DEFLATED:
        raise UserError(f"{path}: is deflated as a whole; save it with another transfer syntax.")
    return syntax


def _header(path: Path):
    _syntax(path)
    pydicom = package("pydicom", "DICOM")
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE  # of texts, not pixels
    return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))


def _undecoded(path: Path, syntax) -> UserError:
    """Return the error of pixels that no installed package decodes."""
    needed = next((name for word, name in _PLUGINS.items() if word in syntax.name), "")
    if not needed:
        return UserError(
            f"{path}: its pixels ({syntax.name}) cannot be decoded; save them uncompressed."
        )
    return UserError(
        f"{path}: its pixels are compressed with {syntax.name}, which the installed packages "
        f"cannot decode; pip install '{needed}', or save them uncompressed."
    )


def _refusal(path: Path, header) -> str:
    """Return why a file is no slice of a volume, in a sentence, or an empty text."""
    kind = getattr(header.get("SOPClassUID"), "name", "") or "nothing that is known"
    if header.get("SOPClassUID") == _SEGMENTATION:
        return (
            f"{path}: is a DICOM segmentation (SEG), not an image; convert it to NIfTI, with "
            "segimage2itkimage for instance."
        )
    if header.get("SOPClassUID") == _DOSE or not header.get("Rows") or not header.get("Columns"):
        return f"{path}: holds no picture ({kind}); leave it out."
    photometric = str(header.get("PhotometricInterpretation") or "of an unknown kind")
    if header.get("SamplesPerPixel", 1) != 1 or not photometric.startswith("MONOCHROME"):
        return f"{path}: is a colour picture ({photometric}), not a volume; export it as PNG."
    if "MOSAIC" in (header.get("ImageType") or ()):
        return f"{path}: is a mosaic of slices; convert it to NIfTI, with dcm2niix for instance."
    if "ModalityLUTSequence" in header:
        return f"{path}: has values behind a look-up table; export them rescaled."
    return ""


def _frame(path: Path, index: int, size: tuple[int, int], header) -> Frame:
    place = _place(path, index, header)
    measures = "PixelMeasuresSequence"
    spacing = _numbers(_element(header, index, measures, "PixelSpacing"), 2)
    if spacing is None and place is None:
        spacing = _numbers(header.get("ImagerPixelSpacing"), 2)
    if (place and spacing is None) or (spacing is not None and not (spacing > 0).all()):
        raise UserError(f"{path}: has no usable PixelSpacing; export it again.")
    thickness = _numbers(_element(header, index, measures, "SpacingBetweenSlices"), 1)
    if thickness is None or thickness[0] == 0:
        thickness = _numbers(_element(header, index, measures, "SliceThickness"), 1)
    values = "PixelValueTransformationSequence"
    slope = _numbers(_element(header, index, values, "RescaleSlope"), 1)
    intercept = _numbers(_element(header, index, values, "RescaleIntercept"), 1)
    if slope is not None and slope[0] == 0:
        raise UserError(f"{path}: has a RescaleSlope of 0; export it again.")
    rows, columns = (1.0, 1.0) if spacing is None else map(float, spacing)
    return Frame(
        path=path,
        index=index,
        series=str(header.get("SeriesInstanceUID", "")),
        size=size,
        spacing=(rows, columns),
        thickness=1.0 if thickness is None or thickness[0] == 0 else abs(float(thickness[0])),
        place=place,
        slope=1.0 if slope is None else float(slope[0]),
        intercept=0.0 if intercept is None else float(intercept[0]),
        inverted=None if place else _inverted(header),
    )


def _place(path: Path, index: int, header) -> Place | None:
    position = _numbers(_element(header, index, "PlanePositionSequence", "ImagePositionPatient"), 3)
    orientation = _numbers(
        _element(header, index, "PlaneOrientationSequence", "ImageOrientationPatient"), 6
    )
    if position is None or orientation is None:
        return None
    lengths = np.linalg.norm(orientation.reshape(2, 3), axis=1)
    if np.abs(lengths - 1).max() > _NEAR or abs(orientation[:3] @ orientation[3:]) > _NEAR:
        raise UserError(
            f"{path}: its ImageOrientationPatient is not two directions at a right angle; export "
            "it again."
        )
    return Place(position, orientation[:3] / lengths[0], orientation[3:] / lengths[1])


def _element(header, index: int, sequence: str, name: str):
    """Return an element of a frame: its own, else of all frames, else of the file."""
    if "PerFrameFunctionalGroupsSequence" not in header:
        return header.get(name)
    groups = [header.PerFrameFunctionalGroupsSequence[index]]
    groups += header.get("SharedFunctionalGroupsSequence") or []
    for group in groups:
        for item in group.get(sequence) or []:
            if name in item:
                return item.get(name)
    return header.get(name)


def _numbers(value, count: int) -> np.ndarray | None:
    """Return an element's finite numbers, or None where it is missing, empty or something else."""
    try:
        numbers = np.array(value, np.float64).reshape(-1)
    except (TypeError, ValueError):
        return None
    return numbers if numbers.shape == (count,) and np.isfinite(numbers).all() else None


def _inverted(header) -> int | None:
    """Return what an X-ray's stored numbers are to be taken from: bright in MONOCHROME1 is low.

    Not so for a slice with a place in space: its values are measured (PET is often shown inverted),
    however they are shown.
    """
    if header.PhotometricInterpretation != "MONOCHROME1":
        return None
    return -1 if header.get("PixelRepresentation") else 2 ** int(header.BitsStored) - 1
