import errno
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from core.command_line.program import Command, join_numbers, new_app, when_stopped
from core.command_line.tables import csv_text, show_json, show_table, size, text
from core.errors import CheckFailed, UserError
from core.files import plain, write_json


def program(raised: BaseException):
    app = new_app("a program")

    @app.command("fail", cls=Command)
    def fail(ctx: typer.Context, data: str = "x", batch: int = 1):
        when_stopped(ctx, "go on with --resume")
        raise raised

    @app.command("evaluate", cls=Command)
    def evaluate():
        typer.echo("done")

    return app


def run(raised: BaseException, *arguments: str):
    return CliRunner().invoke(program(raised), list(arguments or ["fail"]), prog_name="prog")


@pytest.mark.parametrize(
    "raised, code, said",
    [
        (UserError("a.png: is empty; replace it."), 2, "Error: a.png: is empty; replace it.\n"),
        (CheckFailed("the bound is missed."), 1, "Failed: the bound is missed.\n"),
        (KeyboardInterrupt(), 130, "\nStopped: go on with --resume\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/a"),
            2,
            "Error: runs/a: the disk is full; free some space.\n",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "runs/a"),
            2,
            "Error: runs/a: the file system is read-only; choose another output folder.\n",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "runs/a"),
            2,
            "Error: runs/a: permission denied; check who may read and write it.\n",
        ),
        (
            MemoryError(),
            2,
            "Error: The memory is used up; use a smaller --batch or --input-size.\n",
        ),
        (
            ModuleNotFoundError("No module named 'open3d'", name="open3d"),
            2,
            "Error: The package 'open3d' is not installed; 'gossamer doctor' says what to do.\n",
        ),
    ],
)
def test_a_failure_is_one_sentence_and_an_exit_code(raised, code, said):
    result = run(raised)
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", said)


def test_an_unexpected_exception_names_its_type_and_shows_no_traceback(monkeypatch):
    monkeypatch.delenv("GOSSAMER_TRACEBACK", raising=False)
    result = run(ZeroDivisionError("division by zero"))
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: Unexpected ZeroDivisionError: division by zero (")
    assert "GOSSAMER_TRACEBACK=1" in result.stderr and "Traceback" not in result.stderr
    monkeypatch.setenv("GOSSAMER_TRACEBACK", "1")
    assert "Traceback" in run(ZeroDivisionError("division by zero")).stderr


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["fail", "--dta", "x"], "no such option: --dta. Did you mean --data?"),
        (["fail", "--zzz"], "no such option: --zzz. See: prog fail --help"),
        (["evalute"], "No such command: 'evalute'. Did you mean 'evaluate'?"),
        (["xyz"], "No such command: 'xyz'. Known: fail, evaluate."),
        (
            ["evaluate", "more"],
            "Got unexpected extra argument(s) (more). See: prog evaluate --help",
        ),
        (
            ["fail", "--batch", "many"],
            "Invalid value for '--batch': pass a whole number. See: prog fail --help",
        ),
        (["fail", "--data"], "Option '--data' requires an argument."),
    ],
)
def test_wrong_use_is_answered_with_what_may_be_meant(arguments, said):
    result = run(RuntimeError(), *arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"Error: {said}\n")


def test_a_command_of_an_app_is_pointed_to():
    outer = new_app("outer")
    outer.add_typer(program(RuntimeError()), name="inner")
    outer.command("other", cls=Command)(lambda: None)
    result = CliRunner().invoke(outer, ["evaluate"], prog_name="outer")
    assert result.exit_code == 2
    assert "It is a command of an app: outer inner evaluate" in result.stderr


def test_without_arguments_the_help_is_shown():
    app = program(RuntimeError())
    result = CliRunner().invoke(app, [], prog_name="prog")
    assert result.exit_code == 0
    assert "Usage: prog" in result.stdout and "evaluate" in result.stdout


def test_a_reader_that_has_enough_is_no_error(tmp_path):
    code = (
        "from core.command_line.program import Command, new_app\n"
        "app = new_app('x')\n"
        "@app.callback()\n"
        "def main(): pass\n"
        "@app.command('talk', cls=Command)\n"
        "def talk():\n"
        "    for n in range(100000): print('line', n)\n"
        "app()\n"
    )
    root = Path(__file__).resolve().parents[3]
    child = subprocess.Popen(
        [sys.executable, "-c", code, "talk"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert child.stdout.readline() == b"line 0\n"
    child.stdout.close()
    assert child.wait(60) == 141
    assert child.stderr.read() == b""
    child.stderr.close()


@pytest.mark.parametrize(
    "given, joined",
    [
        (["--input-size", "256", "192", "--x"], ["--input-size", "256,192", "--x"]),
        (["--threads", "1", "2", "4"], ["--threads", "1,2,4"]),
        (["--input-size", "256"], ["--input-size", "256"]),
        (["--input-size", "256x192", "run"], ["--input-size", "256x192", "run"]),
        (["--batch", "1", "2"], ["--batch", "1", "2"]),
        (["--", "--threads", "1", "2"], ["--", "--threads", "1", "2"]),
    ],
)
def test_several_numbers_behind_one_option(given, joined):
    assert join_numbers(given) == joined


def test_json_knows_no_nan(capsys):
    show_json(
        {
            "a": float("nan"),
            "b": np.float32(0.5),
            "c": np.array([1, 2]),
            "d": Path("runs/x"),
            "e": (math.inf, True, None),
        }
    )
    found = json.loads(capsys.readouterr().out)
    assert found == {"a": None, "b": 0.5, "c": [1, 2], "d": "runs/x", "e": [None, True, None]}


def test_nor_do_the_json_files_a_command_writes(tmp_path):
    path = write_json(tmp_path / "metrics.json", {"dice": math.nan, "data": tmp_path})
    assert json.loads(path.read_text()) == {"dice": None, "data": str(tmp_path)}


@pytest.mark.parametrize(
    "value, shown",
    [
        (316000, "316,000"),
        (0.82314, "0.8231"),
        (12.3456, "12.35"),
        (3.2e-7, "3.2e-07"),
        (math.nan, "–"),
        (None, "–"),
        (math.inf, "∞"),
        (True, "yes"),
        (("a", "b"), "a, b"),
        (np.float32(0.5), "0.5000"),
    ],
)
def test_cells(value, shown):
    assert text(value) == shown


def test_a_table_in_a_pipe_has_no_colours_and_no_markup(capsys):
    show_table(("file", "ms"), [("[red]a[/red].tflite", 1.5), (":smile:", None)], title="Times")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Times"
    assert "[red]a[/red].tflite" in lines[3] and lines[3].endswith("1.500")
    assert ":smile:" in lines[4] and lines[4].endswith("–")
    assert "\x1b" not in "".join(lines)


def test_sizes_and_csv():
    assert [size(n) for n in (None, 12, 1500, 1_310_000)] == ["–", "12 B", "1.5 kB", "1.31 MB"]
    rows = [{"id": "a, b", "x": math.nan}, {"id": "c", "y": (1, 2)}]
    assert csv_text(rows) == 'id,x,y\n"a, b",,\nc,,1 2\n'


def test_plain_refuses_what_has_no_form():
    with pytest.raises(TypeError, match="object has no form in JSON"):
        plain({"a": object()})
