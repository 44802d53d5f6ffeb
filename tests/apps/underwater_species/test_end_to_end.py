"""The whole way through the command line on the sample data: train, evaluate, predict, export.

Little is learnt in so few steps: what is held here is that every step follows from the one before.
"""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from species_shards import Loaded
from typer.testing import CliRunner
from untraced import untraced

from apps.underwater_species.cli import app
from apps.underwater_species.data import SAMPLE_DATA, from_dataset
from apps.underwater_species.task import TASK
from core.command_line.use import load_engine
from core.config import TrainConfig
from core.evaluate import evaluate
from core.training.fit import train

pytestmark = pytest.mark.slow

KINDS = ["crab", "fish", "fishInGroups", "jellyfish", "starfish", "turtle"]
SMALL = ["--input-size", 32, "--batch", 6, "--quick", "--set", "options.head_epochs=0"]


def aqua(*arguments, code=0):
    """Run the program, which must end with `code`; return what it printed."""
    given = [str(argument) for argument in arguments]
    result = CliRunner().invoke(app, given, prog_name="gossamer aqua")
    assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
    assert "Traceback" not in result.stderr
    return result


def found(*arguments, code=0):
    """Run the program with --json and return what it found."""
    return json.loads(aqua(*arguments, "--json", code=code).stdout)


@pytest.fixture(scope="module")
def benched(small_network, tmp_path_factory):
    """Two networks that were trained and compared, one of them the same at another name."""
    out = tmp_path_factory.mktemp("runs") / "bench"
    names = [small_network, f"{small_network}:base"]
    with untraced():
        made = found("benchmark-models", *names, "--data", "sample", *SMALL,
                     "--calls", 2, "--out", out)  # fmt: skip
    return out, names, made


def test_networks_are_compared_in_one_table(benched, small_network):
    out, _, made = benched
    assert [row["run"] for row in made["results"]] == [
        str(out / small_network),
        str(out / f"{small_network}_base"),
    ]
    first, second = made["results"]
    assert first["parameters"] == second["parameters"] and first["macs"] == second["macs"] > 0
    assert first["accuracy"] == second["accuracy"]  # the same network, seed and data
    assert first["int8_file_bytes"] < first["float_file_bytes"]
    assert first["int8_drop"] == pytest.approx(first["macro_f1"] - first["int8_macro_f1"])
    assert made["samples"] == 150 and made["split"] == "test" and made["not_made"] == []
    with (out / "benchmark.csv").open(newline="") as stream:
        assert [row["network"] for row in csv.DictReader(stream)] == [small_network] * 2
    assert json.loads((out / "benchmark.json").read_text()) == made
    assert Image.open(out / "benchmark.png").width > 1000


def test_what_is_done_is_not_done_again(benched, small_network, monkeypatch):
    out, names, made = benched
    monkeypatch.setattr("keras.Model.fit", None)
    monkeypatch.setattr("core.evaluate.evaluate", None)
    again = found("benchmark-models", *names, "--data", "sample", *SMALL,
                  "--calls", 2, "--out", out, "--resume")  # fmt: skip
    assert again == made


def test_scores_tables_and_results_follow_from_a_training(benched, small_network, tmp_path):
    run = benched[0] / small_network
    scores = found("evaluate", run, "--data", "sample")
    assert scores["metrics"]["samples"] == 150
    assert scores["metrics"]["accuracy"] == benched[2]["results"][0]["accuracy"]
    inputs = [SAMPLE_DATA / "test" / kind / "00000.jpg" for kind in KINDS[:2]]
    aqua("predict", run, inputs[0].parent, "--out", tmp_path / "out")
    told = json.loads((tmp_path / "out" / "00000_class.json").read_text())
    assert told["class"] in KINDS and len(told["classes"]) == 5


def test_a_file_is_what_was_trained(benched, small_network):
    run = benched[0] / small_network
    (file,) = (run / "export").glob("*_float32.tflite")
    assert found("verify", file, "--data", "sample")["passed"]


def test_the_papers_choice_is_told_with_its_warning(small_network, tmp_path):
    told = aqua("train", "--network", small_network, "--preset", "paper", "--data", "sample",
                "--input-size", 32, "--quick", "--set", "steps_per_epoch=1", "--out",
                tmp_path / "run")  # fmt: skip
    assert "Warning: the test split selects the model" in told.stdout


def test_unknown_networks_and_a_name_twice_are_told(tmp_path):
    for names, why in (
        (["mobilenetv2", "squezenet"], "No such network: 'squezenet'. Did you mean 'squeezenet'?"),
        (["squeezenet", "squeezenet"], "squeezenet is named twice"),
    ):
        told = aqua(
            "benchmark-models", *names, "--data", "sample", "--out", tmp_path / "no", code=2
        )
        assert why in told.stderr and not (tmp_path / "no").exists()


def test_a_loaded_data_set_trains_and_is_scored(small_network, tmp_path):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (40, 20, 24, 3), dtype=np.uint8)
    rows = [{"image": picture, "label": n % 2} for n, picture in enumerate(pictures)]
    names = ["cod", "eel"]
    parts = {"train": Loaded(rows, names), "test": Loaded(rows[:6], names)}
    index = TASK.with_splits(from_dataset(parts))
    config = TrainConfig.from_dict(
        {"app": "aqua", "network": small_network, "variant": "base", "classes": 2, "epochs": 1,
         "steps_per_epoch": 1, "input_size": 16, "options": {"head_epochs": 0}}
    )  # fmt: skip
    with untraced():
        run = train(TASK, config, tmp_path / "run", index=index)
    assert run.card.labels == ("cod", "eel")
    scores = evaluate(TASK, load_engine(TASK, run.path), index.split("test"))
    assert scores.summary["samples"] == 6
