"""Random changes of training images: as published, and from the generator alone."""

import random

import numpy as np
import pytest
from golden_files import GOLDEN
from PIL import Image

from apps.person_reid import augment
from apps.person_reid.augment import (
    Donors,
    augmented,
    color_jitter,
    draw_box,
    draw_offset,
    erased_pixel,
    random_crop,
    random_erasing,
    random_patch,
)
from core.data.images import resized
from core.data.index import Index, Sample
from core.model_card import ModelCard

EVERYTHING = dict.fromkeys(("flip", "crop", "patch", "jitter", "erase"), "on")
SIZE = (64, 32)


class Published:
    """The draws of the published code, whose golden boxes came from Python's seeds."""

    def __init__(self, seed: int):
        self.python = random.Random(seed)
        self.random = self.python.random
        self.uniform = self.python.uniform

    def integers(self, low: int, high: int) -> int:
        return self.python.randint(low, high - 1)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "osnet__data.npz") as data:
        return {name: data[name] for name in data.files if name != "meta"}


@pytest.fixture
def donors(tmp_path):
    samples = []
    for number in range(3):  # red, green and blue
        picture = np.zeros((20, 10, 3), np.uint8)
        picture[..., number] = 255
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
        samples.append(Sample(str(number), (tmp_path / f"{number}.png",)))
    return Donors(Index("test", tmp_path, tuple(samples)))


def image(seed: int = 0, size=SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(256, 128), (96, 48)])
def test_images_are_resized_as_published(golden, size):
    expected = golden[f"resized_{size[0]}x{size[1]}"]
    np.testing.assert_array_equal(resized(golden["image_128x64"], size), expected)


def test_a_resized_image_is_normalised_as_published(golden):
    card = ModelCard(network="osnet", variant="x1_0", app="reid")
    ours = card.normalise(resized(golden["image_128x64"], (256, 128)))
    expected = golden["normalised_nchw"][0].transpose(1, 2, 0).astype(np.float32)
    np.testing.assert_allclose(ours, expected, atol=1.5e-3)  # stored in float16, below 2.7


def test_erased_boxes_are_as_published(golden):
    for seed, expected in enumerate(golden["erase_boxes_seed0_11"]):
        draws = Published(seed)
        draws.random()  # whether to erase
        box = draw_box((256, 128), draws, augment.ERASED_AREAS, augment.ERASED_ASPECTS)
        assert box == tuple(expected), seed


def test_crops_are_as_published(golden):
    for seed, expected in enumerate(golden["crop_offsets_seed0_11"]):
        draws = Published(seed)
        draws.random()  # whether to crop
        assert draw_offset((256, 128), draws) == tuple(expected), seed


def test_an_erased_part_is_the_mean_in_normalised_units():
    changed = random_erasing(np.full((256, 128, 3), 255, np.float32), Published(3), probability=2)
    card = ModelCard(network="osnet", variant="x1_0", app="reid")
    erased = card.normalise(changed)[(changed != 255).all(axis=-1)]
    np.testing.assert_allclose(erased, np.tile(card.mean, (len(erased), 1)), atol=1e-6)
    assert 0.02 <= len(erased) / (256 * 128) <= 0.4
    np.testing.assert_allclose(erased_pixel(), [152.0, 142.3, 126.8], atol=0.05)


def test_a_crop_is_a_part_of_the_enlarged_image():
    picture = image()
    cropped = random_crop(picture, np.random.default_rng(1), probability=2)
    large = resized(picture, (72, 36))
    found = [
        (top, left)
        for top in range(9)
        for left in range(5)
        if np.array_equal(large[top : top + 64, left : left + 32], cropped)
    ]
    assert len(found) == 1
    assert random_crop(picture, np.random.default_rng(1), probability=0) is picture


def test_a_patch_comes_from_another_training_image(donors):
    white = np.full((*SIZE, 3), 255, np.uint8)
    colours, shares = set(), []
    for seed in range(60):
        changed = random_patch(white, np.random.default_rng(seed), donors, probability=2)
        patch = changed[(changed != 255).any(axis=-1)]
        lit = patch[patch.any(axis=-1)]  # not the black corners of a rotated patch
        assert (lit == lit[0]).all() and sorted(lit[0]) == [0, 0, 255]
        colours.add(int(lit[0].argmax()))
        shares.append(len(patch) / (SIZE[0] * SIZE[1]))
    assert colours == {0, 1, 2}
    assert min(shares) > 0.005 and max(shares) < 0.55
    assert (white == 255).all()


def test_jitter_stays_in_its_ranges_and_changes_no_hue():
    grey = np.full((8, 4, 3), 100, np.uint8)
    values = [int(color_jitter(grey, np.random.default_rng(seed))[0, 0, 0]) for seed in range(50)]
    assert min(values) >= 80 and max(values) <= 120 and max(values) - min(values) > 20
    jittered = color_jitter(image(), np.random.default_rng(0))
    assert jittered.dtype == np.uint8 and (jittered != image()).mean() > 0.5


def test_every_change_is_made_about_half_of_the_time(donors):
    picture = image()
    for name in ("flip", "crop", "patch", "erase"):
        changed = [
            (augmented(picture, np.random.default_rng(seed), {name: "on"}, donors) != picture).any()
            for seed in range(100)
        ]
        assert 30 < sum(changed) < 70, name


def test_nothing_changes_where_nothing_is_wished():
    same = augmented(image(), np.random.default_rng(0), {"flip": "off"})
    assert same.dtype == np.float32
    np.testing.assert_array_equal(same, image())


def test_the_generator_decides_whatever_was_made_before(donors):
    def made(order):
        return {
            seed: augmented(image(seed), np.random.default_rng(seed), EVERYTHING, donors).tobytes()
            for seed in order
        }

    forward = made(range(12))
    assert forward == made(reversed(range(12)))
    assert len(set(forward.values())) == 12


def test_patches_need_donors():
    with pytest.raises(ValueError, match="donors"):
        augmented(image(), np.random.default_rng(0), {"patch": "on"})


def test_tiny_images_are_left_alone_where_no_box_fits():
    tiny = np.zeros((1, 1, 3), np.float32)
    assert random_erasing(tiny, np.random.default_rng(0), probability=2) is tiny
