"""What a disk and a kill may do to a file that is being written, and what must never come of it."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from core.errors import UserError
from core.files import claim_folder, write_atomic, write_described


class Killed(BaseException):
    """Stands for the moment a process is gone."""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def full(*arguments, **named):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_a_killed_process_left_is_used_up_by_the_next_write(tmp_path):
    (tmp_path / ".a.unfinished.txt").write_text("a long text that was not fin")
    write_atomic(tmp_path / "a.txt", "new")
    assert names(tmp_path) == ["a.txt"] and (tmp_path / "a.txt").read_text() == "new"


def test_two_processes_may_write_the_same_file_at_once(tmp_path):
    with open(tmp_path / ".a.unfinished.txt", "w") as other:  # which is still being written
        fcntl.flock(other, fcntl.LOCK_EX)
        other.write("of another process")
        other.flush()
        write_atomic(tmp_path / "a.txt", "mine")
        assert (tmp_path / ".a.unfinished.txt").read_text() == "of another process"
    assert (tmp_path / "a.txt").read_text() == "mine"
    assert len(names(tmp_path)) == 2


def test_a_name_as_long_as_the_disk_takes_is_written(tmp_path):
    path = tmp_path / ("n" * 251 + ".txt")
    assert write_atomic(path, "x").read_text() == "x"
    assert names(tmp_path) == [path.name]


def test_files_have_the_rights_that_the_user_gives_new_ones(tmp_path):
    before = os.umask(0o027)
    try:
        path = write_atomic(tmp_path / "a.txt", "x")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError("100 requested and 4 written"),  # NumPy's
        RuntimeError("Unable to synchronously write data"),  # HDF5's
    ],
)
def test_a_full_disk_is_said_and_changes_nothing(error, tmp_path, monkeypatch):
    def fails(path):
        path.write_bytes(b"half")
        raise error

    write_atomic(tmp_path / "a.bin", b"earlier")
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(UserError, match=r"a\.bin: cannot be written: the disk is full"):
        write_atomic(tmp_path / "a.bin", fails)
    assert names(tmp_path) == ["a.bin"] and (tmp_path / "a.bin").read_bytes() == b"earlier"


def test_another_failure_of_a_writer_is_not_blamed_on_the_disk(tmp_path):
    def fails(path):
        raise RuntimeError("no such codec")

    with pytest.raises(RuntimeError, match="no such codec"):
        write_atomic(tmp_path / "a.bin", fails)
    assert names(tmp_path) == []


@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize("renames", [0, 1])
def test_a_killed_pair_leaves_no_description_of_another_file(
    earlier, renames, tmp_path, monkeypatch
):
    file, sidecar = tmp_path / "a.bin", tmp_path / "a.json"
    if earlier:
        write_described(file, "old file", sidecar, "of the old file")
    rename, done = Path.replace, []

    def dying(path, target):
        if len(done) == renames:
            raise Killed
        done.append(target)
        return rename(path, target)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Path, "replace", dying)
        write_described(file, "new file", sidecar, "of the new file")
    if file.exists() and sidecar.exists():
        assert sidecar.read_text() == f"of the {file.read_text()}"
    assert file.exists() == earlier  # else the same command would be refused
    write_described(file, "new file", sidecar, "of the new file")
    assert (file.read_text(), sidecar.read_text()) == ("new file", "of the new file")
    assert names(tmp_path) == ["a.bin", "a.json"]


def test_a_disk_that_is_full_at_the_description_changes_neither(tmp_path):
    file, sidecar = tmp_path / "a.bin", tmp_path / "a.json"
    write_described(file, "old file", sidecar, "of the old file")
    with pytest.raises(UserError, match=r"a\.json: cannot be written: the disk is full"):
        write_described(file, "new file", sidecar, full)
    assert (file.read_text(), sidecar.read_text()) == ("old file", "of the old file")
    assert names(tmp_path) == ["a.bin", "a.json"]


@pytest.mark.parametrize("left", ["stages/", "pictures/.a.unfinished.png", ".probe.unfinished"])
def test_a_folder_that_a_killed_process_only_began_counts_as_empty(left, tmp_path):
    path = tmp_path / left
    path.parent.mkdir(exist_ok=True)
    path.mkdir() if left.endswith("/") else path.touch()
    assert claim_folder(tmp_path) == tmp_path


@pytest.mark.parametrize("own", [".hidden.json", "a/b/notes.txt", "a.unfinished.png"])
def test_a_folder_that_holds_anything_of_the_user_is_refused(own, tmp_path):
    path = tmp_path / own
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    with pytest.raises(UserError, match="already holds files"):
        claim_folder(tmp_path)
