"""A network over a whole volume, by engines whose outputs are known."""

import itertools

import numpy as np
import pytest

from apps.medical_segmentation.volumes.windows import (
    blended,
    cut,
    gaussian,
    network_slice,
    slice_wise,
    starts,
)
from core.model_card import ModelCard

VOLUMES = ModelCard("net", "base", "medseg", input_size=(8, 6, 4), channels=1, color_order="",
                    mean=(0.5,), std=(0.25,))  # fmt: skip
IMAGES = ModelCard("net", "base", "medseg", input_size=(16, 12), labels=("foreground",))


class Same:
    """Returns its input and its negative as logits, and keeps the shapes it was given."""

    name = "same"

    def __init__(self, card):
        self.card, self.seen = card, []

    def __call__(self, batch):
        self.seen.append(batch.shape)
        grey = batch[..., :1]
        return [np.concatenate([grey, -grey], axis=-1)]


def volume(*shape) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*shape, 1), np.uint8)


@pytest.mark.parametrize(
    "shape", [(8, 6, 4), (9, 7, 5), (20, 13, 4), (3, 2, 1), (5, 30, 9), (1, 1, 40)]
)
def test_windows_cover_a_volume_of_any_size_without_a_seam(shape):
    engine, values = Same(VOLUMES), volume(*shape)
    logits = blended(engine, values, VOLUMES)
    assert logits.shape == (*shape, 2) and logits.dtype == np.float32
    expected = VOLUMES.normalise(values)
    np.testing.assert_allclose(logits, np.concatenate([expected, -expected], -1), atol=1e-5)
    assert set(engine.seen) == {(1, 8, 6, 4, 1)}  # what a file of a fixed size takes


def test_windows_are_weighted_as_nnu_net_does():
    """Against the sums written out, with weights of scipy's Gaussian filter."""
    from scipy.ndimage import gaussian_filter

    impulse = np.zeros(VOLUMES.input_size)
    impulse[tuple(side // 2 for side in impulse.shape)] = 1
    weights = gaussian_filter(impulse, [side / 8 for side in impulse.shape], mode="constant")
    weights /= weights.max()
    weights[weights == 0] = weights[weights > 0].min()
    number = itertools.count(1)

    class Numbered(Same):
        def __call__(self, batch):
            return [np.full((*batch.shape[:-1], 1), next(number), np.float32)]

    shape = (12, 9, 6)
    found = blended(Numbered(VOLUMES), volume(*shape), VOLUMES)[..., 0]
    sums, totals = np.zeros(shape), np.zeros(shape)
    along = [starts(n, side) for n, side in zip(shape, impulse.shape, strict=True)]
    for value, corner in enumerate(itertools.product(*along), start=1):
        at = tuple(slice(a, a + n) for a, n in zip(corner, impulse.shape, strict=True))
        sums[at] += value * weights
        totals[at] += weights
    np.testing.assert_allclose(found, sums / totals, rtol=2e-3)


def test_windows_lie_half_a_window_apart():
    assert starts(32, 16) == (0, 8, 16)
    assert starts(33, 16) == (0, 8, 16, 17)
    assert starts(16, 16) == (0,)
    assert starts(10, 16) == (-3,)


def test_weights_are_one_in_the_middle_and_never_zero():
    for side in (8, 16, 128):
        weights = gaussian(side)
        assert weights[side // 2] == 1 == weights.max()
        product = np.multiply.outer(np.multiply.outer(weights, weights), weights[:4])
        assert product.min() > 0


def test_what_is_cut_beyond_a_volume_is_its_lowest_value():
    values = volume(4, 4, 4)
    part = cut(values, (-1, 2, 0), (3, 3, 4))
    assert part.shape == (3, 3, 4, 1)
    assert not part[0].any() and not part[:, 2].any()
    np.testing.assert_array_equal(part[1:, :2], values[:2, 2:])
    assert np.shares_memory(cut(values, (1, 0, 0), (2, 4, 4)), values)


@pytest.mark.parametrize("depth", [1, 5, 8, 17])
def test_slices_go_through_in_calls_of_one_shape(depth):
    engine, values = Same(IMAGES), volume(depth, 16, 12)
    logits = slice_wise(engine, values, IMAGES)
    assert logits.shape == (depth, 16, 12, 2)
    np.testing.assert_allclose(logits[..., 0], IMAGES.normalise(values)[..., 0], atol=1e-6)
    assert set(engine.seen) == {(min(8, depth), 16, 12, 3)}  # grey in three channels


def test_slices_get_to_the_networks_size_as_pictures_do():
    import cv2

    values = volume(1, 40, 30)
    found = network_slice(values[0], (16, 12))
    assert found.dtype == np.uint8 and found.shape == (16, 12, 1)
    np.testing.assert_array_equal(found[..., 0], cv2.resize(values[0, ..., 0], (12, 16)))
