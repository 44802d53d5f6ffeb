"""Data sets as they are downloaded: which pictures belong together, and what is refused."""

import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from apps.super_resolution.data import READERS, SAMPLE_DATA, check, layouts, pair
from apps.super_resolution.imresize import low_resolution
from apps.super_resolution.task import TASK
from core.data.images import write_image
from core.data.readers import read_with
from core.errors import UserError


def photo(seed: int = 0, size=(24, 36)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def blobs(seed: int = 0) -> np.ndarray:
    """Return a picture of large structures, which two photographs share as little as noise."""
    colours = Image.fromarray(photo(seed, (4, 6)))
    return np.asarray(colours.resize((48, 32), Image.Resampling.BICUBIC))


def save(root: Path, *names: str, scale: int = 0, size=(24, 36)) -> None:
    """Write pictures that follow from split and name; with a scale the small ones of those."""
    for name in names:
        path = root / name
        inside = [part for part in path.parts if not part.startswith("test_")]  # pytest's folder
        split = re.findall("train|val|test", "/".join(inside).lower().replace("pytest", ""))
        image = photo(zlib.crc32(repr((split, path.stem.split("x")[0])).encode()), size)
        path.parent.mkdir(parents=True, exist_ok=True)
        small = low_resolution(image, scale) if scale > 1 else image
        Image.fromarray(small).save(path)


def div2k(root: Path) -> None:
    save(root / "DIV2K_train_HR", "0001.png", "0002.png", "0801.png")
    save(root / "DIV2K_valid_HR", "0850.png")
    names = ("0001x2.png", "0002x2.png", "0801x2.png")
    save(root / "DIV2K_train_LR_bicubic" / "X2", *names, scale=2)
    save(root / "DIV2K_valid_LR_bicubic" / "X2", "0850x2.png", scale=2)


def flickr2k(root: Path) -> None:
    save(root / "Flickr2K_HR", "000001.png", "000002.png")
    save(root / "Flickr2K_LR_bicubic" / "X4", "000001x4.png", "000002x4.png", scale=4)


def df2k(root: Path) -> None:
    div2k(root)
    flickr2k(root)


def tracks(*names: str):
    """Return what writes DIV2K with these tracks and no bicubic small pictures."""

    def make(root: Path) -> None:
        save(root / "DIV2K_train_HR", "0001.png", "0002.png")
        save(root / "DIV2K_valid_HR", "0850.png")
        for name in names:
            train, valid = (root / f"DIV2K_{part}_LR_{name}" for part in ("train", "valid"))
            if name == "unknown":
                save(train / "X2", "0001x2.png", "0002x2.png", scale=2)
                save(valid / "X2", "0850x2.png", scale=2)
                continue
            for n in "1234" if name == "wild" else ("",):
                files = [f"{stem}x4{name[0]}{n}.png" for stem in ("0001", "0002")]
                save(train, *files, scale=4)
            save(valid, f"0850x4{name[0]}.png", scale=4)

    return make


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
    "div2k-unknown": (tracks("unknown"), 2, {"train": 2, "val": 1}),
    "div2k-mild": (tracks("mild"), 4, {"train": 2, "val": 1}),
    "div2k-difficult": (tracks("difficult"), 4, {"train": 2, "val": 1}),
    "div2k-wild": (tracks("wild"), 4, {"train": 8, "val": 1}),
    "df2k": (df2k, 4, {"train": 4, "val": 2}),
    "flickr2k": (flickr2k, 4, {"train": 1, "val": 1}),
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
            assert sample.extra["low"].keys() <= {0, 2, scale}
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


def test_the_track_is_chosen_by_name_and_never_guessed_beside_bicubic_pictures(tmp_path):
    tracks("unknown", "mild")(tmp_path)
    ambiguous = read_with(READERS, tmp_path)
    assert ambiguous.format == "div2k" and not ambiguous.samples[0].extra["low"]
    save(tmp_path / "DIV2K_train_LR_bicubic" / "X2", "0001x2.png", "0002x2.png", scale=2)
    index = read_with(READERS, tmp_path)
    assert index.format == "div2k"
    assert any("--format reads them: div2k-unknown, div2k-mild." in note for note in index.notes)
    mild = read_with(READERS, tmp_path, "div2k-mild")
    assert [sample.extra["low"][4].name for sample in mild.samples] == [
        "0001x4m.png", "0002x4m.png", "0850x4m.png",
    ]  # fmt: skip
    with pytest.raises(UserError, match=r"does not look like 'div2k-wild' \(DIV2K_train_HR beside"):
        read_with(READERS, tmp_path, "div2k-wild")


def test_a_track_that_is_alone_is_read_and_said(tmp_path):
    tracks("mild")(tmp_path)
    notes = read_with(READERS, tmp_path).notes
    assert any(note.startswith("The track 'mild' is read as no bicubic") for note in notes)
    assert read_with(READERS, tmp_path, "div2k").format == "div2k"
    (tmp_path / "DIV2K_valid_LR_mild" / "0850x4m.png").unlink()
    index = read_with(READERS, tmp_path)
    assert index.counts() == {"train": 2}
    assert any(note.startswith("DIV2K_valid_HR is left out") for note in index.notes)


def test_versions_of_a_small_picture_are_samples_of_one_group(tmp_path):
    tracks("wild")(tmp_path)
    index = read_with(READERS, tmp_path)
    found = [(sample.id, sample.group) for sample in index.samples[3:]]
    assert found == [("0001w4", "0001"), *((f"0002w{n}", "0002") for n in "1234"), ("0850", "")]


def test_degraded_pictures_of_another_scale_cannot_be_made(tmp_path):
    tracks("mild")(tmp_path)
    index = read_with(READERS, tmp_path)
    with pytest.raises(UserError, match=r"degraded small pictures of x4, and none of x2 can be ma"):
        pair(index.samples[0], 2)
    assert check(index, 2) == []


def test_bicubic_pictures_of_scale_eight_lie_in_a_folder_of_their_own(tmp_path):
    div2k(tmp_path)
    names = ("0001x8.png", "0002x8.png", "0801x8.png")
    save(tmp_path / "DIV2K_train_LR_x8", *names, scale=8)
    index = read_with(READERS, tmp_path)
    assert index.format == "div2k" and index.samples[0].extra["low"].keys() == {2, 8}
    small, large = pair(index.samples[0], 8)
    np.testing.assert_array_equal(small, low_resolution(large, 8))


def test_div2k_and_flickr2k_train_together_wherever_they_lie(tmp_path):
    div2k(tmp_path / "DIV2K")
    flickr2k(tmp_path / "Flickr2K")
    index = read_with(READERS, tmp_path)
    assert (index.format, index.counts()) == ("df2k", {"train": 4, "val": 2})
    assert [sample.id for sample in index.samples if sample.split == "val"] == [
        "DIV2K/0801", "DIV2K/0850",
    ]  # fmt: skip
    assert index.samples[-1].id == "Flickr2K/000002"
    assert read_with(READERS, tmp_path, "div2k").counts() == {"train": 2, "val": 2}


@pytest.mark.parametrize("most, held_out", [(100, 3), (2, 2)])
def test_the_end_of_flickr2k_is_held_out(most, held_out, tmp_path, monkeypatch):
    monkeypatch.setattr(layouts, "HELD_OUT", most)
    (tmp_path / "Flickr2K_HR").mkdir()
    for number in range(1, 61):  # which no reader opens
        (tmp_path / "Flickr2K_HR" / f"{number:06d}.png").touch()
    index = read_with(READERS, tmp_path)
    assert index.counts() == {"train": 60 - held_out, "val": held_out}
    assert {sample.split for sample in index.samples[-held_out:]} == {"val"}
    assert any(f"The last {held_out} of 60 pictures are held out" in x for x in index.notes)


def test_pairs_of_different_pictures_are_named(tmp_path):
    rng = np.random.default_rng(0)
    for seed, name in enumerate("abc"):
        write_image(tmp_path / "hr" / f"{name}.png", blobs(seed))
        noisy = low_resolution(blobs(seed), 2) + rng.normal(0, 25, (16, 24, 3))  # leaves 20 dB
        write_image(tmp_path / "lr" / f"{name}.png", np.clip(noisy, 0, 255).astype(np.uint8))
    index = read_with(READERS, tmp_path)
    assert check(index, 2) == []
    a, b, spare = (tmp_path / "lr" / f"{name}.png" for name in ("a", "b", "spare"))
    for old, new in ((a, spare), (b, a), (spare, b)):
        old.rename(new)
    said = check(index, 2)
    assert [sentence.split(":")[0] for sentence in said] == [str(a), str(b)]
    assert re.search(r"does not show what a\.png does \(PSNR \d+\.\d dB to its reduct", said[0])


def test_every_published_scale_is_checked(tmp_path):
    for seed, name in enumerate(("0001", "0002")):
        write_image(tmp_path / "DIV2K_train_HR" / f"{name}.png", blobs(seed))
        for scale in (2, 4):
            small = low_resolution(blobs(0 if scale == 2 else seed), scale)
            folder = tmp_path / "DIV2K_train_LR_bicubic" / f"X{scale}"
            write_image(folder / f"{name}x{scale}.png", small)
    (said,) = check(read_with(READERS, tmp_path), 4)
    assert "0002x2.png: does not show what 0002.png does" in said


def test_a_picture_in_two_splits_is_named(tmp_path):
    for seed, name in enumerate(("train/a", "train/b", "val/c", "test/d")):
        write_image(tmp_path / f"{name}.png", photo(seed))
    write_image(tmp_path / "train" / "again.png", photo(0))  # twice in one split
    index = read_with(READERS, tmp_path)
    assert check(index, 2) == []
    Image.fromarray(photo(1)).save(tmp_path / "test" / "e.bmp")  # b in another format
    assert check(read_with(READERS, tmp_path), 2) == [
        "Sample 'train/b' (train) has the same content as 'test/e' (test); keep it in one split."
    ]


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
