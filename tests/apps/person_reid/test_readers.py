"""Data sets as they are downloaded: who is seen by which camera in which role, what is refused."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from golden_files import GOLDEN
from reid_layouts import PARTS, duke_name, laid_out, market_name, msmt17, roles, said, save

from apps.person_reid.data import READERS, Choices, check, merge, read
from apps.person_reid.data.cuhk03 import parse_name as parse_cuhk03
from apps.person_reid.data.layouts import DUKE, MARKET, parse_name
from apps.person_reid.data.msmt17 import parse_line
from apps.person_reid.data.splits import crop, query_ids
from core.data.readers import read_with
from core.errors import UserError


def test_names_are_parsed_as_published():
    with np.load(GOLDEN / "osnet__data.npz") as data:
        meta = json.loads(str(data["meta"]))
    names, expected = meta["file_names"], meta["expected_pid_camera"]
    for kind, pattern in (("market1501", MARKET), ("dukemtmcreid", DUKE)):
        for name, answer in zip(names[kind], expected[kind], strict=True):
            person, camera = parse_name(name)
            assert (None if person == -1 else [person, camera - 1]) == answer
            assert pattern.match(name)
    for line, answer in zip(names["msmt17"], expected["msmt17"], strict=True):
        assert list(parse_line(line)[1:]) == answer
    for name, answer in zip(names["cuhk03"], expected["cuhk03"], strict=True):
        assert parse_cuhk03(name)[2] == answer[1]


def test_market1501_leaves_out_junk_and_keeps_distractors(tmp_path):
    root = laid_out(tmp_path / "Market-1501-v15.09.15")
    save(*(root / "bounding_box_test" / market_name(p, 1, 9) for p in (0, -1)))
    (root / "bounding_box_test" / "Thumbs.db").write_bytes(b"x")
    index = read(tmp_path)
    assert index.format == "market1501" and index.root == root
    assert roles(index, "test") == {"query": 2, "gallery": 5}
    assert {one.extra["person"] for one in index.samples if one.split == "test"} == {0, 20, 21}
    assert "1 junk image(s)" in said(index) and "research use only" in said(index)
    assert "2 query images are here; the published set has 3,368" in said(index)
    sample = next(one for one in index.samples if one.id == "train/0003_c2s1_000002_00")
    assert sample.inputs == (root / "bounding_box_train" / market_name(3, 2, 2),)
    assert sample.group == "3" and sample.label == 1 and sample.split == "train"
    assert sample.extra == {"person": 3, "camera": 1, "role": "train", "dataset": 0}


def test_the_last_persons_are_held_out_with_a_query_for_each_camera(tmp_path):
    index = read(laid_out(tmp_path, people=40))
    val = [one for one in index.samples if one.split == "val"]
    assert {one.extra["person"] for one in val} == {38, 39, 40, 41}  # 10 % of 40
    assert roles(index, "val") == {"query": 8, "gallery": 8} and not roles(index, "val").get(
        "train"
    )
    assert all(one.label is None for one in val)
    trained = [one for one in index.samples if one.split == "train"]
    assert sorted({one.label for one in trained}) == list(range(36))
    assert "last 4 of 40 training persons" in said(index)


def test_persons_of_one_camera_are_not_held_out(tmp_path):
    root = laid_out(tmp_path, people=4)
    save(*(root / PARTS[0] / market_name(p, 1, n) for p in (50, 51) for n in (1, 2)))
    index = read(root)
    assert {one.extra["person"] for one in index.samples if one.split == "val"} == {4, 5}
    few = read(laid_out(tmp_path / "few", people=3))
    assert "val" not in few.counts() and "No persons are held out" in said(few)


def test_queries_are_chosen_so_that_each_can_be_found():
    def persons(*cameras: int) -> list:
        return [crop(f"{n}", Path(f"{n}"), 1, camera, "") for n, camera in enumerate(cameras)]

    assert query_ids(persons(0, 0, 1, 1, 2)) == {"0", "2", "4"}
    assert query_ids(persons(0, 1)) == {"0"}
    assert query_ids(persons(0, 0, 0, 1)) == {"0"}
    assert query_ids(persons(0, 0)) == set()


def test_combine_all_trains_on_the_tested_persons_too(tmp_path):
    root = laid_out(tmp_path)
    save(root / "bounding_box_test" / market_name(0, 1, 9))
    index = read(root, choices=Choices(combine_all=True))
    assert set(index.counts()) == {"train", "val"}
    assert {one.extra["person"] for one in index.samples if one.split == "val"} == {20, 21}
    assert not any(one.extra["person"] == 0 for one in index.samples)
    assert "there is no test split" in said(index)


def test_the_500k_distractors_join_the_gallery_on_demand(tmp_path):
    root = laid_out(tmp_path)
    save(root / "images" / market_name(0, 3), root / "images" / "00000001.jpg")
    plain, large = read(root), read(root, "market1501-500k")
    assert roles(plain, "test")["gallery"] == 4 and "--format market1501-500k" in said(plain)
    assert roles(large, "test")["gallery"] == 6 and "2 distractors" in said(large)
    with pytest.raises(UserError, match=r"distractors_500k\.zip"):
        read(laid_out(tmp_path / "without"), "market1501-500k")


def test_dukemtmc_is_recognised_by_its_names_and_said_to_be_withdrawn(tmp_path):
    root = laid_out(tmp_path / "DukeMTMC-reID", duke_name)
    for path in (tmp_path, root, root / "query"):
        index = read(path)
        assert index.format == "dukemtmc" and index.root == root
    assert "withdrawn" in said(index) and index.counts() == {"train": 24, "val": 8, "test": 6}


@pytest.mark.parametrize("parts", [("train", "test"), ("mask_train_v2", "mask_test_v2")])
def test_msmt17_reads_both_versions(tmp_path, parts):
    index = read(msmt17(tmp_path / "MSMT17", *parts).parent)
    assert index.format == "msmt17" and index.counts() == {"train": 8, "val": 4, "test": 9}
    assert {one.extra["camera"] for one in index.samples} == {0, 1, 14}
    assert "list_val.txt is not read" in said(index) and "in training and in test" not in said(
        index
    )
    everybody = read(tmp_path, choices=Choices(combine_all=True))
    assert everybody.counts() == {"train": 21, "val": 6}
    assert len({one.label for one in everybody.samples if one.split == "train"}) == 7


def test_a_number_of_thousands_of_digits_is_no_line_of_msmt17():
    assert parse_line("0000/0000_000_01_0303morning_0008_0.jpg 7")[1:] == (7, 0)
    assert parse_line(f"0000/0000_000_01_0303morning_0008_0.jpg {'7' * 5000}") is None
    assert parse_line(f"0000/0000_000_{'1' * 5000}_0303morning_0008_0.jpg 7") is None


def test_lists_of_msmt17_that_do_not_fit_are_refused(tmp_path):
    root = msmt17(tmp_path)
    (root / "train" / "0000" / "0000_000_01_0303noon_1_0.png").unlink()
    with pytest.raises(UserError, match=r"lacks 1 of 12 images named in list_train\.txt"):
        read(root)
    (root / "list_train.txt").write_text("0000/a.jpg 0\n")
    with pytest.raises(UserError, match=r"list_train\.txt: line 1 is '0000/a\.jpg 0'"):
        read(root)
    (root / "list_train.txt").unlink()
    with pytest.raises(UserError, match=r"list_train\.txt: is not there"):
        read(root)


def test_ones_own_folders_may_have_short_names_and_many_cameras(tmp_path):
    parts = ("train", "query", "gallery")
    root = laid_out(tmp_path, lambda p, c, n: f"{p}_c{c + 10}_{n}.png", parts)
    index = read(root)
    assert index.format == "folder" and index.counts() == {"train": 24, "val": 8, "test": 6}
    assert {one.extra["camera"] for one in index.samples} == {10, 11}
    assert "published" not in said(index)


def test_cameras_may_count_from_zero(tmp_path):
    laid_out(tmp_path, lambda p, c, n: f"{p}_c{c - 1}_{n}.png")
    assert {one.extra["camera"] for one in read(tmp_path).samples} == {0, 1}


def test_a_single_folder_is_split_by_persons(tmp_path):
    save(*(tmp_path / f"{p}_c{c}_{n}.png" for p in range(1, 13) for c in (1, 2) for n in (1, 2)))
    save(tmp_path / "0_c1_1.png", tmp_path / "-1_c1_1.png")
    index = read(tmp_path)
    groups = {
        split: {one.group for one in index.samples if one.split == split and one.group != "0"}
        for split in ("train", "val", "test")
    }
    assert {name: len(people) for name, people in groups.items()} == {
        "train": 4,
        "val": 2,
        "test": 6,
    }
    assert not groups["test"] & (groups["train"] | groups["val"])
    assert roles(index, "test") == {"query": 12, "gallery": 13}
    assert [one.split for one in read(tmp_path).samples] == [one.split for one in index.samples]
    assert "id 0 are background" in said(index) and "6 of 12 for training" in said(index)


def test_an_evaluation_set_needs_no_training_folder(tmp_path):
    root = laid_out(tmp_path)
    for file in (root / PARTS[0]).iterdir():
        file.unlink()
    (root / PARTS[0]).rmdir()
    index = read(root)
    assert index.counts() == {"test": 6} and "for evaluation only" in said(index)


def test_names_without_person_and_camera_are_listed_with_the_pattern(tmp_path):
    root = laid_out(tmp_path)
    save(root / "query" / "portrait.png")
    for format in ("auto", "market1501"):
        with pytest.raises(UserError, match=r"1 of 3 image names .*portrait\.png.*<person>_c<came"):
            read(root, format)
    other = laid_out(tmp_path / "other", lambda p, c, n: f"p{p}-{c}-{n}.png")
    with pytest.raises(UserError, match="32 of 32 image names"):
        read(other)


@pytest.mark.parametrize("part", ["query", "bounding_box_test"])
def test_a_missing_or_empty_query_or_gallery_folder_is_named(tmp_path, part):
    root = laid_out(tmp_path)
    for file in (root / part).iterdir():
        file.unlink()
    with pytest.raises(UserError, match=f"{part}: holds no image files"):
        read(root)
    (root / part).rmdir()
    with pytest.raises(UserError, match=f"lacks the .* folder '{part}'"):
        read(root)


def test_a_gallery_of_junk_is_refused(tmp_path):
    root = laid_out(tmp_path)
    for file in list((root / PARTS[2]).iterdir()):
        file.rename(file.with_name(market_name(-1, 1, zlib.crc32(file.name.encode()) % 10**6)))
    with pytest.raises(UserError, match="test split has query images but no gallery"):
        read(root)


def test_one_camera_queries_without_a_match_and_shared_persons_are_said(tmp_path):
    root = laid_out(tmp_path / "a")
    save(root / "query" / market_name(30, 1), root / "bounding_box_test" / market_name(30, 1, 2))
    save(root / "query" / market_name(2, 1, 7), root / "bounding_box_test" / market_name(2, 2, 7))
    index = read(root)
    assert "1 test queries have no image by another camera" in said(index)
    assert "1 person(s) are both in training and in test (2)" in said(index)
    one = read(laid_out(tmp_path / "b", lambda p, c, n: market_name(p, 1, 10 * c + n)))
    assert "All images come from one camera" in said(one)


def test_a_single_folder_that_cannot_be_tested_is_refused(tmp_path):
    save(*(tmp_path / "one" / f"1_c{c}_1.png" for c in (1, 2)))
    with pytest.raises(UserError, match=r"shows 1 person\(s\)"):
        read(tmp_path / "one")
    save(*(tmp_path / "camera" / f"{p}_c1_{n}.png" for p in (1, 2) for n in (1, 2)))
    with pytest.raises(UserError, match="only images of another camera count"):
        read(tmp_path / "camera")


def test_several_data_sets_in_a_folder_are_not_guessed(tmp_path):
    laid_out(tmp_path / "market")
    laid_out(tmp_path / "duke", duke_name)
    with pytest.raises(UserError, match=r"several data sets .duke, market."):
        read(tmp_path)
    assert read(tmp_path / "duke").format == "dukemtmc"


def test_what_is_no_data_set_is_described(tmp_path):
    (tmp_path / "stuff").mkdir()
    with pytest.raises(UserError, match=r"not recognised .*stuff/.*market1501"):
        read(tmp_path)
    with pytest.raises(UserError, match=r"expected bounding_box_train/.*found stuff"):
        read(tmp_path, "market1501")
    with pytest.raises(UserError, match=r"expected list_train\.txt"):
        read(tmp_path, "msmt17")


def test_data_sets_are_joined_with_numbers_of_their_own(tmp_path):
    market = laid_out(tmp_path / "market")
    duke = laid_out(tmp_path / "duke", duke_name)
    index = read(f"{market}+{duke}")
    first, second = read(market), read(duke)
    assert index.format == "market1501+dukemtmc" and len(index) == len(first) + len(second)
    trained = [one for one in index.samples if one.split == "train"]
    assert {one.label for one in trained} == set(range(12))
    assert {one.extra["camera"] for one in index.samples} == {0, 1, 2, 3}
    for name, values in (("dataset", {0, 1}), ("person", None)):
        sets = [
            {one.extra[name] for one in index.samples if one.id.startswith(kind)}
            for kind in ("market1501/", "dukemtmc/")
        ]
        assert not sets[0] & sets[1]
        assert values is None or sets[0] | sets[1] == values
    assert not {one.group for one in trained} & {one.group for one in first.samples}
    assert "2 data sets are joined, 12 persons to train on" in said(index)
    assert merge([first]) is first


def test_the_sample_is_read_and_every_reader_takes_a_path_alone(tmp_path):
    index = read("sample")
    assert index.format == "sample" and set(index.counts()) == {"train", "val", "test"}
    assert "Synthetic" in said(index) and check(index) == []
    assert read_with(READERS, laid_out(tmp_path)).format == "market1501"


def test_check_names_what_is_wrong_with_the_files(tmp_path):
    root = laid_out(tmp_path)
    train, gallery = root / PARTS[0], root / PARTS[2]
    (train / market_name(2, 1, 1)).write_bytes(b"no picture")
    save(train / market_name(3, 1, 1), size=(16, 8))
    save(train / market_name(60, 1))
    (gallery / market_name(20, 2, 8)).write_bytes((train / market_name(4, 1, 1)).read_bytes())
    (gallery / market_name(20, 2, 9)).write_bytes((train / market_name(9, 1, 1)).read_bytes())
    problems = check(read(root))
    assert len(problems) == 4
    assert "0002_c1s1_000001_00.png: is not an image" in problems[0]
    assert "1 of 40 images are not shaped like" in problems[1] and "16x8" in problems[1]
    assert "1 of 7 training persons were seen by one camera only (60)" in problems[2]
    # Person 9 is held out for validation: its picture is not trained on.
    assert "1 image(s) of test are in training too" in problems[3]
    assert market_name(20, 2, 8) in problems[3]
