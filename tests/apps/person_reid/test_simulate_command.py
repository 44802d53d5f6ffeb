"""The command simulate: it writes what training reads."""

import json

from typer.testing import CliRunner

from apps.person_reid.simulate_command import simulate
from apps.person_reid.task import TASK
from core.command_line.program import Command, new_app

SMALL = ["--people", "2", "--cameras", "2", "--per-camera", "1"]


def call(*arguments):
    program = new_app("a program")
    program.callback()(lambda: None)
    program.command("simulate", cls=Command)(simulate)
    return CliRunner().invoke(program, ["simulate", *map(str, arguments)], prog_name="toy")


def test_a_data_set_is_drawn_that_training_reads(tmp_path):
    result = call("--out", tmp_path / "drawn", *SMALL)
    assert result.exit_code == 0, result.stderr
    saved, following = result.stdout.splitlines()
    assert saved.startswith(f"Saved: {tmp_path / 'drawn'} (synthetic pedestrians, not photographs")
    assert "4 in bounding_box_train, 4 in query" in saved
    assert following == f"Next: toy train --data {tmp_path / 'drawn'}"
    assert TASK.read(str(tmp_path / "drawn")).format == "simulated"


def test_the_seed_and_the_numbers_reach_the_drawing(tmp_path):
    result = call("--out", tmp_path / "drawn", *SMALL, "--seed", 7, "--workers", 1, "--json")
    record = json.loads(result.stdout)["about"]
    assert (record["people"], record["cameras"], record["images"], record["seed"]) == (2, 2, 1, 7)


def test_a_folder_with_files_and_wrong_numbers_are_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    full = call("--out", tmp_path, *SMALL)
    assert full.exit_code == 2 and "already holds files" in full.stderr
    wrong = call("--out", tmp_path / "drawn", "--cameras", 12)
    assert wrong.exit_code == 2 and "choose a number from 2 to 9" in wrong.stderr
