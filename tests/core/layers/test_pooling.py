"""Pooling as PyTorch has it: padded, of sides even, odd and open, and of a grid of windows."""

import keras
import numpy as np
import pytest

from core.layers.pooling import adaptive_mean, max_pool


def windows(image: np.ndarray, ceil: bool) -> np.ndarray:
    """Return PyTorch's result: -inf around, and every window that begins inside."""
    before = 0 if ceil else 1
    _, height, width, _ = image.shape
    padded = np.pad(image, [(0, 0), (before, 3), (before, 3), (0, 0)], constant_values=-np.inf)
    rows, columns = (
        -(-(side - 3) // 2) + 1 if ceil else (side - 1) // 2 + 1 for side in (height, width)
    )
    parts = [
        padded[:, y : y + 2 * rows : 2, x : x + 2 * columns : 2] for y in range(3) for x in range(3)
    ]
    return np.max(parts, axis=0)


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("size", [(8, 6), (7, 5), (3, 10)])
def test_windows_are_pytorchs(size, ceil):
    image = np.random.default_rng(0).random((2, *size, 3)).astype(np.float32)
    expected = windows(image, ceil)
    for sides in (size, (None, None)):
        x = keras.Input((*sides, 3))
        model = keras.Model(x, max_pool(x, "pool", ceil=ceil))
        np.testing.assert_array_equal(model(image), expected)


def test_odd_sides_need_no_padding_where_windows_do_not_begin_outside():
    x = keras.Input((7, 5, 3))
    assert len(keras.Model(x, max_pool(x, "pool", ceil=True)).layers) == 2


@pytest.mark.parametrize("size", [(1, 2), (9, 10), (14, 21), (3, 7)])
def test_a_grid_of_means_has_pytorchs_windows(size):
    """AdaptiveAvgPool2d: from floor(i n / 7) up to, without, ceil((i + 1) n / 7)."""
    image = np.random.default_rng(0).random((2, *size, 3), np.float32)
    x = keras.Input((*size, 3))
    found = keras.Model(x, adaptive_mean(x, 7, "pool"))(image)
    expected = np.empty((2, 7, 7, 3))
    for place in np.ndindex(7, 7):
        rows, columns = (
            slice(int(np.floor(i * n / 7)), int(np.ceil((i + 1) * n / 7)))
            for i, n in zip(place, size, strict=True)
        )
        expected[(slice(None), *place)] = image[:, rows, columns].mean((1, 2))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_grid_of_the_features_own_size_costs_nothing():
    x = keras.Input((7, 7, 3))
    assert adaptive_mean(x, 7, "pool") is x
