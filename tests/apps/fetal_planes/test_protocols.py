"""The endings of a format: a random split, and copies left out."""

import os
import shutil

import fetal_files
import pytest

from apps.fetal_planes.data.protocols import parse
from apps.fetal_planes.task import TASK
from core.errors import UserError

MANY = [(p, plane, p % 2) for p in range(1, 21) for plane in ("Fetal brain", "Other")]


def test_endings_are_taken_off_in_any_order():
    known = {"fetal-planes"}
    assert parse("fetal-planes", known) == ("fetal-planes", frozenset())
    assert parse("auto-dedup", known) == ("auto", {"dedup"})
    both = ("fetal-planes", {"dedup", "paper-like"})
    assert parse("fetal-planes-dedup-paper-like", known) == both
    assert parse("fetal-planes-paper-like-dedup", known) == both
    assert parse("planes-dedup", known) == ("planes-dedup", frozenset())


def test_an_unknown_format_with_an_ending_is_refused(tmp_path):
    with pytest.raises(UserError, match="No such data format: 'fetal-plane-dedup'"):
        TASK.read(str(tmp_path), "fetal-plane-dedup")


def test_the_random_split_is_stratified_seeded_and_warned_of(tmp_path):
    folder = fetal_files.write_planes(tmp_path / "planes", MANY)
    index = TASK.read(str(folder), "auto-paper-like")
    assert index.format == "fetal-planes-paper-like"
    assert index.counts()["test"] == 8 and index.counts()["train"] + index.counts()["val"] == 32
    test = index.split("test").samples
    assert sum(sample.label == 1 for sample in test) == 4
    assert TASK.read(str(folder), index.format).fingerprint() == index.fingerprint()
    patients = {s.group for s in test} & {s.group for s in index.samples if s.split != "test"}
    warning = next(note for note in index.notes if note.startswith("Warning: a random split"))
    assert f"{len(patients)} of 20 patients lie on both sides" in warning
    assert not any("no val split" in note for note in index.notes)


def copied(folder, source: int, target: int) -> None:
    """Make the target picture a copy of the source."""
    files = {int(f.stem.split("_")[2]) - 1: f for f in (folder / "Images").iterdir()}
    shutil.copy(files[source], files[target])


def test_copies_leave_the_training_side_and_the_test_stays(tmp_path):
    rows = [(p, "Fetal brain" if n % 2 else "Other", p > 4) for p in range(1, 13) for n in range(3)]
    folder = fetal_files.write_planes(tmp_path / "planes", [(p, c, int(t)) for p, c, t in rows])
    copied(folder, 12, 14)  # of patient 5, one class: the first stays
    copied(folder, 1, 22)  # a test picture, in training too
    copied(folder, 27, 31)  # two classes
    plain, cleaned = TASK.read(str(folder)), TASK.read(str(folder), "fetal-planes-dedup")
    gone = {s.id for s in plain.samples} - {s.id for s in cleaned.samples}
    assert sorted(int(name.split("_")[2]) - 1 for name in gone) == [14, 22, 27, 31]
    assert len(cleaned.split("test")) == len(plain.split("test"))
    note = next(note for note in cleaned.notes if note.startswith("Left out"))
    assert "4 byte-identical file(s), 1 of them in the test split too, 2 of them with two" in note


def test_without_copies_nothing_is_left_out(tmp_path):
    folder = fetal_files.write_planes(tmp_path / "planes", MANY)
    index = TASK.read(str(folder), "fetal-planes-dedup")
    assert len(index) == len(MANY)


def test_pipes_and_links_to_nowhere_are_copies_of_nothing(tmp_path):
    folder = fetal_files.write_planes(tmp_path / "planes", MANY)
    pipe, other, broken = sorted((folder / "Images").iterdir())[:3]
    for path in (pipe, other, broken):
        path.unlink()
    os.mkfifo(pipe)
    os.mkfifo(other)
    broken.symlink_to(tmp_path / "nowhere")
    assert len(TASK.read(str(folder), "fetal-planes-dedup")) == len(MANY)
