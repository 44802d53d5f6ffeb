"""Volumes through the command line: train on slices and on windows, evaluate, predict, export.

Nothing is learnt in so few steps: what is held here is that every step follows from the one before
it, and that a mask lies on the volume it was made of.
"""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from medseg_program import medseg, sentence_of, smaller_mk_unet
from PIL import Image
from sphere_volumes import AFFINE, write_spheres
from untraced import untraced
from volume_data import nifti

from apps.medical_segmentation.models.lightm_unet import VARIANTS
from core.run_folder import RunFolder

pytestmark = pytest.mark.slow

SHAPE = (16, 16, 24)  # as stored: 24 slices, two windows
WINDOW = "options.window=[-100,900]"


@pytest.fixture(scope="module", autouse=True)
def quickly():
    """Leave out of LightM-UNet's stages the blocks that are equal to others; MK-UNet's likewise."""
    with pytest.MonkeyPatch.context() as patch, smaller_mk_unet():
        patch.setitem(VARIANTS["3d_8"], "depths", (1, 1, 1, 1))
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "balls"
    return write_spheres(root, {"train": 2, "val": 1, "test": 1}, SHAPE)


def trained(data, out, *choices):
    """Return the run of a training of one step or two."""
    with untraced():
        medseg("train", "--data", data, "--classes", 3, "--labels", "air,shell,core", "--epochs", 1,
               "--batch", 2, "--steps-per-epoch", 1, *choices, "--out", out)  # fmt: skip
    return out


@pytest.fixture(scope="module")
def slices(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "slices"
    return trained(data, out, "--variant", "t", "--input-size", 64, "--set", WINDOW,
                   "--set", "options.multi_scale=off", "--set", "options.patches=4")  # fmt: skip


@pytest.fixture(scope="module")
def windows(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "windows"
    return trained(data, out, "--network", "lightm_unet", "--variant", "3d_8", "--input-size", 16,
                   "--set", "options.spacing=[1.25,1,1]")  # fmt: skip


def exported(run) -> Path:
    return Path(json.loads(medseg("export", run, "--json").stdout)["file"])


@pytest.fixture(scope="module")
def slices_file(slices):
    return exported(slices)


@pytest.fixture(scope="module")
def windows_file(windows):
    return exported(windows)


def predicted(source, data, out) -> np.ndarray:
    """Predict the test volume and return its mask, which must lie on it."""
    with untraced():
        medseg("predict", source, data / "test" / "images", "--out", out)
    mask = nibabel.load(out / "case0_mask.nii.gz")
    assert mask.shape == SHAPE and np.array_equal(mask.affine, AFFINE)
    assert Image.open(out / "case0_overlay.png").mode == "RGB"
    return np.asarray(mask.dataobj)


@pytest.mark.parametrize(
    "kind, how",
    [("slices", "slice-wise, axial slices resized to 64x64; intensities -100 to 900"),
     ("windows", "windows of 16x16x16 voxels at 1.25 x 1 x 1 mm")],
)  # fmt: skip
def test_a_run_and_its_file_segment_the_same(kind, how, data, tmp_path, request):
    run = request.getfixturevalue(kind)
    with untraced():
        scores = json.loads(medseg("evaluate", run, "--json").stdout)
    assert how in scores["protocol"] and "HD95 in millimetres" in scores["protocol"]
    assert scores["samples"] == 1 and scores["format"] == "volumes"
    assert {"dice", "dice_1", "dice_2", "hd95"} <= set(scores["metrics"])
    file = request.getfixturevalue(f"{kind}_file")
    ours, theirs = (predicted(source, data, tmp_path / name)
                    for source, name in ((run, "keras"), (file, "file")))  # fmt: skip
    assert (ours != theirs).mean() <= 1e-3  # voxels between two classes


def test_the_choices_stay_with_the_run(slices, windows):
    card, config = RunFolder(slices).card, RunFolder(slices).config
    assert card.decode["window"] == [-100, 900] == config.options["window"]
    assert RunFolder(windows).card.decode["spacing"] == [1.25, 1, 1]
    assert RunFolder(windows).config.options["window"] == "percentiles"  # what auto came to
    assert (RunFolder(windows).config.epsilon, config.epsilon) == (1e-5, 1e-8)


def test_a_window_may_be_changed_for_a_prediction(slices_file, data, tmp_path):
    images = data / "test" / "images"
    said = sentence_of(
        "predict", slices_file, images, "--out", tmp_path / "out", "--set", "window=lungs"
    )
    assert "The window is 'lungs'" in said and "Did you mean 'lung'?" in said


def test_volumes_and_images_of_a_folder_are_predicted_together(slices_file, tmp_path):
    nifti(tmp_path / "in" / "scan.nii.gz", np.zeros(SHAPE, np.int16))
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "in" / "photo.png")
    medseg("predict", slices_file, tmp_path / "in", "--out", tmp_path / "out", "--no-pictures")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"scan_mask.nii.gz", "photo_mask.png"}


def test_a_network_for_volumes_refuses_images_in_a_sentence(windows_file, tmp_path):
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "photo.png")
    said = sentence_of("predict", windows_file, tmp_path / "photo.png", "--out", tmp_path / "out")
    assert "lightm_unet 3d_8 takes volumes, and these samples are images" in said
    network = ["--network", "lightm_unet", "--variant", "3d_8"]
    said = sentence_of("train", "--data", "sample", *network, "--out", tmp_path / "run")
    assert "takes volumes, and these samples are images" in said


def test_the_data_command_draws_volumes(data, tmp_path):
    shown = medseg("data", data, "--out", tmp_path / "sheet.png").stdout
    assert "No problems" in shown and (tmp_path / "sheet.png").is_file()
