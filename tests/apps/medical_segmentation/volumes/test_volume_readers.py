"""Volumes in the form users download them or have them, and the files they name to predict."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from empty_files import lay, pairs
from volume_data import dicom, nifti, series

from apps.medical_segmentation.data import READERS, SAMPLE_DATA, read
from apps.medical_segmentation.volumes.reading import is_volume, read_volume, volume_files
from core.data.index import Sample
from core.errors import UserError

# --- LiTS -----------------------------------------------------------------------------------------


def lits(root, *folders):
    """Lay cases 0, 2 and 10 in one folder, or images and labels in two."""
    images, truths = folders if len(folders) == 2 else (".", ".")
    names = [(f"{images}/volume-{n}.nii", f"{truths}/segmentation-{n}.nii") for n in (0, 2, 10)]
    return lay(root, *(name for pair in names for name in pair))


@pytest.mark.parametrize(
    "folders", [(), ("Training Batch 1", "Training Batch 1"), ("volume_pt1", "segmentations")]
)
def test_lits_in_one_folder_in_batches_or_apart(tmp_path, folders):
    index = read(lits(tmp_path, *folders))
    assert index.format == "lits" and index.labels == ("background", "liver", "tumour")
    assert pairs(index) == {
        f"volume-{n}": (f"volume-{n}.nii", f"segmentation-{n}.nii") for n in (0, 2, 10)
    }
    assert [(sample.id, sample.group) for sample in index.samples] == [
        *(("volume-0", "0"), ("volume-2", "2"), ("volume-10", "10"))
    ]
    assert all(map(is_volume, index.samples))


def test_lits_compressed_with_test_volumes(tmp_path):
    lay(tmp_path, "volume-0.nii.gz", "segmentation-0.nii.gz", "test/test-volume-1.nii")
    index = read(tmp_path)
    assert pairs(index) == {"volume-0": ("volume-0.nii.gz", "segmentation-0.nii.gz")}
    assert index.notes[0] == "1 test volumes have no labels and are left out."


def test_lits_refuses_half_a_pair_and_a_case_twice(tmp_path):
    lay(lits(tmp_path), "volume-11.nii")
    with pytest.raises(UserError, match=r"1 image\(s\) without mask \('volume-11\.nii'\)"):
        read(tmp_path)
    lay(tmp_path, "segmentation-11.nii", "more/volume-2.nii")
    with pytest.raises(UserError, match="are the same case; remove one"):
        read(tmp_path)


# --- nnU-Net --------------------------------------------------------------------------------------


def nnunet(root, **dataset):
    document = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "liver": 1, "tumour": 2},
        "file_ending": ".nii.gz",
        **dataset,
    }
    lay(root, "imagesTr/liver_1_0000.nii.gz", "imagesTr/liver_10_0000.nii.gz")
    lay(root, "labelsTr/liver_1.nii.gz", "labelsTr/liver_10.nii.gz", "imagesTr/._liver_1.nii.gz")
    (root / "dataset.json").write_text(json.dumps(document))
    return root


@pytest.mark.parametrize("given", ["Dataset003_Liver", ".", "Dataset003_Liver/dataset.json/.."])
def test_nnunet_with_names_of_classes(tmp_path, given):
    nnunet(tmp_path / "Dataset003_Liver")
    index = read((tmp_path / given).resolve())
    assert index.format == "nnunet" and index.labels == ("background", "liver", "tumour")
    assert pairs(index) == {
        "liver_1": ("liver_1_0000.nii.gz", "liver_1.nii.gz"),
        "liver_10": ("liver_10_0000.nii.gz", "liver_10.nii.gz"),
    }


def test_nnunet_test_volumes_count_where_they_have_labels(tmp_path):
    lay(nnunet(tmp_path), "imagesTs/liver_3_0000.nii.gz")
    index = read(tmp_path)
    assert index.notes[0] == "The folder 'imagesTs' has no labels and is left out."
    lay(tmp_path, "labelsTs/liver_3.nii.gz")
    index = read(tmp_path)
    assert index.counts() == {"train": 2, "test": 1}
    assert list(pairs(index)) == ["test/liver_3", "train/liver_1", "train/liver_10"]


def test_a_decathlon_of_version_1_without_channel_numbers(tmp_path):
    nnunet(tmp_path, channel_names={}, modality={"0": "CT"}, labels={"0": "background", "1": "x"})
    for file in (tmp_path / "imagesTr").iterdir():
        file.rename(file.with_name(file.name.replace("_0000", "")))
    index = read(tmp_path)
    assert index.labels == ("x",) and list(pairs(index)) == ["liver_1", "liver_10"]


@pytest.mark.parametrize(
    "dataset, said",
    [
        ({"channel_names": {"0": "T1", "1": "T2"}}, "the images have 2 channels"),
        ({"labels": {"background": 0, "whole": [1, 2], "core": [2]}}, "are not names for the"),
        ({"labels": {"background": 0, "liver": 2}}, "are not names for the values 0, 1, 2"),
        ({"labels": {"background": 0, "liver": 1, "ignore": 2}}, "'ignore' are not supported"),
        ({"labels": {}}, "are not names for the values"),
        ({"labels": ["liver"]}, "are not names for the values"),
        ({"labels": {"0": "background", "one": "liver"}}, "are not names for the values"),
    ],
)
def test_nnunet_classes_that_are_no_indices_are_refused(tmp_path, dataset, said):
    nnunet(tmp_path, **dataset)
    with pytest.raises(UserError, match=said) as caught:
        read(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / "dataset.json"))


def test_nnunet_refuses_a_second_channel_and_broken_json(tmp_path):
    lay(nnunet(tmp_path), "imagesTr/liver_1_0001.nii.gz")
    with pytest.raises(UserError, match=r"liver_1_0001\.nii\.gz: is a second channel"):
        read(tmp_path)
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(UserError, match=r"dataset\.json: is not JSON"):
        read(tmp_path)


def test_nnunet_refuses_an_image_without_labels(tmp_path):
    (nnunet(tmp_path) / "labelsTr" / "liver_10.nii.gz").unlink()
    with pytest.raises(UserError, match=r"1 image\(s\) without mask \('liver_10_0000\.nii\.gz'\)"):
        read(tmp_path)


# --- folders --------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", ["labels", "masks", "segmentations"])
def test_a_folder_of_volumes_is_paired_by_name(tmp_path, labels):
    lay(tmp_path, "images/a.nii.gz", "images/b.v2.nii", "images/notes.txt")
    lay(tmp_path, f"{labels}/a_seg.nii.gz", f"{labels}/b.v2.nii.gz")
    index = read(tmp_path)
    assert index.format == "volumes"
    assert pairs(index) == {"a": ("a.nii.gz", "a_seg.nii.gz"), "b.v2": ("b.v2.nii", "b.v2.nii.gz")}


def test_a_folder_with_splits_keeps_them(tmp_path):
    for split in ("train", "val", "test"):
        lay(tmp_path, f"{split}/images/{split}1.nii.gz", f"{split}/labels/{split}1.nii.gz")
    index = read(tmp_path)
    assert index.format == "volumes" and index.counts() == {"train": 1, "val": 1, "test": 1}
    assert list(pairs(index)) == ["test/test1", "train/train1", "val/val1"]
    assert read(tmp_path / "test").counts() == {"test": 1}


def test_unmatched_volumes_and_twins_are_refused(tmp_path):
    lay(tmp_path, "images/a.nii", "images/b.nii", "labels/a.nii", "labels/c.nii")
    with pytest.raises(UserError, match=r"'b\.nii'\) and 1 mask\(s\) without image \('c\.nii'\)"):
        read(tmp_path)
    lay(tmp_path, "images/a.nii.gz")
    with pytest.raises(UserError, match=r"'a\.nii' and 'a\.nii\.gz' have the same base name"):
        read(tmp_path)


def test_volumes_that_do_not_say_where_they_lie_are_told_once(tmp_path):
    for n in range(5):
        for folder in ("images", "labels"):
            path = nifti(tmp_path / folder / f"{n}.nii", np.zeros((3, 4, 5), np.int16))
            if n:
                content = bytearray(path.read_bytes())
                content[252:256] = bytes(4)  # the codes of the affines
                path.write_bytes(content)
    (note,) = read(tmp_path).notes
    assert note.startswith("4 volume(s) do not say where they lie (1.nii, 2.nii, 3.nii, …): ")


@pytest.mark.parametrize("suffix", [".dcm", ""])
def test_series_in_folders_are_images(tmp_path, suffix):
    for case in ("p1", "p2"):
        for file in series(tmp_path / "images" / case, heights=(6, 0, 3)):
            file.rename(file.with_suffix(suffix))
        nifti(tmp_path / "labels" / f"{case}.nii.gz", np.zeros((5, 4, 3), np.uint8))
    index = read(tmp_path)
    assert index.format == "volumes"
    assert pairs(index) == {
        "p1": (f"IM1{suffix}", "p1.nii.gz"),
        "p2": (f"IM1{suffix}", "p2.nii.gz"),
    }
    assert all(map(is_volume, index.samples)) and len(index.samples[0].inputs) == 3
    assert read_volume(index.samples[0]).values[:, 0, 0].tolist() == [0, 3, 6]


def test_series_that_labels_cannot_belong_to_are_refused(tmp_path):
    series(tmp_path / "images" / "p1")
    nifti(tmp_path / "labels" / "p1.nii.gz", np.zeros((5, 4, 3), np.uint8))
    dicom(tmp_path / "images" / "p1" / "other", np.zeros((4, 5)), SeriesInstanceUID="9")
    with pytest.raises(UserError, match="p1: holds 2 DICOM series for the labels of one"):
        read(tmp_path)
    shutil.rmtree(tmp_path / "images")
    series(tmp_path / "images")
    with pytest.raises(UserError, match="images: holds DICOM slices side by side"):
        read(tmp_path)


def test_a_folder_of_pictures_stays_one_of_pictures(tmp_path):
    lay(tmp_path, "images/a.png", "labels/a.png")
    assert read(tmp_path).format == "folder"


@pytest.mark.parametrize("name", ["sample-volumes", "lits", "nnunet", "volumes"])
def test_a_reader_refuses_another_folder(tmp_path, name):
    lay(tmp_path, "photos/1.png")
    assert name in READERS
    with pytest.raises(UserError, match="expected"):
        read(tmp_path, name)
    with pytest.raises(UserError, match="expected"):
        read(lay(tmp_path, "a.nii") / "a.nii", name)


def test_the_sample_volumes_are_reached_by_format():
    assert len(read("sample", "sample-volumes")) == len(read(SAMPLE_DATA, "sample-volumes")) == 6


# --- files to predict -----------------------------------------------------------------------------


def ids(*inputs):
    return {sample.id: len(sample.inputs) for sample in volume_files(inputs)}


def test_named_files_are_volumes_without_their_suffix(tmp_path):
    a, b = (nifti(tmp_path / name, np.zeros((3, 4, 5))) for name in ("a.nii", "b.v2.nii.gz"))
    slices = series(tmp_path / "scan")
    assert ids(a, b, *slices) == {"a": 1, "b.v2": 1, "scan": 3}
    assert ids(slices[1]) == {"IM1": 1}


def test_a_folder_is_looked_through(tmp_path):
    nifti(tmp_path / "deep" / "a.nii.gz", np.zeros((3, 4, 5)))
    series(tmp_path / "p1" / "ct")
    series(tmp_path / "p2")
    (tmp_path / "p2" / "notes.txt").write_text("hello")
    assert ids(tmp_path) == {"deep/a": 1, "p1/ct": 3, "p2": 3}
    assert ids(tmp_path / "p2") == {"p2": 3}


def test_series_mixed_in_a_folder_are_a_sample_each(tmp_path):
    series(tmp_path / "scan")
    for n, height in enumerate((0, 5)):
        name = tmp_path / "scan" / f"1.2.840.113.{n}"
        dicom(name, np.zeros((4, 5)), (0, 0, height), SeriesInstanceUID="1.2.9", SeriesNumber=7)
    assert ids(tmp_path / "scan") == {"scan/series_4": 3, "scan/series_7": 2}
    dicom(tmp_path / "scan" / "x", np.zeros((4, 5)), SeriesInstanceUID="1.2.8", SeriesNumber=7)
    assert ids(tmp_path / "scan") == {
        **{"scan/series_1.2.3": 3, "scan/series_1.2.9": 2, "scan/series_1.2.8": 1}
    }


def test_what_is_no_slice_is_left_out_beside_slices(tmp_path):
    series(tmp_path)
    dicom(tmp_path / "scout", np.zeros((9, 9)), SeriesInstanceUID="1",
          ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])  # fmt: skip
    dicom(tmp_path / "report", np.zeros((4, 5)), Rows=None, SeriesInstanceUID="2")
    dicom(tmp_path / "more" / "report", np.zeros((4, 5)), Rows=None, SeriesInstanceUID="2")
    assert ids(tmp_path) == {tmp_path.name: 3}
    assert ids(tmp_path / "scout") == {"scout": 1}
    with pytest.raises(UserError, match="holds no picture"):
        ids(tmp_path / "report")
    with pytest.raises(UserError, match="holds no picture"):
        ids(tmp_path / "more")


def test_inputs_that_are_no_volumes_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(UserError, match=r"a\.txt: is neither NIfTI nor DICOM"):
        ids(tmp_path / "a.txt")
    with pytest.raises(UserError, match="gone: no such file or folder"):
        ids(tmp_path / "gone")
    with pytest.raises(UserError, match="holds no volumes"):
        ids(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: holds no volume files; check the path"):
        ids(tmp_path / "empty")
    (tmp_path / "b.dcm").write_text("hello")
    with pytest.raises(UserError, match=r"b\.dcm: is not a DICOM file"):
        ids(tmp_path)


def test_a_pipe_in_a_folder_is_left_alone(tmp_path):
    series(tmp_path / "scan")
    os.mkfifo(tmp_path / "scan" / "pipe")
    assert ids(tmp_path) == {"scan": 3}
    os.mkfifo(tmp_path / "a.nii")
    (case,) = (one for one in volume_files([tmp_path]) if one.id == "a")
    with pytest.raises(UserError, match="is a pipe or a device"):
        read_volume(case)


def test_a_series_with_a_gap_is_refused_before_the_work(tmp_path):
    series(tmp_path, heights=(0, 3, 9))
    with pytest.raises(UserError, match="slices are missing"):
        ids(tmp_path)


def test_two_volumes_of_one_name_are_refused(tmp_path):
    for folder in ("x", "y"):
        nifti(tmp_path / folder / "a.nii", np.zeros((3, 4, 5)))
    with pytest.raises(UserError, match="a second input is called 'a'"):
        ids(tmp_path / "x", tmp_path / "y")


def test_what_is_a_volume_is_told_by_name():
    named = {"a.nii": True, "A.NII.GZ": True, "a.dcm": True, "a.png": False, "IM0001": False}
    assert {name: is_volume(Sample("a", (Path(name),))) for name in named} == named
