"""DICOM slices become the volume that was scanned, or it is said why they do not."""

import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.sequence import Sequence
from pydicom.uid import RLELossless
from volume_data import dataset, dicom, sample, series

from apps.medical_segmentation.volumes.reading import read_geometry, read_volume, write_labels
from core.data.index import Sample
from core.errors import UserError

SUPPLIED = Path(pydicom.__file__).parent / "data"


def volume_of(files):
    return read_volume(Sample("case", tuple(files)))


def refused(files, said):
    with pytest.raises(UserError, match=said) as caught:
        volume_of(files)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_slices_are_sorted_by_position_whatever_their_names(tmp_path):
    files = series(tmp_path, heights=(9, 0, 6, 3))
    volume = volume_of(files)
    assert volume.values.dtype == np.int16 and volume.geometry.spacing == (3, 0.5, 0.75)
    np.testing.assert_array_equal(volume.values[:, 0, 0], [0, 3, 6, 9])
    again = volume_of(files[::-1])
    np.testing.assert_array_equal(again.values, volume.values)
    np.testing.assert_array_equal(again.geometry.affine, volume.geometry.affine)


def test_the_affine_is_in_the_directions_of_nifti(tmp_path):
    files = [
        dicom(tmp_path / f"{n}.dcm", np.zeros((4, 5)), (-100, -80, 10 + 3 * n)) for n in range(2)
    ]
    geometry = volume_of(files).geometry
    assert geometry.stored_shape == (5, 4, 2)
    expected = [[-0.75, 0, 0, 100], [0, -0.5, 0, 80], [0, 0, 3, 10], [0, 0, 0, 1]]
    np.testing.assert_allclose(geometry.affine, expected)


def test_the_picture_is_as_the_scanner_shows_it(tmp_path):
    pixels = np.arange(20).reshape(4, 5)
    values = volume_of([dicom(tmp_path / "a.dcm", pixels)]).values
    np.testing.assert_array_equal(values, pixels[None])


def test_a_sagittal_series_is_turned(tmp_path):
    # Columns count to the back, rows to the feet, slices to the right.
    pixels = np.arange(20).reshape(4, 5)
    files = [
        dicom(tmp_path / f"{x}.dcm", pixels + 100 * x, (-2 * x, 0, 0),
              ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
        for x in range(3)
    ]  # fmt: skip
    volume = volume_of(files)
    assert volume.values.shape == (4, 5, 3) and volume.geometry.spacing == (0.5, 0.75, 2)
    np.testing.assert_array_equal(volume.values[-1, :, 0], pixels[0] + 200)  # the right one first
    np.testing.assert_array_equal(volume.values[0, 0], pixels[3, 0] + np.array([200, 100, 0]))


def test_a_tilted_gantry_shears_the_affine_and_keeps_every_slice(tmp_path):
    files = [
        dicom(tmp_path / f"{n}.dcm", np.full((4, 5), n), (0, 0.8 * n, 3 * n)) for n in range(3)
    ]
    volume = volume_of(files)
    np.testing.assert_allclose(volume.geometry.affine[:3, 2], (0, -0.8, 3))
    np.testing.assert_array_equal(volume.values[:, 0, 0], [0, 1, 2])
    assert volume.geometry.spacing[0] == pytest.approx(np.hypot(0.8, 3))


def test_numbers_are_rescaled_slice_by_slice(tmp_path):
    scales = ({"RescaleSlope": 1, "RescaleIntercept": -1024}, {"RescaleSlope": 0.25})
    files = [
        dicom(tmp_path / f"{n}.dcm", np.full((4, 5), 10 + n), (0, 0, n), **scale)
        for n, scale in enumerate(scales)
    ]
    assert volume_of(files[:1]).values.dtype == np.int16
    values = volume_of(files).values
    assert values.dtype == np.float32 and values[:, 0, 0].tolist() == [-1014, 2.75]


def test_measured_values_keep_their_sign_and_x_rays_are_bright_where_they_shall(tmp_path):
    pixels = np.arange(20).reshape(4, 5)
    inverse = {"PhotometricInterpretation": "MONOCHROME1"}
    measured = dicom(tmp_path / "pet.dcm", pixels, **inverse)
    np.testing.assert_array_equal(volume_of([measured]).values[0], pixels)
    x_ray = dicom(
        tmp_path / "x.dcm", pixels, **inverse, BitsStored=12, HighBit=11, PixelRepresentation=0,
        ImagePositionPatient=None, ImageOrientationPatient=None,
    )  # fmt: skip
    volume = volume_of([x_ray])
    np.testing.assert_array_equal(volume.values[0], 4095 - pixels)
    assert not volume.geometry.known and volume.geometry.spacing == (3, 0.5, 0.75)


def test_rle_is_decoded(tmp_path):
    slice_ = dataset(np.arange(20).reshape(4, 5))
    slice_.compress(RLELossless)
    slice_.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert volume_of([tmp_path / "a.dcm"]).values.max() == 19


@pytest.mark.parametrize(
    "name, said",
    [
        ("MR_small_jpeg_ls_lossless.dcm", r"with JPEG-LS Lossless .* pip install 'pyjpegls'"),
        ("JPGExtended.dcm", r"with JPEG Extended .* pip install 'pylibjpeg\[libjpeg\]'"),
    ],
)
def test_a_compression_without_its_package_is_named(name, said, monkeypatch):
    from pydicom.pixels.common import CoderBase

    monkeypatch.setattr(CoderBase, "is_available", property(lambda self: False))
    refused([SUPPLIED / "test_files" / name], said)


def enhanced(path, heights, **elements):
    """Write a file of several frames with positions of their own."""
    file = dataset(np.stack([np.full((4, 5), height) for height in heights]), **elements)
    file.NumberOfFrames = len(heights)
    del file.ImagePositionPatient, file.ImageOrientationPatient, file.PixelSpacing
    shared = pydicom.Dataset()
    shared.PlaneOrientationSequence = Sequence([pydicom.Dataset()])
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence = Sequence([pydicom.Dataset()])
    shared.PixelMeasuresSequence[0].PixelSpacing = [0.5, 0.75]
    own = []
    for height in heights:
        group = pydicom.Dataset()
        group.PlanePositionSequence = Sequence([pydicom.Dataset()])
        group.PlanePositionSequence[0].ImagePositionPatient = [0, 0, height]
        group.PixelValueTransformationSequence = Sequence([pydicom.Dataset()])
        group.PixelValueTransformationSequence[0].RescaleIntercept = 1000
        group.PixelValueTransformationSequence[0].RescaleSlope = 1
        own.append(group)
    file.SharedFunctionalGroupsSequence = Sequence([shared])
    file.PerFrameFunctionalGroupsSequence = Sequence(own)
    file.save_as(path, enforce_file_format=True)
    return path


def test_the_frames_of_an_enhanced_file_are_sorted_too(tmp_path):
    volume = volume_of([enhanced(tmp_path / "a.dcm", (4, 0, 2))])
    assert volume.geometry.spacing == (2, 0.5, 0.75)
    np.testing.assert_array_equal(volume.values[:, 0, 0], [1000, 1002, 1004])


def test_frames_without_positions_are_no_volume(tmp_path):
    film = dicom(tmp_path / "a.dcm", np.zeros((3, 4, 5)), NumberOfFrames=3)
    refused([film], "holds 3 frames without positions")


def test_missing_slices_are_named(tmp_path):
    said = refused(
        series(tmp_path, heights=(0, 3, 6, 12, 15)),
        r"slices are missing between 'IM2\.dcm' and 'IM3\.dcm', which are 6 mm apart",
    )
    assert said.startswith(f"{tmp_path}: ")
    refused(series(tmp_path / "three", heights=(0, 3, 9)), r"between 'IM1\.dcm' and 'IM2\.dcm'")


def test_slices_at_the_same_place_are_named(tmp_path):
    files = series(tmp_path, heights=(0, 3, 3, 6))
    refused(files, r"'IM1\.dcm' and 'IM2\.dcm' lie at the same place")


def test_uneven_distances_are_refused_and_rounded_ones_are_not(tmp_path):
    refused(series(tmp_path / "a", heights=(0, 3, 6.5, 9.5)), "vary from 3 to 3.5 mm")
    volume_of(series(tmp_path / "b", heights=(0, 0.63, 1.25, 1.88)))


def test_a_slice_beside_the_line_is_refused(tmp_path):
    files = series(tmp_path, heights=(0, 3))
    files.append(dicom(tmp_path / "far.dcm", np.zeros((4, 5)), (0, 40, 6)))
    files.append(dicom(tmp_path / "last.dcm", np.zeros((4, 5)), (0, 0, 9)))
    refused(files, r"'far\.dcm' lies 40 mm beside the line")


@pytest.mark.parametrize(
    "elements, pixels, said",
    [
        ({"SeriesInstanceUID": "1.2.4"}, (4, 5), r"belong to two series \(1\.2\.3 and 1\.2\.4\)"),
        ({}, (4, 6), r"have different sizes \(4 x 5 and 4 x 6 pixels\)"),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, (4, 5), "look in different directions"),
        ({"PixelSpacing": [0.5, 0.5]}, (4, 5), "have pixels of different sizes"),
        ({"ImagePositionPatient": None}, (4, 5), r"other\.dcm: has no ImagePositionPatient"),
    ],
)
def test_slices_of_two_volumes_are_refused(tmp_path, elements, pixels, said):
    files = series(tmp_path, heights=(0, 3))
    files.append(dicom(tmp_path / "other.dcm", np.zeros(pixels), (0, 0, 6), **elements))
    refused(files, said)


def test_several_pictures_without_a_place_are_refused(tmp_path):
    files = series(tmp_path, ImagePositionPatient=None)
    refused(files, r"IM0\.dcm: has no ImagePositionPatient")


@pytest.mark.parametrize(
    "elements, said",
    [
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"}, r"is a DICOM segmentation \(SEG\)"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.2"}, r"holds no picture \(RT Dose"),
        ({"Rows": None}, "holds no picture"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, r"a colour picture \(RGB\)"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, r"a colour picture \(PALETTE COLOR\)"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "MOSAIC"]}, "is a mosaic of slices"),
        ({"ModalityLUTSequence": Sequence([pydicom.Dataset()])}, "look-up table"),
        ({"PixelSpacing": None}, "has no usable PixelSpacing"),
        ({"PixelSpacing": [0, 1]}, "has no usable PixelSpacing"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "not two directions at a right angle"),
        ({"RescaleSlope": 0}, "has a RescaleSlope of 0"),
        ({"Rows": 60000, "Columns": 60000}, "claims 1 x 60000 x 60000 voxels, more than"),
        ({"Rows": 4000}, "claims 1 x 4000 x 50 voxels, which"),
        ({"PixelData": bytes(12)}, "claims 1 x 40 x 50 voxels, which"),
        ({"NumberOfFrames": 2}, "claims 2 x 40 x 50 voxels, which"),
    ],
)
def test_what_is_no_slice_is_refused_in_a_sentence(tmp_path, elements, said):
    path = dicom(tmp_path / "a.dcm", np.zeros((40, 50)), **elements)
    assert refused([path], said).startswith(f"{path}: ")


def test_cut_off_and_other_files_are_refused(tmp_path):
    path = dicom(tmp_path / "a.dcm", np.zeros((40, 50)))
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    refused([path], "claims|damaged or cut off")
    path.write_bytes(content[:200])
    refused([path], "damaged or cut off|does not say its transfer syntax|holds no picture")
    path.write_bytes(b"hello" * 100)
    refused([path], "is not a DICOM file")
    refused([tmp_path / "gone.dcm"], "no such file")
    refused([SUPPLIED / "test_files" / "image_dfl.dcm"], "is deflated as a whole")


def test_a_missing_package_is_told(tmp_path, monkeypatch):
    path = dicom(tmp_path / "a.dcm", np.zeros((4, 5)))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    refused([path], r"DICOM files need pydicom, .* pip install 'gossamer-keras\[medical\]'")


def test_a_mask_of_a_series_lies_on_its_slices(tmp_path):
    import nibabel

    files = series(tmp_path, heights=(6, 0, 3))
    volume = volume_of(files)
    mask = nibabel.load(write_labels(tmp_path / "m.nii.gz", volume.values == 6, volume.geometry))
    (marked,) = {tuple(index) for index in np.argwhere(mask.get_fdata())[:, 2:]}
    assert (mask.affine @ [0, 0, marked[0], 1])[2] == pytest.approx(6)


@pytest.mark.filterwarnings("ignore")  # of padding and the like
def test_every_file_that_pydicom_supplies_is_read_or_refused_in_a_sentence():
    files = [file for file in SUPPLIED.rglob("*.dcm") if file.stat().st_size < 300_000]
    assert len(files) > 100
    read = 0
    for file in files:
        try:
            volume = read_volume(sample(file))
        except UserError as error:
            assert str(error).startswith(f"{file}: ") and str(error).endswith(".")
        else:
            assert volume.values.shape == volume.geometry.shape == read_geometry(sample(file)).shape
            read += 1
    assert read > 20
