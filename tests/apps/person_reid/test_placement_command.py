"""The search for the placement of instance norms, from data to a network that is trained."""

import json

import pytest
from typer.testing import CliRunner
from untraced import untraced

from apps.person_reid.cli import app
from apps.person_reid.models.osnet import BLOCKS, CANDIDATES
from apps.person_reid.simulation import simulate

pytestmark = pytest.mark.slow


def reid(*arguments, code=0):
    given = [str(argument) for argument in arguments]
    result = CliRunner().invoke(app, given, prog_name="gossamer reid")
    assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
    return result


def test_a_search_names_a_placement_that_trains(tmp_path):
    town, found = tmp_path / "town", tmp_path / "found.json"
    simulate(town, people=5, cameras=2, images=1, seed=1, test_people=2)
    small = ["--data", town, "--variant", "ain_x0_25", "--input-size", "32 16", "--batch", 4]
    with untraced():  # the super-network has 5,000 operators
        said = reid("place", *small, "--epochs", 1, "--out", found, "--json").stdout
    printed = json.loads(said)
    assert printed == {"out": str(found), **json.loads(found.read_text())}
    placement = printed["placement"]
    assert list(placement) == list(BLOCKS) and set(placement.values()) <= set(CANDIDATES)
    chosen = ",".join(placement.values())
    run = tmp_path / "run"
    steps = ["--epochs", 1, "--steps-per-epoch", 1]
    with untraced():
        reid("train", *small, *steps, "--set", f"options.placement={chosen}", "--out", run)
    reid("export", run, "--precision", "float32")


def test_what_was_found_is_shown_and_written_once(tmp_path, monkeypatch):
    rows = {block: [0.1, 0.2, 0.3, 0.4] for block in BLOCKS}
    placement = dict.fromkeys(BLOCKS, CANDIDATES[0])
    document = {"placement": placement, "candidates": list(CANDIDATES), "importances": rows}
    monkeypatch.setattr("apps.person_reid.placement_search.search_placement", lambda *_: document)
    arguments = ["place", "--data", "sample", "--out", tmp_path / "found.json"]
    said = reid(*arguments).stdout
    chosen = ",".join(placement.values())
    assert (
        f"gossamer reid train --data sample --variant ain_x1_0 --set options.placement={chosen}"
        in ("".join(said.split("\n")))
    )
    again = reid(*arguments, code=2).stderr
    assert "exists; choose another --out or pass --overwrite" in " ".join(again.split())
    assert "--batch is 1;" in reid(*arguments, "--overwrite", "--batch", 1, code=2).stderr


def test_a_placement_that_does_not_exist_is_refused(tmp_path):
    wrong = ["train", "--data", "sample", "--set", "options.placement=plain,INv9"]
    said = " ".join(reid(*wrong, "--out", tmp_path / "run", code=2).stderr.split())
    assert "one of plain, INv1, INv2, INv3 for each of the 6 blocks" in said
