"""Every data set in the form users download it: counts, names, splits, pairs, refusals."""

import os
import time

import numpy as np
import pytest
import tifffile
from empty_files import lay, pairs

from apps.medical_segmentation.data import READERS, read
from apps.medical_segmentation.data.endoscopy import (
    CLINICDB_TEST,
    CLINICDB_VAL,
    COLONDB_TEST,
    COLONDB_VAL,
)
from core.data.splits import keep_or_split
from core.errors import UserError


def isic2017(root):
    return lay(
        root,
        "ISIC-2017_Training_Data/ISIC_0000000.jpg",
        "ISIC-2017_Training_Data/ISIC_0000000_superpixels.png",
        "ISIC-2017_Training_Data/ISIC-2017_Training_Data_metadata.csv",
        "ISIC-2017_Training_Part1_GroundTruth/ISIC_0000000_segmentation.png",
        "ISIC-2017_Validation_Data/ISIC_0001769.jpg",
        "ISIC-2017_Validation_Data/ISIC_0001769_superpixels.png",
        "ISIC-2017_Validation_Part1_GroundTruth/ISIC_0001769_segmentation.png",
        "ISIC-2017_Test_v2_Data/ISIC_0012086.jpg",
        "ISIC-2017_Test_v2_Part1_GroundTruth/ISIC_0012086_segmentation.png",
    )


def test_isic2016(tmp_path):
    lay(
        tmp_path,
        "ISBI2016_ISIC_Part1_Training_Data/ISIC_0000000.jpg",
        "ISBI2016_ISIC_Part1_Training_GroundTruth/ISIC_0000000_Segmentation.png",
        "ISBI2016_ISIC_Part1_Test_Data/ISIC_0000003.jpg",
        "ISBI2016_ISIC_Part1_Test_GroundTruth/ISIC_0000003_Segmentation.png",
    )
    index = read(tmp_path)
    assert index.format == "isic2016" and index.labels == ("lesion",)
    assert pairs(index) == {
        "test/ISIC_0000003": ("ISIC_0000003.jpg", "ISIC_0000003_Segmentation.png"),
        "train/ISIC_0000000": ("ISIC_0000000.jpg", "ISIC_0000000_Segmentation.png"),
    }
    assert index.notes[-1] == "Licence: CC0; check it at the source before use."


def test_isic2017_skips_superpixels(tmp_path):
    index = read(isic2017(tmp_path))
    assert index.format == "isic2017"
    assert index.counts() == {"train": 1, "val": 1, "test": 1}


def test_isic2017_given_its_training_folder_or_the_folder_around(tmp_path):
    isic2017(tmp_path / "isic")
    expected = pairs(read(tmp_path / "isic"))
    assert pairs(read(tmp_path)) == expected
    assert pairs(read(tmp_path / "isic" / "ISIC-2017_Training_Data")) == expected


def test_isic2018_without_test_truth_and_unpacked_twice(tmp_path):
    lay(
        tmp_path,
        "ISIC2018_Task1-2_Training_Input/ISIC2018_Task1-2_Training_Input/ISIC_0000000.jpg",
        "ISIC2018_Task1-2_Training_Input/ISIC2018_Task1-2_Training_Input/ATTRIBUTION.txt",
        "ISIC2018_Task1-2_Training_Input/ISIC2018_Task1-2_Training_Input/LICENSE.txt",
        "ISIC2018_Task1_Training_GroundTruth/ISIC_0000000_segmentation.png",
        "ISIC2018_Task1-2_Test_Input/ISIC_0012169.jpg",
    )
    index = read(tmp_path)
    assert index.format == "isic2018" and list(pairs(index)) == ["train/ISIC_0000000"]
    assert index.notes[0] == (
        "The test part is left out: folder 'ISIC2018_Task1_Test_GroundTruth' is missing."
    )


def test_isic_refuses_an_image_without_mask(tmp_path):
    isic2017(tmp_path)
    lay(tmp_path, "ISIC-2017_Training_Data/ISIC_0000001.jpg")
    with pytest.raises(UserError, match=r"1 image\(s\) without mask \('ISIC_0000001.jpg'\)"):
        read(tmp_path)


def busi(root):
    return lay(
        root,
        "benign/benign (1).png",
        "benign/benign (1)_mask.png",
        "benign/benign (4).png",
        "benign/benign (4)_mask.png",
        "benign/benign (4)_mask_1.png",
        "malignant/malignant (1).png",
        "malignant/malignant (1)_mask.png",
        "normal/normal (1).png",
        "normal/normal (1)_mask.png",
    )


@pytest.mark.parametrize("given", ["Dataset_BUSI_with_GT", "."])
def test_busi_has_all_masks_of_an_image_and_leaves_normal_out(tmp_path, given):
    busi(tmp_path / "Dataset_BUSI_with_GT")
    index = read(tmp_path / given)
    assert index.format == "busi"
    assert pairs(index) == {
        "benign/benign (1)": ("benign (1).png", "benign (1)_mask.png"),
        "benign/benign (4)": ("benign (4).png", "benign (4)_mask.png", "benign (4)_mask_1.png"),
        "malignant/malignant (1)": ("malignant (1).png", "malignant (1)_mask.png"),
    }
    assert [sample.stratum for sample in index.samples] == [*("benign", "benign", "malignant")]
    assert index.notes[:2] == (
        "1 images of class 'normal' are left out; --format busi_normal includes them.",
        "1 images have several masks, which are merged.",
    )
    assert "near-duplicate" in index.notes[2]


def test_busi_normal_is_a_choice(tmp_path):
    assert len(read(busi(tmp_path), "busi_normal")) == 4


def test_busi_refuses_a_mask_without_image(tmp_path):
    (busi(tmp_path) / "benign" / "benign (1).png").unlink()
    with pytest.raises(UserError, match=r"1 mask\(s\) without image \('benign \(1\)_mask.png'\)"):
        read(tmp_path)


def test_published_lists_have_the_published_sizes():
    assert [len(x) for x in (CLINICDB_VAL, CLINICDB_TEST, COLONDB_VAL, COLONDB_TEST)] == [
        *(61, 62, 38, 38)
    ]
    assert not CLINICDB_VAL & CLINICDB_TEST and not COLONDB_VAL & COLONDB_TEST


@pytest.mark.parametrize(
    "images, masks, suffix",
    [
        ("Original", "Ground Truth", "tif"),
        ("PNG/Original", "PNG/Ground Truth", "png"),
        ("images", "masks", "png"),
    ],
)
def test_clinicdb_by_the_published_split(tmp_path, images, masks, suffix):
    names = [f"{folder}/{n}.{suffix}" for n in range(1, 613) for folder in (images, masks)]
    index = read(lay(tmp_path / "CVC-ClinicDB", *names, "README.txt", f"{images}/Thumbs.db"))
    assert index.format == "clinicdb"
    assert index.counts() == {"train": 489, "val": 61, "test": 62}
    split = {sample.id: sample.split for sample in index.samples}
    assert (split["1"], split["3"], split["5"], split["608"]) == ("train", "val", "test", "test")
    assert all(sample.inputs[0].name == sample.targets[0].name for sample in index.samples)
    assert keep_or_split(index).samples == index.samples


def test_clinicdb_in_part_is_split_by_seed(tmp_path):
    names = [f"{d}/{n}.tif" for n in range(1, 21) for d in ("Original", "Ground Truth")]
    index = read(lay(tmp_path, *names))
    assert index.format == "clinicdb" and index.counts() == {"": 20}
    assert "needs the frames 1 to 612" in index.notes[0]
    assert keep_or_split(index).counts() == {"train": 16, "val": 2, "test": 2}


@pytest.mark.parametrize("last", [379, 380])
def test_colondb_leaves_frame_380_out(tmp_path, last):
    names = [f"{d}/{n}.png" for n in range(1, last + 1) for d in ("images", "masks")]
    index = read(lay(tmp_path, *names))
    assert index.format == "colondb"
    assert index.counts() == {"train": 303, "val": 38, "test": 38} | ({"": 1} if last > 379 else {})
    assert [sample.id for sample in index.samples if not sample.split] == ["380"][: last - 379]


def test_kvasir(tmp_path):
    lay(tmp_path, *(f"Kvasir-SEG/{d}/cju0qkw.jpg" for d in ("images", "masks")))
    lay(tmp_path, "Kvasir-SEG/kavsir_bboxes.json")
    index = read(tmp_path / "Kvasir-SEG")
    assert index.format == "kvasir" and pairs(index) == {"cju0qkw": ("cju0qkw.jpg", "cju0qkw.jpg")}
    assert index.samples[0].targets[0].parent.name == "masks"


def dsb(root):
    return lay(
        root,
        "stage1_train/00ae65/images/00ae65.png",
        "stage1_train/00ae65/masks/1f0cab.png",
        "stage1_train/00ae65/masks/2e548d.png",
        "stage1_train/0a7d30/images/0a7d30.png",
        "stage1_train/0a7d30/masks/1aa0cb.png",
        "stage1_test/0114f4/images/0114f4.png",
        "stage1_train_labels.csv",
    )


@pytest.mark.parametrize("given", ["dsb", "dsb/stage1_train", "."])
def test_dsb2018_has_a_mask_per_nucleus(tmp_path, given):
    dsb(tmp_path / "dsb")
    index = read(tmp_path / given)
    assert index.format == "dsb2018"
    assert pairs(index) == {
        "00ae65": ("00ae65.png", "1f0cab.png", "2e548d.png"),
        "0a7d30": ("0a7d30.png", "1aa0cb.png"),
    }
    assert "stage1_test has no masks and is left out." in index.notes


def test_dsb2018_refuses_an_image_without_masks(tmp_path):
    dsb(tmp_path)
    lay(tmp_path, "stage1_train/0b0d57/images/0b0d57.png")
    with pytest.raises(UserError, match=r"1 image\(s\) without mask \('0b0d57.png'\)"):
        read(tmp_path)


def em(root, labels=3):
    root.mkdir(exist_ok=True)
    for name, pages in (("train-volume.tif", 3), ("train-labels.tif", labels)):
        stack = np.zeros((pages, 8, 8), np.uint8)
        tifffile.imwrite(root / name, stack, photometric="minisblack")
    return lay(root, "test-volume.tif")


@pytest.mark.parametrize("given", ["isbi", "isbi/train-volume.tif", "."])
def test_em_has_a_sample_per_page(tmp_path, given):
    em(tmp_path / "isbi")
    index = read(tmp_path / given)
    assert index.format == "em" and index.labels == ("cell",)
    assert [(s.id, s.extra["page"]) for s in index.samples] == [
        *(("slice_0", 0), ("slice_1", 1), ("slice_2", 2))
    ]
    assert pairs(index)["slice_2"] == ("train-volume.tif", "train-labels.tif")
    assert index.notes[0].startswith("Foreground is the cell interior")


def test_em_refuses_stacks_of_different_length(tmp_path):
    with pytest.raises(UserError, match=r"train-volume\.tif has 3 pages but train-labels\.tif 2"):
        read(em(tmp_path, labels=2))


@pytest.mark.parametrize("given", ["BCCD Dataset with mask", "."])
def test_bccd_matches_across_suffixes(tmp_path, given):
    root = tmp_path / "BCCD Dataset with mask"
    lay(
        root,
        *("train/original/0a9f-1.jpg", "train/mask/0a9f-1.png"),
        *("train/original/3c2b-2.png", "train/mask/3c2b-2.png"),
        *("test/original/77aa-3.png", "test/mask/77aa-3.png"),
    )
    index = read(tmp_path / given)
    assert index.format == "bccd" and index.counts() == {"train": 2, "test": 1}
    assert pairs(index)["train/0a9f-1"] == ("0a9f-1.jpg", "0a9f-1.png")


@pytest.mark.parametrize("given", ["MontgomerySet", ".", "MontgomerySet/CXR_png"])
def test_montgomery_has_two_masks(tmp_path, given):
    for name in ("MCUCXR_0001_0.png", "MCUCXR_0104_1.png"):
        for folder in ("CXR_png", "ManualMask/leftMask", "ManualMask/rightMask"):
            lay(tmp_path / "MontgomerySet", f"{folder}/{name}")
    lay(tmp_path / "MontgomerySet", "ClinicalReadings/MCUCXR_0001_0.txt", "CXR_png/Thumbs.db")
    index = read(tmp_path / given)
    assert index.format == "montgomery" and index.labels == ("lung",)
    targets = [target.parent.name for target in index.samples[0].targets]
    assert targets == ["leftMask", "rightMask"]
    assert [sample.stratum for sample in index.samples] == [
        *("MCUCXR normal", "MCUCXR tuberculosis")
    ]


def test_montgomery_refuses_half_a_mask(tmp_path):
    lay(tmp_path, "CXR_png/MCUCXR_0001_0.png", "ManualMask/leftMask/MCUCXR_0001_0.png")
    lay(tmp_path, "CXR_png/MCUCXR_0002_0.png", "ManualMask/leftMask/MCUCXR_0002_0.png")
    lay(tmp_path, "ManualMask/rightMask/MCUCXR_0002_0.png")
    with pytest.raises(UserError, match=r"1 image\(s\) without mask \('MCUCXR_0001_0.png'\)"):
        read(tmp_path)


def test_shenzhen_leaves_images_without_mask_out(tmp_path):
    lay(
        tmp_path / "ChinaSet_AllFiles",
        *("CXR_png/CHNCXR_0001_0.png", "mask/CHNCXR_0001_0_mask.png"),
        *("CXR_png/CHNCXR_0330_1.png", "ClinicalReadings/CHNCXR_0001_0.txt"),
    )
    index = read(tmp_path / "ChinaSet_AllFiles")
    assert index.format == "shenzhen"
    assert pairs(index) == {
        "CHNCXR_0001_0": ("CHNCXR_0001_0.png", "CHNCXR_0001_0_mask.png"),
    }
    assert index.notes[0] == "1 X-rays have no published mask; left out."


def test_shenzhen_is_read_with_the_folder_of_its_masks_beside_it(tmp_path):
    lay(
        tmp_path / "Shenzhen",
        *("ChinaSet_AllFiles/CXR_png/CHNCXR_0001_0.png", "mask/CHNCXR_0001_0_mask.png"),
    )
    for path in (tmp_path / "Shenzhen", tmp_path):
        index = read(path)
        assert index.format == "shenzhen"
        assert pairs(index) == {"CHNCXR_0001_0": ("CHNCXR_0001_0.png", "CHNCXR_0001_0_mask.png")}


def test_joint_lungs(tmp_path):
    lay(
        tmp_path / "Lung Segmentation",
        *("CXR_png/CHNCXR_0001_0.png", "masks/CHNCXR_0001_0_mask.png"),
        *("CXR_png/MCUCXR_0001_0.png", "masks/MCUCXR_0001_0.png", "test/CHNCXR_0025_0.png"),
    )
    index = read(tmp_path)
    assert index.format == "lungs" and list(pairs(index)) == ["CHNCXR_0001_0", "MCUCXR_0001_0"]
    assert index.notes[0] == "The folder 'test' has no masks and is left out."


def test_polyp(tmp_path):
    for split, n in (("train", 1), ("val", 2), ("test", 10)):
        lay(tmp_path / "ClinicDB", f"{split}/images/{n}.png", f"{split}/masks/{n}.png")
    index = read(tmp_path / "ClinicDB")
    assert index.format == "polyp" and index.counts() == {"train": 1, "val": 1, "test": 1}
    assert list(pairs(index)) == ["test/10", "train/1", "val/2"]


def test_two_data_sets_in_a_folder_are_ambiguous(tmp_path):
    lay(tmp_path, *(f"{s}/{d}/1.png" for s in ("a", "b") for d in ("images", "masks")))
    with pytest.raises(UserError, match=r"holds several data sets \('a', 'b'\); pass one"):
        read(tmp_path, "folder")


def test_unrecognised_folder_says_what_it_saw_and_what_is_known(tmp_path):
    lay(tmp_path, "photos/1.png", "notes.txt")
    with pytest.raises(UserError) as caught:
        read(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: not recognised as a data set (found notes.txt, photos/); pass --format, one "
        f"of {', '.join(READERS)}."
    )


@pytest.mark.parametrize("name", [name for name in READERS if name != "sample"])
def test_every_reader_refuses_another_folder_in_a_sentence(tmp_path, name):
    lay(tmp_path, "photos/1.png")
    with pytest.raises(UserError, match="expected"):
        read(tmp_path, name)


def test_unknown_format_and_missing_path(tmp_path):
    with pytest.raises(UserError, match=r"No such data format: 'bussi'\. Did you mean 'busi'\?"):
        read(tmp_path, "bussi")
    with pytest.raises(UserError, match="gone: no such file or folder"):
        read(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="found an empty folder"):
        read(tmp_path / "empty")


def test_empty_image_folder_is_told(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(UserError, match="images: holds no image files"):
        read(tmp_path)


def test_ten_thousand_files_are_indexed_at_once(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for n in range(5000):
            (tmp_path / folder / f"{n}.png").touch()
        os.utime(tmp_path / folder, (0, 0))
    start = time.process_time()
    assert len(read(tmp_path)) == 5000
    assert time.process_time() - start < 2
