"""A fault planted into a file is caught by `verify` and named; healthy files have none.

The faults are those of benchmarks/reliability/faults.py, which plants them into the apps' networks.
"""

import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from benchmarks.reliability import faults
from core.compress.norm_folding import fold_norms
from core.config import TrainConfig
from core.data.images import read_image
from core.data.index import Sample, make_index
from core.data.readers import Reader
from core.errors import UserError
from core.export.deployable import deployable
from core.export.exporting import export
from core.export.verify import verify
from core.model_card import ModelCard
from core.network import Network
from core.run_folder import RunFolder
from core.task import Example, Objective, Scores, Task

SIDE, LABELS = 16, ("left", "middle", "right")


def build(variant, input_shape, *, classes=3):
    """Return convolutions of every kind with normalisation and a head of three classes."""
    layers = keras.layers
    x = image = keras.Input(input_shape, name="image")
    for name, layer in (
        ("first", layers.Conv2D(8, 3, padding="same", use_bias=False, name="first")),
        ("wide", layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="wide")),
        ("mix", layers.Conv2D(8, 1, use_bias=False, name="mix")),
    ):
        x = layers.BatchNormalization(name=f"{name}.norm")(layer(x))
        x = layers.ReLU(name=f"{name}.relu")(x)
    return keras.Model(image, layers.Conv2D(classes, 1, name="head")(x), name="small")


def build_deep(variant, input_shape, *, classes=3):
    """Return five convolutions, each with a norm that the deployable network has folded into it."""
    layers = keras.layers
    x = image = keras.Input(input_shape, name="image")
    for n in range(5):
        x = layers.Conv2D(8, 3, padding="same", use_bias=False, name=f"conv{n}")(x)
        x = layers.ReLU(name=f"relu{n}")(layers.BatchNormalization(name=f"norm{n}")(x))
    return keras.Model(image, layers.Conv2D(classes, 1, name="head")(x), name="deep")


def card(variant):
    return ModelCard(
        "toy", variant, "toy", input_size=(SIDE, SIDE), labels=LABELS, decode={"least": 0.0}
    )


class Thirds(Task):
    """Which third of a picture a pixel lies in."""

    name = "toy"
    networks = {
        "small": Network(build, {"base": {}}, card),
        "deep": Network(build_deep, {"base": {}}, card, deploy=fold_norms),
    }
    headline = "accuracy"

    @staticmethod
    def found(folder):
        files = sorted(folder.glob("*.png"))
        samples = [Sample(f.stem, (f,), split="train" if n % 2 else "test") for n, f in
                   enumerate(files)]  # fmt: skip
        return make_index("thirds", folder, samples, labels=LABELS)

    def load(self, sample, card):
        return Example(read_image(sample.inputs[0]), np.zeros((SIDE, SIDE, 1), np.float32))

    def objective(self, config):
        return Objective(keras.losses.MeanSquaredError())

    def decode(self, outputs, sample, card):
        return outputs[0].argmax(-1)

    def score(self, results, card, *, quick=False):
        rows = [{"id": s.id, "accuracy": float((r == 0).mean())} for s, r in results]
        return Scores({"accuracy": float(np.mean([row["accuracy"] for row in rows]))}, rows)


Thirds.readers = {"thirds": Reader("thirds", "thirds", Path.is_dir, Thirds.found, "CC0")}
TASK = Thirds()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a run with every kind of file."""
    made = trained(tmp_path_factory.mktemp("planted"), "small")
    for precision in faults.ALL:
        export(TASK, made, precision)
    return made


def trained(folder, network) -> RunFolder:
    """Return a run with weights of a plausible scale and live statistics."""
    rng = np.random.default_rng(4)
    (folder / "data").mkdir()
    for n in range(12):
        coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        picture = coarse.repeat(SIDE // 4, 0).repeat(SIDE // 4, 1)
        Image.fromarray(picture).save(folder / "data" / f"{n:02}.png")
    config = TrainConfig.from_dict(
        {"app": "toy", "network": network, "variant": "base", "data": str(folder / "data"),
         "format": "thirds"}
    )  # fmt: skip
    made = RunFolder.create(folder / "run", config, card("base"))
    model = TASK.network(network).build("base", (SIDE, SIDE, 3))
    for weight in model.weights:
        shape, path = tuple(weight.shape), weight.path
        if len(shape) > 1:
            fan_in = shape[0] * shape[1] * (1 if "wide" in path else shape[2])
            weight.assign(rng.standard_normal(shape) * np.sqrt(2 / fan_in))
        elif "variance" in path or "gamma" in path:
            weight.assign(rng.uniform(0.5, 1.5, shape))
        else:
            weight.assign(rng.uniform(0.1, 0.4, shape))
    made.save_model(model)
    return made


def file_of(run, precision) -> Path:
    return run.file("export") / f"run_{precision}.tflite"


@pytest.mark.parametrize("precision", faults.ALL)
def test_nothing_is_reported_on_healthy_files(run, precision):
    found = verify(TASK, file_of(run, precision))
    assert found.passed, [row for row in found.rows if row.ok is False]
    assert found.causes == []


PLANTED = [(fault, precision) for fault in faults.FAULTS for precision in ("float32", "int8")
           if precision in fault.precisions]  # fmt: skip


@pytest.mark.parametrize(
    "fault, precision", PLANTED, ids=[f"{fault.name}-{precision}" for fault, precision in PLANTED]
)
def test_every_fault_is_caught_and_named(run, tmp_path, fault, precision):
    sick = faults.plant(TASK, run, file_of(run, precision), fault, precision, tmp_path)
    assert sick is not None, "this network has no place for it"
    found = verify(TASK, sick, run=run.path)
    assert not found.passed
    assert any(re.search(fault.named, cause) for cause in found.causes), found.causes


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_stale_norms_are_named_where_they_were_folded_away(tmp_path, precision):
    run = trained(tmp_path, "deep")
    healthy = export(TASK, run, precision).path
    assert verify(TASK, healthy, run=run.path).causes == []
    (fault,) = (one for one in faults.FAULTS if one.name == "stale batch normalisation")
    (tmp_path / "planted").mkdir()
    sick = faults.plant(TASK, run, healthy, fault, precision, tmp_path / "planted")
    (cause,) = verify(TASK, sick, run=run.path).causes
    assert "BatchNormalization is stale" in cause


def test_a_lost_scale_is_named_where_factors_were_moved_between_channels(run, tmp_path):
    class Evened(Thirds):
        int8_repairs = ("equalize",)

    fault = next(one for one in faults.FAULTS if one.name.startswith("one scale"))
    healthy = export(Evened(), run, "int8", out=tmp_path / "run_int8.tflite").path
    assert verify(Evened(), healthy, run=run.path).causes == []
    (tmp_path / "planted").mkdir()
    sick = faults.plant(Evened(), run, healthy, fault, "int8", tmp_path / "planted")
    (cause,) = verify(Evened(), sick, run=run.path).causes
    assert "the kernel of 'first' has the same scale in all of its channels" in cause


def test_a_float_file_under_the_description_of_an_integer_one(run, tmp_path):
    sick = faults.mislabelled(file_of(run, "float32"), "int8", tmp_path)
    found = verify(TASK, sick, run=run.path)
    assert any("float32 file under the description of a int8" in c for c in found.causes)


def test_a_byte_changed_after_the_export(run, tmp_path):
    sick = faults.touched(file_of(run, "float32"), tmp_path)
    found = verify(TASK, sick, run=run.path)
    assert any("changed after the export" in cause for cause in found.causes)


def test_a_run_that_was_trained_on_is_told_from_a_wrong_file(run, tmp_path):
    later = RunFolder(shutil.copytree(run.path, tmp_path / "later"))
    later.save_model(faults.FAULTS[4].network(later.load_model()))
    found = verify(TASK, later.file("export") / "run_float32.tflite", run=later)
    assert any("trained on after the export" in cause for cause in found.causes)


def test_a_run_of_an_unknown_network_is_told_with_its_folder(run, tmp_path):
    other = RunFolder(shutil.copytree(run.path, tmp_path / "other"))
    config = other.file("config.yaml")
    config.write_text(config.read_text().replace("network: small", "network: smal"))
    with pytest.raises(UserError, match="other: No such network: 'smal'"):
        deployable(TASK, RunFolder(other.path))


def test_without_its_run_it_says_what_was_not_compared(run, tmp_path):
    alone = shutil.copy(file_of(run, "float32"), tmp_path)
    found = verify(TASK, alone, data=str(run.config.data), format="thirds")
    assert found.passed and any("no run folder found" in note for note in found.notes)
