"""Augmentation keeps a picture an ultrasound picture."""

import numpy as np
import pytest

from apps.fetal_planes.augment import augmented, random_warp

SIZE = (60, 80)


def marked() -> np.ndarray:
    """A bright spot above the middle, a darker one on its left."""
    picture = np.zeros((*SIZE, 3), np.uint8)
    picture[8:14, 37:43] = 240
    picture[28:32, 10:16] = 120
    return picture


def test_equal_generators_change_alike_and_others_do_not():
    one, again, other = (augmented(marked(), np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any() and one.shape == marked().shape and one.dtype == np.uint8


def test_what_is_above_stays_above_and_sides_are_exchanged_half_the_time():
    rng, left = np.random.default_rng(0), 0
    for _ in range(60):
        rows, _ = np.nonzero(augmented(marked(), rng)[..., 0] > 150)
        assert rows.mean() < SIZE[0] / 2
        values = augmented(marked(), rng)[..., 0].astype(int)
        spot = (values > 60) & (values < 150)
        left += np.nonzero(spot)[1].mean() < SIZE[1] / 2
    assert 15 < left < 45


def test_the_warp_is_within_its_bounds():
    rng = np.random.default_rng(0)
    middle = np.array([(SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2, 1.0])
    for _ in range(200):
        warp = random_warp(SIZE, rng)
        scale = np.sqrt(abs(np.linalg.det(warp[:, :2])))
        assert 0.9 <= scale <= 1.1
        angle = np.degrees(np.arctan2(warp[0, 1], warp[1, 1]))
        assert abs(angle) <= 15.001
        moved = warp @ middle - middle[:2]
        assert (np.abs(moved) <= 0.05 * np.array(SIZE[::-1]) + 1e-9).all()


def test_brightness_and_speckle_change_what_is_not_black():
    grey = np.full((*SIZE, 1), 128, np.uint8)
    rng = np.random.default_rng(0)
    means, spreads = [], []
    for _ in range(40):
        inner = augmented(grey, rng)[20:40, 30:50]
        means.append(inner.mean())
        spreads.append(inner.std())
    assert 128 * 0.78 < min(means) < 120 and 136 < max(means) < 128 * 1.22
    assert min(spreads) < 4 and 4 < max(spreads) < 15


@pytest.mark.parametrize("value", [0, 255])
def test_values_stay_in_range(value):
    picture = np.full((*SIZE, 3), value, np.uint8)
    changed = augmented(picture, np.random.default_rng(3))
    assert changed.dtype == np.uint8 and (value or not changed.any())
