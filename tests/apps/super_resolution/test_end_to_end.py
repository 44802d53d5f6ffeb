"""The whole way through the command line: train, enlarge, export, verify, compress, import.

Each fixture is one step and is taken once; the tests look at what it left. Nothing is learnt in so
few steps: what is held here is that every step follows from the one before it.
"""

import json
from types import SimpleNamespace

import golden_files
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner
from untraced import untraced

from apps.super_resolution.cli import app
from apps.super_resolution.data import SAMPLE_DATA

pytestmark = pytest.mark.slow

PHOTO = SAMPLE_DATA / "test" / "china.png"


def superres(*arguments, code=0):
    """Run the program, which must end with `code`; return what it printed."""
    given = [str(argument) for argument in arguments]
    result = CliRunner().invoke(app, given, prog_name="gossamer superres")
    assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
    assert "Traceback" not in result.stderr
    return SimpleNamespace(stdout=result.stdout, stderr=result.stderr)


def found(*arguments, code=0):
    """Run the program with --json and return what it found."""
    return json.loads(superres(*arguments, "--json", code=code).stdout)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "photos"
    small = ["--set", "options.patch=16", "--set", "options.patches=4", "--batch", 8]
    choices = ["--network", "xlsr", "--variant", "x2", "--input-size", 48, *small]
    steps = ["--epochs", 1, "--steps-per-epoch", 4]
    with untraced():
        superres("train", "--data", "sample", *choices, *steps, "--out", run)
    return run


@pytest.fixture(scope="module")
def integer(trained):
    chosen = ["--precision", "int8", "--io", "uint8", "--samples", 12]
    return found("export", trained, *chosen)["file"]


def pixels(path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def test_scores_stand_beside_those_of_bicubic(trained):
    scores = found("evaluate", trained)
    metrics = scores["metrics"]
    assert scores["samples"] == 3 and scores["protocol"].startswith("y: luma")
    assert 28 < metrics["bicubic_psnr"] < 34 and 0.8 < metrics["bicubic_ssim"] < 1
    rounded = found("evaluate", trained, "--set", "protocol=y8")
    assert rounded["protocol"].startswith("y8: luma")
    assert abs(rounded["metrics"]["psnr"] - metrics["psnr"]) < 0.1


def test_tiles_and_the_whole_picture_agree(trained, tmp_path):
    superres("upscale", trained, PHOTO, "--out", tmp_path / "whole")
    superres("predict", trained, PHOTO, "--out", tmp_path / "tiles", "--tile", 32)
    whole, tiles = (pixels(tmp_path / name / "china_x2.png") for name in ("whole", "tiles"))
    height, width = pixels(PHOTO).shape[:2]
    assert whole.shape == (2 * height, 2 * width, 3)
    assert np.abs(whole - tiles).max() <= 1


def test_the_integer_file_holds_and_enlarges_pictures_larger_than_its_tile(
    trained, integer, tmp_path
):
    assert found("verify", integer)["rows"]  # ends with 0: all checks hold
    superres("upscale", integer, PHOTO, "--out", tmp_path / "file")
    superres("upscale", trained, PHOTO, "--out", tmp_path / "run")
    file, run = (pixels(tmp_path / name / "china_x2.png") for name in ("file", "run"))
    assert file.shape == run.shape and np.abs(file - run).mean() < 3


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_file_of_open_size_takes_whole_pictures(trained, precision, tmp_path):
    file = tmp_path / "open.tflite"
    chosen = ["--precision", precision, "--samples", 12, "--open-size"]
    superres("export", trained, *chosen, "--out", file)
    found("verify", file, "--data", "sample", "--run", trained)
    timed = found("benchmark", file, "--calls", 2)["results"]
    assert timed[0]["median_ms"] > 0
    superres("upscale", file, PHOTO, "--out", tmp_path / "file")
    superres("upscale", trained, PHOTO, "--out", tmp_path / "run")
    file, run = (pixels(tmp_path / name / "china_x2.png") for name in ("file", "run"))
    assert file.shape == run.shape
    assert (
        np.abs(file - run).max() <= 1 if precision == "float32" else np.abs(file - run).mean() < 3
    )


def test_sixteen_bit_activations_lose_almost_nothing(trained):
    made = found("export", trained, "--precision", "int16x8")["file"]
    keras_psnr, file_psnr = (
        found("evaluate", source, "--split", "val")["metrics"]["psnr"] for source in (trained, made)
    )
    assert abs(keras_psnr - file_psnr) < 0.05


def test_training_with_the_quantizers_gives_the_file_bit_for_bit(trained, tmp_path):
    aware = tmp_path / "aware"
    # As a graph: step by step TensorFlow has no gradient of a grouped kernel without oneDNN.
    superres("compress", trained, "--method", "quantize", "--quick", "--out", aware)
    made = found("export", aware, "--precision", "int8")["file"]
    rows = {row["check"]: row for row in found("verify", made)["rows"]}
    assert rows["outputs within a step, XNNPACK"]["value"] == "100.00%"


def test_prepared_sub_images_are_trained_on(tmp_path):
    made = found("prepare", "sample", "--out", tmp_path / "cut", "--side", 120, "--step", 120)
    assert made["splits"]["train"] > 8 and made["splits"]["test"] == 3
    small = ["--set", "options.patch=16", "--set", "options.patches=1"]
    choices = ["--network", "xlsr", "--variant", "x2", "--quick", *small]
    with untraced():
        superres("train", "--data", tmp_path / "cut", *choices, "--out", tmp_path / "run")


def test_low_rank_adaptation_leaves_the_same_plain_network(trained, tmp_path):
    adapted = tmp_path / "adapted"
    with untraced():
        superres("compress", trained, "--method", "adapt", "--quick", "--out", adapted)
    import keras

    before, after = (
        keras.models.load_model(run / "model.keras", compile=False) for run in (trained, adapted)
    )
    assert before.count_params() == after.count_params()
    assert not any("lora" in weight.path for weight in after.weights)
    superres("export", adapted, "--precision", "float32")


def test_an_official_checkpoint_is_a_verified_file_in_three_commands(tmp_path):
    golden = golden_files.load("imdn__rtc")
    np.savez(tmp_path / "rtc.npz", **golden.state())
    run = tmp_path / "rtc"
    said = superres(
        "import", "--network", "imdn", "--checkpoint", tmp_path / "rtc.npz", "--out", run
    )
    assert "imdn rtc" in said.stdout and "0 missing, 0 unexpected, 0 mismatched" in said.stdout
    made = found("export", run, "--precision", "float32", "--input-size", 32)["file"]
    assert found("verify", made, "--data", "sample", "--samples", 2)["rows"]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--variant", "x9"], "No such variant: 'x9'. Known: x"),
        (["--network", "imdn", "--variant", "as"], "has no counterpart to restore it from"),
        (["--set", "options.patch=999"], "less than a patch of 999"),
    ],
)
def test_what_cannot_be_trained_is_said_in_a_sentence(arguments, said, tmp_path):
    out = superres(
        "train", "--data", "sample", "--quick", *arguments, "--out", tmp_path / "r", code=2
    )
    assert said in out.stderr and not (tmp_path / "r").exists()


def test_pairs_of_another_scale_are_named_before_scores(trained, tmp_path):
    for name, side in (("hr", 48), ("lr", 16)):
        (tmp_path / name).mkdir()
        Image.new("RGB", (side, side)).save(tmp_path / name / "a.png")
    out = superres("evaluate", trained, "--data", tmp_path, "--split", "all", code=2)
    assert "lr/a.png: has 16x16 pixels, which is not 1/2 of the 48x48 of a.png" in out.stderr
