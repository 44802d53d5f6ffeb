"""Deletion and insertion: a right map's curves fall and rise sooner than those of a wrong one."""

import numpy as np
import pytest

from core.errors import UserError
from core.explain.curves import blurred, deletion, insertion


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (10, 20, 3)).astype(np.uint8)


def watcher(picture):
    """A classifier: which share of the left quarter is as it was in the picture."""

    def predict(images):
        same = (np.abs(images[:, :, :5] - picture[:, :5].astype(float)) < 1e-3).all(axis=-1)
        share = same.mean(axis=(1, 2))
        return np.stack([share, 1 - share], axis=1)

    return predict


def test_a_right_map_falls_and_rises_at_once_and_a_wrong_one_late(picture):
    right = np.zeros((10, 20))
    right[:, :5] = 1
    predict = watcher(picture)
    away, back = deletion(picture, right, predict, 0), insertion(picture, right, predict, 0)
    # 20 steps of 10 pixels: all 50 of the left quarter are changed after five.
    expected = np.clip(1 - np.arange(21) / 5, 0, 1)
    np.testing.assert_allclose(away.probabilities, expected)
    np.testing.assert_allclose(back.probabilities, 1 - expected)
    assert away.area == pytest.approx(0.125) and back.area == pytest.approx(0.875)
    wrong = deletion(picture, -right, predict, 0)
    assert wrong.area == pytest.approx(0.875)
    np.testing.assert_allclose(wrong.fractions[[0, -1]], [0, 1])


def test_steps_need_not_divide_the_pixels_and_the_ends_are_the_two_pictures(picture):
    seen = []

    def predict(images):
        seen.append(images)
        return np.full((len(images), 1), 0.5)

    values = np.random.default_rng(1).random((10, 20))
    base = np.zeros((10, 20, 3))
    curve = insertion(picture, values, predict, 0, steps=7, baseline=base, batch=3)
    images = np.concatenate(seen)
    assert [len(batch) for batch in seen] == [3, 3, 2] and curve.area == pytest.approx(0.5)
    np.testing.assert_array_equal(images[0], base)
    np.testing.assert_array_equal(images[-1], picture)
    there = (images == picture).all(axis=-1)
    assert there[1].sum() == 29 and values[there[1]].min() >= values[~there[1]].max()


def test_the_baseline_is_the_blurred_picture(picture):
    soft = blurred(picture)
    assert soft.std() < 0.5 * picture.std() and abs(soft.mean() - picture.mean()) < 5
    assert blurred(picture[..., :1]).shape == (10, 20, 1)


def test_what_cannot_be_chosen_is_said(picture):
    with pytest.raises(UserError, match="There is no class 2; the network has classes 0 to 1"):
        deletion(picture, np.zeros((10, 20)), watcher(picture), 2)
    with pytest.raises(ValueError, match=r"`values` must be a map \(10, 20\)"):
        deletion(picture, np.zeros((5, 5)), watcher(picture), 0)
