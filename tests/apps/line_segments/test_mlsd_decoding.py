"""From M-LSD's maps to segments: peaks, displacements, thresholds, sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import maximum_filter

from apps.line_segments.mlsd_decoding import SETTINGS, decode, peaks
from core.errors import UserError


def maps(*segments, size=(40, 60)):
    """Return maps that hold segments as (row, column, logit, (dx, dy, dx, dy))."""
    centre, displacement = np.full(size, -9.0, np.float32), np.zeros((*size, 4), np.float32)
    for row, column, logit, offsets in segments:
        centre[row, column] = logit
        displacement[row, column] = offsets
    return centre, displacement


def test_a_segment_is_its_centre_and_two_displacements():
    centre, displacement = maps((10, 30, 0.0, (-15, -2, 15, 2)), (25, 20, 2.0, (0, -12, 0.5, 12)))
    segments, scores = decode(centre, displacement, (80, 120))
    np.testing.assert_allclose(segments, [[40, 26, 41, 74], [30, 16, 90, 24]])
    np.testing.assert_allclose(scores, [1 / (1 + np.exp(-2)), 0.5], rtol=1e-6)
    assert segments.dtype == scores.dtype == np.float32
    stretched, _ = decode(centre[..., None], displacement, (400, 60))
    np.testing.assert_allclose(stretched, segments * [0.5, 5, 0.5, 5])


def test_settings_decide_what_is_kept():
    found = [
        (5, 5, 3.0, (0, 0, 10, 0)),  # short
        (15, 30, -2.5, (-15, 0, 15, 0)),  # unsure: 0.076
        (25, 30, 1.0, (-15, 0, 15, 0)),
    ]
    counts = {name: len(decode(*maps(*found), (80, 120), **SETTINGS[name])[0]) for name in SETTINGS}
    assert counts == {"official": 1, "port": 3}
    assert len(decode(*maps(*found), (80, 120), top=1, length=5)[0]) == 1
    near = (24, 30, 0.5, (-15, 0, 15, 0))  # two rows off: within a window of 5
    assert len(decode(*maps(found[2], (27, 30, *near[2:])), (80, 120), window=3)[0]) == 2
    assert len(decode(*maps(found[2], (27, 30, *near[2:])), (80, 120), window=5)[0]) == 1


def test_neighbours_of_one_height_are_one_centre():
    """Integer maps have plateaus; of these every pixel equals the maximum around it."""
    offsets = (-15, 0, 15, 0)
    plateau = maps(*((10, column, 2.0, offsets) for column in (30, 31)))
    assert len(decode(*plateau, (80, 120))[0]) == 1
    square = maps(*((row, column, 2.0, offsets) for row in (10, 11) for column in (30, 31)))
    assert len(decode(*square, (80, 120))[0]) == 1


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 3, 5]), st.integers(1, 20),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_peaks_are_the_published_maxima_where_no_two_are_equal(height, width, window, top, seed):
    values = np.random.default_rng(seed).permutation(height * width).reshape(height, width) * 1.0
    rows, columns = peaks(values, window, top)
    highest = np.argwhere(maximum_filter(values, window, mode="constant", cval=-np.inf) == values)
    expected = sorted(values[tuple(highest.T)], reverse=True)[:top]
    assert values[rows, columns].tolist() == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_maps_that_are_no_numbers_are_told(bad):
    centre, displacement = maps()
    centre[0, 0] = bad
    with pytest.raises(UserError, match="NaN or infinite"):
        decode(centre, displacement, (80, 120))


@pytest.mark.parametrize(
    "arguments, options",
    [
        ((np.zeros((4, 4)), np.zeros((4, 5, 4))), {}),
        ((np.zeros((4, 4, 2)), np.zeros((4, 4, 4))), {}),
        (maps(), {"window": 2}),
        (maps(), {"top": 0}),
    ],
)
def test_what_does_not_belong_together_is_refused(arguments, options):
    with pytest.raises(ValueError, match="Received"):
        decode(*arguments, (8, 8), **options)
