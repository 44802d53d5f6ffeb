"""The command that explains pictures, of a run and of a .tflite file."""

import json
import sys

import numpy as np
import pytest
from color_task import CLASSES

from core.data.images import read_image


@pytest.fixture
def pictures(colour_run):
    from pathlib import Path

    return sorted(Path(colour_run.config.data).glob("test_*.png"))


def test_every_picture_of_a_run_gets_its_map_beside_it(colours, colour_run, pictures, tmp_path):
    done = colours("explain", colour_run.path, *pictures, "--out", tmp_path / "why", "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["method"], told["layer"]) == ("grad-cam", "relu2")
    assert [row["input"] for row in told["results"]] == [str(path) for path in pictures]
    for row in told["results"]:
        assert row["class"] in CLASSES and row["probability"] >= 1 / 3
        assert row["deletion"] is row["insertion"] is row["fit"] is None
        (file,) = row["files"]
        drawn = read_image(file)
        assert drawn.shape[1] == 2 * 224 + 12  # the picture, a gap, the map


@pytest.mark.parametrize("method", ["grad-cam++", "hires-cam", "lime", "occlusion"])
def test_every_method_explains_a_run(colours, colour_run, pictures, tmp_path, method):
    done = colours(
        "explain", colour_run.path, pictures[0], "--out", tmp_path / "why", "--method", method,
        "--class", "green", "--variations", 60, "--regions", "squares", "--curves", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    (row,) = json.loads(done.stdout)["results"]
    assert row["class"] == "green"
    assert 0 <= row["deletion"] <= 1 and 0 <= row["insertion"] <= 1
    assert (row["fit"] is None) == (method != "lime")


def test_a_file_and_its_run_are_explained_alike(
    colours, colour_run, colour_file, pictures, tmp_path
):
    """By LIME, which a file is explained by where nothing else is chosen."""
    found = []
    for source in (colour_run.path, colour_file):
        chosen = ["--method", "lime"] if source.is_dir() else []
        folder = tmp_path / source.name
        done = colours(
            "explain", source, pictures[2], "--out", folder, "--variations", 80, *chosen,
            "--regions", "squares", "--json",
        )  # fmt: skip
        assert done.exit_code == 0, done.stderr
        found.append(json.loads(done.stdout))
    one, other = (document["results"][0] for document in found)
    assert [document["method"] for document in found] == ["lime", "lime"]
    assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)
    assert one["fit"] == pytest.approx(other["fit"], abs=1e-3)
    drawn = [read_image(row["files"][0]).astype(int) for row in (one, other)]
    assert np.abs(drawn[0] - drawn[1]).mean() < 1


def test_the_same_seed_draws_the_same_picture(colours, colour_file, pictures, tmp_path):
    drawn = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        done = colours(
            "explain", colour_file, pictures[0], "--out", tmp_path / name, "--variations", 40,
            "--regions", "squares", "--seed", seed,
        )  # fmt: skip
        assert done.exit_code == 0, done.stderr
        (file,) = (tmp_path / name).iterdir()
        drawn.append(file.read_bytes())
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("method", ["grad-cam", "occlusion"])
def test_a_broken_picture_is_named_and_the_others_are_explained(
    colours, colour_run, pictures, tmp_path, method
):
    broken = tmp_path / "broken.png"
    broken.write_bytes(pictures[0].read_bytes()[:60])
    inputs = pictures[0], broken, pictures[1]
    done = colours(
        "explain", colour_run.path, *inputs, "--out", tmp_path / "why", "--method", method
    )
    assert done.exit_code == 1
    assert "2 of 3 inputs explained" in done.stdout
    assert done.stderr.startswith(f"Error: {broken}: ") and done.stderr.count("\n") == 1
    names = sorted(path.name for path in (tmp_path / "why").iterdir())
    assert names == [f"{path.stem}_explained.png" for path in pictures[:2]]


def test_a_file_has_no_gradients_and_that_is_said(colours, colour_file, pictures, tmp_path):
    done = colours(
        "explain", colour_file, pictures[0], "--out", tmp_path / "why", "--method", "grad-cam"
    )
    assert done.exit_code == 2 and "choose lime or occlusion" in done.stderr
    assert not (tmp_path / "why").exists()


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        (("--method", "gradcam"), "Did you mean 'grad-cam'"),
        (("--class", "gren"), "Did you mean 'green'"),
        (("--layer", "relu9"), "Did you mean 'relu"),
        (("--layer", "pool"), "has no height and width"),
        (("--method", "lime", "--layer", "relu2"), "leave the layer out"),
        (("--regions", "square"), "Did you mean 'squares'"),
    ],
)
def test_wrong_choices_are_refused(colours, colour_run, pictures, tmp_path, choice, sentence):
    done = colours("explain", colour_run.path, pictures[0], "--out", tmp_path / "why", *choice)
    assert done.exit_code == 2 and sentence in done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "why").exists()


def test_without_scikit_image_slic_is_refused_before_a_folder_is_made(
    colours, colour_file, pictures, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "skimage", None)
    out = tmp_path / "why"
    done = colours("explain", colour_file, *pictures, "--out", out, "--regions", "slic")
    assert done.exit_code == 2 and "gossamer-keras[explain]" in done.stderr
    assert done.stderr.count("\n") == 1 and not out.exists()


def test_a_picture_of_a_single_region_is_cut_into_squares_instead(
    colours, colour_file, pictures, tmp_path
):
    out = tmp_path / "why"
    done = colours("explain", colour_file, pictures[0], "--out", out, "--regions", "quickshift")
    assert done.exit_code == 2 and "single region" in done.stderr
    assert done.stderr.startswith(f"Error: {pictures[0]}: ")


def test_more_pictures_than_a_batch_are_explained_as_each_alone(
    colours, colour_run, pictures, tmp_path
):
    def rows(*batch):
        folder = tmp_path / f"why{len(batch)}"
        done = colours("explain", colour_run.path, *pictures, "--out", folder, "--json", *batch)
        return [
            (row["class"], round(row["probability"], 5))
            for row in json.loads(done.stdout)["results"]
        ]

    assert rows() == rows("--batch", "4")
