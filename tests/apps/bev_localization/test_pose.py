"""Keypoints, features, matches, RANSAC and errors are the published ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from golden_files import GOLDEN
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.bev_localization.images.density import density_image
from apps.bev_localization.images.recipes import RECIPES
from apps.bev_localization.pose.errors import (
    planar,
    pose_error,
    pose_scores,
    relative_truth,
    succeeds,
)
from apps.bev_localization.pose.estimation import (
    LocalView,
    estimate_pose,
    inlier_distance,
    local_view,
)
from apps.bev_localization.pose.features import features_at, interpolated
from apps.bev_localization.pose.keypoints import fast_keypoints, metric_points
from apps.bev_localization.pose.matching import nearest
from apps.bev_localization.pose.rigid import as_square, fit_rigid, heading, ransac_rigid

PLACE = RECIPES["place40"]


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "bevplace-plus-plus__algorithms.npz", allow_pickle=False) as data:
        return dict(data)


@pytest.fixture(scope="module")
def images():
    with np.load(GOLDEN / "bevplace-plus-plus__bev-images.npz", allow_pickle=False) as data:
        return dict(data)


def rigid(degrees, x, y):
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cos, -sin, x], [sin, cos, y]])


def moved(transform, points):
    return points @ transform[:, :2].T + transform[:, 2]


def test_corners_are_the_published_ones_in_their_order(golden, images):
    cases = [key for key in golden if key.startswith("fast/")]
    assert len(cases) == 8
    for key in cases:
        _, kind, cloud, threshold = key.split("/")
        found = fast_keypoints(images[f"{kind}/{cloud}"], threshold=int(threshold[1:]))
        np.testing.assert_array_equal(np.c_[found.pixels, found.responses], golden[key])


def test_an_image_without_corners_has_none():
    found = fast_keypoints(np.zeros((20, 20), np.uint8))
    assert len(found) == 0 and found.pixels.shape == (0, 2)
    with pytest.raises(ValueError, match="float64"):
        fast_keypoints(np.zeros((20, 20)))


def test_pixels_lie_where_their_points_were():
    points = np.array([[12.31, -7.77, 0.0]])
    ((row, column),) = np.argwhere(density_image(points, PLACE))
    corner = metric_points(np.array([[column, row]]), PLACE)[0]
    assert np.all((corner <= points[0, :2]) & (points[0, :2] < corner + PLACE.resolution))


@pytest.mark.parametrize("size", [(9, 9), (25, 25), (4, 4), (16, 20)])
def test_features_are_interpolated_as_a_dense_map_would_be(golden, size):
    small = golden["warp/x"][0].transpose(1, 2, 0)
    pixels = np.stack(np.meshgrid(np.arange(size[1]), np.arange(size[0])), -1).reshape(-1, 2)
    expected = golden[f"resize/{size[0]}x{size[1]}"][0].transpose(1, 2, 0)
    found = interpolated(small, pixels, size).reshape(expected.shape)
    np.testing.assert_allclose(found, expected, atol=5e-6)


def test_features_have_unit_length_and_nothing_stays_nothing(golden):
    small = np.random.default_rng(0).standard_normal((5, 5, 8)).astype(np.float32)
    pixels = np.array([[0, 0], [7, 3], [20, 20]])
    found = features_at(small, pixels, 21)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(found[2], small[4, 4] / np.linalg.norm(small[4, 4]), atol=1e-6)
    assert not features_at(np.zeros_like(small), pixels, 21).any()


def test_the_nearest_of_equals_is_the_first():
    base = np.random.default_rng(0).standard_normal((6, 16)).astype(np.float32)
    assert nearest(base[[4, 2]], np.concatenate([base, base])).tolist() == [4, 2]
    assert nearest(base[:0], base).shape == (0,)
    with pytest.raises(ValueError, match="must hold a feature"):
        nearest(base, base[:0])
    with pytest.raises(ValueError, match="Received"):
        nearest(base, base[:, :3])


def test_ransac_replays_the_published_run(golden):
    points = [golden[f"ransac/points{i}"][:, ::-1] for i in (1, 2)]
    found = ransac_rigid(*points, seed=0)
    np.testing.assert_array_equal(found.inliers, golden["ransac/mask"])
    assert found.inliers.sum() == golden["ransac/count"]
    np.testing.assert_allclose(found.transform, golden["ransac/mat"], atol=1e-12)


@pytest.mark.parametrize("name", ["svd", "svd2"])
def test_the_closed_form_is_the_published_fit(golden, name):
    found = fit_rigid(golden[f"{name}/src"], golden[f"{name}/dst"])
    np.testing.assert_allclose(found, golden[f"{name}/mat"], atol=1e-12)


def test_one_pair_drawn_twice_turns_nothing():
    found = fit_rigid(np.array([[1.0, 2], [1, 2]]), np.array([[5.0, 7], [5, 7]]))
    np.testing.assert_allclose(found, [[1, 0, 4], [0, 1, 5]])


@settings(max_examples=25, deadline=None)
@given(st.floats(-180, 180), st.floats(-50, 50), st.floats(-50, 50), st.integers(0, 1000))
def test_a_rigid_move_is_found_again_among_outliers(degrees, x, y, seed):
    rng = np.random.default_rng(seed)
    source = rng.uniform(-40, 40, (60, 2))
    target = moved(rigid(degrees, x, y), source)
    target[40:] = rng.uniform(-40, 40, (20, 2))
    found = ransac_rigid(source, target, iterations=300, seed=seed)
    assert found.inliers[:40].all()
    metres, turned = pose_error(found.transform, as_square(rigid(degrees, x, y)))
    assert metres < 0.3 and turned < 0.5


def test_few_matches_and_bad_arguments():
    one = np.array([[3.0, 4.0]])
    np.testing.assert_allclose(ransac_rigid(one, one + 1).transform, [[1, 0, 1], [0, 1, 1]])
    # The two points of any sample are too far off: no consensus, and no error.
    far = ransac_rigid(np.array([[0.0, 0], [1, 0]]), np.array([[0.0, 0], [9, 0]]), threshold=1e-9)
    assert far.inliers.sum() <= 1
    with pytest.raises(ValueError, match="matched points"):
        ransac_rigid(one[:0], one[:0])
    with pytest.raises(ValueError, match="iterations=0"):
        ransac_rigid(one, one, iterations=0)


def test_middles_of_pixels_take_away_the_bias_of_opposite_headings():
    """Random points seen from one place at two headings: corners tell it 0.57 m off."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-28, 28, (400, 2))
    turned = moved(rigid(180, 0, 0), points)
    features = rng.standard_normal((400, 16)).astype(np.float32)
    views = [
        LocalView(100 - np.floor(some / PLACE.resolution).astype(np.int32)[:, ::-1], features)
        for some in (points, turned)
    ]
    truth = as_square(rigid(180, 0, 0))
    plain = estimate_pose(*views, PLACE)
    centred = estimate_pose(*views, PLACE, center_cells=True)
    assert pose_error(plain.transform, truth)[0] == pytest.approx(0.4 * math.sqrt(2), abs=0.05)
    assert pose_error(centred.transform, truth)[0] < 0.05
    assert plain.yaw == pytest.approx(centred.yaw) and abs(abs(plain.yaw) - 180) < 0.2
    assert plain.inlier_count > 300 and plain.matches.tolist() == [[i, i] for i in range(400)]


def rings(image):
    """Return a view with features that know no heading: how much stands in rings around."""
    pixels = fast_keypoints(image).pixels
    rows, columns = np.mgrid[: len(image), : len(image)]
    weight = image.ravel().astype(np.float32)
    found = []
    for column, row in pixels:
        ring = np.minimum(np.hypot(columns - column, rows - row) / 1.5, 24).astype(int)
        found.append(np.sqrt(np.bincount(ring.ravel(), weight, 25)[:24]))
    features = np.array(found, np.float32)
    return LocalView(pixels, features / np.linalg.norm(features, axis=1, keepdims=True))


def test_two_scans_of_a_street_are_laid_on_each_other(images):
    """At 100 degrees and 3.5 m, with features that were never trained."""
    query, database = (rings(images[f"place_png/{name}"]) for name in ("town_revisit", "town"))
    found = estimate_pose(query, database, PLACE, center_cells=True)
    assert found.inlier_count > 15 and abs(found.yaw) == pytest.approx(100, abs=2)
    assert np.linalg.norm(found.transform[:, 2]) == pytest.approx(3.5, abs=0.4)
    back = estimate_pose(database, query, PLACE, center_cells=True)
    metres, degrees = pose_error(back.transform, np.linalg.inv(as_square(found.transform)))
    assert metres < 0.5 and degrees < 2


def test_without_keypoints_there_is_no_pose(images):
    small = np.random.default_rng(0).standard_normal((26, 26, 8)).astype(np.float32)
    full = local_view(images["place_png/town"], small)
    empty = local_view(np.zeros((201, 201), np.uint8), small)
    assert len(full.pixels) == 253 and full.features.shape == (253, 8)
    assert estimate_pose(full, empty, PLACE) is None
    assert estimate_pose(empty, full, PLACE) is None


def test_errors_are_those_of_the_published_protocol(golden):
    truth = relative_truth(golden["pose/query"], golden["pose/db"])
    np.testing.assert_allclose(truth, golden["pose/relative_gt"], atol=1e-12)
    metres, degrees = pose_error(golden["pose/H"], truth)
    assert metres == pytest.approx(float(golden["pose/err_trans_m"]), abs=1e-9)
    assert degrees == pytest.approx(float(golden["pose/err_deg"]), abs=1e-9)
    assert heading(planar(np.eye(4))) == 0


def test_means_stand_under_their_own_names():
    scores = pose_scores([(0.5, 4.0), (1.5, 2.0), (2.0, 1.0), (0.1, 5.0), None])
    assert scores.queries == 5 and scores.rate == pytest.approx(0.4)
    assert (scores.mean_metres, scores.mean_degrees) == (1.0, 3.0)
    assert (scores.median_metres, scores.median_degrees) == (1.0, 3.0)
    assert succeeds([1.9, 2.0], [4.9, 4.9]).tolist() == [True, False]
    assert pose_scores([None]).rate == 0 and math.isnan(pose_scores([None]).mean_metres)
    assert math.isnan(pose_scores([]).rate)


def test_matches_are_those_of_opencv_whatever_a_product_rounds():
    import cv2

    rng = np.random.default_rng(1)
    database = rng.standard_normal((300, 128), dtype=np.float32)
    database /= np.linalg.norm(database, axis=1, keepdims=True)
    database[200:250] = database[:50]  # of equals the first
    database[250:] = database[:50] + np.float32(1e-6) * rng.standard_normal((50, 128))
    query = np.concatenate([database, np.float32(3) * database[::-1], np.zeros((3, 128), "f4")])
    _, expected = cv2.batchDistance(query, database, cv2.CV_32F, normType=cv2.NORM_L2, K=1)
    np.testing.assert_array_equal(nearest(query, database), expected[:, 0])


def test_the_consensus_is_that_of_counting_one_by_one():
    rng = np.random.default_rng(2)
    source = rng.uniform(-40, 40, (90, 2))
    target = moved(rigid(150, 1.0, -2.0), source) + rng.normal(0, 0.2, (90, 2))
    target[30:] = rng.uniform(-40, 40, (60, 2))
    found = ransac_rigid(source, target, iterations=200, seed=5)
    pairs = np.random.RandomState(5).randint(0, 90, (200, 3))[:, :2]
    best = np.zeros(90, bool)
    for pair in pairs:
        fit = fit_rigid(source[pair], target[pair])
        agree = np.linalg.norm(moved(fit, source) - target, axis=1) < 0.5
        best = agree if agree.sum() > best.sum() else best
    np.testing.assert_array_equal(found.inliers, best)
    np.testing.assert_allclose(found.transform, fit_rigid(source[best], target[best]), atol=1e-12)


def test_what_agrees_grows_with_the_pixels():
    """Whole pixels of 0.8 m agree with the true motion as those of 0.4 m do, at twice the miss."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-25, 25, (200, 2))
    features = rng.standard_normal((200, 16)).astype(np.float32)
    truth = rigid(173.0, 3.1, -1.7)
    shares = {}
    for name in ("place40", "coarse40"):
        chosen = RECIPES[name]

        def view(where, chosen=chosen):
            pixels = chosen.side // 2 - np.floor(where[:, ::-1] / chosen.resolution)
            return LocalView(pixels.astype(np.int32), features)

        for metres in (0.5, None):
            found = estimate_pose(
                view(points), view(moved(truth, points)), chosen, threshold=metres
            )
            shares[name, metres] = found.inlier_count / len(points)
    assert inlier_distance(PLACE) == 0.5  # the published one
    assert shares["place40", None] == shares["place40", 0.5] > 0.85
    assert shares["coarse40", 0.5] < 0.75 and shares["coarse40", None] > 0.85
