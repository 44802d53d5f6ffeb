"""CUHK03 from its MATLAB files, and extracted: images written once, protocols as published."""

import tempfile
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from apps.person_reid.data import Choices, read
from apps.person_reid.data.cuhk03_mat import extract
from core.data.images import read_image
from core.errors import UserError

PEOPLE = (6, 4)  # in each of two camera pairs
TRIALS = [[(1, 1), (2, 3)], [(1, 2), (2, 4)]]
CONFIG = "cuhk03_new_protocol_config_{}.mat"


def pixels(pair: int, person: int, number: int) -> np.ndarray:
    """Return an image of 9 rows and 4 columns."""
    return np.random.default_rng([pair, person, number]).integers(0, 256, (9, 4, 3), dtype=np.uint8)


def names() -> list[str]:
    return [
        f"{pair}_{person:03d}_{1 if number <= 5 else 2}_{number:02d}.png"
        for pair, people in enumerate(PEOPLE, 1)
        for person in range(1, people + 1)
        for number in (1, 2, 6, 7)
    ]


def write_mat(path: Path) -> Path:
    """Write what MATLAB 7.3 would: transposed arrays, cells as references, empty cells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        hidden = file.create_group("#refs#")

        def kept(values) -> h5py.Reference:
            return hidden.create_dataset(f"r{len(hidden)}", data=values).ref

        def cells(references: list) -> np.ndarray:
            return np.array(references, dtype=h5py.ref_dtype)

        empty = kept(np.zeros(2, np.uint64))
        for kind in ("detected", "labeled"):
            pairs = []
            for pair, people in enumerate(PEOPLE, 1):
                rows = [
                    [
                        kept(pixels(pair, person, number).T) if number in (1, 2, 6, 7) else empty
                        for number in range(1, 11)
                    ]
                    for person in range(1, people + 1)
                ]
                pairs.append(kept(cells(rows).T))
            file.create_dataset(kind, data=cells([pairs]))
        trials = [kept(np.array(trial, np.float64).T) for trial in TRIALS]
        file.create_dataset("testsets", data=cells([trials]))
    return path


def write_protocol(folder: Path, kind: str = "detected", **changes) -> Path:
    """Write the new protocol: the last two persons of each pair are tested."""
    files = names()
    persons = [100 * int(name[0]) + int(name[2:5]) for name in files]
    tested = [int(name[2:5]) > PEOPLE[int(name[0]) - 1] - 2 for name in files]
    query = [tested[i] and name[-6:-4] in ("01", "06") for i, name in enumerate(files)]
    filelist = np.empty((len(files), 1), object)
    filelist[:, 0] = files

    def column(values) -> np.ndarray:
        return np.array(values, np.float64).reshape(-1, 1)

    content = {
        "filelist": filelist,
        "labels": column(persons),
        "camId": column([int(name[6]) for name in files]),
        "train_idx": column([1 + i for i, one in enumerate(tested) if not one]),
        "query_idx": column([1 + i for i, one in enumerate(query) if one]),
        "gallery_idx": column([1 + i for i in range(len(files)) if tested[i] and not query[i]]),
    }
    path = folder / CONFIG.format(kind)
    savemat(path, content | changes)
    return path


@pytest.fixture
def release(tmp_path):
    root = tmp_path / "cuhk03"
    write_mat(root / "cuhk03_release" / "cuhk-03.mat")
    write_protocol(root)
    return root


def roles(index, split: str) -> dict[str, int]:
    return dict(Counter(one.extra["role"] for one in index.samples if one.split == split))


def test_the_new_protocol_is_read_from_the_matlab_files(release):
    index = read(release)
    assert index.format == "cuhk03" and index.counts() == {"train": 16, "val": 8, "test": 16}
    assert roles(index, "test") == {"query": 8, "gallery": 8}
    assert {one.extra["person"] for one in index.samples if one.split == "test"} == {
        *(105, 106),
        *(203, 204),
    }
    query = next(one for one in index.samples if one.id == "query/1_005_2_06")
    assert query.inputs == (release / "images_detected" / "1_005_2_06.png",)
    assert query.extra == {"person": 105, "camera": 1, "role": "query", "dataset": 0}
    np.testing.assert_array_equal(read_image(query.inputs[0]), pixels(1, 5, 6))
    assert any("(24, 8, 8)" in note and "(7365, 1400, 5332)" in note for note in index.notes)


def test_images_are_written_once_and_found_by_any_path(release):
    mat = release / "cuhk03_release" / "cuhk-03.mat"
    first = read(mat)
    changed = (release / "images_detected").stat().st_mtime_ns
    for path in (release, release / "cuhk03_release", release.parent):
        assert read(path).samples == first.samples
    assert (release / "images_detected").stat().st_mtime_ns == changed
    mat.unlink()
    assert read(release).samples == first.samples
    assert sorted(one.name for one in (release / "images_detected").iterdir()) == names()


def test_labeled_crops_are_a_format_of_their_own(release):
    write_protocol(release, "labeled")
    index = read(release, "cuhk03-labeled")
    assert {one.inputs[0].parent.name for one in index.samples} == {"images_labeled"}
    assert not (release / "images_detected").exists()


def test_the_classic_protocol_tests_every_image_as_query_and_gallery(release):
    for trial, persons in enumerate(({1, 9}, {2, 10})):
        index = read(release, "cuhk03-classic", Choices(trial=trial))
        assert roles(index, "test") == {"query": 8, "gallery": 8}
        test = [one for one in index.samples if one.split == "test"]
        assert {one.extra["person"] for one in test} == persons
        assert {one.extra["trial"] for one in test} == {trial}
        assert {one.extra["protocol"] for one in test} == {"single-shot"}
        assert len({one.inputs for one in test}) == 8
    assert "20 splits" in index.notes[0]
    with pytest.raises(UserError, match="splits 0 to 1, but 20"):
        read(release, "cuhk03-classic", Choices(trial=20))
    combined = read(release, "cuhk03-classic", Choices(combine_all=True))
    assert sum(combined.counts().values()) == len(names())


def test_the_layout_of_market1501_is_read_for_both_kinds(tmp_path):
    root = tmp_path / "cuhk03-np"
    for kind in ("detected", "labeled"):
        for part, people in (("bounding_box_train", range(1, 7)), ("bounding_box_test", (8, 9))):
            for person in people:
                for camera in (1, 2):
                    file = root / kind / part / f"{person:04d}_c{camera}_{person}.png"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(pixels(1, person, camera)).save(file)
        (root / kind / "query").mkdir()
        Image.fromarray(pixels(1, 8, 3)).save(root / kind / "query" / "0008_c1_9.png")
    index = read(root)
    assert index.format == "cuhk03" and index.root == root / "detected"
    assert index.counts() == {"train": 8, "val": 4, "test": 5}
    for path, format in ((root / "labeled", "auto"), (root, "cuhk03-labeled")):
        index = read(path, format)
        assert index.format == "cuhk03-labeled" and index.root == root / "labeled"


def test_a_damaged_or_wrong_file_is_named(release):
    mat = release / "cuhk03_release" / "cuhk-03.mat"
    whole = mat.read_bytes()
    mat.write_bytes(whole[: len(whole) // 2])
    for format in ("cuhk03", "cuhk03-classic"):
        with pytest.raises(UserError, match=r"cuhk-03\.mat: cannot be read as HDF5"):
            read(release, format)
    with h5py.File(mat, "w") as file:
        file["other"] = 1
    for format in ("cuhk03", "cuhk03-classic"):
        with pytest.raises(UserError, match=r"is not cuhk-03\.mat"):
            read(release, format)
    assert sorted(one.name for one in release.iterdir()) == [
        *("cuhk03_new_protocol_config_detected.mat", "cuhk03_release"),
    ]


def test_a_damaged_or_wrong_protocol_is_named(release):
    path = release / CONFIG.format("detected")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"config_detected.* damaged or cut off"):
        read(release)
    savemat(path, {"other": 1})
    with pytest.raises(UserError, match="is not a protocol of CUHK03"):
        read(release)
    write_protocol(release, query_idx=np.array([[99.0]]))
    with pytest.raises(UserError, match="lists do not fit"):
        read(release)
    path.unlink()
    with pytest.raises(UserError, match="lacks cuhk03_new_protocol_config_detected"):
        read(release)


def test_missing_images_are_counted(release):
    read(release)
    (release / "images_detected" / "1_001_1_01.png").unlink()
    with pytest.raises(UserError, match=r"lacks 1 of 40 images \(1_001_1_01\.png\)"):
        read(release)


def test_what_is_missing_is_said(release):
    (release / "empty").mkdir()
    with pytest.raises(UserError, match=r"holds neither cuhk-03\.mat"):
        read(release / "empty", "cuhk03")
    read(release)
    (release / "cuhk03_release" / "cuhk-03.mat").unlink()
    with pytest.raises(UserError, match="holds the classic splits"):
        read(release, "cuhk03-classic")


def test_a_closed_folder_is_refused_in_a_sentence(release, monkeypatch):
    def closed(**kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "mkdtemp", closed)
    with pytest.raises(UserError, match=r"closed to you; copy cuhk-03\.mat"):
        read(release)


def test_an_interrupted_extraction_leaves_nothing(release, monkeypatch):
    def stopped(self, *args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", stopped)
    with pytest.raises(KeyboardInterrupt):
        extract(release / "cuhk03_release" / "cuhk-03.mat", "detected", release / "images_detected")
    assert not [one for one in release.iterdir() if "images" in one.name]
