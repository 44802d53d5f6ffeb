"""`gossamer medseg compare`: the table over networks, with intervals, cost and a picture."""

import csv
import json

import keras
import numpy as np
import pytest
from medseg_program import medseg, sentence_of, tiny_network
from PIL import Image

from apps.medical_segmentation.compare_command import METRICS
from apps.medical_segmentation.task import TASK
from core.config import TrainConfig
from core.run_folder import RunFolder
from core.training.setup import settled, training_card

COMPARED = ("dice", "iou", "hd95", "dice_difference")


def write_run(path, seed, *, fingerprint=None, protocol="native", data="sample") -> RunFolder:
    """Write the run of a network as it is before its training."""
    index, network = TASK.read("sample"), TASK.network("tiny")
    config = TrainConfig("medseg", "tiny", "base", data=data, seed=seed)
    config = settled(config, TASK, network.card("base"), index)
    card = training_card(TASK, network.card("base"), config, index)
    card = card.replace(decode={"threshold": 0.5, "protocol": protocol})
    kept = {"root": str(index.root), "fingerprint": fingerprint or index.fingerprint()}
    run = RunFolder.create(path, config, card, source="train", data=kept)
    keras.utils.set_random_seed(seed)
    run.save_model(network.build("base", (32, 32, 3)))
    return run


@pytest.fixture(scope="module", autouse=True)
def tiny():
    with tiny_network():
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [write_run(folder / name, seed).path for seed, name in enumerate(("one", "two"))]


@pytest.fixture(scope="module")
def compared(runs, tmp_path_factory):
    """Return what two runs and a file of the first gave, and the folder of table and picture."""
    out = tmp_path_factory.mktemp("out")
    file = json.loads(medseg("export", runs[0], "--json").stdout)["file"]
    arguments = ["compare", *runs, file, "--csv", out / "t.csv", "--plot", out / "t.png"]
    return json.loads(medseg(*arguments, "--calls", 2, "--json").stdout), out


def test_all_are_scored_on_the_same_images_with_intervals(compared, runs):
    found, _ = compared
    assert (found["samples"], found["cases"], found["split"]) == (4, 4, "test")
    assert (found["rounds"], found["seed"], found["level"]) == (2000, 0, 0.95)
    one, two, file = found["results"]
    alone = json.loads(medseg("evaluate", runs[1], "--json").stdout)
    for name in METRICS:
        assert two[name] == pytest.approx(alone["metrics"][name])
        values = [row[name] for row in alone["per_sample"]]
        assert min(values) <= two[f"{name}_low"] <= two[name] <= two[f"{name}_high"] <= max(values)
    assert one["dice_difference"] is None
    assert two["dice_difference"] == pytest.approx(two["dice"] - one["dice"])
    for name in COMPARED[:-1]:  # the file computes what its run does
        assert file[name] == pytest.approx(one[name], abs=0.02)
    assert abs(file["dice_difference"]) < 0.02


def test_cost_is_that_of_the_exported_file(compared, runs):
    found, _ = compared
    one, two, file = found["results"]
    network = RunFolder(runs[0]).load_model()
    weights = sum(int(np.prod(w.shape)) for w in network.trainable_weights)
    assert one["parameters"] == two["parameters"] == file["parameters"] == weights
    assert one["macs"] == file["macs"] == 16 * 16 * 4 * 27 + 32 * 32 * 4
    assert one["file_bytes"] < file["file_bytes"]  # which has its card beside
    for row in found["results"]:
        assert 0 < row["p10_ms"] <= row["median_ms"] <= row["p90_ms"]
        assert row["precision"] == "float" and row["same_data"] is True


def test_the_table_is_written_and_drawn(compared):
    found, out = compared
    rows = list(csv.DictReader((out / "t.csv").open()))
    assert [row["source"] for row in rows] == [row["source"] for row in found["results"]]
    assert [float(row["dice"]) for row in rows] == [row["dice"] for row in found["results"]]
    picture = Image.open(found["plot"])
    assert picture.size[0] > 1500 and picture.mode == "RGB"


def test_data_that_is_named_is_taken_though_a_run_saw_other(runs, tmp_path):
    other = write_run(tmp_path / "other", 2, fingerprint="0" * 16).path
    printed = medseg("compare", runs[0], other, "--data", "sample", "--calls", 1).stdout
    assert f"Not trained on these data, or not known to be: {other}." in printed
    assert "95% intervals of 2000 bootstraps over cases, seed 0" in printed


def test_what_cannot_be_compared_gets_a_sentence(runs, tmp_path):
    other = write_run(tmp_path / "other", 2, fingerprint="0" * 16).path
    official = write_run(tmp_path / "official", 2, protocol="official").path
    unknown = write_run(tmp_path / "unknown", 2, data="").path
    (tmp_path / "there.png").touch()
    for arguments, sentence in (
        ([runs[0], other], f"other: was trained on other data than {runs[0]} (sample, sample)"),
        ([other], "is not the data"),
        ([runs[0], official], "official: has the protocol official, but"),
        ([unknown], "Nothing to compare on: pass --data PATH"),
        ([runs[0], runs[0]], "is named twice"),
        ([*runs, "--plot", tmp_path / "a.svg"], "must end in .png; choose another --plot"),
        ([*runs, "--plot", tmp_path / "there.png"], "exists; choose another --plot or pass"),
        ([*runs, "--rounds", 10], "100"),
        ([tmp_path / "none"], "none"),
    ):
        assert sentence in sentence_of("compare", *arguments)
