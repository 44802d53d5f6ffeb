"""A run that is being overwritten: whatever ends the process, it is whole in one of two places."""

import errno
import os
from pathlib import Path

import pytest

from core.errors import UserError
from core.training import state
from core.training.state import (
    BEFORE,
    STATE,
    bring_back,
    remove_leftovers,
    replacing,
    set_aside,
)

RUN = ("config.yaml", "model.keras", "history.csv", "model_card.json", STATE)
RUN += ("tensorboard/events.1",)
_STEPS = [(os, "link"), (Path, "rename"), (Path, "unlink")]


class Killed(BaseException):
    """Stands for the moment a process is gone."""


def write_run(folder: Path, text: str) -> dict[str, str]:
    for name in RUN:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{name} of the {text} run")
    return read_run(folder)


def read_run(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in RUN if (folder / name).is_file()}


def killed_at(step: int, monkeypatch, work) -> bool:
    """Do some work that is killed before its n-th change of the disk; return whether it was."""
    seen = []

    def dying(real):
        def change(*arguments, **named):
            seen.append(real)
            if len(seen) == step:
                raise Killed
            return real(*arguments, **named)

        return change

    with monkeypatch.context() as patched:
        for owner, name in _STEPS:
            patched.setattr(owner, name, dying(getattr(owner, name)))
        try:
            work()
        except Killed:
            return True
    return False


def test_a_run_is_set_aside_and_brought_back(tmp_path):
    earlier = write_run(tmp_path, "earlier")
    set_aside(tmp_path)
    assert read_run(tmp_path) == {} and read_run(tmp_path / BEFORE) == earlier
    bring_back(tmp_path)
    assert read_run(tmp_path) == earlier and not list(tmp_path.glob(".*"))


def test_a_kill_at_any_step_of_setting_aside_keeps_the_earlier_run(tmp_path, monkeypatch):
    for step in range(1, 100):
        folder = tmp_path / str(step)
        earlier = write_run(folder, "earlier")
        if not killed_at(step, monkeypatch, lambda: set_aside(folder)):  # noqa: B023
            break
        assert earlier in (read_run(folder), read_run(folder / BEFORE))
        set_aside(folder)  # the same command again
        assert read_run(folder) == {} and read_run(folder / BEFORE) == earlier
        bring_back(folder)
        assert read_run(folder) == earlier and not list(folder.glob(".*"))
    assert step > 2 * len(RUN)


def test_a_kill_at_any_step_of_bringing_back_keeps_the_earlier_run(tmp_path, monkeypatch):
    for step in range(1, 100):
        folder = tmp_path / str(step)
        earlier = write_run(folder, "earlier")
        set_aside(folder)
        if not killed_at(step, monkeypatch, lambda: bring_back(folder)):  # noqa: B023
            break
        assert earlier in (read_run(folder), read_run(folder / BEFORE))
        set_aside(folder)
        bring_back(folder)
        assert read_run(folder) == earlier
    assert step > len(RUN)


def test_a_second_beginning_keeps_the_earlier_run(tmp_path):
    earlier = write_run(tmp_path, "earlier")
    set_aside(tmp_path)
    (tmp_path / "config.yaml").write_text("of a training killed in its first epoch")
    set_aside(tmp_path)
    bring_back(tmp_path)
    assert read_run(tmp_path) == earlier


def test_a_run_that_has_reached_something_is_the_earlier_one_from_then_on(tmp_path):
    write_run(tmp_path, "earlier")
    set_aside(tmp_path)
    second = write_run(tmp_path, "second")  # killed after its state, before it forgot the earlier
    set_aside(tmp_path)
    bring_back(tmp_path)
    assert read_run(tmp_path) == second


@pytest.mark.parametrize("reached", [False, True])
def test_what_fails_before_it_reached_anything_gives_the_earlier_run_back(reached, tmp_path):
    earlier = write_run(tmp_path, "earlier")
    with pytest.raises(UserError, match="the disk is full"), replacing(tmp_path):
        (tmp_path / "config.yaml").write_text("of the new run")
        if reached:
            (tmp_path / "model.keras").write_text("of the new run")
        raise UserError("model.keras: cannot be written: the disk is full; free some space.")
    if reached:
        assert set(read_run(tmp_path).values()) == {"of the new run"}
    else:
        assert read_run(tmp_path) == earlier and not list(tmp_path.glob(".*"))


def test_what_another_run_left_half_set_aside_does_not_come_back(tmp_path):
    making = tmp_path / f"{BEFORE}.unfinished"
    making.mkdir()
    (making / "report.html").write_text("of a run before the earlier one")
    write_run(tmp_path, "earlier")
    set_aside(tmp_path)
    bring_back(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_disk_without_links_gets_copies(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    earlier = write_run(tmp_path, "earlier")
    set_aside(tmp_path)
    assert read_run(tmp_path / BEFORE) == earlier


def test_a_full_disk_leaves_the_earlier_run_in_its_place(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    monkeypatch.setattr(state.shutil, "copy2", full)
    earlier = write_run(tmp_path, "earlier")
    with pytest.raises(UserError, match="cannot be written: the disk is full"):
        set_aside(tmp_path)
    assert read_run(tmp_path) == earlier and not list(tmp_path.glob(".*"))


def test_only_temporary_files_of_the_suite_are_removed(tmp_path):
    own = [".hidden.json", ".notes.yaml", ".thumbnail.keras"]
    for name in (*own, ".model.unfinished.keras", "checkpoints/.state.unfinished.npz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == own
