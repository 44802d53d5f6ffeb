"""Density images are the published ones, pixel by pixel, whatever the points are."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from golden_files import GOLDEN
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.bev_localization.images.density import (
    count_image,
    density_image,
    network_input,
    thinned,
)
from apps.bev_localization.images.recipes import RECIPES, BevRecipe, recipe
from core.errors import UserError

CLOUDS = ("edge", "town", "town_revisit", "blob")
PLACE, LIO = RECIPES["place40"], RECIPES["lio90"]


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "bevplace-plus-plus__bev-images.npz", allow_pickle=False) as data:
        return dict(data)


@pytest.mark.parametrize("name", CLOUDS)
def test_images_are_the_published_ones(golden, name):
    points = golden[f"cloud/{name}"]
    np.testing.assert_array_equal(density_image(points, PLACE), golden[f"place_png/{name}"])
    np.testing.assert_array_equal(count_image(points, LIO), golden[f"lio_count_90/{name}"])
    np.testing.assert_array_equal(density_image(points, LIO), golden[f"lio_png_90/{name}"])
    near = replace(LIO, half_range=65.0)
    np.testing.assert_array_equal(density_image(points, near), golden[f"lio_png_65/{name}"])


@pytest.mark.parametrize("name", CLOUDS)
def test_voxels_are_those_of_open3d_and_pcl(golden, name):
    points = golden[f"cloud/{name}"]
    means = thinned(points, PLACE)
    assert len(means) == golden[f"place_voxel_count/{name}"]
    np.testing.assert_allclose(means.sum(0), golden[f"place_voxel_sum/{name}"], rtol=1e-13)
    assert len(thinned(points, LIO)) == golden[f"lio_voxel_count/{name}"]


@pytest.mark.parametrize(
    "half_range, side, centre", [(40, 201, 100), (30, 151, 75), (25, 126, 62), (50, 251, 125)]
)
def test_the_side_follows_from_the_half_range(half_range, side, centre):
    made = BevRecipe("own", half_range=half_range)
    assert (made.side, made.centre) == (side, centre)
    assert density_image(np.zeros((1, 3), np.float32), made)[centre, centre] == 255


def test_up_is_forward_and_left_is_left():
    forward, left = [[10.1, 0.1, 0]], [[0.1, 10.1, 0]]
    assert np.argwhere(density_image(np.array(forward), PLACE)).tolist() == [[75, 100]]
    assert np.argwhere(density_image(np.array(left), PLACE)).tolist() == [[100, 75]]


def test_a_submap_in_unit_lengths_is_scaled_first(golden):
    points = golden["cloud/town"].astype(np.float64)
    scaled = replace(PLACE, metres_a_unit=64.0)  # a power of two: dividing by it loses nothing
    expected = density_image(points, PLACE)
    np.testing.assert_array_equal(density_image(points / 64, scaled), expected)


def test_the_v1_recipe_leaves_the_ground_and_the_far_points_out():
    across = np.arange(-60, 60) * 0.4 + 0.2
    ground = np.stack([*np.meshgrid(across, across), np.full((120, 120), -1.7)], axis=-1)
    pole = np.c_[np.full((40, 2), 8.2), np.linspace(-1.7, 2, 40)]
    far = pole + np.array([20.0, 0, 0])
    image = density_image(np.concatenate([ground.reshape(-1, 3), pole, far]), RECIPES["place30-v1"])
    assert image.shape == (151, 151) and np.argwhere(image).tolist() == [[55, 55]]


@pytest.mark.parametrize(
    "points",
    [
        np.empty((0, 3), np.float32),
        np.full((5, 3), np.nan, np.float32),
        np.array([[np.inf, 0, 0], [1e30, 0, 0], [0, -1e30, 0]]),
        np.array([[41.0, 0, 0], [0, 0, 40.0]], np.float32),
    ],
)
def test_without_a_point_in_range_the_image_is_black_and_that_is_told(points):
    with pytest.warns(RuntimeWarning, match="left black"):
        image = density_image(points, PLACE)
    assert image.shape == (201, 201) and not image.any()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(RECIPES)))
def test_neither_order_nor_copies_nor_what_is_not_finite_change_which_pixels_count(seed, name):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-30, 30, (300, 3)).round(1) + 0.03
    image = count_image(points, RECIPES[name])
    assert image.max() <= RECIPES[name].cap and image.any()
    odd = np.concatenate([points[::-1], points, np.full((3, 3), np.nan)])
    np.testing.assert_array_equal(count_image(odd, RECIPES[name]), image)


def test_a_hash_tells_recipes_apart_and_no_names():
    hashes = {one.hash for one in RECIPES.values()}
    assert len(hashes) == len(RECIPES)
    assert replace(PLACE, name="mine").hash == PLACE.hash
    assert replace(PLACE, half_range=40).hash == PLACE.hash
    assert replace(PLACE, cap=9).hash not in hashes


def test_wrong_parameters_are_told():
    with pytest.raises(UserError, match="Did you mean 'place40'"):
        recipe("place4")
    assert recipe("lio90") is LIO
    with pytest.raises(ValueError, match="cap=300"):
        BevRecipe("own", 40.0, cap=300)
    with pytest.raises(ValueError, match="alignment='grid'"):
        BevRecipe("own", 40.0, alignment="grid")
    with pytest.raises(ValueError, match="resolution=0"):
        BevRecipe("own", 40.0, resolution=0)
    with pytest.raises(ValueError, match="Received: shape=\\(4, 2\\)"):
        density_image(np.zeros((4, 2)), PLACE)


def test_networks_take_a_256th():
    assert network_input(np.array([[255, 64]], np.uint8)).tolist() == [[255 / 256, 0.25]]


def test_a_large_scan_takes_milliseconds():
    points = np.random.default_rng(0).uniform(-50, 50, (120_000, 3)).astype(np.float32)
    points[:, 2] *= 0.1
    density_image(points, PLACE)  # compiled
    taken = []
    for _ in range(5):
        start = time.thread_time()
        density_image(points, PLACE)
        taken.append(time.thread_time() - start)
    assert min(taken) < 0.03  # twice the aim, for slow machines
