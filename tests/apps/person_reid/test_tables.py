"""A user's table of crops and the lists of MSMT17, with what such files may hold."""

import os

import pytest
from PIL import Image

from apps.person_reid.data import check, read
from core.errors import UserError


def table(folder, persons, cameras=("1", "2")):
    lines = ["path,person,camera"]
    for person in persons:
        for camera in cameras:
            name = f"{len(lines)}.png"
            Image.new("RGB", (4, 8), (len(lines), 0, 0)).save(folder / name)
            lines.append(f'{name},"{person}",{camera}')
    path = folder / "crops.csv"
    path.write_text("\n".join(lines))
    return path


def test_persons_of_thousands_of_digits_are_names(tmp_path):
    index = read(table(tmp_path, ["1", "2", "9" * 5000]))
    assert len({sample.group for sample in index.samples}) == 3


def test_problems_show_names_as_a_terminal_can(tmp_path):
    path = table(tmp_path, [f"{letter}\x07" for letter in "abcdefgh"])
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:1] + lines[1:11:2] + lines[11:]))  # most: one camera
    problems = check(read(path))
    assert problems
    assert all(problem.isprintable() for problem in problems)


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "crops.csv")
    with pytest.raises(UserError, match=r"crops\.csv: is a pipe or a device"):
        read(tmp_path / "crops.csv", "csv")


def test_a_list_that_is_a_pipe_is_refused(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "list_query.txt").touch()
    os.mkfifo(tmp_path / "list_train.txt")
    with pytest.raises(UserError, match=r"list_train\.txt: is a pipe or a device"):
        read(tmp_path, "msmt17")
