"""The cross-domain table: every network on every data set."""

import csv
import json

import pytest
from typer.testing import CliRunner
from untraced import untraced

from apps.person_reid.cli import app
from apps.person_reid.simulation import simulate

pytestmark = pytest.mark.slow


def reid(*arguments, code=0):
    given = [str(argument) for argument in arguments]
    result = CliRunner().invoke(app, given, prog_name="gossamer reid")
    assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
    return result


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "town"
    simulate(folder, people=6, cameras=2, images=2, seed=3, test_people=4)
    return folder


@pytest.fixture(scope="module")
def trained(small_network, town, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "town"
    small = ["--network", small_network, "--input-size", "32 16", "--batch", 4]
    small += ["--epochs", 1, "--steps-per-epoch", 1]
    with untraced():
        reid("train", "--data", town, *small, "--out", run)
    return run


def test_every_network_meets_every_data_set(trained, town, tmp_path):
    table = tmp_path / "table.csv"
    choices = ["--data", town, "--data", "sample", "--csv", table]
    rows = json.loads(reid("cross", trained, *choices, "--json").stdout)["results"]
    assert [row["data"] for row in rows] == [str(town), "sample"]
    assert [row["same_data"] for row in rows] == [True, False]
    assert all(0 <= row["rank_1"] <= 1 and 0 < row["map"] <= 1 for row in rows)
    assert len(list(csv.DictReader(table.open()))) == 2
    shown = reid("cross", trained, *choices, "--overwrite").stdout
    assert ")*" in shown and "across domains" in shown
    assert (
        "exists; choose another --csv or pass --overwrite"
        in reid("cross", trained, *choices, code=2).stderr
    )


def test_bad_choices_get_a_sentence(trained, tmp_path):
    for arguments, sentence in (
        (["--data", "sample", "--data", "sample"], "names a data set twice"),
        (["--data", "sample", "--rerank", "often"], "Known: off, library, authors"),
        (["--data", tmp_path / "none"], "no such file or folder"),
    ):
        said = " ".join(reid("cross", trained, *arguments, code=2).stderr.split())
        assert sentence in said
