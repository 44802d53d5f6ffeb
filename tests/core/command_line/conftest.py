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

    return caller(bind("toy", "a toy", "small_task:TASK"))


def caller(program):
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


@pytest.fixture(scope="module")
def small(toy, toy_run, tmp_path_factory):
    """Return the output folder of a chain, and what the command printed."""
    out = tmp_path_factory.mktemp("small") / "run"
    chain = ["compress", toy_run, "--method", "prune,cluster,quantize", "--out", out]
    chosen = ["--epochs", 1, "--sparsity", 0.5, "--clusters", 5, "--set", "quantize.decay=0.9"]
    result = toy(*chain, *chosen)
    assert result.exit_code == 0, result.stderr
    return out, result


@pytest.fixture(scope="session")
def colours():
    """Return a function that runs the program of the small classification task."""
    from core.command_line.calibrate import calibrate
    from core.command_line.explain import explain
    from core.command_line.program import Command
    from core.command_line.shared import bind

    program = bind("colours", "a toy", "color_task:TASK")
    for command in (explain, calibrate):
        program.command(cls=Command)(command)
    return caller(program)


@pytest.fixture(scope="session")
def colour_run(tmp_path_factory):
    """Return a trained classifier of three colours; its data lie in `run.config.data`."""
    import color_task

    from core.training.fit import train

    folder = tmp_path_factory.mktemp("colours") / "data"
    index = color_task.write_data(folder)
    chosen = color_task.config(data=str(folder), epochs=6, learning_rate=0.02)
    return train(color_task.TASK, chosen, folder.parent / "run", index=index)


@pytest.fixture(scope="session")
def colour_file(colours, colour_run):
    """Return its float32 file, outside of the run."""
    file = colour_run.path.parent / "colours.tflite"
    result = colours("export", colour_run.path, "--out", file)
    assert result.exit_code == 0, result.stderr
    return file


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
