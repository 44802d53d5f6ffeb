"""Sub-images on the disk: aligned, whole in value, read by the page, and refused when damaged."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from apps.super_resolution.data import READERS, check, pair, prepared, preparing
from core.data.images import write_image
from core.data.readers import read_with
from core.errors import UserError


def photo(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "photos"
    for seed, name in enumerate(("train/a", "train/small", "val/b", "test/c")):
        size = (14, 90) if name == "train/small" else (70, 101)
        write_image(root / f"{name}.png", photo(seed, *size))
    return read_with(READERS, root)


@pytest.fixture
def made(source, tmp_path):
    preparing.prepare(source, 2, tmp_path / "out", size=32, step=16)
    return tmp_path / "out"


@pytest.fixture
def of_another_scale(made):
    record = json.loads((made / "prepared.json").read_text())
    (made / "prepared.json").write_text(json.dumps({**record, "scale": 3}))
    return read_with(READERS, made)


@pytest.mark.parametrize(
    "length, expected",
    [(480, [0]), (300, [0]), (481, [0, 1]), (720, [0, 240]), (1356, [0, 240, 480, 720, 876])],
)
def test_sub_images_cover_an_axis_and_the_last_ends_at_the_border(length, expected):
    assert preparing.starts(length, 480, 240) == expected


def test_sub_images_are_parts_of_the_pair_at_one_place(source, made):
    index = read_with(READERS, made)
    assert index.format == "prepared"
    whole = {sample.id: pair(sample, 2) for sample in source.samples}
    record = json.loads((made / prepared.RECORD).read_text())
    for entry in record["images"]:
        small, large = whole[entry["id"]]
        members = [s for s in index.samples if s.group == entry["id"]]
        assert len(members) == len(entry["corners"])
        for sample, (top, left) in zip(members, entry["corners"], strict=True):
            low, high = pair(sample, 2)
            height, width = high.shape[:2]
            np.testing.assert_array_equal(high, large[top : top + height, left : left + width])
            y, x, rows, columns = top // 2, left // 2, height // 2, width // 2
            np.testing.assert_array_equal(low, small[y : y + rows, x : x + columns])
    assert check(index, 2) == []


def test_only_training_pictures_are_cut_and_small_ones_stay_whole(made):
    index = read_with(READERS, made)
    shapes = {name: {pair(s, 2)[1].shape[:2] for s in index.split(name).samples}
              for name in ("train", "val", "test")}  # fmt: skip
    assert shapes == {"train": {(32, 32), (14, 32)}, "val": {(70, 100)}, "test": {(70, 100)}}
    # 70 rows: 0, 16, 32, 38; 100 columns: 0, 16, 32, 48, 64, 68. 14 rows; 90 columns.
    assert index.counts() == {"train": 4 * 6 + 5, "val": 1, "test": 1}


def test_pictures_can_be_stored_whole(source, tmp_path):
    index = preparing.prepare(source, 2, tmp_path / "out", size=None)
    assert [sample.id for sample in index.samples] == [sample.id for sample in source.samples]


def test_a_patch_is_a_view_of_the_file(made):
    low, high = pair(read_with(READERS, made).samples[0], 2)
    for picture in (low, high):
        assert isinstance(picture[:4, :4], np.memmap) and not picture.flags.writeable


def test_the_record_tells_the_source(source, made):
    record = json.loads((made / prepared.RECORD).read_text())
    assert (record["scale"], record["size"], record["step"]) == (2, 32, 16)
    assert record["source"]["format"] == "folder"
    assert record["source"]["fingerprint"] == source.fingerprint()


def test_another_scale_is_refused(made):
    with pytest.raises(UserError, match=r"was prepared for scale 2, not 3; prepare"):
        pair(read_with(READERS, made).samples[0], 3)


@pytest.mark.parametrize("size, step", [(33, 16), (32, 15), (32, 0)])
def test_sizes_that_do_not_fit_the_scale_are_refused(source, tmp_path, size, step):
    with pytest.raises(UserError, match="do not fit scale 2; choose multiples"):
        preparing.prepare(source, 2, tmp_path / "out", size=size, step=step)


def test_pictures_of_another_scale_than_the_record_says_are_refused(of_another_scale):
    said = r"its sub-images are not those of .* at scale 3; prepare the data again"
    with pytest.raises(UserError, match=said):
        pair(of_another_scale.samples[0], 3)
    assert len(check(of_another_scale, 3)) == len(of_another_scale.samples)


def test_files_that_were_cut_off_or_lost_are_named(made):
    file = next((made / "train" / "high").rglob("*.npy"))
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match=rf"{file.name}: has \d+ bytes, not the \d+ that were"):
        read_with(READERS, made)
    file.unlink()
    with pytest.raises(UserError, match=rf"{file.name}: has 0 bytes"):
        read_with(READERS, made)


@pytest.mark.parametrize("content", ["", "[]", '{"version": 1}', '{"version": 1, "images": [1]}'])
def test_a_damaged_record_is_named(made, content):
    (made / prepared.RECORD).write_text(content)
    with pytest.raises(UserError, match=r"prepared\.json: is damaged; prepare the data again"):
        read_with(READERS, made)


def test_a_folder_in_use_is_refused_and_overwriting_unmakes_the_record_first(source, made):
    with pytest.raises(UserError, match="already holds files"):
        preparing.prepare(source, 2, made)
    last, earlier = source.samples[-1].targets[0], (made / prepared.RECORD).read_bytes()
    content = last.read_bytes()
    last.write_bytes(b"")  # which is seen before anything is changed
    with pytest.raises(UserError, match="is empty"):
        preparing.prepare(source, 2, made, overwrite=True)
    assert (made / prepared.RECORD).read_bytes() == earlier
    last.write_bytes(content[:-40])
    with pytest.raises(UserError, match=last.name):
        preparing.prepare(source, 2, made, overwrite=True)
    assert not (made / prepared.RECORD).exists()


def test_a_full_disk_is_told_before_anything_is_written(source, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(UserError, match=r"need 0\.0 GB but 0\.0 GB are free; choose another"):
        preparing.prepare(source, 2, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_disk_with_too_little_room_leaves_an_earlier_folder_whole(source, made, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    earlier = (made / prepared.RECORD).read_bytes()
    with pytest.raises(UserError, match=r"0\.0 GB are free"):
        preparing.prepare(source, 2, made, overwrite=True)
    assert (made / prepared.RECORD).read_bytes() == earlier


def test_progress_counts_pictures(source, tmp_path):
    seen = []
    preparing.prepare(source, 2, tmp_path / "out", progress=lambda *state: seen.append(state))
    assert seen == [(n, 4) for n in range(1, 5)]
