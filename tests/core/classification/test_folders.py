"""Trees of class folders."""

import pytest
from empty_files import lay

from core.classification.folders import READER, class_names, near_names, read_class_folders
from core.data.readers import read_with
from core.errors import UserError

SPLIT = [f"{split}/{name}/1.png" for split in ("train", "test") for name in ("crab", "fish")]


def read(path, format="auto"):
    return read_with({"folders": READER}, path, format)


def shown(index):
    return {sample.id: (index.labels[sample.label], sample.split) for sample in index.samples}


def test_a_plain_tree_has_its_folders_as_classes_and_no_splits(tmp_path):
    lay(tmp_path, "fish/1.png", "fish/deep/er/2.JPG", "crab/1.webp")
    assert shown(read(tmp_path)) == {
        "crab/1.webp": ("crab", ""),
        "fish/1.png": ("fish", ""),
        "fish/deep/er/2.JPG": ("fish", ""),
    }


@pytest.mark.parametrize("val", ["val", "valid", "Validation"])
def test_a_tree_with_splits_keeps_them(tmp_path, val):
    lay(tmp_path, *SPLIT, f"{val}/fish/1.png")
    index = read(tmp_path)
    assert index.counts() == {"train": 2, "val": 1, "test": 2}
    assert index.labels == ("crab", "fish")
    assert shown(index)[f"{val}/fish/1.png"] == ("fish", "val")


def test_labels_are_in_ascii_order_capitals_first(tmp_path):
    lay(tmp_path, *(f"{name}/1.png" for name in ("fish", "fishInGroups", "flatworm", "Crab", "a")))
    assert read(tmp_path).labels == ("Crab", "a", "fish", "fishInGroups", "flatworm")


def test_one_split_alone_keeps_the_class_numbers_of_the_tree(tmp_path):
    lay(tmp_path, *SPLIT, "train/eel/1.png")
    index = read(tmp_path / "test")
    assert index.labels == ("crab", "eel", "fish")
    assert shown(index) == {
        "test/crab/1.png": ("crab", "test"),
        "test/fish/1.png": ("fish", "test"),
    }


def test_the_folder_around_a_tree_does_too(tmp_path):
    lay(tmp_path, *(f"AQUA/{name}" for name in SPLIT))
    assert read(tmp_path).counts() == {"train": 2, "test": 2}
    assert class_names(tmp_path) == ("crab", "fish")


def test_a_class_may_be_called_as_a_split_is(tmp_path):
    lay(tmp_path, "train/1.png", "plane/1.png")
    assert read(tmp_path).labels == ("plane", "train")


def test_hidden_and_other_files_are_skipped_and_an_empty_class_is_told(tmp_path):
    lay(tmp_path, *SPLIT, "train/fish/.2.png", "train/fish/notes.txt", "train/fish/.git/3.png")
    lay(tmp_path, "train/loose.png")
    for name in ("train/eel", "docs"):
        (tmp_path / name).mkdir()
    index = read(tmp_path)
    assert index.counts() == {"train": 2, "test": 2} and index.labels == ("crab", "fish")
    assert index.notes == (
        "Folder 'docs' is no split with class folders and is left out.",
        "Class folder 'train/eel' holds no pictures.",
        "Skipped 2 file(s) that are no pictures in a class folder, for example "
        "'train/fish/notes.txt'.",
    )


def test_a_class_that_is_only_tested_is_refused_with_both_lists(tmp_path):
    lay(tmp_path, *SPLIT, "test/Fish/1.png")
    with pytest.raises(UserError) as caught:
        read(tmp_path)
    assert str(caught.value).endswith(
        "'Fish' is a class of test, but train has no picture of it (train has crab, fish; test has "
        "Fish, crab, fish); give both the same class folders."
    )


def test_given_labels_hold_whatever_is_there(tmp_path):
    lay(tmp_path, *SPLIT)
    index = read_class_folders(tmp_path, format="mine", labels=("fish", "eel", "crab"))
    assert index.labels == ("fish", "eel", "crab") and index.format == "mine"
    assert {s.id: s.label for s in index.samples}["train/crab/1.png"] == 2


def test_given_labels_refuse_another_folder_with_the_name_it_may_mean(tmp_path):
    lay(tmp_path, *SPLIT)
    with pytest.raises(UserError, match=r"class folder 'crab' is none .* Did you mean 'crabs'"):
        read_class_folders(tmp_path, labels=("crabs", "fish"))


def test_what_is_nearly_a_known_name_is_noted(tmp_path):
    notes = near_names(("Crab", "fish", "seaurchin", "whale"), ("crab", "fish", "seaUrchin"))
    assert [note.split(",")[0] for note in notes] == [
        "Class folder 'Crab' is nearly called 'crab'",
        "Class folder 'seaurchin' is nearly called 'seaUrchin'",
    ]


def test_other_layouts_are_not_recognised(tmp_path):
    lay(tmp_path, "1.png", "2.png", "notes/read.txt")
    assert not READER.recognises(tmp_path) and not READER.recognises(tmp_path / "1.png")
    with pytest.raises(UserError, match="expected a folder of pictures for each class"):
        read(tmp_path, "folders")


def test_a_link_back_up_ends(tmp_path):
    lay(tmp_path, "fish/1.png", "crab/2.png")
    (tmp_path / "crab/up").symlink_to(tmp_path / "crab")
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop/up").symlink_to(tmp_path / "loop")
    assert len(read(tmp_path)) == 2
