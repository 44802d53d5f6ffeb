"""Export and predict after a kill: the same command ends as if nothing had been."""

from pathlib import Path

import pytest


class Killed(BaseException):
    """Stands for the moment a process is gone."""


def test_an_export_killed_between_its_two_files_goes_through(toy, toy_run, tmp_path, monkeypatch):
    rename = Path.replace

    def dying(path, target):
        rename(path, target)
        raise Killed

    arguments = ["export", toy_run, "--out", tmp_path / "x.tflite"]
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Path, "replace", dying)
        toy(*arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.json"]
    again = toy(*arguments)
    assert again.exit_code == 0, again.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.json", "x.tflite"]


def test_an_export_does_not_take_a_file_of_the_user_for_its_own(toy, toy_run, tmp_path):
    (tmp_path / "x.json").write_text('{"mine": 1}')
    result = toy("export", toy_run, "--out", tmp_path / "x.tflite")
    assert result.exit_code == 2 and "x.json: exists" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    assert (tmp_path / "x.json").read_text() == '{"mine": 1}'


def test_a_killed_prediction_leaves_no_temporary_file_for_ever(toy, toy_run, toy_data, tmp_path):
    (tmp_path / ".test_0.unfinished.txt").write_text("12")
    (tmp_path / ".test_0_overlay.unfinished.png").write_bytes(b"\x89PNG")
    arguments = ["predict", toy_run, toy_data / "test_0.png", "--out", tmp_path]
    result = toy(*arguments)  # nothing of the user's lies there yet
    assert result.exit_code == 0, result.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["test_0.txt", "test_0_overlay.png"]
