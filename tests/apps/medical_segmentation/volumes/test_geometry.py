"""Any order and direction of a file's axes becomes the same picture, and goes back."""

from itertools import permutations, product

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from apps.medical_segmentation.volumes.geometry import Geometry

SHAPE = (3, 4, 5)
# All 48 orders and directions of the axes.
AXES = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def affine_of(order, signs, sides=(1.5, 2, 2.5)):
    """Return the affine of a file whose axes go along x, y, z in an order and with signs."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (place, sign) in enumerate(zip(order, signs, strict=True)):
        affine[place, axis] = sign * sides[axis]
    affine[:3, 3] = (10, -20, 30)
    return affine


def places(affine):
    """Return the millimetres (x, y, z) of every voxel of a file, (I, J, K, 3)."""
    indices = np.moveaxis(np.indices(SHAPE), 0, -1)
    return indices @ affine[:3, :3].T + affine[:3, 3]


@pytest.mark.parametrize("order, signs", AXES)
def test_slices_go_up_rows_to_the_back_columns_to_the_left(order, signs):
    affine = affine_of(order, signs)
    geometry = Geometry(affine, SHAPE)
    oriented = geometry.oriented(places(affine))
    assert oriented.shape == (*geometry.shape, 3)
    x, y, z = np.moveaxis(oriented, -1, 0)
    np.testing.assert_allclose(np.diff(z, axis=0), geometry.spacing[0])
    np.testing.assert_allclose(np.diff(y, axis=1), -geometry.spacing[1])
    np.testing.assert_allclose(np.diff(x, axis=2), -geometry.spacing[2])
    assert sorted(geometry.spacing) == [1.5, 2, 2.5]


@pytest.mark.parametrize("order, signs", AXES)
def test_values_come_back_in_the_order_of_the_file(order, signs):
    geometry = Geometry(affine_of(order, signs), SHAPE)
    stored = np.arange(60).reshape(SHAPE)
    oriented = geometry.oriented(stored)
    np.testing.assert_array_equal(geometry.as_stored(oriented), stored)
    assert np.shares_memory(oriented, stored)
    channels = np.stack([stored, -stored], axis=-1)
    np.testing.assert_array_equal(geometry.as_stored(geometry.oriented(channels)), channels)


@pytest.mark.parametrize("order, signs", AXES)
def test_a_voxel_lies_at_the_same_place_in_both_orders(order, signs):
    affine = affine_of(order, signs)
    geometry = Geometry(affine, SHAPE)
    indices = np.moveaxis(np.indices(geometry.shape), 0, -1)
    own = geometry.oriented_affine
    reached = indices @ own[:3, :3].T + own[:3, 3]
    np.testing.assert_allclose(reached, geometry.oriented(places(affine)))


def test_an_oblique_volume_takes_the_nearest_axes_and_keeps_its_affine():
    affine = affine_of((2, 0, 1), (1, -1, 1))
    straight = Geometry(affine, SHAPE)
    turn = Rotation.from_euler("xyz", (12, -20, 9), degrees=True).as_matrix()
    oblique = np.array(affine)
    oblique[:3, :3] = turn @ affine[:3, :3]
    geometry = Geometry(oblique, SHAPE)
    assert geometry.axes == straight.axes
    np.testing.assert_allclose(geometry.spacing, straight.spacing)
    np.testing.assert_array_equal(geometry.affine, oblique)


def test_two_axes_never_become_one_however_oblique():
    for turn in Rotation.random(200, random_state=0).as_matrix():
        affine = np.eye(4)
        affine[:3, :3] = turn
        assert sorted(Geometry(affine, SHAPE).axes[0]) == [0, 1, 2]


def test_the_distance_of_two_grids_is_that_of_their_farthest_corners():
    geometry = Geometry(np.diag([2.0, 2, 2, 1]), SHAPE)
    moved = np.diag([2.0, 2, 2, 1])
    moved[:3, 3] = (3, 4, 0)
    assert geometry.distance(Geometry(moved, SHAPE)) == pytest.approx(5)
    longer = np.diag([2.0, 2, 2.5, 1])
    assert geometry.distance(Geometry(longer, SHAPE)) == pytest.approx(4 * 0.5)


def test_the_same_grid_stored_in_another_order_is_no_distance_away():
    values = np.arange(60).reshape(SHAPE)
    geometry = Geometry(np.diag([2.0, 3, 4, 1]), SHAPE)
    turned = geometry.oriented_affine
    other = Geometry(turned, geometry.shape)
    assert other.shape == geometry.shape and other.distance(geometry) == pytest.approx(0)
    again = other.oriented(geometry.oriented(values))
    np.testing.assert_array_equal(again, geometry.oriented(values))


@pytest.mark.parametrize(
    "affine, said",
    [
        (np.zeros((4, 4)), "does not end in the row"),
        (np.diag([1.0, 0, 1, 1]), "no length"),
        (np.diag([1.0, np.nan, 1, 1]), "NaN"),
        (np.eye(3), "4 x 4"),
        (np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), "in one plane"),
    ],
)
def test_an_affine_that_places_nothing_is_refused(affine, said):
    with pytest.raises(ValueError, match=said):
        Geometry(affine, SHAPE)


def test_values_of_another_shape_are_refused():
    geometry = Geometry(np.eye(4), SHAPE)
    with pytest.raises(ValueError, match=r"`stored` must be \(3, 4, 5\) voxels"):
        geometry.oriented(np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"`oriented` must be \(5, 4, 3\) voxels"):
        geometry.as_stored(np.zeros(SHAPE))
