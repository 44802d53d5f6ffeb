"""Training maps and the geometry of augmentation: exact, whatever was done to the image."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.line_segments.augment import augmented, part, random_box
from apps.line_segments.geometry import angles, clipped, lengths, mirrored, quarter_turned, scaled
from apps.line_segments.targets import line_maps

SIZE = (24, 32)
seeds = st.integers(0, 2**32)


def random_segments(seed: int, count: int = 6, size=SIZE) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(-4, np.array([size[1], size[0]] * 2) + 4, (count, 4)).astype(np.float32)


def slow_distances(segments: np.ndarray, size) -> np.ndarray:
    """Return the distance of each pixel's centre to each segment, (N, H, W)."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    found = []
    for x1, y1, x2, y2 in segments.astype(np.float64):
        steps = np.array([x2 - x1, y2 - y1])
        along = ((x - x1) * steps[0] + (y - y1) * steps[1]) / max(steps @ steps, 1e-300)
        along = along.clip(0, 1)
        found.append(np.hypot(x - x1 - along * steps[0], y - y1 - along * steps[1]))
    return np.array(found)


@settings(max_examples=40, deadline=None)
@given(seeds, st.floats(0.3, 4))
def test_the_heat_is_the_band_around_segments_and_the_angle_the_nearests(seed, band):
    segments = random_segments(seed)
    maps, distances = line_maps(segments, SIZE, band=band), slow_distances(segments, SIZE)
    assert (maps[..., 0] == (distances.min(0) <= band)).all()
    on = maps[..., 0] > 0
    expected = (angles(segments) / np.pi)[distances.argmin(0)]
    np.testing.assert_allclose(maps[on, 1], expected[on], atol=1e-6)
    assert not maps[~on, 1].any() and maps.dtype == np.float32


def test_the_doubled_angle_is_the_same_direction_and_does_not_wrap():
    level = np.float32([[2, 10.2, 30, 10], [2, 15, 30, 15.2]])  # just below and above horizontal
    single, doubled = line_maps(level, SIZE), line_maps(level, SIZE, doubled=True)
    assert doubled.shape == (*SIZE, 3) and (doubled[..., 0] == single[..., 0]).all()
    on = single[..., 0] > 0
    back = np.arctan2(doubled[on, 2], doubled[on, 1]) / 2 % np.pi / np.pi
    np.testing.assert_allclose(np.cos(2 * np.pi * (back - single[on, 1])), 1, atol=1e-6)
    assert np.ptp(single[on, 1]) > 0.9 and np.ptp(doubled[on, 1:], axis=0).max() < 0.05


@pytest.mark.parametrize(
    "segment, angle",
    [([1, 1, 9, 1], 0), ([9, 1, 1, 1], 0), ([1, 1, 1, 9], 0.5), ([1, 1, 9, 9], 0.25)],
)
def test_angles_run_from_x_towards_y(segment, angle):
    assert line_maps(np.array([segment]), SIZE)[1, 1, 1] == pytest.approx(angle, abs=1e-6)


def test_no_segments_and_points_make_maps_too():
    assert not line_maps(np.zeros((0, 4)), SIZE).any()
    assert line_maps(np.array([[5.5, 5.5, 5.5, 5.5]]), SIZE)[..., 0].sum() == 13  # within two


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(0, 1), st.integers(0, 7))
def test_mirrored_and_turned_segments_make_mirrored_and_turned_maps(seed, axis, turns):
    segments = random_segments(seed)
    heat = line_maps(segments, SIZE)[..., 0]
    flipped = line_maps(mirrored(segments, SIZE, axis), SIZE)[..., 0]
    assert np.mean(flipped != np.flip(heat, axis)) < 0.002  # borders of the band, by rounding
    turned = np.rot90(heat, turns)
    again = line_maps(quarter_turned(segments, SIZE, turns), turned.shape)[..., 0]
    assert np.mean(again != turned) < 0.002


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_clipped_parts_lie_in_the_box_and_on_their_segments(seed):
    segments = random_segments(seed, 12)
    box = (4, 3, 25, 18)
    parts, which = clipped(segments, box)
    assert (parts[:, [0, 2]] >= 4).all() and (parts[:, [0, 2]] <= 25).all()
    assert (parts[:, [1, 3]] >= 3).all() and (parts[:, [1, 3]] <= 18).all()
    turn = angles(parts) - angles(segments[which])
    long = lengths(parts) > 0.5
    np.testing.assert_allclose(np.sin(turn[long]), 0, atol=1e-4)
    for number, segment in enumerate(segments.astype(np.float64)):
        along = np.linspace(0, 1, 400)[:, None]
        points = segment[:2] * (1 - along) + segment[2:] * along
        inside = ((points >= box[:2]) & (points <= box[2:])).all(1)
        kept = lengths(parts[which == number]).sum()
        assert kept == pytest.approx(inside.mean() * math.dist(*segment.reshape(2, 2)), abs=0.3)


def test_a_part_is_enlarged_with_its_segments():
    image = np.zeros((40, 40, 3), np.uint8)
    image[10:30, 20] = 255
    segments = np.float32([[20.5, 10, 20.5, 30], [10, 10, 10.5, 12], [9.5, 12, 11, 12]])
    picture, kept = part(image, segments, (10, 10, 20, 20))
    assert picture.shape == image.shape
    np.testing.assert_allclose(kept, [[21, 0, 21, 40], [0, 0, 1, 4]])  # a rest of 2 pixels is not
    assert picture[:, 20:22].mean() > 100 > picture[:, 10].mean()


def test_augmentation_moves_segments_with_the_picture():
    image = np.full((64, 64, 3), 40, np.uint8)
    image[20:30, 8:50] = 220  # a bright bar with four edges
    segments = np.float32([[8, 20, 50, 20], [8, 30, 50, 30], [8, 20, 8, 30], [50, 20, 50, 30]])
    whole = 0
    for seed in range(60):
        picture, moved = augmented(image, segments, np.random.default_rng(seed))
        assert picture.shape == image.shape and picture.dtype == np.uint8
        grey = picture.astype(float).mean(-1)
        for x1, y1, x2, y2 in moved:
            x, y = (x1 + x2) / 2, (y1 + y2) / 2
            normal = np.array([y2 - y1, x1 - x2]) / math.hypot(x2 - x1, y2 - y1) * 2.5
            sides = [(x + s * normal[0], y + s * normal[1]) for s in (-1, 1)]
            if all(0 <= u < 64 and 0 <= v < 64 for u, v in sides):
                one, other = (grey[int(v), int(u)] for u, v in sides)
                assert abs(one - other) > 15
                whole += 1
    assert whole > 100
    first = augmented(image, segments, np.random.default_rng(5))
    second = augmented(image, segments, np.random.default_rng(5))
    assert all((one == other).all() for one, other in zip(first, second, strict=True))


def test_parts_stay_inside_and_images_may_be_oblong_or_grey():
    rng = np.random.default_rng(0)
    for size in ((1, 1), (3, 200), (90, 40)):
        for _ in range(50):
            top, left, height, width = random_box(size, rng)
            assert 0 <= top <= top + height <= size[0] and 0 <= left <= left + width <= size[1]
            assert height >= 1 and width >= 1
    grey = np.zeros((20, 30, 1), np.uint8)
    picture, segments = augmented(grey, np.zeros((0, 4), np.float32), rng)
    assert picture.shape == (20, 30, 1) and segments.shape == (0, 4)


def test_scaling_stretches_both_axes_by_themselves():
    found = scaled(np.float32([[10, 20, 30, 40]]), (100, 200), (50, 400))
    assert found.tolist() == [[20, 10, 60, 20]] and found.dtype == np.float32
