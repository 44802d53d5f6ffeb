"""The grouping: the published one to the pixel, the refined one as its plain reference."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.line_segments.grouping import reference
from apps.line_segments.grouping.grouper import fitted, group, regions_of
from apps.line_segments.grouping.maps import (
    Parameters,
    field_of,
    heat_and_direction,
    region_of_interest,
)
from apps.line_segments.targets import line_maps
from core.errors import UserError

POST = Path(__file__).resolve().parents[4] / "shared" / "golden" / "lsdnet__post.npz"
SIZE = (96, 144)
CROSSING = np.array(
    [[10, 20, 130, 60], [20, 90, 60, 8], [70, 48, 140, 48], [100.5, 5, 100.5, 90], [3, 3, 40, 12]],
    np.float64,
)


def noisy(segments, *, doubled: bool, size=SIZE, seed: int = 0):
    """Return maps (heat, direction) as a network may give them: soft, and not quite sure."""
    rng = np.random.default_rng(seed)
    maps = line_maps(segments, size, doubled=doubled)
    heat = np.clip(0.9 * maps[..., 0] + 0.07 * rng.standard_normal(size), 0, 1)
    background = rng.random(size)
    angle = 0.012 * rng.standard_normal(size)
    if not doubled:
        return heat, np.where(maps[..., 0] > 0, np.clip(maps[..., 1] + angle, 0, 1), background)
    turn = np.arctan2(maps[..., 2], maps[..., 1]) + 2 * math.pi * angle
    turn = np.where(maps[..., 0] > 0, turn, 2 * math.pi * background)
    length = rng.uniform(0.5, 1.0, size)
    return heat, length[..., None] * np.stack((np.cos(turn), np.sin(turn)), axis=-1)


def one_pixel_lines(*lines):
    """Return sure maps with lines (row slice, column slice, angle by pi) one pixel wide."""
    heat, angle = np.zeros(SIZE, np.float32), np.zeros(SIZE, np.float32)
    for rows, columns, turn in lines:
        heat[rows, columns], angle[rows, columns] = 0.9, turn
    return heat, angle


# --- the published way ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(not POST.is_file(), reason="needs ../shared/golden")
@pytest.mark.parametrize("case", ["square", "wide"])
def test_the_published_regions_and_segments_are_met(case):
    with np.load(POST) as golden:
        stored = {name: golden[f"{case}_{name}"] for name in (
            "heatmap", "angle", "mask", "region_sizes", "region_pixels", "segments",
            "segments_int", "segments_nosplit",
        )}  # fmt: skip
    heat, angle = stored["heatmap"].astype(np.float32), stored["angle"]
    mask = np.unpackbits(stored["mask"], count=heat.size).reshape(heat.shape)
    np.testing.assert_array_equal(region_of_interest(heat, Parameters()), mask)
    field = field_of(heat, angle, np.float32, Parameters())
    members, starts = regions_of(field, "official", Parameters())
    np.testing.assert_array_equal(np.diff(starts), stored["region_sizes"])
    pixels = np.stack((field.rows[members], field.columns[members]), axis=1)
    np.testing.assert_array_equal(pixels, stored["region_pixels"])
    for split, expected in ((True, stored["segments"]), (False, stored["segments_nosplit"])):
        found = fitted(field, members, starts, "official", Parameters(split=split))
        np.testing.assert_allclose(found, expected, atol=1e-5)
    segments, confidence = group(heat, angle, mode="official")
    np.testing.assert_array_equal(segments, stored["segments_int"])
    np.testing.assert_array_equal(confidence, stored["segments"][:, 4])


def test_the_published_coordinates_are_cut_off_twice():
    heat, angle = one_pixel_lines((np.arange(20, 50), np.arange(20, 50), 0.25))
    (at_size,), _ = group(heat, angle, mode="official")
    (twice,), _ = group(heat, angle, mode="official", size=(200, 300))
    np.testing.assert_array_equal(at_size, np.trunc(at_size))
    np.testing.assert_allclose(np.sort(at_size), [20, 20, 49, 49], atol=3)
    factors = np.float64([300 / 144, 200 / 96] * 2)
    np.testing.assert_array_equal(twice, np.trunc(at_size * factors))


def test_a_line_one_pixel_wide_is_a_point_as_published_and_a_line_when_refined():
    heat, angle = one_pixel_lines((20, slice(30, 60), 0.0), (slice(40, 90), 100, 0.5))
    points, _ = group(heat, angle, mode="official", parameters=Parameters(split=False))
    lengths = np.hypot(points[:, 2] - points[:, 0], points[:, 3] - points[:, 1])
    assert len(points) >= 2 and lengths.max() == 0
    lines, confidence = group(heat, angle)
    order = np.argsort(lines[:, 0])
    expected = [[30.5, 20.5, 59.5, 20.5], [100.5, 40.5, 100.5, 89.5]]
    np.testing.assert_allclose(lines[order], expected, atol=1e-5)
    np.testing.assert_allclose(confidence, 0.9, atol=1e-6)


def test_what_was_joined_late_is_given_out_twice_only_as_published():
    """A line from the first quadrant through the second, which joins it, into the third."""
    heat, angle = noisy(np.array([[50.0, 30, 110, 66]]), doubled=False)
    field = field_of(heat, angle, np.float32, Parameters())
    members, _ = regions_of(field, "official", Parameters())
    assert len(np.unique(members)) < len(members)
    refined, _ = regions_of(field, "refined", Parameters())
    assert len(np.unique(refined)) == len(refined)


# --- the refined way ------------------------------------------------------------------------------


@pytest.mark.parametrize("doubled", [False, True])
@pytest.mark.parametrize("size", [SIZE, (375, 500)])
def test_the_compiled_grouping_gives_what_its_reference_does(doubled, size):
    for seed in range(3):
        maps = [a.astype(np.float32) for a in noisy(CROSSING, doubled=doubled, seed=seed)]
        expected, sure = reference.group(*maps, size)
        segments, confidence = group(*maps, size=size)
        assert len(segments) == len(expected) > 4
        np.testing.assert_allclose(segments, expected, atol=1e-3)
        np.testing.assert_allclose(confidence, sure, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(2, 40))
def test_the_references_local_mean_is_opencvs(seed, height, width):
    """Rounding half-way cases aside, of which random maps have hardly any."""
    rng = np.random.default_rng(seed)
    heat = rng.random((height, width), dtype=np.float32)
    ours = reference.candidates(heat, 0.4, 2.0, 11)
    assert (ours != region_of_interest(heat, Parameters())).mean() <= 0.01


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_regions_are_disjoint_large_and_of_wanted_pixels(seed, official):
    rng = np.random.default_rng(seed)
    heat = rng.random((24, 33), dtype=np.float32)
    angle = np.round(rng.random((24, 33)) * 2) / 16
    parameters = Parameters(contrast=60.0, deviation=0.8, least=4)
    field = field_of(heat, angle, np.float64, parameters)
    members, starts = regions_of(field, "official" if official else "refined", parameters)
    assert (np.diff(starts) > 4).all() and starts[-1] == len(members)
    for region in np.split(members, starts[1:-1]) if len(starts) > 1 else []:
        places = set(zip(field.rows[region], field.columns[region], strict=True))
        assert len(places) == len(region)
        for r, c in places:
            beside = {(r + i, c + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} - {(r, c)}
            assert beside & places
    if not official:
        assert len(set(members.tolist())) == len(members)


@pytest.mark.parametrize("doubled", [False, True])
def test_drawn_segments_are_found_where_they_are(doubled):
    heat, direction = noisy(CROSSING, doubled=doubled)
    segments, confidence = group(heat, direction)
    segments = segments[confidence > 0.7]
    for start, end in CROSSING.reshape(-1, 2, 2):
        along = (end - start) / np.hypot(*(end - start))
        offsets = segments.reshape(-1, 2, 2) - start
        beside = np.abs(offsets @ [-along[1], along[0]]).max(axis=1)
        covered = np.abs((offsets @ along)[:, 1] - (offsets @ along)[:, 0])[beside < 1.0]
        assert covered.sum() > 0.8 * np.hypot(*(end - start))  # crossings may cut it


def test_angles_on_both_sides_of_the_jump_are_one_line():
    """0 and 1 are the same direction: a horizontal line's."""
    heat, angle = one_pixel_lines((slice(20, 23), slice(30, 90), 0.0))
    angle[20:23, 30:90:2] = 0.995
    segments, _ = group(heat, angle)
    assert len(segments) == 1
    np.testing.assert_allclose(segments[0], [30.5, 21.5, 89.5, 21.5], atol=0.7)


def test_parallel_lines_that_grew_together_are_told_apart():
    heat, angle = one_pixel_lines((20, slice(30, 90), 0.0), (26, slice(30, 90), 0.0))
    heat[21:26, 58:62] = 0.85  # a bridge
    apart, _ = group(heat, angle)
    together, _ = group(heat, angle, parameters=Parameters(split=False))
    assert len(together) == 1
    long = apart[np.abs(apart[:, 2] - apart[:, 0]) > 50]
    np.testing.assert_allclose(np.sort(long[:, 1]), [20.5, 26.5], atol=0.5)


def test_short_segments_are_left_out_and_counted_in_pixels_of_the_maps():
    heat, angle = one_pixel_lines((slice(20, 24), slice(30, 34), 0.0))
    for shortest, count in ((2.0, 1), (4.0, 0)):
        parameters = Parameters(shortest=shortest, split=False)
        assert len(group(heat, angle, size=(960, 1440), parameters=parameters)[0]) == count


def test_segments_are_scaled_to_the_picture_and_lie_in_it():
    every = slice(None)
    heat, angle = one_pixel_lines((slice(0, 2), every, 0.0), (every, slice(-2, None), 0.5))
    segments, _ = group(heat, angle, size=(48, 288))
    assert len(segments) >= 2 and segments.min() >= 0
    assert (segments[:, [0, 2]] <= 288).all() and (segments[:, [1, 3]] <= 48).all()
    horizontal = segments[np.abs(segments[:, 2] - segments[:, 0]).argmax()]
    assert abs(horizontal[2] - horizontal[0]) > 2 * 130 and horizontal[1] < 1.0


@pytest.mark.parametrize("mode", ["refined", "official"])
@pytest.mark.parametrize("size", [(2, 2), (9, 13), (288, 7)])
def test_maps_without_lines_have_no_segments(mode, size):
    segments, confidence = group(np.zeros(size), np.zeros((*size, 2)), mode=mode)
    assert segments.shape == (0, 4) and confidence.shape == (0,)
    assert segments.dtype == confidence.dtype == np.float32


@pytest.mark.parametrize("mode", ["refined", "official"])
def test_maps_that_are_all_line_are_grouped(mode):
    """More segments than regions, and a region of every pixel."""
    segments, confidence = group(np.full((33, 40), 0.9), np.full((33, 40), 0.25), mode=mode)
    assert len(segments) >= 1 and np.isfinite(segments).all()
    np.testing.assert_allclose(confidence, 0.9, atol=1e-5)


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("which", ["heat", "direction"])
def test_maps_that_are_not_finite_are_named(which, value):
    maps = {"heat": np.zeros((8, 8)), "direction": np.zeros((8, 8))}
    maps[which][3, 4] = value
    with pytest.raises(UserError, match=f"map of the {which} holds values that are not finite"):
        group(**maps)


@pytest.mark.parametrize(
    "heat, direction",
    [((8, 8), (8, 9)), ((8, 8), (8, 8, 3)), ((8, 8, 1), (8, 8)), ((8,), (8,)), ((1, 9), (1, 9))],
)
def test_wrong_shapes_are_named(heat, direction):
    with pytest.raises(ValueError, match=r"`heat` must .*Received: shape"):
        group(np.zeros(heat), np.zeros(direction))


def test_other_wrong_arguments_are_named():
    maps = np.zeros((8, 8)), np.zeros((8, 8))
    with pytest.raises(ValueError, match=r"`mode`.*'fast'"):
        group(*maps, mode="fast")
    with pytest.raises(ValueError, match=r"`size` must be"):
        group(*maps, size=(0, 8))
    for wrong in ({"block": 10}, {"least": -1}, {"least": 2.5}, {"spread": math.nan}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Parameters(**wrong)
    with pytest.raises(ValueError, match=r"`maps` must be"):
        heat_and_direction(np.zeros((8, 8, 4)))


def test_a_networks_output_is_taken_apart():
    maps = np.arange(24.0).reshape(2, 4, 3)
    heat, direction = heat_and_direction(maps)
    np.testing.assert_array_equal(heat, maps[..., 0])
    np.testing.assert_array_equal(direction, maps[..., 1:])
    np.testing.assert_array_equal(heat_and_direction(maps[..., :2])[1], maps[..., 1])
