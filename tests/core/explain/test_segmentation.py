"""Super-pixels: quick shift against its definition and scikit-image, SLIC, and regular squares."""

import sys

import numpy as np
import pytest
from scipy.ndimage import label

from core.errors import UserError
from core.explain import segmentation
from core.explain.segmentation import (
    SEGMENTATIONS,
    named_segmentation,
    quickshift,
    slic,
    squares,
)


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


def surfaces(height: int = 96, width: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Return two noisy colours that meet at a slanting edge, and where the second one is."""
    rows, columns = np.mgrid[:height, :width]
    second = columns - 0.6 * rows > width / 3
    image = np.where(second[..., None], (200, 120, 40), (40, 90, 140))
    noise = np.random.default_rng(2).integers(-12, 13, image.shape)
    return (image + noise).astype(np.uint8), second


def test_quick_shift_with_the_settings_of_lime_is_scikit_images_to_the_pixel():
    other = pytest.importorskip("skimage.segmentation")
    image = surfaces(48, 60)[0]
    for seed in (0, 42):
        expected = other.quickshift(image, kernel_size=4, max_dist=200, ratio=0.2, rng=seed)
        np.testing.assert_array_equal(quickshift(image, seed=seed), expected)


@pytest.mark.parametrize("name", SEGMENTATIONS)
def test_every_pixel_lies_in_one_region_and_edges_of_colour_are_followed(name):
    if name == "slic":
        pytest.importorskip("skimage")
    image, second = surfaces()
    found = named_segmentation(name)(image)
    sizes = np.bincount(found.ravel())
    assert found.shape == second.shape and len(sizes) > 4 and sizes.min() > 0
    inside = np.bincount(found.ravel(), second.ravel())  # and the rest on the other side
    astray = np.minimum(inside, sizes - inside).sum() / found.size
    assert astray > 0.02 if name == "squares" else astray < 0.01
    np.testing.assert_array_equal(named_segmentation(name)(image), found)


def test_slic_cuts_connected_regions_of_faint_grey_as_of_bright():
    pytest.importorskip("skimage")
    bright = surfaces()[0][..., :1]
    found = slic(bright)
    assert 32 <= found.max() + 1 <= 80
    assert all(label(found == number)[1] == 1 for number in range(found.max() + 1))
    np.testing.assert_array_equal(slic((bright / 4 + 10).astype(np.float32)), found)
    assert slic(bright, count=12).max() < found.max()
    with pytest.raises(ValueError, match=r"must be \(H, W, 1 or 3\). Received: shape \(8, 8, 2\)"):
        slic(np.zeros((8, 8, 2), np.uint8))


def test_without_scikit_image_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(
        UserError, match=r"pip install 'gossamer-keras\[explain\]', or choose quick"
    ):
        named_segmentation("slic")
    assert named_segmentation("quickshift") is quickshift


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
