"""The whole way through the command line on rendered scenes: train, evaluate, export, compare.

Little is learnt in so few steps: what is held here is that every step follows from the one before.
"""

import csv
import json

import numpy as np
import pytest
import torch_files
from PIL import Image
from typer.testing import CliRunner
from untraced import untraced

from apps.line_segments import sample
from apps.line_segments.cli import app
from apps.line_segments.models.mlsd import NETWORK
from core.checkpoints import torch_state

pytestmark = pytest.mark.slow


def lines(*arguments, code=0):
    """Run the program, which must end with `code`; return what it printed."""
    given = [str(argument) for argument in arguments]
    result = CliRunner().invoke(app, given, prog_name="gossamer lines")
    assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
    assert "Traceback" not in result.stderr
    return result


def found(*arguments, code=0):
    """Run the program with --json and return what it found."""
    return json.loads(lines(*arguments, "--json", code=code).stdout)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """A data set of few small scenes."""
    out = tmp_path_factory.mktemp("data") / "scenes"
    made = found("simulate", "--count", 6, "--held-out", 3, "--pixels", 96, "--out", out)
    assert made["counts"] == {"train": 6, "valid": 3, "test": 3}
    assert "synthetic" in made["about"]["what"]
    return out


@pytest.fixture(scope="module")
def run(scenes, tmp_path_factory):
    """A network that was trained for a few steps."""
    out = tmp_path_factory.mktemp("runs") / "mine"
    with untraced():
        lines("train", "--data", scenes, "--variant", "doubled_separable", "--input-size", 32,
              "--epochs", 2, "--batch", 3, "--set", "validate_every=1", "--out", out)  # fmt: skip
    return out


@pytest.fixture(scope="module")
def file(run, scenes):
    lines("export", run, "--precision", "int8", "--data", scenes, "--samples", 6)
    (path,) = (run / "export").glob("*_int8.tflite")
    return path


def test_scenes_are_read_as_what_they_are(scenes, tmp_path):
    told = found("data", scenes, "--out", tmp_path / "sheet.png")
    assert told["format"] == "synthetic" and told["splits"] == {"train": 6, "val": 3, "test": 3}
    assert told["problems"] == [] and Image.open(tmp_path / "sheet.png").width > 300


def test_a_training_is_validated_and_scored(run, tmp_path):
    with (run / "history.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 and all(0 <= float(row["val_fh"]) <= 1 for row in rows)
    scores = found("evaluate", run, "--pictures", tmp_path / "pictures")
    assert scores["metrics"]["samples"] == 3 and len(scores["per_sample"]) == 3
    assert [row["threshold"] for row in scores["tables"]["by_threshold"]] == [
        0.4, 0.5, 0.6, 0.7, 0.8, 0.9,
    ]  # fmt: skip
    assert {row["variant"] for row in scores["tables"]["variants"]} == {
        "pooled_sorted", "pooled", "per_image",
    }  # fmt: skip
    assert "HAWP's 100 thresholds" in scores["protocol"]
    assert Image.open(tmp_path / "pictures" / "precision_recall.png").height > 300


def test_verify_compares_at_several_thresholds(file, scenes):
    told = found("verify", file, "--data", scenes, code=0)
    checks = {row["check"] for row in told["rows"]}
    for score in (0.4, 0.6, 0.9):
        assert f"fh at threshold {score}, XNNPACK" in checks
    assert "fh, XNNPACK" in checks


def test_detect_takes_run_and_file_alike(run, file, scenes, tmp_path):
    photos = scenes / "images"
    settings = ["--set", "heat=0.1", "--set", "shortest=0", "--set", "mode=refined"]
    own = found("detect", run, photos, *settings, "--out", tmp_path / "run")["results"]
    other = found("detect", file, photos, *settings, "--out", tmp_path / "file")["results"]
    assert len(own) == len(other) == 12
    assert all(one["network_ms"] > 0 and one["grouping_ms"] > 0 for one in own + other)
    told = lines("detect", run, photos, "--set", "mode=refind", "--out", tmp_path / "no", code=2)
    assert "Did you mean 'refined'?" in told.stderr


def test_compare_sets_networks_lsd_and_predictions_side_by_side(run, file, scenes, tmp_path):
    lines("detect", "lsd", scenes / "images", "--no-pictures", "--out", tmp_path / "theirs")
    theirs = tmp_path / "theirs" / "segments.json"
    made = found("compare", run, file, "lsd", theirs, "--data", scenes, "--calls", 2,
                 "--plot", tmp_path / "c.png", "--csv", tmp_path / "c.csv")  # fmt: skip
    rows = {row["source"]: row for row in made["results"]}
    assert [row["kind"] for row in made["results"]] == [
        "network", "network", "classical", "predictions",
    ]  # fmt: skip
    assert rows["lsd"]["fh"] == pytest.approx(rows[str(theirs)]["fh"], abs=0.01) and (
        rows["lsd"]["fh"] > 0.3
    )
    assert rows[str(run)]["macs"] == rows[str(file)]["macs"] > 0 == (rows["lsd"]["macs"] or 0)
    assert rows[str(file)]["precision"] == "int8"
    assert rows[str(theirs)]["grouping_ms"] is None
    with (tmp_path / "c.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 4
    assert Image.open(tmp_path / "c.png").width > 500
    told = lines("compare", "lsd", "lsd", "--data", scenes, code=2)
    assert "named twice" in told.stderr


def test_mlsd_is_imported_and_used_but_not_trained(scenes, tmp_path):
    told = lines("train", "--network", "mlsd", "--data", scenes, "--out", tmp_path / "no", code=2)
    assert "not to be trained; train --network lsdnet" in told.stderr
    model = NETWORK.build("tiny", (64, 64, 3), **NETWORK.training_options)
    torch_files.write_zip(tmp_path / "tiny.pth", torch_state(model))
    run = tmp_path / "mlsd"
    lines("import", "--network", "mlsd", "--checkpoint", tmp_path / "tiny.pth", "--input-size", 64,
          "--out", run)  # fmt: skip
    photo = next((scenes / "images").iterdir())
    settings = ["--set", "score=0", "--set", "length=0"]
    (done,) = found("detect", run, photo, *settings, "--out", tmp_path / "out")["results"]
    rows = np.loadtxt(tmp_path / "out" / f"{photo.stem}_segments.txt").reshape(-1, 5)
    assert len(rows) == done["segments"] > 0 and ((rows[:, 4] > 0) & (rows[:, 4] < 1)).all()


def test_the_sample_is_rendered_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sample, "COUNTS", {"train": 4, "valid": 2, "test": 2})
    monkeypatch.setattr(sample, "SIZE", (64, 64))
    sample.sample_data.cache_clear()
    try:
        told = found("data", "sample")
        assert told["samples"] == 8 and told["format"] == "synthetic"
        before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.jpg")}
        sample.sample_data.cache_clear()
        assert found("data", "sample")["fingerprint"] == told["fingerprint"]
        assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.jpg")} == before
    finally:
        sample.sample_data.cache_clear()
