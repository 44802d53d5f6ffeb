"""NIfTI as scanners, downloads and other programs leave it, and masks written onto it."""

import gzip
import struct
import sys

import nibabel
import numpy as np
import pytest
from volume_data import nifti, sample

from apps.medical_segmentation.volumes.geometry import Geometry
from apps.medical_segmentation.volumes.nifti import write_labels
from apps.medical_segmentation.volumes.reading import read_geometry, read_volume
from core.errors import UserError

VALUES = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
PLAIN = nibabel.Nifti1Image(VALUES, np.diag([2.0, 3, 4, 1])).to_bytes()


def patched(*changes, content=PLAIN):
    """Return a file with other bytes: (offset, format, values...) each."""
    content = bytearray(content)
    for offset, form, *values in changes:
        struct.pack_into(form, content, offset, *values)
    return bytes(content)


def read(tmp_path, content, name="a.nii"):
    path = tmp_path / name
    path.write_bytes(content)
    return read_volume(sample(path))


def test_a_volume_is_turned_and_has_its_spacing(tmp_path):
    volume = read(tmp_path, PLAIN)
    assert volume.values.dtype == np.int16 and volume.values.flags.c_contiguous
    assert volume.geometry.spacing == (4, 3, 2) and volume.geometry.known
    np.testing.assert_array_equal(volume.values, VALUES.transpose(2, 1, 0)[:, ::-1, ::-1])


@pytest.mark.parametrize("content", [PLAIN, gzip.compress(PLAIN)], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_the_content_decides_whether_it_is_compressed(tmp_path, name, content):
    assert read(tmp_path, content, name).values.max() == 59


def test_big_endian_and_version_2_are_read(tmp_path):
    header = nibabel.Nifti1Header(endianness=">")
    other = nibabel.Nifti1Image(VALUES.astype(">i2"), np.eye(4), header).to_bytes()
    np.testing.assert_array_equal(read(tmp_path, other).values, read(tmp_path, PLAIN).values)
    other = nibabel.Nifti2Image(VALUES, np.eye(4)).to_bytes()
    np.testing.assert_array_equal(read(tmp_path, other).values, read(tmp_path, PLAIN).values)


@pytest.mark.parametrize(
    "slope, intercept, dtype, last",
    [
        (1, -1024, np.int16, -965),
        (0.5, 0, np.float32, 29.5),
        (0, 7, np.int16, 59),  # the standard: no scale
        (np.nan, np.nan, np.int16, 59),
        (1000, 0, np.float32, 59000),
    ],
)
def test_values_are_scaled_and_whole_ones_stay_whole(tmp_path, slope, intercept, dtype, last):
    values = read(tmp_path, patched((112, "<2f", slope, intercept))).values
    assert values.dtype == dtype and values.max() == last


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
def test_whole_numbers_of_any_type_that_fit_become_int16(tmp_path, dtype):
    path = nifti(tmp_path / "a.nii", VALUES.astype(dtype))
    assert read_volume(sample(path)).values.dtype == np.int16


def test_values_beyond_int16_become_float32_exactly(tmp_path):
    values = VALUES.astype(np.uint16)
    values[-1, -1, -1] = 60000  # in the last slice: those before are converted again
    path = nifti(tmp_path / "a.nii", values)
    read_back = read_volume(sample(path)).values
    assert read_back.dtype == np.float32
    np.testing.assert_array_equal(read_back, read_geometry(sample(path)).oriented(values))


def test_nan_is_what_was_not_measured(tmp_path):
    values = np.full((3, 4, 5), 0.5, np.float32)
    values[0], values[1, 0, 0] = np.nan, -2.5
    volume = read_volume(sample(nifti(tmp_path / "a.nii", values)))
    stored = volume.geometry.as_stored(volume.values)
    assert (stored[0] == -2.5).all() and stored[2, 0, 0] == 0.5


def test_a_file_without_codes_is_taken_as_stored_with_its_voxel_sizes(tmp_path):
    volume = read(tmp_path, patched((252, "<2h", 0, 0), (80, "<3f", -2, 3, 4)))
    assert not volume.geometry.known and volume.geometry.spacing == (4, 3, 2)
    np.testing.assert_array_equal(volume.values, VALUES.transpose(2, 1, 0))


def test_the_qform_counts_where_there_is_no_sform(tmp_path):
    volume = read(tmp_path, patched((252, "<2h", 1, 0)))
    assert volume.geometry.known
    np.testing.assert_allclose(volume.geometry.affine, np.diag([2.0, 3, 4, 1]))


def test_one_slice_and_a_fourth_axis_of_one_are_volumes(tmp_path):
    flat = nifti(tmp_path / "a.nii", VALUES[:, :, 0])
    assert read_volume(sample(flat)).values.shape == (1, 4, 3)
    long = nifti(tmp_path / "b.nii", VALUES[..., None])
    assert read_volume(sample(long)).values.shape == (5, 4, 3)


DAMAGED = "cannot be read as NIfTI, it is damaged or cut off"
BAD = {
    "empty": (b"", "is empty"),
    "empty_gzip": (gzip.compress(b""), "is empty"),
    "text": (b"hello" * 100, "is not NIfTI"),
    "magic": (patched((344, "4s", b"n+9")), "is not NIfTI"),
    "pair": (patched((344, "4s", b"ni1")), "is the header of a pair of files"),
    "cut": (PLAIN[:-10], DAMAGED),
    "cut_gzip": (gzip.compress(PLAIN)[:-30], DAMAGED),
    "without_checksum": (gzip.compress(PLAIN)[:-8], DAMAGED),
    "wrong_checksum": (gzip.compress(PLAIN)[:-8] + bytes(8), DAMAGED),
    "wrong_and_longer": (gzip.compress(PLAIN + b"more")[:-8] + bytes(8), DAMAGED),
    "terabytes": (
        patched((40, "<8h", 3, 32767, 32767, 32767, 1, 1, 1, 1)),
        "claims 32767 x 32767 x 32767 voxels, more than",
    ),
    "gigabytes": (
        patched((40, "<8h", 3, 512, 512, 512, 1, 1, 1, 1)),
        "claims 512 x 512 x 512 voxels, which 472 bytes cannot hold",
    ),
    "gigabytes_gzip": (
        gzip.compress(patched((40, "<8h", 3, 512, 512, 512, 1, 1, 1, 1))),
        "cannot hold, so it is cut off or damaged",
    ),
    "negative_side": (patched((42, "<h", -3)), "claims -3 x 4 x 5 voxels, which is no volume"),
    "one_axis": (patched((40, "<h", 1)), "claims 3 voxels, which is no volume"),
    "nine_axes": (patched((40, "<h", 9)), DAMAGED),
    "unknown_type": (patched((70, "<h", 9999)), DAMAGED),
    "offset_nan": (patched((108, "<f", np.nan)), DAMAGED),
    "offset_beyond": (patched((108, "<f", 1e9)), DAMAGED),
    "intercept_nan": (patched((112, "<2f", 2, np.nan)), DAMAGED),
    "sform_zero": (patched((280, "<12f", *[0] * 12)), "its affine has an axis of no length"),
    "sform_nan": (patched((280, "<f", np.nan)), "its affine holds NaN"),
    "qform_wrong": (patched((252, "<2h", 1, 0), (256, "<3f", 2, 2, 2)), DAMAGED),
    "no_size": (patched((252, "<2h", 0, 0), (80, "<f", 0)), "has voxels of 0 x 3 x 4 mm and no"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_in_a_sentence(tmp_path, name):
    content, said = BAD[name]
    with pytest.raises(UserError, match=said) as caught:
        read(tmp_path, content)
    assert str(caught.value).startswith(str(tmp_path / "a.nii")) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "values, said",
    [
        (np.zeros((3, 4, 5, 2), np.int16), "holds 2 volumes"),
        (np.zeros((3, 4, 5), np.complex64), "holds complex numbers"),
        (np.zeros((3, 4, 5), [(c, "u1") for c in "RGB"]), "holds colours"),
        (np.full((3, 4, 5), np.inf, np.float32), "infinite values"),
        (np.full((3, 4, 5), 1e300), "infinite values or values beyond float32"),
        (np.full((3, 4, 5), np.nan, np.float32), "no voxel with a value"),
    ],
)
def test_what_is_no_grey_volume_is_refused(tmp_path, values, said):
    with pytest.raises(UserError, match=said):
        read_volume(sample(nifti(tmp_path / "a.nii.gz", values)))


def test_a_missing_file_or_package_is_told(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"a\.nii: no such file; check the path\."):
        read_volume(sample(tmp_path / "a.nii"))
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(UserError) as caught:
        read(tmp_path, PLAIN)
    assert str(caught.value) == (
        "NIfTI files need nibabel, which is not installed; install with: pip install "
        "'gossamer-keras[medical]'."
    )


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR", "SAL"])
def test_a_mask_opens_in_other_programs_onto_its_image(tmp_path, axes):
    wanted = nibabel.orientations.axcodes2ornt(axes)
    image = nibabel.Nifti1Image(VALUES, np.diag([2.0, 3, 4, 1])).as_reoriented(wanted)
    image.to_filename(tmp_path / "a.nii.gz")
    volume = read_volume(sample(tmp_path / "a.nii.gz"))
    path = write_labels(tmp_path / "m.nii.gz", volume.values > 30, volume.geometry)
    mask = nibabel.load(path)
    assert mask.shape == image.shape and mask.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(mask.affine, image.affine)
    np.testing.assert_allclose(mask.get_qform(), image.affine, atol=1e-5)
    assert mask.header["sform_code"] > 0 and mask.header["qform_code"] > 0
    np.testing.assert_array_equal(mask.get_fdata() > 0, image.get_fdata() > 30)


def test_the_same_mask_gives_the_same_bytes(tmp_path):
    geometry = Geometry(np.eye(4), (3, 4, 5))
    mask = np.ones(geometry.shape, np.uint8)
    first = write_labels(tmp_path / "a.nii.gz", mask, geometry).read_bytes()
    assert write_labels(tmp_path / "b.nii.gz", mask, geometry).read_bytes() == first


def test_a_sheared_affine_is_written_as_it_is(tmp_path):
    affine = np.diag([1.0, 1, 3, 1])
    affine[1, 2] = 0.8  # a tilted gantry
    geometry = Geometry(affine, (3, 4, 5))
    path = write_labels(tmp_path / "m.nii.gz", np.ones((5, 4, 3), bool), geometry)
    image = nibabel.load(path)
    np.testing.assert_allclose(image.affine, affine, atol=1e-6)
    assert image.header["qform_code"] == 0


def test_a_mask_of_a_file_without_a_place_opens_where_that_opens(tmp_path):
    (tmp_path / "a.nii").write_bytes(patched((252, "<2h", 0, 0)))
    geometry = read_geometry(sample(tmp_path / "a.nii"))
    path = write_labels(tmp_path / "m.nii.gz", np.ones(geometry.shape, np.uint8), geometry)
    image, mask = nibabel.load(tmp_path / "a.nii"), nibabel.load(path)
    np.testing.assert_array_equal(mask.affine, image.affine)
    assert mask.header["sform_code"] == mask.header["qform_code"] == 0


def test_a_side_beyond_version_1_is_written_in_version_2(tmp_path):
    geometry = Geometry(np.eye(4), (40000, 1, 1))
    path = write_labels(tmp_path / "m.nii.gz", np.ones(geometry.shape, np.uint8), geometry)
    assert nibabel.load(path).shape == (40000, 1, 1)


def test_a_mask_of_another_grid_is_refused(tmp_path):
    geometry = Geometry(np.eye(4), (3, 4, 5))
    with pytest.raises(ValueError, match=r"`mask` must be uint8 or bool \(5, 4, 3\)"):
        write_labels(tmp_path / "m.nii.gz", np.ones((3, 4, 5), np.uint8), geometry)
    with pytest.raises(ValueError, match=r"must end in \.nii\.gz"):
        write_labels(tmp_path / "m.nii", np.ones((5, 4, 3), np.uint8), geometry)
