"""The whole way through the command line: train, evaluate, predict, export, verify.

Each fixture is one step and is taken once, with the quickest of the backbones; FetalNet has its
contract, its own tests and the notebook.
"""

import json

import pytest
from typer.testing import CliRunner
from untraced import untraced

from apps.fetal_planes.cli import app
from apps.fetal_planes.data import SAMPLE_DATA

pytestmark = pytest.mark.slow

CHOICES = ["--network", "squeezenet", "--input-size", 48, "--quick", "--set", "options.crop=text"]


def fetal(*arguments, code=0):
    """Run the program, which must end with `code`; return what it printed."""
    given = [str(argument) for argument in arguments]
    result = CliRunner().invoke(app, given, prog_name="gossamer fetal")
    assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
    assert "Traceback" not in result.stderr
    return result


def found(*arguments):
    """Run the program with --json and return what it found."""
    return json.loads(fetal(*arguments, "--json").stdout)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "planes"
    with untraced():
        fetal("train", "--data", "sample", *CHOICES, "--out", run)
    return run


@pytest.fixture(scope="module")
def exported(trained):
    return found("export", trained, "--precision", "int8")["file"]


def test_the_test_patients_are_scored_by_class(trained):
    scores = found("evaluate", trained)
    assert scores["metrics"]["samples"] == 48
    assert 0 <= scores["metrics"]["macro_f1"] <= 1 and "top_2" in scores["metrics"]
    assert len(scores["tables"]["classes"]) == 6


def test_a_run_keeps_what_is_blanked_and_its_file_too(trained, exported):
    card = json.loads((trained / "model_card.json").read_text())
    assert card["decode"]["crop"] == "text" and card["labels"][-1] == "Other"
    from core.engines import LiteRTEngine

    assert LiteRTEngine(exported).card.decode["crop"] == "text"


def test_a_prediction_names_the_likeliest_planes(trained, tmp_path):
    picture = sorted((SAMPLE_DATA / "Images").iterdir())[0]
    fetal("predict", trained, picture, "--out", tmp_path / "found")
    told = json.loads((tmp_path / "found" / f"{picture.stem}_class.json").read_text())
    assert told["class"] == told["classes"][0]["class"] and len(told["classes"]) == 5


def test_the_integer_file_is_verified(exported):
    result = CliRunner().invoke(app, ["verify", exported, "--json"])
    rows = {row["check"]: row for row in json.loads(result.stdout)["rows"]}
    assert rows["operators left in float"]["value"] == 0


def test_bad_input_gets_one_sentence(trained, tmp_path):
    for arguments, sentence in (
        (["train", "--data", tmp_path, "--out", tmp_path / "x"], "not recognised"),
        (["train", "--data", "sample", "--set", "options.crop=fan", "--out", tmp_path / "x"],
         "Option 'crop' is 'fan'"),
        (["train", "--data", "sample", "--preset", "papr-like", "--out", tmp_path / "x"],
         "Did you mean 'paper-like'?"),
        (["evaluate", trained, "--set", "crop=sektor"], "Did you mean 'sector'?"),
    ):  # fmt: skip
        shown = fetal(*arguments, code=2).stderr
        assert sentence in shown and shown.startswith("Error: ")
