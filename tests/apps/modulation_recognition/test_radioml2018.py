"""RadioML 2018.01a: a part of a large HDF5 file, its classes in the order of the columns."""

import h5py
import numpy as np
import pytest

from apps.modulation_recognition.data import READERS, frame
from apps.modulation_recognition.data.radioml2018 import CLASSES, NORMAL, read_radioml2018
from core.data.readers import read_with
from core.errors import UserError

SNRS, EACH, LENGTH = (-20, 0, 30), 24, 16


def laid(path, **changes):
    """A file of the published layout, where frame n is filled with n."""
    labels = np.repeat(np.arange(24), len(SNRS) * EACH)
    count = len(labels)
    values = np.arange(count, dtype=np.float32)[:, None, None] + np.zeros((LENGTH, 2), np.float32)
    values[..., 1] += 0.5
    arrays = {
        "X": values,
        "Y": np.eye(24, dtype=np.int64)[labels],
        "Z": np.tile(np.repeat(SNRS, EACH), 24)[:, None],
    }
    with h5py.File(path, "w") as file:
        for name, array in {**arrays, **changes}.items():
            if array is not None:
                file[name] = array
    return path


@pytest.fixture
def path(tmp_path):
    return laid(tmp_path / "GOLD_XYZ_OSC.0001_1024.hdf5")


def test_a_twelfth_is_taken_equally_and_split(path):
    index = read_with(READERS, path)
    assert index.format == "radioml2018" and index.labels == CLASSES
    taken = {(sample.label, sample.extra["snr"]) for sample in index.samples}
    assert len(index) == 24 * len(SNRS) * 2 and len(taken) == 24 * len(SNRS)
    assert index.counts() == {"train": 86, "val": 29, "test": 29}
    assert index.notes[0].startswith("Took 144 of 1,728 frames, chosen at random")
    assert index.samples == read_with(READERS, path.parent).samples
    for sample in index.samples:
        row = sample.extra["row"]
        assert row // (len(SNRS) * EACH) == sample.label
        assert SNRS[row // EACH % len(SNRS)] == sample.extra["snr"]
        assert frame(sample).shape == (2, LENGTH)
        assert (frame(sample)[0] == row).all() and (frame(sample)[1] == row + 0.5).all()


def test_classes_labels_and_counts_can_be_chosen(path):
    index = read_radioml2018(path, classes=NORMAL, snrs=[30], frames_of_each=24)
    assert index.labels == NORMAL and len(index) == len(NORMAL) * 24
    for sample in index.samples:
        assert CLASSES[sample.extra["row"] // (len(SNRS) * EACH)] == NORMAL[sample.label]
    with pytest.raises(UserError, match=r"The class is 'QSPK'\. Did you mean 'QPSK'"):
        read_radioml2018(path, classes=["QSPK"])
    with pytest.raises(UserError, match="no such SNR label: '3'"):
        read_radioml2018(path, snrs=[3])


def test_the_wrong_list_of_classes_is_explained(path):
    beside = path.with_name("classes.txt")

    def notes():
        return [note for note in read_with(READERS, path).notes if "classes.txt" in note]

    assert notes() == []
    beside.write_text(f"classes = {list(CLASSES)}")
    assert notes() == []
    beside.write_text("classes = ['32PSK',\n '16APSK',\n '32QAM']")
    assert "an order that is not that of the one-hot columns, a known mistake" in notes()[0]
    beside.write_text("classes = ['32PSK', 'FOO']")
    assert "names 'FOO', no class of it" in notes()[0]


def test_a_large_file_is_read_in_slices(path, monkeypatch):
    """The columns of 2.5 million frames would take half a gigabyte, the frames 20."""
    read = []
    original = h5py.Dataset.__getitem__

    def counted(dataset, key):
        found = original(dataset, key)
        read.append((dataset.name, found.nbytes))
        return found

    monkeypatch.setattr(h5py.Dataset, "__getitem__", counted)
    monkeypatch.setattr("apps.modulation_recognition.data.radioml2018._SLICE", 100)
    index = read_with(READERS, path)
    assert max(size for name, size in read if name == "/Y") == 100 * 24 * 8
    assert not any(name == "/X" for name, _ in read)
    frame(index.samples[0])
    assert read[-1] == ("/X", LENGTH * 2 * 4)


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"Z": None}, "holds X, Y; expected the datasets X"),
        ({"Y": np.zeros((1728, 24), np.int64)}, "Y is not one-hot from row 0 on"),
        ({"Y": np.ones((1728, 11), np.int64)}, "X, Y, Z have the shapes"),
        ({"X": np.ones((1728, 2, LENGTH), np.float32)}, "X, Y, Z have the shapes"),
        ({"X": np.ones((1728, LENGTH, 2))}, "X is float64; expected float32"),
    ],
)
def test_a_file_of_something_else_is_told(tmp_path, changes, told):
    path = laid(tmp_path / "a.hdf5", **changes)
    with pytest.raises(UserError, match=told):
        read_with(READERS, path, "radioml2018")


def test_a_truncated_download_and_a_frame_of_nan_are_told(path):
    with h5py.File(path, "r+") as file:
        file["X"][:] = np.nan
    index = read_with(READERS, path)
    with pytest.raises(UserError, match=r"hdf5, frame \d+: holds NaN or infinite values"):
        frame(index.samples[0])
    cut = path.with_name("cut.hdf5")
    cut.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(UserError, match="is not HDF5, cut short or damaged; download"):
        read_with(READERS, cut)


def test_links_that_lead_round_and_round_are_damage(tmp_path):
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file["X"] = h5py.SoftLink("/Y")
        file["Y"] = h5py.SoftLink("/X")
    with pytest.raises(UserError, match="is not HDF5, cut short or damaged"):
        read_with(READERS, path, "radioml2018")
