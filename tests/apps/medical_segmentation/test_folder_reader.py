"""A folder of one's own: images beside masks, under whatever names people give them."""

import pytest
from empty_files import lay, pairs

from apps.medical_segmentation.data import read
from core.errors import UserError


@pytest.mark.parametrize(
    "images, masks",
    [
        *(("images", "masks"), ("imgs", "masks"), ("image", "mask"), ("Images", "Ground Truth")),
        *(("images", "labels"), ("original", "annotations"), ("Original", "mask")),
    ],
)
def test_folder_under_its_usual_names(tmp_path, images, masks):
    index = read(lay(tmp_path, f"{images}/a b (1).jpg", f"{masks}/a b (1).png"))
    assert index.format == "folder"
    assert pairs(index) == {"a b (1)": ("a b (1).jpg", "a b (1).png")}


@pytest.mark.parametrize(
    "mask", ["x.png", "x_mask.png", "x_Segmentation.png", "x_gt.bmp", "x_label.tif", "x-mask.png"]
)
def test_folder_strips_mask_suffixes(tmp_path, mask):
    assert pairs(read(lay(tmp_path, "images/x.png", f"masks/{mask}"))) == {"x": ("x.png", mask)}


def test_folder_pairs_by_name_not_by_order(tmp_path):
    lay(tmp_path, "images/10.png", "images/9.png", "images/a_image.png", "images/p1/1.png")
    lay(tmp_path, "masks/10_mask.png", "masks/9.png", "masks/a_mask.png", "masks/p1/1.png")
    assert pairs(read(tmp_path)) == {
        "9": ("9.png", "9.png"),
        "10": ("10.png", "10_mask.png"),
        "a_image": ("a_image.png", "a_mask.png"),
        "p1/1": ("1.png", "1.png"),
    }


@pytest.mark.parametrize("names", [("{0}/images", "{0}/masks"), ("images/{0}", "masks/{0}")])
def test_folder_with_splits(tmp_path, names):
    for split in ("train", "valid", "test"):
        lay(tmp_path, *(f"{name.format(split)}/1.png" for name in names))
    index = read(tmp_path, "folder")
    assert index.counts() == {"train": 1, "val": 1, "test": 1}
    assert list(pairs(index)) == ["test/1", "train/1", "val/1"]


def test_folder_of_one_split_is_that_split(tmp_path):
    lay(tmp_path, *(f"{s}/{d}/1.png" for s in ("train", "test") for d in ("images", "masks")))
    lay(tmp_path, "val/images/1.png")
    assert read(tmp_path / "test").counts() == {"test": 1}
    index = read(tmp_path)
    assert index.counts() == {"train": 1, "test": 1}
    assert index.notes == ("Folder 'val' has no images with masks and is left out.",)


def test_folder_given_as_its_images(tmp_path, monkeypatch):
    lay(tmp_path, "images/1.png", "masks/1.png")
    assert len(read(tmp_path / "images")) == 1
    monkeypatch.chdir(tmp_path / "images")
    assert len(read(".")) == 1


def test_folder_groups_derived_copies(tmp_path):
    names = ["a", "a_rot90", "a_flip", "b", "c_aug_1", "c_aug_2"]
    lay(tmp_path, *(f"{d}/{name}.png" for name in names for d in ("images", "masks")))
    groups = {sample.id: sample.group for sample in read(tmp_path).samples}
    assert groups == {
        **dict.fromkeys(("a", "a_rot90", "a_flip"), "a"),
        **{"b": "", "c_aug_1": "c", "c_aug_2": "c"},
    }


def test_folder_refuses_unpaired_files_with_counts_and_names(tmp_path):
    lay(tmp_path, "images/1.png", "masks/1.png", "masks/7_mask.png")
    lay(tmp_path, *(f"images/{n}.png" for n in (2, 3, 4, 10)))
    with pytest.raises(UserError) as caught:
        read(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/images: 4 image(s) without mask ('2.png', '3.png', '4.png', …) and 1 mask(s) "
        "without image ('7_mask.png'); add, remove or rename files so that every image has a mask "
        "of its base name."
    )


@pytest.mark.parametrize(
    "extra, reason",
    [
        ("images/1.jpg", "'1.jpg' and '1.png' have the same base name"),
        ("masks/1_mask.png", "'1.png' and '1_mask.png' are both masks of '1.png'"),
    ],
)
def test_folder_refuses_two_of_a_name(tmp_path, extra, reason):
    lay(tmp_path, "images/1.png", "masks/1.png", extra)
    with pytest.raises(UserError, match=reason):
        read(tmp_path)
