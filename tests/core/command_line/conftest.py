"""The program of the small task, and one run of it that was trained through the command line."""

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))  # the program imports small_task by name


@pytest.fixture(scope="session")
def toy():
    """Return a function that runs the program: exit_code, stdout, stderr."""
    from core.command_line.shared import bind

    program = bind("toy", "a toy", "small_task:TASK")

    def call(*arguments):
        result = CliRunner().invoke(program, [str(a) for a in arguments], prog_name="toy")
        return SimpleNamespace(
            exit_code=result.exit_code, stdout=result.stdout, stderr=result.stderr
        )

    return call


@pytest.fixture(scope="session")
def toy_data(tmp_path_factory):
    import small_task

    return small_task.write_data(tmp_path_factory.mktemp("halves"))


@pytest.fixture(scope="session")
def toy_run(toy, toy_data, tmp_path_factory):
    """Return a trained run folder (tests that change it make a copy)."""
    out = tmp_path_factory.mktemp("runs") / "run"
    result = toy("train", "--data", toy_data, "--out", out)
    assert result.exit_code == 0, result.stderr
    return out


@pytest.fixture
def run_copy(toy_run, tmp_path):
    """Return a copy of the trained run that a test may change."""
    return shutil.copytree(toy_run, tmp_path / "run")


@pytest.fixture
def stand_in(monkeypatch):
    """Return a function that replaces a core function and records its keyword arguments."""

    def replace(target: str, result):
        calls = []

        def function(task, *positional, **named):
            calls.append((positional, named))
            return result

        monkeypatch.setattr(target, function)
        return calls

    return replace
