"""The one walk over folders: natural order, nothing hidden, nothing that waits."""

import os

import pytest

from core.data.folders import find_files, folders, natural_key
from core.data.readers import Reader, read_with
from core.errors import UserError


def test_numbers_in_names_count_however_long_they_are():
    long = "9" * 5000  # more digits than Python turns into a number
    assert sorted(["10", "9", long, "1"], key=natural_key)[:3] == ["1", "9", "10"]


def test_leftovers_of_archivers_are_skipped(tmp_path):
    for name in ("b10.png", "b9.png", ".b1.png", "__MACOSX/b2.png", "b3.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_files(tmp_path, "image", (".png",), recursive=True)
    assert [path.name for path in found] == ["b9.png", "b10.png"]


def test_a_pipe_is_no_data_set(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = Reader("any", "anything", lambda path: True, lambda path: None, "CC0")
    with pytest.raises(UserError, match="pipe: is a pipe or a device"):
        read_with({"any": reader}, tmp_path / "pipe", "auto")


def test_a_name_too_long_for_the_disk_has_no_folders(tmp_path):
    assert folders(tmp_path / ("a" * 300)) == []
