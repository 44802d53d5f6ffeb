"""What a command's exit code says, as docs/json.md has it: a case for each code."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import small_task

from core.command_line.quiet import tiny_tflite

ROOT = Path(__file__).resolve().parents[3]


def test_the_codes_are_written_down():
    page = (ROOT / "docs/json.md").read_text(encoding="utf-8")
    codes = re.findall(r"^\| (\d+) \|", page, flags=re.MULTILINE)
    assert codes == ["0", "1", "2", "130", "141"]


def test_0_done(toy, toy_data):
    assert toy("data", toy_data).exit_code == 0


def test_1_the_answer_is_no(toy, toy_data, monkeypatch):
    monkeypatch.setattr(small_task.TASK, "problems", ("a.png: is empty; replace it.",))
    assert toy("data", toy_data).exit_code == 1


def test_1_for_some_of_several_inputs_and_2_for_all(toy, toy_run, toy_data, tmp_path):
    bad, good = tmp_path / "bad.png", toy_data / "test_0.png"
    bad.write_text("no picture")
    for inputs, code in (([good, bad], 1), ([bad], 2)):
        result = toy("predict", toy_run, *inputs, "--out", tmp_path / str(code))
        assert result.exit_code == code and "bad.png: is not an image" in result.stderr
    (tmp_path / "bad.tflite").write_bytes(b"nothing")
    (tmp_path / "good.tflite").write_bytes(tiny_tflite())
    for files, code in ((["good.tflite", "bad.tflite"], 1), (["bad.tflite"], 2)):
        measured = toy("benchmark", *(tmp_path / name for name in files), "--calls", 1)
        assert measured.exit_code == code


def test_a_number_out_of_range_is_said_as_everywhere(toy, toy_run):
    """The command line checks some numbers, the config others; a user sees no difference."""
    flag, config = ["evaluate", toy_run, "--batch", "0"], ["train", "--out", "x", "--epochs", "0"]
    assert toy(*flag).stderr == "Error: --batch is 0; it must be 1 or more.\n"
    said = toy(*config, "--data", "sample").stderr
    assert said == "Error: Config: epochs is 0; it must be 1 or more.\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "RUN", "--no-such-flag"],
        ["evalute", "RUN"],
        ["evaluate"],
        ["evaluate", "RUN", "--batch", "many"],
        ["evaluate", "RUN", "--batch", "0"],
        ["evaluate", "nowhere"],
        ["verify", "nowhere.tflite"],
        ["export", "RUN", "--precision", "int9"],
        ["data", "nowhere"],
        ["import", "--checkpoint", "nowhere.pth", "--out", "x"],
    ],
)
def test_2_wrong_use_or_something_to_mend(toy, toy_run, arguments):
    result = toy(*(toy_run if word == "RUN" else word for word in arguments))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1


PROGRAM = """
import time
from core.command_line.program import Command, new_app, when_stopped
import typer
app = new_app("a program")
@app.callback()
def main(): pass
@app.command("wait", cls=Command)
def wait(ctx: typer.Context):
    "Wait for long."
    when_stopped(ctx, "go on with --resume")
    print("waiting", flush=True)
    time.sleep(60)
app()
"""


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )


def test_130_stopped_by_the_keyboard():
    with start("wait") as child:
        assert child.stdout.readline() == "waiting\n"
        child.send_signal(signal.SIGINT)
        assert child.wait(30) == 130
        assert child.stderr.read() == "\nStopped: go on with --resume\n"


@pytest.mark.parametrize("arguments", [["--help"], ["wait", "--help"], []])
def test_141_the_reader_has_gone(arguments):
    read, write = os.pipe()
    os.close(read)
    child = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=write,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    os.close(write)
    assert (child.returncode, child.stderr) == (141, b"")
