"""Generated data sets on the disk, and read back."""

import hashlib
import json
import os

import h5py
import numpy as np
import pytest

from apps.modulation_recognition.data import READERS, frame
from apps.modulation_recognition.data.shards import about
from apps.modulation_recognition.signals.generator import generate
from apps.modulation_recognition.signals.parameters import Recipe
from apps.modulation_recognition.signals.shards import write_generated, write_shards
from core.data.readers import read_with
from core.errors import UserError

CLASSES, SNRS, COUNT = ("BPSK", "QPSK"), (-2, 18), 10


def written(folder, format="npz", **choices):
    write_generated(folder, Recipe(), COUNT, classes=CLASSES, snrs=SNRS, format=format, **choices)
    return folder


@pytest.fixture(scope="module", params=["npz", "hdf5"])
def folder(request, tmp_path_factory):
    return written(tmp_path_factory.mktemp("shards") / "set", request.param)


def test_a_shard_says_where_it_comes_from(folder):
    record = json.loads((folder / "about.json").read_text())
    assert record["generator"] == "gossamer modrec generate" and record["seed"] == 0
    assert record["parameters"]["name"] == "radioml2016"
    assert record["snr_meaning"].startswith("the label L is a noise amplitude of 10^(-L/10)")
    assert "not recorded ones" in record["what"] and "no recorded signal" in record["licence"]
    shards = [path for path in folder.iterdir() if path.suffix != ".json"]
    assert {path.stem for path in shards} == {"snr-02", "snr+18"}
    assert all(about(path) == record for path in shards)


def test_the_same_recipe_writes_the_same_bytes(folder, tmp_path):
    format = "npz" if any(folder.glob("*.npz")) else "hdf5"

    def digests(place):
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in place.iterdir()}

    assert digests(written(tmp_path / "again", format)) == digests(folder)


def test_it_is_read_as_what_was_made_and_split_as_benchmarks_are(folder):
    index = read_with(READERS, folder)
    assert index.format == "shards" and index.labels == CLASSES
    assert index.counts() == {"train": 24, "val": 8, "test": 8}
    assert any(note.startswith("The label L is a noise amplitude") for note in index.notes)
    made = {
        (name, snr): frames
        for name, snr, frames in generate(Recipe(), COUNT, classes=CLASSES, snrs=SNRS)
    }
    for sample in index.samples:
        name, snr, number = sample.id.split("/")
        assert index.labels[sample.label] == name and sample.extra["snr"] == int(snr)
        expected = made[name, int(snr)][int(number)]
        assert frame(sample).dtype == np.float32
        np.testing.assert_array_equal(frame(sample), expected)


def test_one_shard_alone_can_be_read(folder):
    (shard,) = folder.glob("snr+18.*")
    index = read_with(READERS, shard)
    assert len(index) == 20 and {sample.extra["snr"] for sample in index.samples} == {18}


def test_frames_are_told_as_they_are_made_and_a_used_folder_is_refused(tmp_path):
    told = []
    written(tmp_path / "set", advance=told.append)
    assert sum(told) == COUNT * len(CLASSES) * len(SNRS)
    with pytest.raises(UserError, match="already holds files"):
        written(tmp_path / "set")
    with pytest.raises(UserError, match="The shards' format is 'npy'"):
        written(tmp_path / "other", "npy")
    assert not (tmp_path / "other").exists()


def test_a_shard_of_something_else_is_told(tmp_path):
    folder = written(tmp_path / "set")
    shard = folder / "snr+18.npz"
    whole = shard.read_bytes()

    def refused(match):
        with pytest.raises(UserError, match=match):
            for sample in read_with(READERS, folder, "shards").samples:
                frame(sample)

    shard.write_bytes(whole[: len(whole) // 2])
    refused(r"snr\+18.npz: .*damaged")
    with np.load(folder / "snr-02.npz") as file:
        arrays = dict(file)
    np.savez(shard, **{**arrays, "frames": arrays["frames"].astype(np.float64)})
    refused(r"holds frames float64 of shape \(20, 2, 128\); expected 'frames' float32")
    np.savez(shard, **{**arrays, "labels": arrays["labels"] + 5})
    refused("has the label 5, but about.json names 2 classes")
    arrays["frames"][3, 0, 0] = np.nan
    np.savez(shard, **arrays)
    refused(r"snr\+18.npz, frame 3: holds NaN or infinite values")
    np.savez(shard, other=np.zeros(3))
    refused("holds nothing; expected 'frames'")
    (folder / "about.json").write_text("{}")
    refused("names no 'classes'")
    (folder / "about.json").write_text("{")
    refused(r"about\.json: is cut short or damaged")


def test_a_truncated_hdf5_shard_is_told(tmp_path):
    folder = written(tmp_path / "set", "hdf5")
    shard = folder / "snr+18.h5"
    shard.write_bytes(shard.read_bytes()[:-5000])
    with pytest.raises(UserError, match=r"snr\+18.h5: is not HDF5, cut short or damaged"):
        read_with(READERS, folder)


def test_a_shard_that_waits_or_is_a_group_is_told(tmp_path):
    folder = written(tmp_path / "set", "hdf5")
    shard = folder / "snr+18.h5"
    with h5py.File(shard, "r+") as file:
        del file["frames"]
        file.create_group("frames")
    with pytest.raises(UserError, match=r"snr\+18.h5: holds frames, labels, snrs; expected"):
        read_with(READERS, folder)
    for name in (shard, folder / "snr+18.npz"):
        shard.unlink(missing_ok=True)
        os.mkfifo(name)
        with pytest.raises(UserError, match=r"snr\+18.*: is a pipe or a device"):
            read_with(READERS, folder, "shards")
        name.unlink()


def test_numbers_that_no_array_can_hold_are_damage(tmp_path):
    folder = written(tmp_path / "set", "hdf5")
    number = h5py.h5t.IEEE_F32LE.copy()
    number.set_ebias(2**20)
    with h5py.File(folder / "snr+18.h5", "r+") as file:
        del file["frames"]
        space = h5py.h5s.create_simple((20, 2, 128))
        h5py.h5d.create(file.id, b"frames", number, space)
    with pytest.raises(UserError, match=r"snr\+18.h5: is cut short or damaged"):
        read_with(READERS, folder)


def test_a_full_disk_or_a_killed_process_leaves_no_half_data_set(tmp_path):
    def blocks():
        yield "BPSK", 0, np.zeros((2, 2, 128), np.float32)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(tmp_path / "set", blocks(), ["BPSK"], {})
    assert list((tmp_path / "set").iterdir()) == []


def test_hdf5_shards_open_with_any_reader(folder):
    for shard in folder.glob("*.h5"):
        with h5py.File(shard) as file:
            assert set(file) == {"frames", "labels", "snrs"}
