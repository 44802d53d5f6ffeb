"""Reading FETAL_PLANES_DB, its sister set and one's own folders."""

import os
import shutil

import fetal_files
import pytest

from apps.fetal_planes.data import PLANES
from apps.fetal_planes.task import TASK
from core.errors import UserError


@pytest.fixture
def folder(tmp_path):
    return fetal_files.write_planes(tmp_path / "FETAL_PLANES_ZENODO")


def refused(folder, format="fetal-planes") -> str:
    with pytest.raises(UserError) as raised:
        TASK.read(str(folder), format)
    return str(raised.value)


def test_the_download_is_recognised_with_its_classes_and_its_split_by_patients(folder):
    index = TASK.read(str(folder))
    assert index.format == "fetal-planes" and index.labels == PLANES
    assert tuple(sorted(PLANES)) == PLANES
    first = index.samples[0]
    assert first.id == "Patient00001_Plane1_1_of_9.png" and first.group == "1"
    assert index.labels[first.label] == "Fetal abdomen"
    assert first.extra["US_Machine"] == "Aloka"
    assert {s.group for s in index.split("test").samples} == {"4"}


def test_validation_is_taken_from_the_training_patients_as_a_whole(folder):
    index = TASK.read(str(folder))
    train, val, test = ({s.group for s in index.split(n).samples} for n in ("train", "val", "test"))
    assert val and not val & train and not val & test


@pytest.mark.parametrize("place", ["", "FETAL_PLANES_DB_data.csv", ".."])
def test_the_folder_the_table_and_the_folder_around_it_mean_the_same(folder, place):
    assert len(TASK.read(str(folder / place))) == len(fetal_files.ROWS)


@pytest.mark.parametrize(
    "options",
    [
        {"separator": ","},
        {"encoding": "utf-8-sig"},
        {"header": fetal_files.HEADER.rstrip()},
        {"header": fetal_files.HEADER.replace(";Plane;", "; Plane ;")},
        {"separator": "\t"},
    ],
)
def test_saved_again_by_a_spreadsheet_it_is_the_same(tmp_path, options):
    index = TASK.read(str(fetal_files.write_planes(tmp_path / "planes", **options)))
    assert index.format == "fetal-planes" and len(index) == len(fetal_files.ROWS)


def test_windows_line_ends_and_suffixes_in_the_table_do_no_harm(folder):
    first, *rest = fetal_files.table_lines(folder)
    lines = [first, *(line.replace("_of_9;", "_of_9.png;") for line in rest)]
    fetal_files.write_table(folder, [line + "\r" for line in lines])
    assert len(TASK.read(str(folder))) == len(fetal_files.ROWS)


def test_an_unknown_plane_is_told_with_its_line_and_the_known_ones(folder):
    lines = fetal_files.table_lines(folder)
    lines[3] = lines[3].replace("Fetal femur", "fetal femur")
    fetal_files.write_table(folder, lines)
    told = refused(folder)
    assert "line 4: Plane is 'fetal femur'. Did you mean 'Fetal femur'?" in told
    assert "Maternal cervix, Other." in told


@pytest.mark.parametrize(
    "old, new, told",
    [
        (";1;Fetal abdomen", ";;Fetal abdomen", "line 2: 'Patient_num' is empty"),
        ("Aloka;1", "Aloka;yes", "line 2: Train is 'yes'; it must be 1 (train) or 0 (test)"),
        ("Aloka;1", "Aloka;", "line 2: 'Train' is empty"),
    ],
)
def test_a_wrong_field_is_told_with_its_line(folder, old, new, told):
    lines = fetal_files.table_lines(folder)
    assert old in lines[1]
    fetal_files.write_table(folder, [lines[0], lines[1].replace(old, new), *lines[2:]])
    assert told in refused(folder)


def test_missing_pictures_are_counted_and_the_first_ones_named(folder):
    gone = sorted((folder / "Images").iterdir())[:4]
    for file in gone:
        file.unlink()
    told = refused(folder)
    assert "4 of its pictures are not in Images/" in told
    assert gone[0].stem in told and "…" in told


def test_a_picture_that_is_not_in_the_table_is_noted(folder):
    shutil.copy(next((folder / "Images").iterdir()), folder / "Images" / "mine.png")
    assert "1 picture(s) of Images/ are not in the table." in TASK.read(str(folder)).notes


def test_a_line_twice_counts_once_and_two_that_differ_are_refused(folder):
    lines = fetal_files.table_lines(folder)
    fetal_files.write_table(folder, [*lines, lines[1]])
    index = TASK.read(str(folder))
    assert len(index) == len(fetal_files.ROWS)
    assert any("1 line(s) of FETAL_PLANES_DB_data.csv repeat another" in n for n in index.notes)

    other = lines[1].replace("Fetal abdomen", "Other")
    fetal_files.write_table(folder, [*lines, other])
    assert "with Plane 'Fetal abdomen' there and 'Other' here" in refused(folder)


def test_a_table_without_its_columns_and_a_spreadsheet_are_refused(folder):
    lines = fetal_files.table_lines(folder)
    fetal_files.write_table(folder, [lines[0].replace("Train", "Fold"), *lines[1:]])
    assert "has no column 'Train' (found Image_name, " in refused(folder)
    (folder / "FETAL_PLANES_DB_data.csv").write_text("\n".join(lines), encoding="utf-16")
    assert "expected Images/ and FETAL_PLANES_DB_data.csv" in refused(folder)


def test_a_table_of_one_line_or_of_what_waits_is_no_table(folder):
    table = folder / "FETAL_PLANES_DB_data.csv"
    table.write_bytes(table.read_bytes().replace(b"\n", b"\r"))  # as of an old Macintosh
    assert "expected Images/ and FETAL_PLANES_DB_data.csv" in refused(folder)
    table.unlink()
    os.mkfifo(table)
    assert "expected Images/ and FETAL_PLANES_DB_data.csv" in refused(folder)


def test_the_sister_set_has_the_six_classes_and_patients_by_country(tmp_path):
    index = TASK.read(str(fetal_files.write_african(tmp_path / "african")))
    assert index.format == "african" and index.labels == PLANES
    assert [s.group for s in index.samples] == ["Algeria/1", "Algeria/2", "Egypt/1", "Egypt/2"]
    assert {PLANES[s.label] for s in index.samples} == {"Fetal brain", "Fetal femur"}
    assert any("Maternal cervix" in note for note in TASK.data_notes(index))


def test_a_missing_country_of_the_sister_set_is_told(tmp_path):
    folder = fetal_files.write_african(tmp_path / "african")
    shutil.rmtree(folder / "Zenodo_dataset" / "Egypt")
    assert "2 of its pictures are not in Zenodo_dataset/ (Egypt/P1" in refused(folder, "african")


def test_a_country_whose_name_no_folder_can_have_is_told(tmp_path):
    folder = fetal_files.write_african(tmp_path / "african")
    table = folder / "Zenodo_dataset" / "African_planes_database.csv"
    table.write_text(table.read_text().replace("Egypt", "9" * 300))
    assert "2 of its pictures are not in Zenodo_dataset/ (999" in refused(folder, "african")


def test_ones_own_folders_of_classes_are_read_too(tmp_path):
    for number, name in enumerate(("Fetal brain", "Fetal brian")):
        (tmp_path / "own" / name).mkdir(parents=True)
        fetal_files.Image.fromarray(fetal_files.picture(number)).save(
            tmp_path / "own" / name / "a.png"
        )
    index = TASK.read(str(tmp_path / "own"))
    assert index.format == "folders" and index.labels == ("Fetal brain", "Fetal brian")
    assert any("'Fetal brian' is nearly called 'Fetal brain'" in note for note in index.notes)
