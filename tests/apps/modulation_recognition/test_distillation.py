"""Students under a teacher on the command line, by SNR label, and networks beside each other."""

import csv
import json
import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner
from untraced import untraced

from apps.modulation_recognition.cli import app
from apps.modulation_recognition.data import SNR
from apps.modulation_recognition.distillation import WEIGHTS, teacher_weight
from apps.modulation_recognition.signals.parameters import Recipe
from apps.modulation_recognition.signals.shards import write_generated
from apps.modulation_recognition.task import TASK
from core.config import TrainConfig
from core.run_folder import RunFolder
from core.training.setup import settled, training_card

CLASSES, SNRS, FRAMES = ("BPSK", "CPFSK", "QPSK"), (-12, 0, 12), 10
QUICK = ("--network", "kd_cnn", "--epochs", 1, "--batch", 16, "--set", "patience=1")


def modrec(*arguments):
    result = CliRunner().invoke(app, [str(one) for one in arguments], prog_name="modrec")
    return SimpleNamespace(code=result.exit_code, stdout=result.stdout, stderr=result.stderr)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames") / "shards"
    write_generated(folder, Recipe(seed=4), FRAMES, classes=CLASSES, snrs=SNRS)
    return folder


def write_run(out, data, network, **card) -> RunFolder:
    """Write the run of a network as it is before its training."""
    index, entry = TASK.read(str(data)), TASK.network(network)
    config = TrainConfig("modrec", network, "base", data=str(data), classes=len(CLASSES))
    config = settled(config, TASK, entry.card("base"), index)
    own = training_card(TASK, entry.card("base"), config, index).replace(**card)
    kept = {"root": str(index.root), "fingerprint": index.fingerprint()}
    run = RunFolder.create(out, config, own, source="train", data=kept)
    keras.utils.set_random_seed(3)
    run.save_model(entry.build("base", own.input_shape, **TASK.build_arguments(own)))
    return run


@pytest.fixture(scope="module")
def teacher(data, tmp_path_factory):
    """A baseline, which takes frames as they are, where a student takes 128 times as much."""
    return write_run(tmp_path_factory.mktemp("teacher") / "cnn", data, "ic_amcnet")


@pytest.fixture(scope="module")
def student(data, teacher, tmp_path_factory):
    out = tmp_path_factory.mktemp("student") / "taught"
    with untraced():
        done = modrec(
            "train", "--data", data, *QUICK, "--teacher", teacher.path, "--out", out,
            "--set", "distill.temperature=2", "--set", "options.teacher_weights=rise",
            "--set", "options.teacher_snr=-2",
        )  # fmt: skip
    assert done.code == 0, done.stderr
    return RunFolder(out)


# --- how far a teacher is followed ------------------------------------------------------------


def test_a_teacher_is_followed_by_the_snr_label():
    snrs = np.array([-20, -4, -2, 0, 18])
    assert teacher_weight(snrs, "uniform", 0) is None
    assert teacher_weight(snrs, "threshold", -2).tolist() == [0, 0, 1, 1, 1]
    rise = teacher_weight(snrs, "rise", -2)
    assert rise[2] == 0.5 and (np.diff(rise) > 0).all()
    assert rise[3] == pytest.approx(1 / (1 + math.exp(-1)))
    assert rise[0] < 0.001 and rise[-1] > 0.999
    with pytest.raises(ValueError, match="`rule` must be one of"):
        teacher_weight(snrs, "steps", 0)
    assert TASK.option_values["teacher_weights"] == WEIGHTS


def test_the_weights_are_those_of_the_frames(student, data):
    index = TASK.read(str(data)).split("train")
    weights = TASK.teacher_weights(index, student.config)
    expected = teacher_weight(np.array([s.extra[SNR] for s in index.samples]), "rise", -2)
    np.testing.assert_array_equal(weights, expected)
    assert set(np.unique(weights)) == {*teacher_weight(np.array(SNRS), "rise", -2)}


# --- on the command line ----------------------------------------------------------------------


def test_a_student_is_trained_under_a_teacher(student, teacher):
    assert student.config.teacher == str(teacher.path)
    assert student.config.distill == {
        "temperature": 2.0,
        "weight": 0.7,
        "feature_weight": 0.0,
        "views": 0,
    }
    (row,) = student.history()
    assert row["loss"] == pytest.approx(
        0.7 * row["soft_targets_loss"] + 0.3 * row["task_loss"], rel=1e-4
    )
    assert student.record["taught_by"]["network"] == "ic_amcnet"


def test_resuming_under_another_teacher_is_refused(student, teacher):
    done = modrec("train", "--resume", "--out", student.path, "--teacher", student.path)
    assert done.code == 2
    assert f"was started with teacher '{teacher.path}', not '{student.path}'" in done.stderr


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("--set", "distill.weight=0.5"), "distill needs a teacher, the run to learn from"),
        (("--teacher", "nowhere"), "Teacher nowhere: is not a run folder (does not exist)"),
        (("--teacher", "t", "--set", "distill.wieght=1"), "Did you mean 'weight'"),
        (("--teacher", "t", "--set", "distill=3"), "no such key: 'distill'"),
        (("--teacher", "t", "--set", "teacher=u"), "teacher is chosen by its own option and by"),
        (("--set", "options.teacher_weights=steps"), "'teacher_weights' is 'steps'"),
    ],
)
def test_wrong_choices_get_a_sentence(arguments, said, data, tmp_path):
    done = modrec("train", "--data", data, *QUICK, "--out", tmp_path / "run", *arguments)
    assert (done.code, done.stdout.count("Traceback")) == (2, 0)
    assert said in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_teacher_whose_frames_are_scaled_otherwise_is_refused(data, tmp_path):
    run = write_run(tmp_path / "scaled", data, "ic_amcnet", decode={"scaling": "mean"})
    arguments = ("--teacher", run.path, "--out", tmp_path / "run")
    done = modrec("train", "--data", data, *QUICK, *arguments)
    assert done.code == 2
    assert f"Teacher {run.path}: takes frames with scaling 'mean', the student" in done.stderr


# --- side by side -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compared(student, teacher, tmp_path_factory):
    """Return what two runs and a file of the first gave, and the folder of table and picture."""
    out = tmp_path_factory.mktemp("out")
    file = json.loads(modrec("export", student.path, "--precision", "int8", "--json").stdout)
    sources = (student.path, teacher.path, file["file"])
    arguments = ("--csv", out / "t.csv", "--plot", out / "t.png", "--calls", 2, "--json")
    return json.loads(modrec("compare", *sources, *arguments).stdout), out


def test_compare_scores_all_on_the_same_test_frames(compared, student):
    found, _ = compared
    assert (found["samples"], found["split"]) == (len(CLASSES) * len(SNRS) * 2, "test")
    one, two, file = found["results"]
    alone = json.loads(modrec("evaluate", student.path, "--json").stdout)
    assert one["average_accuracy"] == pytest.approx(alone["metrics"]["average_accuracy"])
    for row in found["results"]:
        assert [label["snr"] for label in row["by_snr"]] == list(SNRS)
        mean = np.mean([label["accuracy"] for label in row["by_snr"]])
        assert row["average_accuracy"] == pytest.approx(mean)
        assert row["same_data"] is True
    assert (one["precision"], two["network"], file["precision"]) == ("float", "ic_amcnet", "int8")
    assert one["parameters"] == file["parameters"] < two["parameters"]
    assert one["macs"] == file["macs"] and file["file_bytes"] < 60_000


def test_compare_writes_the_table_and_the_curves(compared):
    found, out = compared
    with (out / "t.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["source"] for row in rows] == [row["source"] for row in found["results"]]
    for row, told in zip(rows, found["results"], strict=True):
        for label in told["by_snr"]:
            assert float(row[f"accuracy_snr_{label['snr']}"]) == label["accuracy"]
    with Image.open(out / "t.png") as picture:
        assert picture.width > 800


def test_compare_says_what_cannot_be_compared(student, data, tmp_path):
    for arguments, said in (
        ((student.path, student.path), "A run or file is named twice"),
        ((student.path, tmp_path / "none"), "none"),
        ((student.path, "--plot", tmp_path / "t.jpg"), "must end in .png"),
    ):
        done = modrec("compare", *arguments)
        assert done.code == 2 and said in done.stderr
    shown = modrec("compare", student.path, "--data", data, "--calls", 1)
    assert "labels from 0" in shown.stdout and "Protocol: accuracy per SNR label" in shown.stdout
