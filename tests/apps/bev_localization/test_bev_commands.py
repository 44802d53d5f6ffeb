"""simulate, make-bev and the shared commands of LiDAR localization, from the command line."""

from __future__ import annotations

import json
from dataclasses import replace

import lidar_files as files
import numpy as np
import pytest
from json_outputs import validator
from lidar_street import pose, write_street
from typer.testing import CliRunner

from apps.bev_localization.cli import app
from apps.bev_localization.images.recipes import RECIPES
from apps.bev_localization.maps.views import image_of
from apps.bev_localization.task import TASK
from core.data.images import read_image
from core.errors import UserError

PACKAGE = "apps.bev_localization"


def run(*arguments):
    """Return exit code, standard output and standard error of a call."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    root = tmp_path_factory.mktemp("streets")
    return write_street(root / "drive", [pose(3.0 * n) for n in range(12)])


def test_a_town_is_simulated_and_read(tmp_path):
    out = tmp_path / "town"
    code, told, _ = run(
        "simulate", "--out", out, "--scans", 3, "--queries", 2, "--columns", 60, "--blocks", 1,
        "--scenarios", "opposite,hard", "--seed", 5, "--json",
    )  # fmt: skip
    assert code == 0
    document = json.loads(told)
    validator(PACKAGE, "simulate").validate(document)
    assert list(document["drives"]) == ["00", "01-opposite", "02-hard"]
    index = TASK.read(str(out))
    assert index.format == "simulated-town" and len(index) == 7
    again = run("simulate", "--out", out, "--scans", 3)
    assert again[0] == 2 and "--overwrite" in again[2]


@pytest.mark.parametrize(
    "arguments, told",
    [
        (("--scenarios", "oposite"), "opposite"),
        (("--lidar", "hdl23"), "hdl32"),
        (("--scans", "1"), "scans of the map"),
    ],
)
def test_simulations_that_cannot_be_are_refused(tmp_path, arguments, told):
    code, _, error = run("simulate", "--out", tmp_path / "x", *arguments)
    assert code == 2 and told in error and not (tmp_path / "x").exists()


def test_images_of_scans_are_read_as_they_are_distributed(street, tmp_path):
    out = tmp_path / "images"
    code, told, _ = run("make-bev", street, "--out", out, "--recipe", "coarse40", "--json")
    assert code == 0
    document = json.loads(told)
    validator(PACKAGE, "make_bev").validate(document)
    assert document["images_by_sequence"] == {"drive": 12} and not document["without_poses"]
    image = read_image(out / "drive/bev_imgs/000003.png")
    assert image.shape[:2] == (101, 101) and image.max() == 255
    index = TASK.read(str(out))
    assert index.format == "bev-images" and len(index) == 12
    scans = TASK.read(str(street))
    for ours, theirs in zip(index.samples, scans.samples, strict=True):
        np.testing.assert_allclose(ours.extra["pose"], theirs.extra["pose"], atol=1e-6)
    recorded = json.loads((out / "recipe.json").read_text())
    assert recorded["recipe"]["name"] == "coarse40" and len(recorded["hash"]) == 16
    np.testing.assert_array_equal(image_of(index.samples[3], RECIPES["coarse40"]), image[..., 0])
    with pytest.raises(UserError, match=r"is an image of the recipe 'coarse40' .*not of 'other'"):
        image_of(index.samples[3], replace(RECIPES["coarse40"], name="other", cap=12))


def test_scans_that_cannot_be_read_are_named(street, tmp_path):
    (tmp_path / "cut.bin").write_bytes(b"123")
    arguments = ("--out", tmp_path / "images", "--recipe", "coarse40")
    code, _, error = run("make-bev", street / "000001.bin", tmp_path / "cut.bin", *arguments)
    assert code == 1 and "cut.bin" in error
    code, _, error = run("make-bev", tmp_path / "cut.bin", *arguments, "--overwrite")
    assert code == 2 and "cut.bin" in error
    code, _, error = run("make-bev", street, "--out", tmp_path / "x", "--recipe", "place4O")
    assert code == 2 and "place40" in error


def test_two_scans_of_one_name_do_not_share_an_image(tmp_path):
    files.write(tmp_path / "twins/a.bin", files.kitti_scan())
    files.write(tmp_path / "twins/a.pcd", files.pcd("binary"))
    code, told, error = run("make-bev", tmp_path / "twins", "--out", tmp_path / "images")
    assert code == 1 and "(1 images of 201x201" in told
    assert "a.pcd: another scan of 'twins' has the image a.png already" in error


@pytest.mark.parametrize(
    "arguments, told",
    [
        (("--set", "options.recipe=place41"), "place40"),
        (("--set", "options.negatives=0"), "negatives"),
        (("--set", "options.resolution=-1"), "resolution"),
        (("--preset", "lite"), "light"),
        (("--input-size", "64", "--preset", "light"), "makes images of 101x101"),
        (("--preset", "light", "--batch", "10"), "multiple of 4"),
    ],
)
def test_trainings_that_cannot_be_are_refused(street, tmp_path, arguments, told):
    code, _, error = run("train", "--data", street, "--out", tmp_path / "run", *arguments)
    assert code == 2 and told in error, error
