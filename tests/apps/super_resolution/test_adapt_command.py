"""Adapting a small network under a larger one, through the command line."""

import json

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from apps import catalog
from apps.super_resolution.cli import app
from core.config import TrainConfig
from core.run_folder import RunFolder
from core.training.validating import Validator

pytestmark = pytest.mark.slow

SMALL = ["--data", "sample", "--quick", "--batch", "2", "--set", "options.patch=16"]


def run_of(network: str, variant: str, out) -> RunFolder:
    """Write a run with the weights a network starts with."""
    keras.utils.set_random_seed(0)
    found = catalog.network(network)
    choices = TrainConfig("superres", network, variant)
    run = RunFolder.create(out, choices, found.card(variant), source="import")
    run.save_model(found.build(variant, (None, None, 3)))
    return run


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    return run_of("imdn", "rtc", tmp_path_factory.mktemp("runs") / "rtc")


def adapt(student, teacher, out, *more, code=0):
    words = ["compress", str(student.path), "--method", "adapt", "--out", str(out), *SMALL]
    words += ["--set", f"adapt.teacher={teacher}", *more]
    result = CliRunner().invoke(app, words, prog_name="gossamer superres")
    assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
    return result


def test_a_network_for_phones_learns_from_a_large_one(student, tmp_path, monkeypatch):
    monkeypatch.setattr(Validator, "is_better", lambda *_, **__: True)  # the last epoch is kept
    teacher = run_of("imdn", "x2", tmp_path / "x2")
    pairs = ["--set", "adapt.features=[model.1.sub.4]", "--set", "adapt.teacher_features=[IMDB6]"]
    result = adapt(student, teacher.path, tmp_path / "run", *pairs, "--json")
    assert [row["stage"] for row in json.loads(result.stdout)["stages"]] == ["before", "adapt"]
    run = RunFolder(tmp_path / "run")
    assert run.config.compress["choices"] == {
        "teacher": str(teacher.path),
        "features": ["model.1.sub.4"],
        "teacher_features": ["IMDB6"],
    }
    assert {"feature_match_loss", "affinity_loss"} <= run.history()[-1].keys()
    before, after = (one.load_model() for one in (student, run))
    assert after.count_params() == before.count_params() == 20_190
    name = "model.1.sub.0.c1"
    assert np.any(after.get_layer(name).kernel != before.get_layer(name).kernel)
    np.testing.assert_array_equal(after.get_layer(name).bias, before.get_layer(name).bias)


@pytest.mark.parametrize(
    "network, variant, said",
    [
        (
            "xlsr",
            "x4",
            "xlsr_x4: as a teacher makes 384×384×3 of an input of 96×96×3, but imdn_rtc",
        ),
        (
            "imdn",
            "rte",
            "normalises pixels by mean 0 and std 0.003922, but the student by mean 0 and std 1;",
        ),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused_in_a_sentence(
    network, variant, said, student, tmp_path
):
    teacher = run_of(network, variant, tmp_path / variant)
    result = adapt(student, teacher.path, tmp_path / "run", code=2)
    assert said in result.stderr and not (tmp_path / "run").exists()
