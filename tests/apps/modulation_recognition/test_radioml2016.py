"""RadioML 2016: pickles of Python 2 are read, and run nothing."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from golden_files import GOLDEN

from apps.modulation_recognition.data import READERS, frame
from apps.modulation_recognition.data.radioml2016 import (
    convert,
    read_dictionary,
    read_radioml2016,
)
from core.data.readers import read_with
from core.errors import UserError

SAMPLE = GOLDEN / "radioml__python2-sample.pkl"


@pytest.fixture(scope="module")
def expected():
    with np.load(GOLDEN / "radioml__python2-sample.npz", allow_pickle=False) as file:
        return {
            (name, int(snr)): file[f"{name}|{snr}"]
            for name, _, snr in (key.partition("|") for key in file.files if key != "meta")
        }


def saved(path, content, protocol=0):
    path.write_bytes(pickle.dumps(content, protocol))
    return path


def frames(count=5, name="QPSK", snr=18, dtype=np.float32):
    return {(name, snr): np.random.default_rng(0).random((count, 2, 128)).astype(dtype)}


def test_a_file_of_python_2_holds_what_was_written(expected):
    found = read_dictionary(SAMPLE)
    assert list(found) == sorted(expected)
    for key, values in expected.items():
        assert found[key].dtype == np.float32
        np.testing.assert_array_equal(found[key], values)


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
def test_a_file_saved_again_by_any_python_is_read(tmp_path, protocol):
    content = {**frames(), ("BPSK", -20): np.ones((2, 2, 128), np.float32)}
    found = read_dictionary(saved(tmp_path / "a.pkl", content, protocol))
    assert list(found) == [("BPSK", -20), ("QPSK", 18)]
    np.testing.assert_array_equal(found["QPSK", 18], content["QPSK", 18])


def test_the_index_names_class_label_and_frame(expected):
    index = read_with(READERS, SAMPLE)
    assert index.format == "radioml2016" and index.labels == ("QPSK", "WBFM")
    assert len(index) == 12
    for sample in index.samples:
        name, snr, number = sample.id.split("/")
        np.testing.assert_array_equal(frame(sample), expected[name, int(snr)][int(number)])
    assert any("a label L is about 2 L dB" in note for note in index.notes)
    assert index.notes[-1].startswith("Licence: CC BY-NC-SA 4.0 (DeepSig)")


def test_many_threads_read_the_same_frames(expected):
    samples = read_radioml2016(SAMPLE).samples * 20
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(frame, samples))
    np.testing.assert_array_equal(found[: len(samples) // 20], found[-len(samples) // 20 :])


def test_it_is_split_as_published(tmp_path):
    content = {(n, s): frames(20)["QPSK", 18] for n in ("BPSK", "QPSK") for s in (-2, 0)}
    path = saved(tmp_path / "a.pkl", content)
    assert read_radioml2016(path).counts() == {"train": 48, "val": 16, "test": 16}
    assert read_radioml2016(path, rule="vt-cnn2").counts() == {"train": 40, "test": 40}


def test_unequal_counts_as_in_2016_04c_are_read(tmp_path):
    content = {**frames(7), **frames(12, "BPSK"), **frames(3, "BPSK", -20)}
    index = read_with(READERS, saved(tmp_path / "2016.04C.multisnr.pkl", content))
    assert len(index) == 22 and index.format == "radioml2016"
    assert read_with(READERS, tmp_path).samples == index.samples


def test_a_file_that_asks_to_run_something_is_refused_by_name(tmp_path):
    marker = tmp_path / "ran"
    attack = b"cos\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR."
    path = tmp_path / "RML2016.10a_dict.pkl"
    path.write_bytes(attack)
    with pytest.raises(UserError, match="is not a pickle"):
        read_with(READERS, path)
    path.write_bytes(b"(dp0\n" + attack[:-1] + b"I1\ns.")
    with pytest.raises(UserError, match=r"asks to run 'os\.system' while loading"):
        read_with(READERS, path)
    assert not marker.exists()


def test_a_truncated_download_is_told(tmp_path):
    path = tmp_path / "a.pkl"
    for size in (10, 5000, 35000):
        path.write_bytes(SAMPLE.read_bytes()[:size])
        with pytest.raises(UserError, match=r"a\.pkl: (is cut short|cannot be read)"):
            read_with(READERS, path)
    path.write_bytes(b"BZh91AY")
    with pytest.raises(UserError, match="is compressed; unpack it and give the"):
        read_with(READERS, path)


def not_a_number():
    content = frames()
    content["QPSK", 18][3, 1, 5] = np.nan
    return content


@pytest.mark.parametrize(
    "content, told",
    [
        ([1, 2], "holds no dictionary of frames"),
        ({}, "holds no dictionary of frames"),
        ({"QPSK": frames()["QPSK", 18]}, "has the key 'QPSK', no"),
        ({(18, "QPSK"): frames()["QPSK", 18]}, r"has the key \(18, 'QPSK'\), no"),
        ({("QPSK", 18): [1, 2]}, r"\('QPSK', 18\) is not an array"),
        ({("QPSK", 18): np.array(["a"])}, r"\('QPSK', 18\) is an array of objects or text"),
        (frames(dtype=np.float64), r"is float64 of shape \(5, 2, 128\); expected float32"),
        ({("QPSK", 18): np.ones((5, 128, 2), np.float32)}, r"of shape \(5, 128, 2\)"),
        ({("QPSK", 18): np.ones((5, 256), np.float32)}, r"of shape \(5, 256\)"),
        (not_a_number(), r"NaN or infinite values in 1 frame\(s\), first in frame 3"),
        (frames(name="QSPK"), "no such class of RadioML 2016: 'QSPK'. Did you mean 'QPSK'"),
    ],
)
def test_a_file_of_something_else_is_told(tmp_path, content, told):
    path = saved(tmp_path / "a.pkl", content)
    with pytest.raises(UserError, match=told) as error:
        read_with(READERS, path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_converted_shards_hold_the_same_frames_and_split(tmp_path):
    content = {
        (name, snr): frames(10)["QPSK", 18] * (n + 1)
        for n, (name, snr) in enumerate([("QPSK", -2), ("QPSK", 18), ("BPSK", 18), ("BPSK", -2)])
    }
    path = saved(tmp_path / "a.pkl", content)
    record = convert(path, tmp_path / "shards")
    assert record["source"] == "a.pkl" and record["classes"] == ["BPSK", "QPSK"]
    before, after = (read_with(READERS, one) for one in (path, tmp_path / "shards"))
    assert after.format == "shards"
    for old, new in zip(before.samples, after.samples, strict=True):
        assert (old.id, old.label, old.split) == (new.id, new.label, new.split)
        np.testing.assert_array_equal(frame(old), frame(new))
