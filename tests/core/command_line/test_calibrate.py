"""The command that makes a run's probabilities what they say."""

import json
import shutil

import numpy as np
import pytest
from color_task import TASK

from core.classification.calibration import HIGHEST, LOWEST
from core.classification.metrics import softmax
from core.command_line.use import load_engine
from core.run_folder import RunFolder


@pytest.fixture(scope="module")
def mistaken(colour_run, tmp_path_factory):
    """The data with two pictures of each split under wrong names: no temperature is too low."""
    data = tmp_path_factory.mktemp("mistaken") / "data"
    shutil.copytree(colour_run.config.data, data)
    for split in ("val", "test"):
        one, other = (data / f"{split}_{name}_0.png" for name in ("red", "blue"))
        kept = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(kept)
    return data


@pytest.fixture(scope="module")
def calibrated(colours, colour_run, mistaken, tmp_path_factory):
    out = tmp_path_factory.mktemp("calibrated") / "run"
    done = colours("calibrate", colour_run.path, "--data", mistaken, "--out", out, "--json")
    assert done.exit_code == 0, done.stderr
    return RunFolder(out), json.loads(done.stdout)


def test_the_run_says_what_was_done_to_it(calibrated, colour_run):
    run, told = calibrated
    assert run.record["source"] == "calibrate"
    assert run.record["temperature"] == told["temperature"]
    assert run.record["calibrated_layer"] == "classifier"
    assert run.record["calibrated_from"] == str(colour_run.path)
    assert run.record["calibrated_on"].startswith("val of ")
    assert run.config == colour_run.config and run.card == colour_run.card
    assert run.record["data"] == colour_run.record["data"]
    assert LOWEST < told["temperature"] < HIGHEST and told["notes"] == []


def test_the_likelihood_of_the_samples_it_was_fitted_on_does_not_fall(calibrated):
    _, told = calibrated
    assert [row["split"] for row in told["measured"]] == ["val", "test"]
    assert told["measured"][0]["nll_after"] < told["measured"][0]["nll_before"]


def test_an_evaluation_of_the_new_run_finds_what_was_promised(calibrated, colours, mistaken):
    run, told = calibrated
    for row in told["measured"]:
        done = colours("evaluate", run.path, "--data", mistaken, "--split", row["split"], "--json")
        metrics = json.loads(done.stdout)["metrics"]
        assert metrics["nll"] == pytest.approx(row["nll_after"], abs=1e-5)
        assert metrics["ece"] == pytest.approx(row["ece_after"], abs=1e-5)


def test_its_file_has_the_old_logits_by_the_temperature(calibrated, colours, colour_run, tmp_path):
    run, told = calibrated
    file = tmp_path / "calibrated.tflite"
    done = colours("export", run.path, "--out", file)
    assert done.exit_code == 0, done.stderr
    inputs = np.random.default_rng(0).normal(size=(8, *run.card.input_shape)).astype(np.float32)
    (before,) = load_engine(TASK, colour_run.path)(inputs)
    (after,) = load_engine(TASK, file)(inputs)
    expected = softmax(before / told["temperature"])
    np.testing.assert_allclose(softmax(after), expected, atol=1e-5)


def test_samples_that_are_all_right_tell_no_temperature_and_that_is_said(
    colours, colour_run, tmp_path
):
    done = colours("calibrate", colour_run.path, "--out", tmp_path / "run", "--json")
    told = json.loads(done.stdout)
    assert told["temperature"] == LOWEST and "all clearly right" in told["notes"][0]


def test_training_samples_tell_no_temperature(colours, colour_run, tmp_path):
    done = colours("calibrate", colour_run.path, "--out", tmp_path / "run", "--fit-on", "train")
    assert done.exit_code == 2 and "too sure of the samples it learned from" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_test_split_that_told_the_temperature_is_held_out_no_more(colours, colour_run, tmp_path):
    out = tmp_path / "run"
    done = colours("calibrate", colour_run.path, "--out", out, "--fit-on", "test")
    assert done.exit_code == 0 and "held out no more" in done.stdout
    assert "val" not in done.stdout.split("Saved")[0].split("samples")[1]


def test_a_run_is_not_calibrated_in_its_own_folder(colours, colour_run, tmp_path):
    done = colours("calibrate", colour_run.path, "--out", colour_run.path, "--overwrite")
    assert done.exit_code == 2 and "is the run to calibrate" in done.stderr
    assert RunFolder(colour_run.path).record["source"] != "calibrate"


def test_a_calibrated_run_is_not_trained_on(calibrated, colours):
    run, _ = calibrated
    before = run.file("model.keras").read_bytes()
    done = colours("train", "--resume", "--out", run.path)
    assert done.exit_code == 2 and "was made by calibrate" in done.stderr
    assert run.file("model.keras").read_bytes() == before


def test_another_run_is_replaced_only_where_that_is_wished(calibrated, colours, colour_run):
    run, _ = calibrated
    again = ("calibrate", colour_run.path, "--out", run.path)
    refused = colours(*again)
    assert refused.exit_code == 2 and "--overwrite" in refused.stderr
    assert colours(*again, "--overwrite").exit_code == 0
