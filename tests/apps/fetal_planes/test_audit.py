"""What is found wrong in a data set, as findings, as sentences and as a file."""

import csv
import json
import os
import shutil

import fetal_files
import pytest
from json_outputs import check_output
from typer.testing import CliRunner

from apps.fetal_planes.audit import audit
from apps.fetal_planes.cli import app
from apps.fetal_planes.task import TASK

ROWS = [
    *((p, "Fetal brain", 1) for p in (1, 1, 2, 2, 3, 3)),
    *((p, "Other", 1) for p in (1, 2)),
    *((p, "Other", 0) for p in (4, 5, 3)),  # 3 is in training too
]


@pytest.fixture
def folder(tmp_path):
    """A copy in a class, one across classes, one across splits, the pixels of one, a broken one."""
    folder = fetal_files.write_planes(tmp_path / "planes", ROWS)
    files = [
        folder / "Images" / f"{fetal_files.name_of(n, p)}.png" for n, (p, *_) in enumerate(ROWS)
    ]
    shutil.copy(files[0], files[1])
    shutil.copy(files[2], files[7])
    shutil.copy(files[6], files[8])
    pixels = fetal_files.Image.open(files[4])
    pixels.convert("RGBA").save(files[5])
    files[9].write_bytes(b"")
    return folder


def test_what_waits_for_ever_is_told_and_not_read(folder):
    pipe, device = sorted((folder / "Images").iterdir())[:2]
    for path in (pipe, device):
        path.unlink()
    os.mkfifo(pipe)
    device.symlink_to("/dev/zero")
    broken = [one.what for one in audit(TASK.read(str(folder))) if one.kind == "unreadable"]
    for path in (pipe, device):
        assert any(f"{path.name}: is a pipe or a device" in what for what in broken)


def test_every_kind_of_finding_is_found_once(folder):
    index = TASK.read(str(folder))
    found = audit(index)
    assert sorted(one.kind for one in found) == [*["copies"] * 3, "patient", "same_pixels",
                                                 "unreadable"]  # fmt: skip
    copies = [one for one in found if one.kind == "copies"]
    across = next(one for one in copies if len(one.classes) == 2)
    assert across.classes == ("Fetal brain", "Other") and across.patients == ("2",)
    leaking = next(one for one in found if one.kind == "patient")
    assert leaking.patients == ("3",) and "test" in leaking.found_in and len(leaking.files) >= 2
    broken = next(one for one in found if one.kind == "unreadable")
    assert "is empty (0 bytes)" in broken.what


def test_the_command_data_tells_them_in_sentences(folder):
    told = "\n".join(TASK.check_data(TASK.read(str(folder)), None))
    assert "is empty (0 bytes)" in told
    assert "are byte-identical, but show Fetal brain and Other; leave one out." in told
    assert "keep one, or read with --format fetal-planes-dedup." in told
    assert "1 patient(s), for example '3', have pictures in" in told


def test_a_sound_data_set_has_no_findings(tmp_path):
    index = TASK.read(str(fetal_files.write_planes(tmp_path / "planes")))
    assert audit(index) == [] and TASK.check_data(index, None) == []


def test_pictures_that_look_the_same_are_counted_apart_from_copies(tmp_path):
    """A JPEG of a test picture in training, and two frames of one patient."""
    rows = [(1, "Other", 1), (2, "Fetal brain", 1), (2, "Fetal brain", 1), (3, "Other", 0)]
    folder = fetal_files.write_planes(tmp_path / "planes", rows)
    files = sorted((folder / "Images").glob("*.png"))
    picture = fetal_files.Image.open(files[3]).resize((160, 120))
    picture.convert("RGB").save(tmp_path / "again.jpg", quality=70)
    fetal_files.Image.open(tmp_path / "again.jpg").save(files[0])
    frame = fetal_files.Image.open(files[1]).resize((160, 120))
    frame.save(files[1])
    frame.point(lambda value: 0.9 * value).save(files[2])
    counts = json.loads(call(folder, "--json").stdout)["counts"]
    assert (counts["near_duplicates"], counts["similar_frames"]) == (1, 1)
    assert counts["copies"] == counts["same_pixels"] == 0
    (told,) = TASK.check_data(TASK.read(str(folder)), None)
    assert f"'{files[0].name}' (" in told and f"'{files[3].name}' (test) look the same (" in told
    assert told.endswith("taken a moment apart; keep them in one split.")

    fetal_files.Image.fromarray(fetal_files.picture(99)).save(files[0])
    alone = call(folder, "--json")
    assert alone.exit_code == 0, "frames of a sweep are no fault"
    check_output(app, ["audit", str(folder), "--json"], alone.stdout)
    (frames,) = json.loads(alone.stdout)["findings"]
    assert (frames["kind"], frames["patients"]) == ("similar_frames", ["2"])


def call(*arguments):
    return CliRunner().invoke(app, ["audit", *map(str, arguments)])


def test_the_audit_file_has_a_line_for_each_finding(folder, tmp_path):
    out = tmp_path / "audit.csv"
    result = call(folder, "--out", out)
    assert result.exit_code == 1 and f"Saved: {out}" in result.stdout
    rows = list(csv.DictReader(out.open()))
    assert len(rows) == 6
    assert list(rows[0]) == ["kind", "files", "patients", "classes", "found_in", "what"]
    across = next(row for row in rows if row["classes"] == "Fetal brain; Other")
    assert across["kind"] == "copies" and len(across["files"].split("; ")) == 2
    again = call(folder, "--out", out)
    assert again.exit_code == 2 and "--overwrite" in again.stderr


def test_the_audit_as_json_is_as_its_schema_says(folder):
    result = call(folder, "--json")
    assert result.exit_code == 1
    check_output(app, ["audit", str(folder), "--json"], result.stdout)
    assert json.loads(result.stdout)["counts"]["copies"] == 3


def test_a_sound_data_set_gives_a_file_with_a_heading_only(tmp_path):
    folder, out = fetal_files.write_planes(tmp_path / "planes"), tmp_path / "audit.csv"
    assert call(folder, "--out", out).exit_code == 0
    assert out.read_text() == "kind,files,patients,classes,found_in,what\n"
