"""Super-pixels: quick shift against its definition in plain loops, and regular squares."""

import numpy as np
import pytest

from core.explain import segmentation
from core.explain.segmentation import quickshift, squares


def plain_quickshift(features, kernel_size, max_dist, seed):
    """Return the regions pixel by pixel, pair by pair."""
    height, width = features.shape[:2]
    places = [(row, column) for row in range(height) for column in range(width)]
    radius = int(np.ceil(3 * kernel_size))

    def near(a):
        return [b for b in places if max(abs(a[0] - b[0]), abs(a[1] - b[1])) <= radius]

    def squared(a, b):
        return ((features[a] - features[b]) ** 2).sum() + (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2

    density = np.zeros((height, width))
    for a in places:
        density[a] = sum(np.exp(-squared(a, b) / (2 * kernel_size**2)) for b in near(a))
    density += np.random.default_rng(seed).normal(scale=1e-5, size=density.shape)
    parent = {}
    for a in places:
        higher = [(squared(a, b), b) for b in near(a) if density[b] > density[a]]
        distance, b = min(higher, default=(np.inf, a))
        parent[a] = b if distance <= max_dist**2 else a
    roots = []
    for a in places:
        while parent[a] != a:
            a = parent[a]
        roots.append(a[0] * width + a[1])
    return np.unique(roots, return_inverse=True)[1].reshape(height, width)


@pytest.mark.parametrize("max_dist", [2.5, 200])
def test_quick_shift_is_what_its_definition_says(max_dist):
    image = np.random.default_rng(1).integers(0, 256, (9, 12, 3)).astype(np.uint8)
    image[:, 6:] //= 4  # two halves, and an even patch with many ties
    image[2:6, 1:5] = 200
    found = quickshift(image, kernel_size=1.2, max_dist=max_dist, ratio=0.1, seed=5)
    expected = plain_quickshift(0.1 * segmentation._lab(image), 1.2, max_dist, 5)
    np.testing.assert_array_equal(found, expected)
    assert found.max() > (3 if max_dist < 200 else 0)


def test_colours_are_those_of_cie_lab():
    colours = np.array([[[255, 255, 255], [0, 0, 0], [255, 0, 0], [10, 10, 10]]], np.uint8)
    expected = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [2.74, 0, 0]]
    np.testing.assert_allclose(segmentation._lab(colours)[0], expected, atol=0.02)


def test_quick_shift_keeps_different_surfaces_apart_and_takes_grey_floats_too():
    image = np.zeros((40, 60, 1))
    image[:, 25:] = 1.0
    found = quickshift(image)
    assert not set(found[:, :25].ravel()) & set(found[:, 25:].ravel())
    with pytest.raises(ValueError, match=r"floats in \[0, 1\]. Received: float64 from 0 to 255"):
        quickshift(image * 255)


def test_squares_are_as_square_as_they_can_be():
    found = squares(np.zeros((30, 61, 3)), across=4)
    assert found.max() + 1 == 4 * 8 and len(np.unique(found)) == 32
    sizes = np.bincount(found.ravel())
    assert sizes.min() >= 7 * 7 and sizes.max() <= 8 * 8
    assert squares(np.zeros((2, 5, 3))).max() + 1 == 10
