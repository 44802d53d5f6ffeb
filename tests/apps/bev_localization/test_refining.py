"""Two real scans are laid on each other, from images to six degrees of freedom."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from lidar_street import RECIPE, started_engine

from apps.bev_localization.data import READERS
from apps.bev_localization.data.sample import REAL_PAIR, sample_data
from apps.bev_localization.data.samples import pose_of, scan_of
from apps.bev_localization.data.scans import transformed
from apps.bev_localization.images.density import density_image
from apps.bev_localization.maps.localizing import as_pose
from apps.bev_localization.maps.views import view_of
from apps.bev_localization.pose import refining
from apps.bev_localization.pose.estimation import estimate_pose
from apps.bev_localization.pose.refining import refined
from apps.bev_localization.simulator.sensors import load_open3d
from apps.bev_localization.task import TASK
from core.data.readers import read_with
from core.errors import UserError


@pytest.fixture(scope="module")
def pair():
    """Points of the two real scans, and the true pose of the second seen from the first."""
    first, second = read_with(READERS, REAL_PAIR).samples
    return scan_of(first).points, scan_of(second).points, pose_of(second)


def plane(degrees, x=0.0, y=0.0):
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return as_pose(np.array([[cos, -sin, x], [sin, cos, y]]))


def apart(pose, truth):
    """Return metres and degrees between two poses in space."""
    moved = np.linalg.inv(truth) @ pose
    turned = np.arccos(np.clip((np.trace(moved[:3, :3]) - 1) / 2, -1, 1))
    return np.linalg.norm(moved[:3, 3]), np.degrees(turned)


def test_a_rough_guess_becomes_centimetres(pair):
    place, query, truth = pair
    found = refined(place, query, plane(2.0, 0.9, -0.3))
    metres, degrees = apart(found, truth)
    assert metres < 0.02 and degrees < 0.4  # 7 mm, 0.26 degrees
    assert found[2, 3] == pytest.approx(truth[2, 3], abs=0.02)  # which no image tells


@pytest.mark.parametrize("guess", [plane(0, 20.0, 20.0), plane(90.0)])
def test_scans_that_do_not_lie_on_each_other_have_no_pose(pair, guess):
    place, query, _ = pair
    assert refined(place, query, guess) is None


def test_points_without_a_surface_have_no_pose():
    one = np.zeros((3, 3), np.float32)
    assert refined(one, one + 50, np.eye(4)) is None
    assert refined(np.zeros((0, 3), np.float32), one, np.eye(4)) is None


@pytest.mark.parametrize("degrees", [0.0, 180.0])
def test_images_of_real_scans_tell_a_pose_that_can_be_refined(pair, degrees):
    place, query, truth = pair
    turn = plane(degrees)  # as if the vehicle had come from elsewhere
    turned = transformed(query, np.linalg.inv(turn)).astype(np.float32)
    engine = started_engine(list(read_with(READERS, REAL_PAIR).samples))
    images = [density_image(points, RECIPE) for points in (turned, place)]
    outputs = engine(engine.card.normalise(np.stack(images)[..., None]))
    views = [
        view_of(image, [output[i] for output in outputs], name="x").local
        for i, image in enumerate(images)
    ]
    estimate = estimate_pose(*views, RECIPE, center_cells=True)
    guess = as_pose(estimate.transform)
    flat = truth @ turn
    assert np.linalg.norm(guess[:2, 3] - flat[:2, 3]) < RECIPE.resolution
    metres, degrees = apart(refined(place, turned, guess), truth @ turn)
    assert metres < 0.02 and degrees < 0.4


def test_without_the_library_the_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "small_gicp", None)
    with pytest.raises(UserError, match=r"gossamer-keras\[lidar\]"):
        refining.check_installed()


def test_the_sample_data_are_a_town_that_is_driven_twice(monkeypatch, tmp_path):
    try:
        load_open3d()
    except UserError as missing:
        pytest.skip(str(missing))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sample_data.cache_clear()
    try:
        index = TASK.read("sample")
    finally:
        sample_data.cache_clear()
    assert {"train", "val", "test"} <= set(index.counts())
    assert {one.group for one in index.samples} == {"00", "01-opposite"}
    assert index.root.is_relative_to(tmp_path) and "simulation" in " ".join(index.notes)
