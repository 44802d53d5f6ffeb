"""build-map and localize from the command line: what is printed, written, drawn and refused."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest
from json_outputs import validator
from lidar_street import RECIPE, SPACING, pose, started_engine, write_street
from typer.testing import CliRunner

from apps.bev_localization.cli import app
from apps.bev_localization.data import READERS
from apps.bev_localization.models.rein import NETWORK
from core.data.images import read_image
from core.data.readers import read_with
from core.export.convert import to_tflite
from core.tflite.metadata import embed


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("commands")
    write_street(root / "map", [pose(SPACING * n) for n in range(8)])
    write_street(root / "back", [pose(SPACING * n + 0.5, 0.4, 180.0) for n in (2, 4)])
    write_street(root / "elsewhere", [pose(30.0)], seed=9)
    write_street(root / "dense", [pose(3.0 * n) for n in range(12)])
    engine = started_engine(list(read_with(READERS, root / "map").samples))
    content = to_tflite(NETWORK.deploy(engine.model))
    for name, recipe, weights in (
        ("model", RECIPE, "a"),
        ("trained-on", RECIPE, "b"),
        ("other-recipe", dataclasses.replace(RECIPE, cap=12), "a"),
        ("no-recipe", None, "a"),
    ):
        decode = {} if recipe is None else {"recipe": dataclasses.asdict(recipe)}
        card = engine.card.replace(decode=decode).to_dict()
        about = {"model_card": card, "precision": "float32", "model_sha256": weights * 64}
        (root / f"{name}.tflite").write_bytes(embed(content, about))
    assert run("build-map", root / "model.tflite", root / "map", "--out", root / "map.npz")[0] == 0
    return root


def run(*arguments):
    """Return exit code, standard output and standard error of a call."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


def test_a_map_is_built_and_says_what_it_keeps(world, tmp_path):
    code, told, _ = run(
        "build-map", world / "model.tflite", world / "map", "--out", tmp_path / "short.npz",
        "--pca", 3, "--keypoints", 30, "--spacing", 7, "--sequences", "map",
    )  # fmt: skip
    assert code == 0 and "4 places of map" in told and "recipe coarse" in told
    assert "localize" in told.splitlines()[-1]
    again = ("build-map", world / "model.tflite", world / "map", "--out")
    code, _, said = run(*again, tmp_path / "short.npz")
    assert code == 2 and "short.npz: exists" in said
    code, _, said = run(*again, tmp_path / "x.npz", "--pca", 8)
    assert code == 2 and "cannot be shortened to 8 numbers, as 8 places span less" in said


def test_scans_are_localized_listed_and_drawn(world, tmp_path):
    code, told, _ = run(
        "localize", world / "map.npz", world / "back", world / "elsewhere/000000.bin",
        "--model", world / "model.tflite", "--out", tmp_path / "found",
    )  # fmt: skip
    assert code == 0 and "2 of 3 scans are on" in told and "not on this map" in told
    assert "the share of a scan's keypoints" in told
    document = json.loads((tmp_path / "found/localized.json").read_text())
    validator("apps.bev_localization", "localize").validate(document)
    first, second, stranger = document["results"]
    assert [one["on_map"] for one in (first, second, stranger)] == [True, True, False]
    for one, x in ((first, 2 * SPACING + 0.5), (second, 4 * SPACING + 0.5)):
        assert np.hypot(one["x"] - x, one["y"] - 0.4) < 0.4 and abs(abs(one["yaw"]) - 180) < 2
        assert one["confidence"] == pytest.approx(one["inliers"] / one["matches"])
    with (tmp_path / "found/localized.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["place"] for row in rows[:2]] == ["map/000002.bin", "map/000004.bin"]
    assert read_image(tmp_path / "found/back/000000_map.png").shape[2] == 3
    assert len(list((tmp_path / "found").rglob("*_map.png"))) == 3


def test_what_is_printed_for_programs_fits_its_schema(world, tmp_path):
    out = tmp_path / "again.npz"
    code, told, _ = run(
        "build-map", world / "model.tflite", world / "map", "--out", out, "--pca", 5, "--json"
    )
    about = json.loads(told)  # conftest holds it to its schema
    assert code == 0 and about["places"] == 8 and about["recipe"]["name"] == "coarse"
    assert (about["descriptor_numbers"], about["descriptor_type"]) == (5, "float16")
    assert about["file_bytes"] == out.stat().st_size
    code, told, _ = run(
        "localize", out, world / "back", "--model", world / "model.tflite", "--json"
    )
    found = json.loads(told)
    assert code == 0 and [one["place"] for one in found["results"]] == [
        "map/000002.bin",
        "map/000004.bin",
    ]


def test_poses_are_refined_on_the_scans_of_the_map(world, tmp_path):
    climbing = [pose(SPACING * n + 0.5, 0.4, 180.0) for n in (2, 4)]
    for one in climbing:
        one[2, 3] += 0.3  # images do not tell it
    write_street(tmp_path / "high", climbing)
    call = ("localize", world / "map.npz", tmp_path / "high", "--model", world / "model.tflite")
    code, told, _ = run(*call, "--map-scans", world / "map", "--json")
    assert code == 0
    for one, truth in zip(json.loads(told)["results"], climbing, strict=True):
        assert one["refined"] and np.allclose(one["pose"], truth[:3], atol=0.03)
        assert (one["x"], one["z"]) == (one["pose"][0][3], one["pose"][2][3])
    code, told, _ = run(*call, "--map-scans", world / "map")
    assert code == 0 and "2 of their poses were refined" in told
    code, told, said = run(*call, "--map-scans", world / "back")
    assert (code, told) == (2, "") and "has no scan 'map/000000.bin'" in said


def test_thresholds_decide_what_is_on_the_map(world):
    scan, model = world / "back/000000.bin", world / "model.tflite"
    for option in (("--least-inliers", 500), ("--farthest", 0.01)):
        code, told, _ = run("localize", world / "map.npz", scan, "--model", model, *option)
        assert code == 0 and "0 of 1 scans are on" in told
    inliers = []
    for metres in (0.01, 0.5):
        told = run("localize", world / "map.npz", scan, "--model", model, "--json",
                   "--inlier-metres", metres)[1]  # fmt: skip
        inliers.append(json.loads(told)["results"][0]["inliers"])
    assert inliers[0] < inliers[1]


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("trained-on", "localize with the former or build the map again"),
        ("other-recipe", "the map has cap 10 instead of 12"),
        ("no-recipe", "no-recipe.tflite: does not tell the recipe of its BEV images"),
    ],
)
def test_another_model_or_recipe_is_refused(world, model, sentence):
    code, told, said = run(
        "localize", world / "map.npz", world / "back", "--model", world / f"{model}.tflite"
    )
    assert (code, told) == (2, "") and sentence in said


def test_bad_scans_do_not_stop_the_others(world, tmp_path):
    (tmp_path / "cut.bin").write_bytes(bytes(17))
    (tmp_path / "empty.bin").write_bytes(b"")
    np.full((5, 4), np.nan, "<f4").tofile(tmp_path / "nan.bin")
    bad = [tmp_path / name for name in ("cut.bin", "empty.bin", "nan.bin")]
    good = world / "back/000000.bin"
    map_and_model = (world / "map.npz", "--model", world / "model.tflite")
    code, told, said = run("localize", *map_and_model, good, *bad)
    assert code == 1 and "1 of 1 scans are on" in told
    for sentence in ("cut.bin: has 17 bytes", "empty.bin: is empty", "5 points are NaN"):
        assert sentence in said
    code, told, _ = run("localize", *map_and_model, *bad)
    assert (code, told) == (2, "")


def test_poses_the_wrong_way_round_are_refused(world, tmp_path):
    turned = [pose(SPACING * n, 0, 40.0 * n) for n in range(8)]
    write_street(tmp_path / "map", turned)
    rows = [np.linalg.inv(one)[:3].ravel() for one in turned]
    np.savetxt(tmp_path / "map/poses.txt", rows)
    out = tmp_path / "map.npz"
    code, _, said = run("build-map", world / "model.tflite", tmp_path / "map", "--out", out)
    assert code == 2 and "are the wrong way round" in said and not out.exists()
    data = ("--data", tmp_path / "map", "--split", "all")
    code, told, _ = run("evaluate", world / "model.tflite", *data)
    assert code == 0 and "poses of 'map' are the wrong way round" in " ".join(told.split())
    shutil.copy(world / "map/000000.bin", tmp_path / "map/000009.bin")
    code, _, said = run("build-map", world / "model.tflite", tmp_path / "map", "--out", out)
    assert code == 2 and "has 8 poses, but there are 9 scans" in said


def test_networks_and_peers_are_compared_on_the_same_scans(world, tmp_path):
    file, data = world / "model.tflite", ("--data", world / "dense", "--split", "all")
    call = ("compare", file, "scan-context", *data, "--mean-pooled", "--calls", 1)
    code, told, _ = run(*call, "--csv", tmp_path / "table.csv", "--json")
    rows = json.loads(told)["results"]
    assert code == 0
    assert [row["descriptor"] for row in rows] == ["netvlad", "mean", "scan-context"]
    netvlad, mean, peer = rows
    evaluated = json.loads(run("evaluate", file, *data, "--json")[1])["metrics"]
    for name in ("recall_1", "recall_5", "average_precision", "pose_success"):
        assert netvlad[name] == pytest.approx(evaluated[name], abs=1e-6)
    assert mean["recall_1"] <= netvlad["recall_1"] and mean["pose_success"] is not None
    assert peer["recall_1"] > 0.5 and peer["pose_success"] is None and peer["macs"] is None
    assert netvlad["file_bytes"] == mean["file_bytes"] == file.stat().st_size
    with (tmp_path / "table.csv").open() as stream:
        assert [row["source"] for row in csv.DictReader(stream)] == [row["source"] for row in rows]


def test_what_cannot_be_compared_is_told_in_a_sentence(world):
    data = ("--data", world / "dense")
    assert "pass --data PATH" in run("compare", "scan-context")[2]
    assert "named twice" in run("compare", "scan-context", "scan-context", *data)[2]
    code, told, said = run("compare", "scan-context", *data, "--set", "protocol=cross")
    assert (code, told) == (2, "") and "protocol" in said and "across" in said
    assert "threshold" in run("compare", "scan-context", *data, "--set", "threshold=1")[2]
