"""AQUA20 as folders, one's own folders, and what chooses the best epoch."""

from collections import Counter

import numpy as np
import pytest
from empty_files import lay
from PIL import Image

from apps.underwater_species.data import SPECIES
from apps.underwater_species.task import TASK
from core.data.images import read_image, resized
from core.errors import UserError

# arXiv:2506.17455, Table 2.
TRAIN = dict(
    zip(
        SPECIES,
        (1562, 43, 51, 160, 2200, 272, 50, 97, 20, 20, 382, 890, 35, 79, 115, 71, 22, 24, 166, 300),
        strict=True,
    )
)


def tree(path, *, each=5, names=SPECIES, splits=("train", "test")):
    return lay(
        path, *(f"{s}/{name}/{n}.jpg" for s in splits for name in names for n in range(each))
    )


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Empty files as AQUA20 has pictures."""
    root = tmp_path_factory.mktemp("AQUA20")
    for name, count in TRAIN.items():
        lay(root, *(f"train/{name}/{n}.jpg" for n in range(count)), f"test/{name}/0.jpg")
    return root


def test_twenty_class_folders_are_aqua20(tmp_path):
    index = TASK.read(str(tree(tmp_path)))
    assert index.format == "aqua20" and index.labels == SPECIES


@pytest.mark.parametrize(
    "names", [SPECIES[1:], (*SPECIES, "whale"), ("Coral", *SPECIES[1:])], ids=len
)
def test_other_class_folders_are_own_data(tmp_path, names):
    index = TASK.read(str(tree(tmp_path, names=names)))
    assert index.format == "folders" and len(index.labels) == len(names)


def test_a_slip_in_a_name_of_aqua20_is_noted_and_refused_where_it_is_demanded(tmp_path):
    tree(tmp_path, names=("Coral", *SPECIES[1:]))
    assert any("'Coral' is nearly called 'coral'" in n for n in TASK.read(str(tmp_path)).notes)
    with pytest.raises(UserError, match=r"'Coral' is none of .* 20 classes\. Did you mean 'coral'"):
        TASK.read(str(tmp_path), "aqua20")


def test_validation_is_a_stratified_fifth_of_train(published):
    index = TASK.read(str(published))
    assert index.counts() == {"train": 5247, "val": 1312, "test": 20}
    found = Counter(s.label for s in index.samples if s.split == "val")
    for label, name in enumerate(SPECIES):
        assert abs(found[label] - TRAIN[name] / 5) <= 1.01, name
    assert any("1312 of its 6559 training samples" in note for note in index.notes)
    assert index.fingerprint() == TASK.read(str(published)).fingerprint()


def test_the_papers_choice_selects_by_the_test_split_with_a_warning(published):
    index = TASK.read(str(published), "aqua20-paper")
    assert index.counts() == {"train": 6559, "val": 20, "test": 20}
    val, test = ({s.inputs for s in index.samples if s.split == split} for split in ("val", "test"))
    assert val == test
    assert "scores on it are optimistic" in index.notes[-1]
    assert TASK.read(str(published), "auto-paper").fingerprint() == index.fingerprint()


def test_the_papers_choice_needs_a_test_split_and_no_validation_split(tmp_path):
    tree(tmp_path / "plain", splits=("train",))
    with pytest.raises(UserError, match=r"no train and test splits .* leave '-paper' off"):
        TASK.read(str(tmp_path / "plain"), "folders-paper")
    tree(tmp_path / "three", splits=("train", "val", "test"))
    with pytest.raises(UserError, match="has a validation split of its own; leave '-paper' off"):
        TASK.read(str(tmp_path / "three"), "auto-paper")


def test_another_ending_is_no_format(tmp_path):
    with pytest.raises(UserError, match="No such data format: 'aqua20-papr'"):
        TASK.read(str(tree(tmp_path)), "aqua20-papr")


def test_a_photograph_saved_again_in_another_split_or_class_is_found(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (4, 12, 16, 3)).astype(np.uint8)
    files = [tmp_path / s / c / "1.jpg" for s in ("train", "test") for c in ("crab", "fish")]
    for file, picture in zip(files, pictures, strict=True):
        write(file, resized(picture, (90, 120)))
    card = TASK.network("squeezenet").card("1_1").sized((64, 64))

    def told():
        return TASK.check_data(TASK.read(str(tmp_path), "folders"), card)

    assert told() == []
    write(files[2], read_image(files[0])[::2, ::2])
    write(files[1].with_name("2.jpg"), read_image(files[3])[:, ::-1])
    (across,) = told()
    assert "'test/crab/1.jpg' (test) and 'train/crab/1.jpg' (train) look the same (" in across
    write(files[1].with_name("3.jpg"), resized(read_image(files[3]), (60, 60)))
    write(files[0].with_name("4.jpg"), resized(read_image(files[1].with_name("2.jpg")), (60, 60)))
    assert [one.rpartition("; ")[2] for one in told()] == [
        "keep them in one split.", "keep them in one split.", "see which is right.",
    ]  # fmt: skip


def write(file, picture):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(file, quality=75)


def test_the_copies_of_the_papers_choice_are_no_findings(tmp_path):
    for split, shade in (("train", 10), ("test", 90)):
        for number, name in enumerate(("crab", "fish")):
            file = tmp_path / split / name / "1.png"
            file.parent.mkdir(parents=True)
            Image.new("RGB", (8, 8), (shade, 40 * number, 0)).save(file)
    card = TASK.network("squeezenet").card("1_1").sized((32, 32))
    assert TASK.check_data(TASK.read(str(tmp_path), "auto-paper"), card) == []
