"""The exact bicubic reduction that published pictures were made with."""

import json

import golden_files
import numpy as np
import pytest

from apps.super_resolution.imresize import imresize, low_resolution, modcrop, taps
from core.errors import UserError


@pytest.fixture(scope="module")
def golden() -> dict:
    with np.load(golden_files.GOLDEN / "sr__evaluation.npz", allow_pickle=False) as data:
        return {name: data[name] for name in data.files} | {"meta": json.loads(str(data["meta"]))}


def plain(image: np.ndarray, scale: float) -> np.ndarray:
    """Return the definition, word for word: gather the taps, weigh, sum, round; axis by axis."""
    values = image.astype(np.float64)
    for axis in (0, 1):
        length = image.shape[axis]
        weights, index = taps(length, int(np.ceil(scale * length)), scale)
        values = np.moveaxis(values, axis, 0)
        values = sum(w[:, None, None] * values[i] for w, i in zip(weights.T, index.T, strict=True))
        values = np.floor(np.clip(np.moveaxis(values, 0, axis), 0, 255) + 0.5)
    return values.astype(np.uint8)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_reduces_and_enlarges_as_published(golden, scale):
    low = low_resolution(golden["hr"], scale)
    np.testing.assert_array_equal(low, golden[f"lr_x{scale}"])
    np.testing.assert_array_equal(imresize(low, scale), golden[f"up_x{scale}"])
    cropped = modcrop(golden["hr"], scale) / 255.0
    reduced = imresize(cropped, size=low.shape[:2])
    np.testing.assert_allclose(reduced, golden[f"lr_x{scale}_float"], atol=1e-12)
    weights, index = taps(48, 48 // scale, 1 / scale)
    used = (np.abs(weights) > 1e-12).any(axis=0)
    np.testing.assert_allclose(weights[:, used], golden[f"weights_h_x{scale}"], atol=1e-15)
    np.testing.assert_array_equal(index[:, used], golden[f"indices_h_x{scale}"])


def test_the_axis_that_shrinks_more_goes_first(golden):
    for size in ((31, 40), (70, 50)):
        np.testing.assert_array_equal(
            imresize(golden["hr"], size=size), golden[f"resize_to_{size[0]}x{size[1]}"]
        )
    np.testing.assert_array_equal(imresize(golden["hr"], 1.5), golden["scale_1_5"])


@pytest.mark.parametrize("scale", [1 / 2, 1 / 3, 1 / 4, 2, 3, 0.7])
def test_equals_the_definition_bit_for_bit(scale):
    image = np.random.default_rng(1).integers(0, 256, (97, 131, 3), dtype=np.uint8)
    np.testing.assert_array_equal(imresize(image, scale), plain(image, scale))


def test_halves_round_up_as_in_the_definition():
    """Checkerboards of two levels make many sums that end in exactly one half."""
    rng = np.random.default_rng(2)
    image = rng.choice(np.array([0, 1, 254, 255], np.uint8), (64, 64, 3))
    for scale in (1 / 2, 1 / 4, 2, 4):
        np.testing.assert_array_equal(imresize(image, scale), plain(image, scale))


def test_what_cannot_be_resized_is_refused():
    with pytest.raises(ValueError, match="uint8 or floating"):
        imresize(np.zeros((4, 4), np.int32), 2)
    with pytest.raises(ValueError, match="either `scale` or `size`"):
        imresize(np.zeros((4, 4), np.uint8))
    with pytest.raises(UserError, match="3x2 pixels is smaller than the scale 4"):
        modcrop(np.zeros((2, 3), np.uint8), 4)
