"""The whole way through the command line: train to report.

Each fixture is one step and is taken once; the tests look at what it left. Nothing is learnt in so
few steps: what is held here is that every step follows from the one before it. The network is a
smaller MK-UNet-T; the published one goes the way in `test_official_checkpoint` and in the notebook.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from medseg_program import medseg, smaller_mk_unet
from PIL import Image
from untraced import untraced

from apps.medical_segmentation.task import SAMPLE_DATA
from core.run_folder import RunFolder

pytestmark = pytest.mark.slow

TEST_IMAGES = SAMPLE_DATA / "test" / "images"


def found(*arguments, code=0):
    """Run the program with --json and return what it found."""
    return json.loads(medseg(*arguments, "--json", code=code).stdout)


@pytest.fixture(scope="module", autouse=True)
def quickly():
    with smaller_mk_unet():
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a run of two epochs, of which the second was trained after a resume."""
    run = tmp_path_factory.mktemp("runs") / "nuclei"
    network = ["--variant", "t", "--input-size", 32, "--batch", 5]
    network += ["--set", "options.multi_scale=off"]
    medseg("train", "--data", "sample", *network, "--epochs", 1, "--out", run)
    kept = RunFolder(run).history()
    with untraced():
        resumed = found("train", "--resume", "--out", run, "--epochs", 2)
    assert resumed["epochs"] == 2 and RunFolder(run).history()[:1] == kept
    return run


@pytest.fixture(scope="module")
def files(trained):
    """Return the float32 and the int8 file of the run."""
    made = [
        found("export", trained, "--precision", "float32"),
        found("export", trained, "--precision", "int8", "--samples", 4),
    ]
    assert made[1]["notes"][0].startswith("calibrated with 4 samples of ")
    return [Path(one["file"]) for one in made]


def test_evaluate_keeps_the_scores_with_the_run(trained):
    scores = found("evaluate", trained)
    assert (scores["samples"], scores["format"], scores["split"]) == (4, "sample", "test")
    assert 0 <= scores["metrics"]["dice"] <= 1 and len(scores["per_sample"]) == 4
    assert scores["protocol"].startswith("native: ")
    kept = RunFolder(trained).metrics()["keras/sample/test"]
    assert kept["metrics"] == scores["metrics"]


def test_predict_writes_masks_and_pictures_at_the_size_of_the_input(trained, tmp_path):
    image = Image.open(next(TEST_IMAGES.iterdir())).convert("RGB").resize((90, 50))
    image.save(tmp_path / "wide.jpg")
    medseg("predict", trained, tmp_path / "wide.jpg", "--out", tmp_path / "out")
    mask = Image.open(tmp_path / "out" / "wide_mask.png")
    overlay = Image.open(tmp_path / "out" / "wide_overlay.png")
    assert mask.size == overlay.size == (90, 50)
    assert (mask.mode, overlay.mode) == ("L", "RGB") and set(np.unique(mask)) <= {0, 255}


def test_a_run_and_its_file_predict_the_same(trained, files, tmp_path):
    for source, out in ((trained, "keras"), (files[0], "file")):
        medseg("predict", source, TEST_IMAGES, "--out", tmp_path / out, "--set", "threshold=0.1")
    names = [path.name for path in sorted((tmp_path / "keras").glob("*_mask.png"))]
    assert len(names) == 4
    for name in names:
        ours, theirs = (np.asarray(Image.open(tmp_path / out / name)) for out in ("keras", "file"))
        assert (ours != theirs).mean() <= 1e-3  # pixels on the very threshold


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_exports_hold(trained, files, precision):
    path = files[precision == "int8"]
    assert path == trained / "export" / f"nuclei_{precision}.tflite"
    assert json.loads(path.with_suffix(".json").read_text())["precision"] == precision
    checked = found("verify", path)
    assert checked["passed"] and checked["precision"] == precision
    rows = {row["check"]: row for row in checked["rows"]}
    assert rows["exported from the run's present weights"]["ok"]
    assert rows["loads in the default delegate (XNNPACK)"]["ok"]
    if precision == "float32":
        assert rows["output error, XNNPACK"]["value"] <= 1e-4
    assert RunFolder(trained).metrics()[f"verify/{path.name}"]["passed"]


def test_a_file_of_weights_that_were_trained_on_since_does_not_hold(trained, files, tmp_path):
    import keras

    run = shutil.copytree(trained, tmp_path / "nuclei")
    model = keras.models.load_model(run / "model.keras", compile=False)
    model.set_weights([weight * 1.05 for weight in model.get_weights()])
    model.save(run / "model.keras")
    with untraced():
        result = medseg("verify", run / "export" / files[0].name, "--samples", 1, code=1)
    assert "does not hold: exported from the run's present weights" in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_export_replaces_nothing_unasked(trained, files):
    before = files[0].read_bytes()
    refused = medseg("export", trained, code=2)
    assert "exists; choose another --out or pass --overwrite." in refused.stderr
    assert files[0].read_bytes() == before


def test_benchmark_measures_the_run_and_its_files(trained, files, tmp_path):
    arguments = ["benchmark", trained, "--calls", 3, "--threads", 1, "--csv", tmp_path / "t.csv"]
    measured = found(*arguments)
    assert measured["failed"] == []
    assert [row["precision"] for row in measured["results"]] == ["float", "float", "int8"]
    assert all(row["median_ms"] > 0 for row in measured["results"])
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 4


def test_the_report_is_one_page(trained, files):
    page = Path(found("report", trained)["report"])
    assert page == trained / "report.html"
    text = page.read_text(encoding="utf-8")
    assert "nuclei_int8.tflite" in text and "data:image/" in text
