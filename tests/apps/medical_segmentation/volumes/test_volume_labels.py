"""Labels are read onto the grid of their volume, and refused where they do not belong to it."""

import nibabel
import numpy as np
import pytest
from volume_data import nifti, sample, series

from apps.medical_segmentation.volumes.reading import read_labels, read_volume
from core.data.index import Sample
from core.errors import UserError

RANDOM = np.random.default_rng(0)
VALUES = RANDOM.integers(0, 3, (3, 4, 5)).astype(np.int16)
AFFINE = np.diag([2.0, 3, 4, 1])


@pytest.fixture
def image(tmp_path):
    """Return an image whose values are its labels times 100."""
    return nifti(tmp_path / "a.nii.gz", VALUES * 100, AFFINE)


def labels(path, values=VALUES, affine=AFFINE, **header):
    return nifti(path, np.asarray(values, np.uint8), affine, **header)


def test_labels_lie_on_the_volume(image, tmp_path):
    case = sample(image, labels(tmp_path / "m.nii.gz"))
    found = read_labels(case, 3)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found * 100, read_volume(case).values)


@pytest.mark.parametrize("axes", ["LPS", "PIR", "SAL", "IRA"])
def test_labels_stored_in_another_order_are_turned(image, tmp_path, axes):
    ornt = nibabel.orientations.axcodes2ornt(axes)
    stored = nibabel.Nifti1Image(VALUES.astype(np.uint8), AFFINE).as_reoriented(ornt)
    stored.to_filename(tmp_path / "m.nii.gz")
    case = sample(image, tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(read_labels(case, 3) * 100, read_volume(case).values)


def test_labels_of_a_series_are_turned(tmp_path):
    files = series(tmp_path / "scan", heights=(0, 3, 6))
    affine = np.diag([0.75, 0.5, 3, 1])  # as programs write it that turn rows and columns
    affine[:2, 3] = (-3, -1.5)
    stored = labels(tmp_path / "m.nii.gz", np.arange(60).reshape(5, 4, 3) % 3, affine)
    found = read_labels(Sample("a", tuple(files), (stored,)), 3)
    np.testing.assert_array_equal(found[:, 0, 0], [0, 1, 2])


def test_of_one_class_what_is_above_0_is_foreground(image, tmp_path):
    values = VALUES.astype(np.float32) * 0.25 - 0.25
    case = sample(image, nifti(tmp_path / "m.nii.gz", values, AFFINE))
    assert read_labels(case, 1).sum() == (VALUES == 2).sum()


def test_several_labels_are_merged(image, tmp_path):
    first = labels(tmp_path / "1.nii.gz", VALUES == 1)
    second = labels(tmp_path / "2.nii.gz", 2 * (VALUES > 0))
    case = sample(image, first, second)
    assert read_labels(case, 1).sum() == (VALUES > 0).sum()
    assert set(np.unique(read_labels(case, 3))) == {0, 2}


@pytest.mark.parametrize(
    "values, said",
    [
        (VALUES + 7, r"m\.nii\.gz' has values \{7, 8, 9\}; expected class indices 0\.\.2"),
        (VALUES - 1, "-1"),
        (VALUES * 0.5, "0.5"),
        (np.where(VALUES > 1, np.nan, 0), "NaN"),
    ],
)
def test_values_that_are_no_classes_are_refused(image, tmp_path, values, said):
    case = sample(image, nifti(tmp_path / "m.nii.gz", values.astype(np.float32), AFFINE))
    with pytest.raises(UserError, match=said):
        read_labels(case, 3)


def test_labels_of_another_shape_are_refused(image, tmp_path):
    case = sample(image, labels(tmp_path / "m.nii.gz", VALUES[:, :3]))
    with pytest.raises(UserError) as caught:
        read_labels(case, 3)
    assert str(caught.value) == (
        f"{tmp_path / 'm.nii.gz'}: has 5 x 3 x 3 voxels (slices x rows x columns), but its image "
        "'a.nii.gz' 5 x 4 x 3; export them on the same grid."
    )


def moved(*millimetres):
    affine = AFFINE.copy()
    affine[:3, 3] = millimetres
    return affine


def test_labels_that_lie_elsewhere_are_refused_with_the_distance(image, tmp_path):
    case = sample(image, labels(tmp_path / "m.nii.gz", affine=moved(0, 3, 4)))
    with pytest.raises(UserError, match=r"m\.nii\.gz: lies up to 5 mm from its image 'a\.nii\.gz'"):
        read_labels(case, 3)
    half = sample(image, labels(tmp_path / "h.nii.gz", affine=moved(1, 0, 0)))
    with pytest.raises(UserError, match="lies up to 1 mm"):  # half a voxel is no rounding
        read_labels(half, 3)
    near = sample(image, labels(tmp_path / "n.nii.gz", affine=moved(0.1, 0.1, 0.1)))
    assert read_labels(near, 3).any()


def test_labels_that_do_not_say_where_they_lie_are_taken_as_stored(image, tmp_path):
    path = tmp_path / "m.nii.gz"
    bare = nibabel.Nifti1Image(VALUES.astype(np.uint8), None)
    bare.to_filename(path)
    case = sample(image, path)
    np.testing.assert_array_equal(read_labels(case, 3) * 100, read_volume(case).values)
    other = sample(path, labels(tmp_path / "l.nii.gz"))
    np.testing.assert_array_equal(read_labels(other, 3), read_volume(other).values)


def test_what_cannot_be_labels_is_refused(image, tmp_path):
    with pytest.raises(UserError, match="'case' has no labels"):
        read_labels(sample(image), 3)
    with pytest.raises(UserError, match="labels of volumes are read from"):
        read_labels(sample(image, tmp_path / "m.dcm"), 3)
    with pytest.raises(UserError, match="Labels of 300 classes cannot be read"):
        read_labels(sample(image, labels(tmp_path / "m.nii.gz")), 300)


def test_several_volumes_of_a_case_are_refused(image):
    with pytest.raises(UserError, match=r"Sample 'a' has 2 volumes \('a\.nii\.gz', 'a\.nii\.gz'"):
        read_volume(Sample("a", (image, image)))
