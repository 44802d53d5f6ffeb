"""Maps against masks: the share of heat inside, and the pointing game."""

import math

import numpy as np
import pytest

from core.explain.pointing import hits, share_inside


@pytest.fixture
def mask():
    mask = np.zeros((20, 30), bool)
    mask[5:10, 5:10] = True
    return mask


@pytest.mark.parametrize(
    ("inside", "outside", "expected"),
    [(1, 0, 1.0), (0, 1, 0.0), (3, 1, 0.75), (1, -5, 1.0), (0, 0, math.nan)],
)
def test_the_share_of_heat_inside(mask, inside, outside, expected):
    heat = np.zeros((20, 30))
    heat[7, 7], heat[15, 20] = inside, outside
    assert share_inside(heat, mask) == pytest.approx(expected, nan_ok=True)


def test_an_even_map_has_as_much_inside_as_the_mask_is_large(mask):
    assert share_inside(np.ones((20, 30)), mask) == pytest.approx(25 / 600)


@pytest.mark.parametrize(
    ("place", "tolerance", "expected"),
    [((7, 7), 0, True), ((7, 12), 0, False), ((7, 12), 3, True), ((12, 12), 3, False)],
)
def test_the_hottest_pixel_may_lie_a_little_beside(mask, place, tolerance, expected):
    heat = np.zeros((20, 30))
    heat[place] = 1
    assert hits(heat, mask, tolerance) is expected


def test_nothing_hits_an_empty_mask():
    assert not hits(np.ones((3, 3)), np.zeros((3, 3), bool))


def test_a_mask_of_another_size_is_refused(mask):
    for function in (share_inside, hits):
        with pytest.raises(ValueError, match="`mask` must be bool"):
            function(np.ones((10, 15)), mask)
