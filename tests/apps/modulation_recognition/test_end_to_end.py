"""The whole way through the command line: train, evaluate, export, verify, predict.

Little is learnt in so few steps: what is held here is that every step follows from the one before,
and that what is wrong with a file is told in a sentence.
"""

import csv
import json
import re

import h5py
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner
from untraced import untraced

from apps.modulation_recognition.cli import app
from apps.modulation_recognition.data.radioml2018 import CLASSES as CLASSES_2018

pytestmark = pytest.mark.slow

TONE = np.exp(0.3j * np.arange(1000)).astype("<c8")


def modrec(*arguments, code=0):
    """Run the program, which must end with `code`; return what it printed."""
    given = [str(argument) for argument in arguments]
    result = CliRunner().invoke(app, given, prog_name="gossamer modrec")
    assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
    assert "Traceback" not in result.stderr
    return result


def found(*arguments, code=0):
    """Run the program with --json and return what it found."""
    return json.loads(modrec(*arguments, "--json", code=code).stdout)


@pytest.fixture(scope="module")
def run(small_set, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "small"
    with untraced():
        made = found("train", "--data", small_set, "--epochs", 2, "--batch", 24, "--out", out)
    assert made["headline"] == "average_accuracy" and 0 <= made["value"] <= 1
    return out


@pytest.fixture(scope="module")
def int8_file(run):
    found("export", run, "--precision", "int8")
    return run / "export" / "small_int8.tflite"


def stored(path, values):
    path.write_bytes(np.asarray(values).tobytes())
    return path


# --- the way --------------------------------------------------------------------------------------


def test_scores_come_by_snr_label_with_their_pictures(run, small_set, tmp_path):
    scores = found("evaluate", run, "--pictures", tmp_path / "drawn", "--per-sample",
                   tmp_path / "frames.csv")  # fmt: skip
    assert scores["metrics"]["samples"] == 24
    by_label = {row["snr"]: row["accuracy"] for row in scores["tables"]["by_snr"]}
    assert scores["metrics"]["average_accuracy"] == pytest.approx(np.mean(list(by_label.values())))
    assert {path.name for path in (tmp_path / "drawn").iterdir()} == {
        "accuracy.png", "confusion.png", "confusion_snr-04.png", "confusion_snr+18.png",
    }  # fmt: skip
    with (tmp_path / "frames.csv").open(newline="") as stream:
        assert {row["snr"] for row in csv.DictReader(stream)} == {"-4", "18"}
    high = found("evaluate", run, "--data", small_set, "--format", "auto-snr0")
    assert high["metrics"]["samples"] == 12 and high["metrics"]["average_accuracy"] == by_label[18]


def test_an_int8_file_is_verified_label_by_label(int8_file, run):
    assert int8_file.stat().st_size < 60_000
    checked = found("verify", int8_file)
    assert checked["passed"]
    told = [row["check"] for row in checked["rows"] if row["check"].startswith("accuracy at snr")]
    assert told == ["accuracy at snr -4, XNNPACK", "accuracy at snr 18, XNNPACK"]
    assert "scaling" in json.loads((run / "model_card.json").read_text())["decode"]


def test_a_recording_gets_its_classes_over_time(int8_file, small_set, tmp_path):
    recording = stored(tmp_path / "air.cf32", np.concatenate([np.zeros(500, "<c8"), TONE]))
    out = tmp_path / "out"
    told = found("predict", int8_file, recording, small_set, "--sample-rate", 1e6, "--hop", 64,
                 "--out", out)  # fmt: skip
    data_set, air = told["results"]
    assert data_set["frames"] == 120 and air["frames"] == 1 + (1500 - 128) // 64
    assert {row["class"] for row in air["classes"]} >= {None}
    about = json.loads((out / "air_modulation.json").read_text())
    assert about["hop"] == 64 and about["stretches"][0]["class"] is None
    assert about["stretches"][-1]["end_seconds"] == pytest.approx(1472e-6)
    with (out / "air_modulation.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == air["frames"] and rows[1]["seconds"] == "6.4e-05"
    assert rows[0]["class"] == "" and rows[-1]["class"] in ("AM-DSB", "CPFSK", "QPSK")
    assert Image.open(out / "air_modulation.png").width > 1000
    with (out / "set_modulation.csv").open(newline="") as stream:
        assert {row["true"] for row in csv.DictReader(stream)} == {"AM-DSB", "CPFSK", "QPSK"}
    again = modrec("predict", int8_file, recording, "--out", out, code=2)
    assert "already holds files" in again.stderr


def test_a_file_and_its_run_say_the_same(run, int8_file, tmp_path):
    recording = stored(tmp_path / "air.cs16", np.rint(8000 * TONE.view("<f4")).astype("<i2"))
    tables = []
    for number, source in enumerate((run, int8_file)):
        out = tmp_path / str(number)
        modrec("predict", source, recording, "--no-pictures", "--out", out)
        with (out / "air_modulation.csv").open(newline="") as stream:
            tables.append(list(csv.DictReader(stream)))
        assert not list(out.glob("*.png"))
    shares = [[float(row["probability"]) for row in table] for table in tables]
    np.testing.assert_allclose(shares[0], shares[1], atol=0.05)


def test_data_are_told_with_their_counts_and_drawn(small_set, tmp_path):
    told = modrec("data", small_set, "--out", tmp_path / "sheet.png").stdout
    assert "Every class has 20 frames at each label." in told
    assert "SNR labels: -4, 18 (2)." in told and "No problems found in 120 samples" in told
    assert Image.open(tmp_path / "sheet.png").width > 400


# --- what is wrong --------------------------------------------------------------------------------


def test_one_bad_recording_does_not_stop_the_others(int8_file, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    stored(folder / "good.cf32", TONE)
    stored(folder / "infinite.cf32", np.where(np.arange(1000) == 700, np.inf, TONE))
    stored(folder / "odd.cf32", np.ones(4001, "u1"))
    stored(folder / "real.cf32", TONE.real.astype("<c8"))
    stored(folder / "short.cf32", TONE[:100])
    told = modrec("predict", int8_file, folder, "--out", tmp_path / "out", code=1)
    for why in (
        "infinite.cf32: sample 700 is NaN or infinite",
        "odd.cf32: has 4,001 bytes, no whole number of complex64 samples",
        "real.cf32: is real-valued",
        "short.cf32: has 100 samples; a frame takes 128",
    ):
        assert why in told.stderr
    assert {path.stem for path in (tmp_path / "out").iterdir()} == {"good_modulation"}


@pytest.mark.parametrize(
    "flags, why",
    [
        ((), "does not tell how numbers are stored; name it .*or say which with --number-type"),
        (("--number-type", "float64"), "--number-type is 'float64'"),
        (("--number-type", "complex64", "--sample-rate", -5), "a sample rate of -5 Hz is none"),
        (("--number-type", "complex64", "--hop", 0), "hop"),
        (("--number-type", "complex64", "--set", "scaling=loud"), "scaling is 'loud'"),
    ],
)
def test_a_raw_file_needs_its_type(int8_file, tmp_path, flags, why):
    recording = stored(tmp_path / "air.bin", TONE)
    told = modrec("predict", int8_file, recording, *flags, "--out", tmp_path / "out", code=2)
    assert re.search(why, " ".join(told.stderr.split()))


def damaged(small_set, folder, change):
    """Write the small set anew, the frames of one shard changed."""
    folder.mkdir()
    for path in small_set.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    with np.load(folder / "snr+18.npz") as archive:
        arrays = dict(archive)
    arrays["frames"] = change(arrays["frames"])
    np.savez(folder / "snr+18.npz", **arrays)
    return folder


def not_a_number(frames):
    frames = frames.copy()
    frames[:, 0, 3] = np.nan
    return frames


def test_frames_that_are_no_numbers_are_told_by_every_command(run, small_set, tmp_path):
    bad = damaged(small_set, tmp_path / "nan", not_a_number)
    why = "snr+18.npz, frame 0: holds NaN or infinite values"
    assert why in modrec("data", bad, code=1).stdout
    assert why in modrec("evaluate", run, "--data", bad, "--split", "all", code=2).stderr
    told = modrec("train", "--data", bad, "--epochs", 1, "--out", tmp_path / "new", code=2)
    assert "holds NaN or infinite values" in told.stderr


@pytest.mark.parametrize(
    "change, why",
    [
        (lambda frames: frames.astype(np.float64), "holds frames float64 of shape"),
        (lambda frames: frames[:, :1], "holds frames float32 of shape (60, 1, 128)"),
    ],
)
def test_frames_of_a_wrong_type_or_shape_are_told(small_set, tmp_path, change, why):
    bad = damaged(small_set, tmp_path / "set", change)
    told = modrec("data", bad, code=2).stderr
    assert "snr+18.npz" in told and why in told


def test_damaged_and_dangerous_downloads_are_told(tmp_path):
    pickle = tmp_path / "RML2016.10a_dict.pkl"
    pickle.write_bytes(
        b"(dp0\n(S'QPSK'\np1\nI2\ntp2\ncnumpy.core.multiarray\n_reconstruct\np3\n(cnum"
    )
    assert "cut short or damaged" in modrec("data", pickle, code=2).stderr
    pickle.write_bytes(b"(dp0\n(S'QPSK'\nI2\ntcos\nsystem\n(S'true'\ntRs.")
    assert "asks to run 'os.system' while loading" in modrec("data", pickle, code=2).stderr
    cut = tmp_path / "GOLD_XYZ_OSC.0001_1024.hdf5"
    cut.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    assert "cut short or damaged" in modrec("data", cut, code=2).stderr


def test_radioml_2018_explains_its_wrong_list_and_its_length(run, tmp_path):
    file = tmp_path / "GOLD_XYZ_OSC.0001_1024.hdf5"
    labels = np.repeat(np.arange(24), 10)
    with h5py.File(file, "w") as out:
        out["X"] = np.random.default_rng(0).standard_normal((240, 1024, 2)).astype("f4")
        out["Y"], out["Z"] = np.eye(24, dtype="i8")[labels], np.full((240, 1), 10)
    (tmp_path / "classes.txt").write_text(f"classes = {sorted(CLASSES_2018)}")
    read = found("data", file, "--format", "auto-whole")
    assert any("an order that is not that of the one-hot columns" in n for n in read["notes"])
    told = modrec("train", "--data", file, "--format", "auto-whole", "--quick", "--out",
                  tmp_path / "new", code=2).stderr  # fmt: skip
    assert "frames of 1024 samples, but the network takes 128; pass --input-size 1024" in told
    told = modrec("evaluate", run, "--data", file, "--format", "auto-whole", code=2).stderr
    assert "has the class 'OOK', which the network does not know" in told
