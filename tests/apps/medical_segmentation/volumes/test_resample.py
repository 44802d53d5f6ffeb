"""Volumes on another grid."""

import numpy as np
import pytest

from apps.medical_segmentation.volumes.resample import (
    planes,
    resample_grey,
    resample_labels,
    shape_at,
    spacing_of,
)
from core.errors import UserError


def test_a_spacing_is_one_number_or_three():
    assert spacing_of(1.5) == (1.5, 1.5, 1.5) == spacing_of([1.5, 1.5, 1.5])
    assert spacing_of((3, 1, 1)) == (3, 1, 1)
    assert spacing_of(0) is None is spacing_of([0, 0, 0])


@pytest.mark.parametrize("value", [-1, [1, 2], [1, 0, 1], "1 mm", None, True, [1, 1, float("inf")]])
def test_other_spacings_are_refused(value):
    with pytest.raises(UserError, match=r"^The spacing is .*; pass millimetres between voxels"):
        spacing_of(value)


def test_a_grid_covers_the_same_box():
    assert shape_at((40, 512, 512), (5, 0.7, 0.7), (1.5, 1.4, 1.4)) == (133, 256, 256)
    assert shape_at((40, 512, 512), (5, 0.7, 0.7), None) == (40, 512, 512)
    assert shape_at((1, 2, 2), (1, 1, 1), (9, 9, 9)) == (1, 1, 1)


def test_a_spacing_that_is_far_too_fine_is_refused_before_memory_is():
    with pytest.raises(
        UserError, match=r"0.01 x 0.01 x 0.01 mm .*fit in no memory; choose a larger"
    ):
        shape_at((400, 512, 512), (1, 1, 1), (0.01, 0.01, 0.01))


def test_grey_levels_are_interpolated_along_every_axis():
    ramp = np.add.outer(np.add.outer(np.arange(8) * 16.0, np.arange(6) * 8), np.arange(4) * 4)
    found = resample_grey(ramp.astype(np.uint8), (16, 12, 8)).astype(float)
    # Centres of halved voxels lie a quarter beside the old ones.
    expected = (
        (8 * np.arange(16) - 4)[:, None, None]
        + (4 * np.arange(12) - 2)[:, None]
        + (2 * np.arange(8) - 1)
    )
    inner = (slice(1, -1),) * 3
    assert np.abs(found - expected)[inner].max() <= 0.5
    assert found.min() == 0 and found.max() == ramp.max()  # repeated beyond the edge


@pytest.mark.parametrize("shape", [(11, 9, 5), (3, 4, 2), (7, 6, 10)])
def test_no_axis_is_treated_otherwise_than_another(shape):
    values = np.random.default_rng(0).integers(0, 256, (7, 6, 5), np.uint8)
    turned = resample_grey(np.ascontiguousarray(values.transpose(2, 1, 0)), shape[::-1])
    found = resample_grey(values, shape)
    assert np.abs(found.astype(int) - turned.transpose(2, 1, 0)).max() <= 1


def test_a_volume_on_its_own_grid_is_left_alone():
    values = np.zeros((3, 4, 5), np.uint8)
    assert resample_grey(values, (3, 4, 5)) is values
    assert resample_labels(values, (3, 4, 5)) is values


def test_labels_stay_classes():
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[2:, :, :], labels[0, 0, 0] = 5, 200
    found = resample_labels(labels, (8, 6, 4))
    assert set(np.unique(found)) == {0, 5, 200}
    assert (found[4:] == 5).all() and np.argwhere(found == 200).tolist() == [[0, 0, 0], [1, 0, 0]]
    assert (resample_labels(found, (4, 4, 4)) == labels).all()


def test_planes_between_are_mixed_by_their_distance():
    logits = np.array([[0.0, 10.0], [4.0, 30.0]], np.float32)
    found = list(planes(logits, 4))
    np.testing.assert_allclose(found, [[0, 10], [1, 15], [3, 25], [4, 30]])
    np.testing.assert_array_equal(list(planes(logits, 1)), [[2, 20]])
    assert all(a is not None for a in planes(logits, 2))
