"""The whole way of a compressed network through the command line: compress to verified files.

Each fixture is one step and is taken once. The network is MK-UNet-T with one kernel size instead
of three and attention in its first decoder only, as an imported checkpoint and as a run
trained from it for two steps: nothing is learnt here, what is held is that every step follows from
the one before it.
"""

import functools
import json
import re
from pathlib import Path

import golden_files
import numpy as np
import pytest
from medseg_program import smaller_mk_unet
from PIL import Image
from typer.testing import CliRunner

from apps.medical_segmentation.cli import app
from apps.medical_segmentation.task import SAMPLE_DATA
from core.compress.analysis import kernel_table
from core.export import report_compression
from core.run_folder import RunFolder

pytestmark = pytest.mark.slow

TEST_IMAGES = SAMPLE_DATA / "test" / "images"
QUICK = ["--data", "sample", "--batch", 5, "--quick"]


def medseg(*arguments, code=0):
    """Run the program, which must end with `code`; return its result."""
    given = [str(argument) for argument in arguments]
    result = CliRunner().invoke(app, given, prog_name="gossamer medseg")
    assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
    assert "Traceback" not in result.stderr
    return result


def found(*arguments, code=0):
    """Run the program with --json and return what it found."""
    return json.loads(medseg(*arguments, "--json", code=code).stdout)


@pytest.fixture(scope="module", autouse=True)
def quickly():
    """Make the network small, load each file once, and trace no graph that runs a few times."""
    import tensorflow as tf

    load, known = RunFolder.load_model, {}

    def load_once(run):
        path = run.file("model.keras")
        key = (path, path.stat().st_mtime_ns)
        if key not in known:
            known[key] = load(run)
        return known[key]

    with pytest.MonkeyPatch.context() as patched, smaller_mk_unet():
        patched.setattr(report_compression, "NOISE_SAMPLES", 1)
        patched.setattr(RunFolder, "load_model", load_once)
        tf.config.run_functions_eagerly(True)
        yield
        tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """Return a run of a checkpoint that holds what the small network has."""
    folder = tmp_path_factory.mktemp("imported")
    left_out = re.compile(r"dwconvs\.[02]\.|CA[2-5]\.|AG[2-4]\.")
    state = {
        name.replace("dwconvs.1.", "dwconvs.0."): array
        for name, array in golden_files.load("mk-unet__t").state().items()
        if not left_out.search(name)
    }
    squeeze = state["CA1.fc1.weight"]
    squeeze[1] = -squeeze[0]  # one unit fires at least: where none does, int16x8 finds no range
    state["out4.bias"] += 5.0  # random logits lie around zero, where a breath turns them over
    np.savez(folder / "mk_unet_t.npz", **state)
    made = found(
        "import", "--checkpoint", folder / "mk_unet_t.npz", "--input-size", 32, "--out",
        folder / "run",
    )  # fmt: skip
    assert made["counts"]["missing"] == made["counts"]["unexpected"] == 0
    return folder / "run"


@pytest.fixture(scope="module")
def trained(imported):
    """Return a run trained from the imported one."""
    out = imported.parent / "trained"
    network = ["--variant", "t", "--input-size", 32, "--set", "options.multi_scale=off"]
    medseg("train", "--initial-weights", imported, "--out", out, *network, *QUICK)
    return out


@pytest.fixture(scope="module")
def quantized(imported):
    """Return the imported run after quantization-aware training, and what the command found."""
    out = imported.parent / "quantized"
    return out, found("compress", imported, "--method", "quantize", "--out", out, *QUICK)


@pytest.fixture(scope="module")
def chained(trained):
    """Return the trained run after all methods, and what the command printed."""
    out = trained.parent / "chained"
    chain = ["--method", "prune,cluster,quantize", "--sparsity", 0.6, "--clusters", 12]
    return out, medseg("compress", trained, "--out", out, *chain, *QUICK).stdout


@functools.cache
def exported(run: Path, precision: str) -> dict:
    """Export a run and verify the file, which must hold; return what verify found."""
    made = found("export", run, "--precision", precision)
    checked = found("verify", made["file"], "--samples", 1, "--data", "sample")
    assert checked["passed"] and checked["precision"] == precision
    rows = {row["check"]: row["value"] for row in checked["rows"]}
    assert rows["exported from the run's present weights"] == "yes"
    return {**made, "rows": rows}


# --- quantization of an imported checkpoint ---------------------------------------------------


def test_quantize_reports_before_and_after(quantized, imported):
    out, report = quantized
    before, after = report["stages"]
    assert (before["run"], after["run"]) == (str(imported), str(out))
    assert (before["precision"], after["precision"]) == ("float32", "int8")
    assert after["file_bytes"] < before["file_bytes"]
    assert 0 <= before["value"] <= 1 and 0 <= after["value"] <= 1
    assert RunFolder(out).config.clip_value == 0.5  # the recipe of the domain


def test_the_integer_file_of_an_imported_checkpoint_holds(quantized):
    made = exported(quantized[0], "int8")
    assert made["notes"][0] == "the ranges are those of the quantization-aware training"
    assert made["rows"]["operators left in float"] == 0


@pytest.mark.parametrize("precision", ["float32", "float16", "dynamic", "weight_only", "int16x8"])
def test_every_other_precision_of_a_quantized_run_holds(quantized, precision):
    rows = exported(quantized[0], precision)["rows"]
    if precision == "float32":
        assert rows["output error, XNNPACK"] <= 1e-4


def test_a_quantized_run_is_not_quantized_again(quantized, tmp_path):
    arguments = ["compress", quantized[0], "--method", "quantize", "--out", tmp_path / "again"]
    refused = medseg(*arguments, code=2)
    assert refused.stdout == ""
    assert refused.stderr == (
        "Error: The network is quantized already; quantize the float network instead.\n"
    )
    assert not (tmp_path / "again").exists()


def test_choices_that_a_quantized_run_has_made_are_not_made_again(quantized, tmp_path):
    arguments = ["export", quantized[0], "--precision", "int8", "--out", tmp_path / "a.tflite"]
    for option, said in (
        (["--calibrator", "converter"], "was trained with its own ranges; leave --calibrator off."),
        (["--equalize"], "are for the post-training int8 export of a float run"),
        (["--balance"], "are for the post-training int8 export of a float run"),
        (["--input-size", 64], "was compressed at 32x32 and stays at that size"),
    ):
        refused = medseg(*arguments, *option, code=2)
        assert said in refused.stderr and refused.stderr.count("\n") == 1


# --- all methods on a trained run -------------------------------------------------------------


def test_a_chain_prints_a_row_for_every_stage(chained):
    out, printed = chained
    rows = [line.split() for line in printed.splitlines() if "kB" in line]
    assert [row[0] for row in rows] == ["before", "prune", "cluster", "quantize"]
    assert printed.splitlines()[-1] == f"Next: gossamer medseg export {out} --precision int8"


def test_the_integer_file_of_a_chain_holds_and_is_sparse_and_clustered(chained):
    path = exported(chained[0], "int8")["file"]
    stage = RunFolder(chained[0] / "stages" / "2_cluster").load_model()
    clustered = {facts.name: facts for facts in kernel_table(stage)}
    compared = 0
    for facts in kernel_table(path):
        before = clustered.get(facts.name)
        if before is None or facts.shape[0] == 1:
            continue  # a grouped or depthwise kernel has another form in the file
        compared += 1
        assert facts.zeros >= before.zeros >= 0.5 * before.parameters, facts.name
        assert facts.unique <= 12, facts.name
    assert compared > 20


def test_the_other_commands_take_a_compressed_run(chained, tmp_path):
    out = chained[0]
    exported(out, "int8")
    scores = found("evaluate", out)
    assert scores["samples"] == 4 and 0 <= scores["metrics"]["dice"] <= 1
    medseg("predict", out, TEST_IMAGES, "--out", tmp_path / "masks")
    masks = sorted((tmp_path / "masks").glob("*_mask.png"))
    assert len(masks) == 4 and set(np.unique(Image.open(masks[0]))) <= {0, 255}
    measured = found("benchmark", out, "--calls", 1, "--threads", 1)
    assert measured["failed"] == [] and [t["precision"] for t in measured["results"]] == [
        "float", "int8",
    ]  # fmt: skip
    page = Path(found("report", out)["report"]).read_text(encoding="utf-8")
    assert "chained_int8.tflite" in page and "different values in a kernel" in page
