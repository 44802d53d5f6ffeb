"""Data sets as they are downloaded: which pictures belong together, and what is refused."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from apps.super_resolution.data import READERS, SAMPLE_DATA, check, pair
from apps.super_resolution.imresize import low_resolution
from apps.super_resolution.task import TASK
from core.data.images import write_image
from core.data.readers import read_with
from core.errors import UserError


def photo(seed: int = 0, size=(24, 36)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def save(root: Path, *names: str, scale: int = 0, size=(24, 36)) -> None:
    """Write pictures; with a scale the small ones of the same seeds."""
    for seed, name in enumerate(names):
        image = photo(seed, size)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        small = low_resolution(image, scale) if scale > 1 else image
        Image.fromarray(small).save(root / name)


def div2k(root: Path) -> None:
    save(root / "DIV2K_train_HR", "0001.png", "0002.png", "0801.png")
    save(root / "DIV2K_valid_HR", "0850.png")
    names = ("0001x2.png", "0002x2.png", "0801x2.png")
    save(root / "DIV2K_train_LR_bicubic" / "X2", *names, scale=2)
    save(root / "DIV2K_valid_LR_bicubic" / "X2", "0850x2.png", scale=2)


def flickr2k(root: Path) -> None:
    save(root / "Flickr2K_HR", "000001.png", "000002.png")
    save(root / "Flickr2K_LR_bicubic" / "X4", "000001x4.png", "000002x4.png", scale=4)


def realsr(root: Path) -> None:
    for name in ("TrainGT", "TrainLR", "ValidationGT", "ValidationLR"):
        save(root / name, "cam1_01.png")


def benchmark(root: Path) -> None:
    for name in ("Set5", "Set14"):
        save(root / name / "HR", "baby.png", "bird.PNG")
        save(root / name / "LR_bicubic" / "X3", "babyx3.png", "birdx3.png", scale=3)


def basicsr(root: Path) -> None:
    save(root / "Set5" / "GTmod12", "baby.png")
    save(root / "Set5" / "LRbicx4", "baby.png", scale=4)


def imdn(root: Path) -> None:
    save(root / "Set5", "baby.bmp")
    save(root / "Set5_LR" / "x2", "babyx2.bmp", scale=2)


def pairs(root: Path) -> None:
    for split in ("train", "val", "test"):
        save(root / split / "hr", "a.png")
        save(root / split / "lr", "a.png", scale=2)


def folder(root: Path) -> None:
    save(root, *(f"{n}.jpeg" for n in "abcdefghij"))


LAYOUTS = {
    "div2k": (div2k, 2, {"train": 2, "val": 2}),
    "flickr2k": (flickr2k, 4, {"": 2}),
    "realsr": (realsr, 1, {"train": 1, "val": 1}),
    "benchmark": (benchmark, 3, {"test": 4}),
    "basicsr": (basicsr, 4, {"test": 1}),
    "imdn": (imdn, 2, {"test": 1}),
    "pairs": (pairs, 2, {"train": 1, "val": 1, "test": 1}),
    "folder": (folder, 2, {"": 10}),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_published_layouts_are_recognised_and_paired(name, tmp_path):
    make, scale, splits = LAYOUTS[name]
    make(tmp_path)
    index = read_with(READERS, tmp_path)
    assert (index.format, index.counts()) == (name, splits)
    assert check(index, scale) == []
    for sample in index.samples:
        small, large = pair(sample, scale)
        assert large.shape == (small.shape[0] * scale, small.shape[1] * scale, 3)
        if name not in ("folder", "realsr"):
            assert sample.extra["low"].keys() <= {0, scale}
            np.testing.assert_array_equal(small, low_resolution(large, scale))


def test_scales_that_were_not_published_are_made(tmp_path):
    div2k(tmp_path)
    index = read_with(READERS, tmp_path)
    small, large = pair(index.samples[0], 3)
    np.testing.assert_array_equal(small, low_resolution(large, 3))


def test_a_folder_is_split_for_training(tmp_path):
    folder(tmp_path)
    assert set(TASK.read(tmp_path).counts()) == {"train", "val", "test"}


def test_the_sample_is_split_by_photograph_and_whole():
    index = TASK.read("sample")
    assert index.counts() == {"train": 4, "val": 1, "test": 3}
    for scale in (2, 3, 4):
        assert check(index, scale) == []
    text = (SAMPLE_DATA / "README.md").read_text(encoding="utf-8")
    assert all(f"`{sample.id}`" in text for sample in index.samples)


def test_missing_small_pictures_are_named(tmp_path):
    div2k(tmp_path)
    (tmp_path / "DIV2K_train_LR_bicubic" / "X2" / "0002x2.png").unlink()
    with pytest.raises(UserError, match=r"no small picture for 1 of 3 in DIV2K_train_HR \(0002\)"):
        read_with(READERS, tmp_path)


def test_small_pictures_without_a_large_one_are_named(tmp_path):
    div2k(tmp_path)
    (tmp_path / "DIV2K_train_HR" / "0002.png").unlink()
    with pytest.raises(UserError, match=r"1 small pictures without a large one .* \(0002x2\)"):
        read_with(READERS, tmp_path)


def test_small_pictures_of_pairs_may_bear_their_scale(tmp_path):
    save(tmp_path / "hr", "a.png", "b.png")
    save(tmp_path / "lr", "ax2.png", "bx2.png", scale=2)
    assert check(read_with(READERS, tmp_path), 2) == []


def test_a_folder_around_div2k_is_recognised(tmp_path):
    div2k(tmp_path / "DIV2K")
    index = read_with(READERS, tmp_path)
    assert (index.format, index.counts()) == ("div2k", {"train": 2, "val": 2})


def test_a_pair_of_another_scale_is_named(tmp_path):
    save(tmp_path / "hr", "a.png")
    save(tmp_path / "lr", "a.png", scale=3)
    index = read_with(READERS, tmp_path)
    (said,) = check(index, 2)
    assert re.search(r"lr/a.png: has 12x8 pixels, which is not 1/2 of the 36x24 of a.png", said)
    assert check(index, 3) == []


def test_restoration_needs_pairs(tmp_path):
    folder(tmp_path)
    sample = read_with(READERS, tmp_path).samples[0]
    with pytest.raises(UserError, match="has no counterpart to restore it from"):
        pair(sample, 1)


def test_a_picture_below_the_scale_is_named(tmp_path):
    save(tmp_path, "a.png", size=(3, 40))
    (said,) = check(read_with(READERS, tmp_path), 4)
    assert "a.png: has 40x3 pixels, less than the scale 4" in said


def test_two_formats_of_a_picture_are_refused(tmp_path):
    save(tmp_path, "a.png", "a.bmp")
    with pytest.raises(UserError, match="holds 'a' in two formats"):
        read_with(READERS, tmp_path)


def test_sets_that_are_not_whole_are_said(tmp_path):
    benchmark(tmp_path)
    notes = read_with(READERS, tmp_path).notes
    assert "Set5 has 2 pictures here; the published set has 5." in notes


def test_grey_pictures_have_three_equal_channels(tmp_path):
    write_image(tmp_path / "a.png", photo()[..., 0])
    small, large = pair(read_with(READERS, tmp_path).samples[0], 2)
    assert small.shape == (12, 18, 3) and (large == large[..., :1]).all()
