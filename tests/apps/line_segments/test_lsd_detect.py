"""Classical LSD: equal to the published segments, near OpenCV's, and safe on odd input."""

from __future__ import annotations

import math
import subprocess
import sys

import cv2
import numpy as np
import pytest
from golden_files import GOLDEN

from apps.line_segments.detectors import ClassicalDetector
from apps.line_segments.lsd import gradient, search
from apps.line_segments.lsd.detector import (
    WINDOW_OFFSET,
    detect,
    detect_in_field,
    level_line_angles,
    oriented,
)
from core.errors import UserError

THRESHOLD = 2.0 / math.sin(math.radians(22.5))


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "lsd-classic__detect.npz", allow_pickle=False) as data:
        return dict(data)


def edge(size=64, column=20, dark=40, bright=200) -> np.ndarray:
    """Return an image that is dark on the left of a column and bright from there on."""
    image = np.full((size, size), dark, np.uint8)
    image[:, column:] = bright
    return image


# --- the published algorithm ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("segments_scale0.8", {}),
        ("segments_scale1.0", {"scale": 1.0}),
        ("segments_scale0.8_density0", {"density": 0.0}),
    ],
)
def test_segments_are_the_published_ones(golden, name, options):
    found = detect(golden["image"], **options)
    assert found.shape == golden[name].shape
    np.testing.assert_allclose(found, golden[name], rtol=0, atol=1e-9)


def test_the_field_is_the_published_one(golden):
    image = gradient.scaled(golden["image"], 0.8, 0.6)
    np.testing.assert_allclose(image, golden["scaled_0.8"], atol=2e-5)  # stored as float32
    magnitude, direction = gradient.level_lines(image, THRESHOLD)
    np.testing.assert_allclose(magnitude[:-1, :-1], golden["gradient_norm"], atol=1e-5)
    assert not magnitude[-1].any() and not magnitude[:, -1].any()
    angle = np.nan_to_num(gradient.angles(direction), nan=-1024.0)
    np.testing.assert_allclose(angle, golden["level_line_angle"], atol=1e-6)


def test_false_alarms_are_the_published_ones(golden):
    counted = [
        search.log_false_alarms(int(n), int(k), p, tests) for n, k, p, tests in golden["nfa_args"]
    ]
    np.testing.assert_allclose(counted, golden["nfa"], atol=1e-9)
    np.testing.assert_allclose(counted, golden["nfa_exact"], atol=0.03)  # the tail is cut off
    gammas = [search.log_gamma(x) for x in golden["log_gamma_x"]]
    np.testing.assert_allclose(gammas, golden["log_gamma"], rtol=1e-12)
    np.testing.assert_allclose(gammas, [math.lgamma(x) for x in golden["log_gamma_x"]], atol=1e-6)


def test_strongest_pixels_come_first_and_columns_within_a_step():
    magnitude = np.array([[1.0, 9.0, 2.0], [9.1, 0.0, 2.1]])
    direction = np.zeros((2, 3, 2))
    direction[..., 0] = magnitude > 0
    order = gradient.strongest_first(magnitude, direction, 10)
    assert order.tolist() == [3, 1, 2, 5, 0]  # 9.1 and 9.0 share the last of the ten steps


def test_most_segments_have_a_partner_among_opencvs(golden):
    theirs = cv2.createLineSegmentDetector(cv2.LSD_REFINE_ADV).detect(golden["image"])[0]
    theirs = theirs.reshape(-1, 4)
    ours = detect(golden["image"])[:, :4]
    turned = theirs[:, [2, 3, 0, 1]]
    distance = np.min(
        [
            np.hypot(*(ours[:, None, :2] - other[:, :2]).T)
            + np.hypot(*(ours[:, None, 2:] - other[:, 2:]).T)
            for other in (theirs, turned)
        ],
        axis=(0, 1),
    )
    assert (distance < 4).mean() >= 0.65


# --- what segments mean ---------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.8, 1.0])
def test_an_edge_is_found_where_it_is(scale):
    (segment,) = detect(edge(column=20), scale=scale)
    x1, y1, x2, y2, width, p, log_nfa = segment
    assert x1 == pytest.approx(19.5, abs=0.2) and x2 == pytest.approx(19.5, abs=0.2)
    assert y1 < 2 and y2 > 61  # downwards: the brighter side is on the left hand
    assert width < 4 and p == 0.125 and log_nfa > 20


@pytest.mark.parametrize("name", ["lsd", "opencv"])
def test_detectors_measure_from_the_corner_of_the_picture(name):
    """On the average over places of an edge, which sampling anew blurs differently."""
    detector, columns = ClassicalDetector(name), range(20, 40)
    errors = []
    for column in columns:
        picture = np.repeat(edge(column=column)[..., None], 3, axis=2)
        (segment,) = detector(picture).found.segments
        errors.append(segment[[0, 2]].mean() - column)
    assert abs(np.mean(errors)) < 0.05 and np.abs(errors).max() < 0.2


def test_direction_turns_with_the_contrast():
    (segment,) = detect(edge(dark=200, bright=40))
    assert segment[1] > segment[3]


def test_white_noise_has_hardly_a_segment():
    """One false alarm an image is what log_eps=0 allows on the average; there are far fewer."""
    rng = np.random.default_rng(0)
    counts = [len(detect(rng.integers(0, 256, (96, 96), np.uint8))) for _ in range(10)]
    assert sum(counts) <= 3


def test_a_stricter_level_keeps_a_part(golden):
    loose, usual, strict = (
        detect(golden["image"], scale=1.0, log_eps=level) for level in (-np.inf, 0.0, 10.0)
    )
    assert len(strict) < len(usual) < len(loose)
    assert strict[:, 6].min() > 10
    kept = usual[usual[:, 6] > 10]
    np.testing.assert_array_equal(strict[np.isin(strict[:, 0], kept[:, 0])], kept)


def test_grey_values_of_any_type_mean_the_same(golden):
    image = golden["image"]
    for kind in (np.float32, np.float64, np.uint16, np.int32):
        np.testing.assert_array_equal(detect(image.astype(kind)), detect(image))
    view = np.asfortranarray(image)
    np.testing.assert_array_equal(detect(view), detect(image))


# --- maps in place of the gradient ----------------------------------------------------------------


def test_the_images_own_maps_give_its_segments(golden):
    image = golden["image"]
    magnitude, _ = gradient.level_lines(image.astype(np.float64), THRESHOLD)
    angle = level_line_angles(image)
    found = detect_in_field(magnitude, angle, offset=WINDOW_OFFSET)
    expected = detect(image, scale=1.0)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found[:, :6], expected[:, :6], atol=1e-9)
    plain = detect_in_field(magnitude, angle)
    np.testing.assert_allclose(plain[:, :4] + 0.5, expected[:, :4], atol=1e-9)


def test_weak_pixels_of_a_map_have_no_direction():
    magnitude = np.zeros((40, 60))
    magnitude[18:21] = [[5.0], [9.0], [5.0]]
    angle = np.zeros_like(magnitude)
    (segment,) = detect_in_field(magnitude, angle, threshold=3.0)
    np.testing.assert_allclose(segment[:5], [0, 19, 59, 19, 2], atol=1e-9)
    (narrow,) = detect_in_field(magnitude, angle, threshold=6.0)
    np.testing.assert_allclose(narrow[:5], [0, 19, 59, 19, 1], atol=1e-9)
    assert len(detect_in_field(magnitude, angle, threshold=9.0)) == 0


def test_evidence_decides_what_is_kept():
    magnitude = np.zeros((40, 60))
    magnitude[18:21] = 5.0
    angle = np.zeros_like(magnitude)
    for evidence, count in (
        (np.zeros_like(angle), 1),
        (np.full_like(angle, math.pi / 2), 0),  # across
        (np.full_like(angle, np.nan), 0),  # flat
    ):
        assert len(detect_in_field(magnitude, angle, evidence=evidence)) == count


def test_undirected_angles_are_oriented_by_the_image():
    image = edge()
    undirected = np.full(image.shape, -math.pi / 2)
    turned = oriented(undirected, image)
    assert np.allclose(turned[:-1, 19], math.pi / 2)
    assert np.allclose(turned[:, :10], -math.pi / 2)


# --- odd input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (1, 1), (1, 50), (50, 1), (2, 2), (3, 7)])
def test_tiny_images_have_no_segments(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    for options in ({}, {"scale": 1.0}, {"scale": 0.1}):
        assert detect(image, **options).shape == (0, 7)
    found = detect_in_field(image, np.zeros(shape))
    assert len(found) == (shape == (3, 7))  # 21 pixels that agree are a segment


def test_flat_images_have_no_segments():
    assert detect(np.full((50, 50), 7, np.uint8)).shape == (0, 7)
    assert detect_in_field(np.zeros((50, 50)), np.zeros((50, 50))).shape == (0, 7)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_told(bad):
    image = np.zeros((20, 20))
    image[3, 4] = bad
    with pytest.raises(UserError, match="NaN or infinite"):
        detect(image)
    with pytest.raises(UserError, match="NaN or infinite"):
        detect_in_field(image, np.zeros((20, 20)))


@pytest.mark.parametrize(
    "options",
    [
        {"scale": 0.0}, {"scale": math.nan}, {"sigma_scale": -1.0}, {"quant": -1.0},
        {"angle_tolerance": 0.0}, {"angle_tolerance": 90.0}, {"log_eps": math.nan},
        {"density": 1.5}, {"bins": 0},
    ],
)  # fmt: skip
def test_parameters_without_a_meaning_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        detect(edge(), **options)


@pytest.mark.parametrize("image", [np.zeros((9, 9, 3)), np.zeros(9), np.zeros((9, 9), complex)])
def test_what_is_no_grey_image_is_refused(image):
    with pytest.raises(ValueError, match="Received"):
        detect(image)


def test_maps_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        detect_in_field(np.ones((9, 9)), np.ones((9, 8)))
    with pytest.raises(ValueError, match="negative"):
        detect_in_field(-np.ones((9, 9)), np.ones((9, 9)))


def test_fine_steps_of_tolerance_keep_within_memory():
    """With a tolerance this small two pixels are enough for a region."""
    noise = np.random.default_rng(1).integers(0, 256, (12, 12), np.uint8)
    found = detect(noise, angle_tolerance=0.01, quant=0.0, log_eps=-np.inf, density=0.0)
    assert np.isfinite(found).all()


def test_importing_the_detector_loads_no_numba():
    script = "import sys, apps.line_segments.lsd.detector; print('numba' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
