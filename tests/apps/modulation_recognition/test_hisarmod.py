"""HisarMod: complex numbers in CSV, read line by line."""

import numpy as np
import pytest

from apps.modulation_recognition.data import READERS, frame
from apps.modulation_recognition.data.hisarmod import CLASSES
from core.data.readers import read_with
from core.errors import UserError

LINES = ("0.5-0.25i,1e-3+2i,-1-1i", "1+0i, 0-1i,3.5+4e-2i", "0+0j,1+1j,2+2j")


@pytest.fixture
def folder(tmp_path):
    for split, count in (("train", 3), ("test", 2)):
        place = tmp_path / split.title()
        place.mkdir()
        (place / f"{split}_data.csv").write_text("\n".join(LINES[:count]) + "\n" * (count == 3))
        (place / f"{split}_labels.csv").write_text("\n".join(["0", "61", "44"][:count]))
        (place / f"{split}_snr.csv").write_text("\n".join(["-20", "18", "0"][:count]))
    return tmp_path


def test_frames_classes_and_labels_are_read(folder):
    index = read_with(READERS, folder)
    assert index.format == "hisarmod" and len(index.labels) == 26
    assert index.counts() == {"train": 3, "test": 2}
    found = {sample.id: sample for sample in index.samples}
    assert set(found) == {
        "train/BPSK/-20/00000", "train/256QAM/+18/00000", "train/FM/+00/00000",
        "test/BPSK/-20/00000", "test/256QAM/+18/00000",
    }  # fmt: skip
    first = found["train/BPSK/-20/00000"]
    assert CLASSES[first.label] == "BPSK"
    np.testing.assert_allclose(frame(first), [[0.5, 1e-3, -1], [-0.25, 2, -1]])
    np.testing.assert_allclose(frame(found["test/256QAM/+18/00000"]), [[1, 0, 3.5], [0, -1, 4e-2]])
    np.testing.assert_allclose(frame(found["train/FM/+00/00000"]), [[0, 1, 2], [0, 1, 2]])


def test_what_is_wrong_is_told(folder):
    def refused(match, file, text):
        path = folder / "Train" / file
        before = path.read_text()
        path.write_text(text)
        with pytest.raises(UserError, match=match):
            for sample in read_with(READERS, folder).samples:
                frame(sample)
        path.write_text(before)

    refused(r"train_labels.csv: holds the class code 9; known are 0, 1, 2", "train_labels.csv", "9")
    refused("has 3 lines, its labels 3 and its SNRs 1", "train_snr.csv", "0")
    refused("train_snr.csv: is no list of numbers", "train_snr.csv", "high")
    (folder / "Train/train_snr.csv").rename(folder / "kept")
    (folder / "Train/train_snr.csv").symlink_to(folder / "nowhere")
    with pytest.raises(UserError, match=r"train_snr\.csv: cannot be read: No such file"):
        read_with(READERS, folder)
    (folder / "kept").rename(folder / "Train/train_snr.csv")
    refused("line 2: is no row of complex numbers", "train_data.csv", "1+1i\nfoo\n2+1i")
    (folder / "Test/test_snr.csv").unlink()
    with pytest.raises(UserError, match=r"has no test_snr\.csv"):
        read_with(READERS, folder)
