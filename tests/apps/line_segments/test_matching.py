"""The largest matching of pixels: exact, one to one, within the radius."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from apps.line_segments.metrics.matching import PixelMatcher, match_pixels, radius_of


def scipy_pairs(found: np.ndarray, truth: np.ndarray, radius: float) -> int:
    left, right = np.argwhere(found), np.argwhere(truth)
    if not len(left) or not len(right):
        return 0
    near = ((left[:, None] - right[None]) ** 2).sum(-1) <= radius * radius
    return int((maximum_bipartite_matching(csr_matrix(near), "column") >= 0).sum())


maps = st.tuples(
    st.integers(0, 2**32), st.integers(1, 24), st.integers(1, 24), st.floats(0, 5.0),
    st.floats(0.02, 0.9), st.floats(0.02, 0.9),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(maps)
def test_as_many_pairs_as_scipy_finds(drawn):
    seed, height, width, radius, dense, true = drawn
    rng = np.random.default_rng(seed)
    found, truth = rng.random((height, width)) < dense, rng.random((height, width)) < true
    assert match_pixels(found, truth, radius) == scipy_pairs(found, truth, radius)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.05, 0.5), st.floats(1, 4))
def test_pixels_added_step_by_step_end_as_all_at_once(seed, true, radius):
    rng = np.random.default_rng(seed)
    truth, order = rng.random((20, 30)) < true, rng.permutation(600)[:150]
    matcher = PixelMatcher(truth, radius)
    found = np.zeros(600, bool)
    for part in np.array_split(order, 5):
        found[part] = True
        pairs = matcher.add(part)
        assert pairs == scipy_pairs(found.reshape(20, 30), truth, radius)
        assert pairs == matcher.add(part)  # a pixel twice counts once
    assert matcher.found == 150
    left, right = matcher.matched()
    assert left.sum() == right.sum() == pairs
    assert not (right & ~truth).any() and not (left & ~found.reshape(20, 30)).any()


def test_a_greedy_choice_is_undone():
    """The nearest truth of the first pixel is the only one of the second."""
    found, truth = np.zeros((1, 9), bool), np.zeros((1, 9), bool)
    found[0, [3, 5]] = True
    truth[0, [1, 4]] = True
    assert match_pixels(found, truth, 1) == 1
    assert match_pixels(found, truth, 2) == 2


@pytest.mark.parametrize("distance, pairs", [(3, 1), (4, 0)])
def test_the_radius_itself_is_inside(distance, pairs):
    found, truth = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    found[0, 0] = truth[0, distance] = True
    assert match_pixels(found, truth, 3.0) == pairs


def test_the_radius_of_an_image():
    assert radius_of((480, 640)) == 8.0
    with pytest.raises(ValueError, match="one size"):
        match_pixels(np.zeros((2, 2)), np.zeros((2, 3)), 1)
    with pytest.raises(ValueError, match="radius of 0 or more"):
        PixelMatcher(np.zeros((2, 2)), -1)
