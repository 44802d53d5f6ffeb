import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toy_task
from test_fit import Recorder, result_of
from toy_task import ToyTask, config

from core import files, run_folder
from core.errors import UserError
from core.run_folder import RunFolder
from core.training import state as state_module
from core.training.fit import train
from core.training.state import STATE, TrainingState

CHOICES = {"epochs": 3, "ema": 0.9, "options": {"heads": 2}}


class Killed(BaseException):
    """Stands for the moment a process is gone."""


@pytest.fixture(scope="module")
def whole(toy_data, tmp_path_factory):
    """A training that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return train(ToyTask(), config(**CHOICES), out, index=toy_data)


def resume(toy_data, out, **changes) -> RunFolder:
    changed = config(**{**CHOICES, **changes})
    return train(ToyTask(), changed, out, index=toy_data, resume=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "write, done",
    [(1, False), (1, True), (2, False), (2, True), (3, True), (4, True), (6, False), (10, True)],
)
def test_killed_around_any_file_it_writes(write, done, whole, toy_data, tmp_path, monkeypatch):
    """Before or after the n-th file is in place: config, state, model, two tables, state, ..."""
    out, calls = tmp_path / "run", []

    def dying(path, content):
        calls.append(path)
        if len(calls) < write:
            return files.write_atomic(path, content)
        if done:
            files.write_atomic(path, content)
        else:  # half-written, as a process that is gone leaves it
            path = Path(path)
            path.parent.mkdir(exist_ok=True)
            path.with_name(f".{path.stem}.unfinished{path.suffix}").write_bytes(b"half")
        raise Killed

    with monkeypatch.context() as patched:
        for module in (state_module, run_folder):
            patched.setattr(module, "write_atomic", dying)
        with pytest.raises(Killed):
            train(ToyTask(), config(**CHOICES), out, index=toy_data)
    assert result_of(resume(toy_data, out)) == result_of(whole)
    assert not list(out.rglob(".*"))


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 5, 9])
def test_interrupted_in_a_step(step, whole, toy_data, tmp_path):
    class Interrupting(Recorder):
        def step(self, epoch, done_samples, logs):
            super().step(epoch, done_samples, logs)
            if len([call for call in self.calls if call[0] == "step"]) == step:
                raise KeyboardInterrupt

    out = tmp_path / "run"
    seen = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        train(ToyTask(), config(**CHOICES), out, index=toy_data, progress=seen)
    assert seen.calls[-1] == ("stop",)
    assert result_of(resume(toy_data, out)) == result_of(whole)


@pytest.mark.slow
def test_killed_at_random_moments_by_the_system(whole, toy_data, tmp_path):
    out = tmp_path / "run"
    rng = random.Random(3)
    arguments = ["epochs=3", "ema=0.9", "options={heads: 2}"]
    script = Path(toy_task.__file__)
    command = [sys.executable, str(script), str(toy_data.root), str(out), *arguments, "--resume"]
    root = script.parents[3]
    kills = 0
    for _ in range(3):
        process = subprocess.Popen(command, cwd=root, env=environment(root))
        waiting_since = time.monotonic()
        begun = (out / STATE).exists()
        while not (out / "config.yaml").exists() and process.poll() is None:
            assert time.monotonic() - waiting_since < 120
            time.sleep(0.01)
        # later processes first import and restore for some seconds
        time.sleep(rng.uniform(0, 2.5) + (4 if begun else 0))
        process.kill()
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 1
    subprocess.run(command, cwd=root, env=environment(root), check=True)
    assert result_of(RunFolder(out)) == result_of(whole)


def environment(root: Path) -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(root), "TF_CPP_MIN_LOG_LEVEL": "3"}


def test_a_finished_run_says_so_and_mends_its_files(whole, toy_data, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole.path, out)
    (out / "model.keras").unlink()
    (out / "history.csv").unlink()
    seen = Recorder()
    run = train(ToyTask(), None, out, index=toy_data, resume=True, progress=seen)
    assert seen.calls == []
    assert seen.notes == [f"{out}: is finished (epoch 3); nothing to resume."]
    assert result_of(run) == result_of(whole)


def test_more_epochs_may_be_added(whole, toy_data, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole.path, out)
    run = resume(toy_data, out, epochs=4, patience=5, workers=1)
    assert len(run.history()) == 4
    assert run.history()[:3] == whole.history()
    assert (RunFolder(out).config.epochs, RunFolder(out).config.patience) == (4, 5)
    assert run.record == whole.record


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"learning_rate": 0.5}, "was started with learning_rate 0.02, not 0.5"),
        ({"options": {"heads": 1}}, "was started with option heads 2, not 1"),
        ({"seed": 3}, "was started with seed 0, not 3"),
    ],
)
def test_other_choices_are_refused(changes, message, whole, toy_data):
    with pytest.raises(UserError, match=message):
        resume(toy_data, whole.path, **changes)


def test_other_data_are_refused(whole, toy_data, tmp_path):
    other = toy_task.write_data(tmp_path / "data")
    other.samples[0].inputs[0].write_bytes(b"another size")
    with pytest.raises(UserError, match=r"is not the data .* was started with"):
        resume(other, whole.path)


def test_a_run_of_another_app_is_refused(whole, toy_data, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole.path, out)
    text = (out / "config.yaml").read_text()
    (out / "config.yaml").write_text(text.replace("app: toy", "app: reid"))
    with pytest.raises(UserError, match="is a run of 'reid', not of 'toy'"):
        resume(toy_data, out)


def test_a_run_of_another_format_is_refused(whole, toy_data, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole.path, out)
    text = (out / "config.yaml").read_text()
    (out / "config.yaml").write_text(text.replace("format_version: 1", "format_version: 99"))
    with pytest.raises(UserError, match="has run-folder format 99"):
        resume(toy_data, out)


def test_a_folder_that_is_no_run_is_not_resumed(toy_data, tmp_path):
    (tmp_path / "letters.txt").write_text("mine")
    with pytest.raises(UserError, match="is not a run folder"):
        resume(toy_data, tmp_path)


def test_resume_and_overwrite_exclude_each_other(toy_data, tmp_path):
    with pytest.raises(UserError, match="exclude each other"):
        train(ToyTask(), config(), tmp_path, index=toy_data, resume=True, overwrite=True)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", None])
def test_a_damaged_state_is_explained(content, whole, tmp_path):
    path = tmp_path / STATE
    path.parent.mkdir()
    path.write_bytes((whole.path / STATE).read_bytes()[:-100] if content is None else content)
    with pytest.raises(UserError, match=r"state\.npz: is damaged; delete it"):
        TrainingState.load(tmp_path)


@pytest.mark.slow
def test_killed_while_an_earlier_run_was_set_aside(whole, toy_data, tmp_path, monkeypatch):
    """Its config is gone, its weights still stand there: the new training goes on all the same."""
    out = tmp_path / "run"
    train(ToyTask(), config(epochs=1, seed=3), out, index=toy_data)
    unlink = Path.unlink

    def dying(path, **named):
        unlink(path, **named)
        if path == out / "config.yaml":
            raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Path, "unlink", dying)
        train(ToyTask(), config(**CHOICES), out, index=toy_data, overwrite=True)
    assert result_of(resume(toy_data, out)) == result_of(whole)
    assert not list(out.rglob(".*"))


def test_killed_before_the_earlier_run_was_forgotten(whole, toy_data, tmp_path, monkeypatch):
    out = tmp_path / "run"
    shutil.copytree(whole.path, out)
    (out / ".before").mkdir()
    (out / ".before" / "config.yaml").touch()
    resume(toy_data, out)
    assert not list(out.rglob(".*"))


def test_a_disk_that_is_full_at_the_config_gives_the_earlier_run_back(
    whole, toy_data, tmp_path, monkeypatch
):
    out = tmp_path / "run"
    shutil.copytree(whole.path, out)

    def full(path, content):
        if path.name == "config.yaml":
            raise UserError(f"{path}: cannot be written: the disk is full; free some space.")
        return files.write_atomic(path, content)

    with monkeypatch.context() as patched, pytest.raises(UserError, match="the disk is full"):
        patched.setattr(run_folder, "write_atomic", full)
        train(ToyTask(), config(seed=3), out, index=toy_data, overwrite=True)
    assert result_of(RunFolder(out)) == result_of(whole)
    assert not list(out.rglob(".*"))


@pytest.mark.slow
def test_killed_before_tensorboard_was_told(whole, toy_data, tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    def shown(run: Path) -> list[tuple[str, int]]:
        events = (e for path in run.glob("tensorboard/events.*") for e in EventFileLoader(
            str(path)).Load())  # fmt: skip
        return sorted((value.tag, e.step) for e in events for value in e.summary.value)

    def dying(*_):
        raise Killed

    out = tmp_path / "run"
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr("core.training.callbacks.TensorBoard.write", dying)
        train(ToyTask(), config(**CHOICES), out, index=toy_data)
    resume(toy_data, out)
    assert shown(out) == shown(whole.path)
