"""A chain in which a network learns from a run of another one."""

import dataclasses
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from chains import (
    TRAINING,
    Killed,
    KilledAt,
    kernel_of,
    told,
)
from test_fit import result_of
from toy_task import SIDE, ToyTask, config

from core.errors import UserError
from core.files import write_json
from core.run_folder import RunFolder
from core.training.compressing import plan_chain, run_chain, started_chain
from core.training.state import STATE
from core.training.validating import Validator


class TwoNetworks(ToyTask):
    """The domain with a second network: wider, deeper, with an output of its own size if wished."""

    networks = ("toy", "wide")

    def network(self, name):
        network = super().network(name)
        return dataclasses.replace(network, build=wide) if name == "wide" else network


def wide(variant, input_shape, *, classes=1, heads=1):
    import keras

    layers = keras.layers
    image = x = keras.Input(input_shape, name="image")
    for number in (1, 2, 3):
        x = layers.Conv2D(12, 3, padding="same", activation="relu", name=f"block{number}")(x)
    x = layers.MaxPooling2D(name="smaller")(x) if heads == 2 else x
    return keras.Model(image, layers.Conv2D(classes, 1, name="top")(x), name="wide")


def wide_run(out: Path, heads: int = 1) -> RunFolder:
    """Write a run of the wide network, not trained."""
    keras.utils.set_random_seed(heads)
    choices = config(network="wide", options={"heads": heads})
    card = TwoNetworks().network("wide").card("base")
    run = RunFolder.create(out, choices, card.replace(labels=("square",)), source="train")
    run.save_model(wide("base", (SIDE, SIDE, 3), heads=heads))
    return run


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return wide_run(tmp_path_factory.mktemp("teacher") / "wide")


def taught(source, out, teacher, **choices):
    """Return the plan of an adaptation under a teacher."""
    choices = {"adapt": {"teacher": str(teacher), **choices}}
    training = {**TRAINING, "epochs": 2}
    return plan_chain(TwoNetworks(), source, ["adapt"], out, choices=choices, training=training)


def begin(plans, toy_data, killer=None):
    return run_chain(TwoNetworks(), plans, index=toy_data, **told(killer))


@pytest.mark.slow
def test_a_network_learns_from_a_run_of_another_one(
    source, teacher, toy_data, tmp_path, monkeypatch
):
    monkeypatch.setattr(Validator, "is_better", lambda *_, **__: True)  # the last epoch is kept
    before = teacher.file("model.keras").read_bytes()
    (run,) = begin(taught(source, tmp_path / "run", teacher.path), toy_data)
    assert run.config.compress["choices"] == {"teacher": str(teacher.path)}
    assert {"feature_match_loss", "affinity_loss"} <= run.history()[-1].keys()
    assert [x.name for x in run.load_model().layers] == [x.name for x in source.load_model().layers]
    assert not np.array_equal(kernel_of(run), kernel_of(source))
    assert teacher.file("model.keras").read_bytes() == before
    plans = plan_chain(ToyTask(), source, ["adapt"], tmp_path / "alone",
                       training={**TRAINING, "epochs": 2})  # fmt: skip
    (alone,) = begin(plans, toy_data)
    assert not np.array_equal(kernel_of(run), kernel_of(alone))


@pytest.mark.slow
def test_learning_from_a_teacher_is_resumed_with_the_same_teacher(
    source, teacher, toy_data, tmp_path
):
    copy = shutil.copytree(teacher.path, tmp_path / "teacher")
    choices = {"features": ["relu1", "head1"], "teacher_features": ["block2", "top"]}
    (whole,) = begin(taught(source, tmp_path / "whole", copy, **choices), toy_data)
    out = tmp_path / "run"
    with pytest.raises(Killed):
        begin(taught(source, out, copy, **choices), toy_data, KilledAt("adapt", epoch=1))
    copy.rename(tmp_path / "elsewhere")
    state = (out / STATE).read_bytes()
    with pytest.raises(
        UserError, match=r"^Teacher .*teacher: is not a run folder \(does not exist"
    ):
        run_chain(TwoNetworks(), started_chain(out), index=toy_data, resume=True)
    assert (out / STATE).read_bytes() == state
    (tmp_path / "elsewhere").rename(copy)
    (run,) = run_chain(TwoNetworks(), started_chain(out), index=toy_data, resume=True)
    assert result_of(run) == result_of(whole)


@pytest.mark.parametrize(
    "choices, said",
    [
        ({"teacher": "nowhere"}, r"^Teacher nowhere: is not a run folder \(does not exist\)"),
        ({"features": ["relu1"], "teacher_features": ["block1", "top"]},
         r"teacher_features names 2 layers for 1 features \(relu1\); name one for each"),
        ({"features": ["relu"]}, "toy: the student has no layer 'relu'. Did you mean 'relu1'"),
        ({"features": ["relu1"], "teacher_features": ["block9"]},
         "wide: the teacher has no layer 'block9'. Did you mean"),
    ],
)  # fmt: skip
def test_a_teacher_that_cannot_be_followed_is_refused_before_anything_is_done(
    choices, said, source, teacher, tmp_path
):
    with pytest.raises(UserError, match=said):
        taught(source, tmp_path / "run", **{"teacher": teacher.path, **choices})
    assert not (tmp_path / "run").exists()


def test_a_teacher_of_other_outputs_or_inputs_is_refused(source, teacher, tmp_path):
    smaller = wide_run(tmp_path / "smaller", heads=2)
    with pytest.raises(
        UserError, match=r"wide: as a teacher makes 8×8×1 of an input of 16×16×3, b"
    ):
        taught(source, tmp_path / "run", smaller.path)
    shutil.copytree(teacher.path, tmp_path / "other")
    write_json(
        tmp_path / "other" / "model_card.json", teacher.card.replace(std=(1.0, 1.0, 1.0)).to_dict()
    )
    with pytest.raises(
        UserError, match=r"Teacher .*other: normalises pixels by mean 0\.485.* std 1"
    ):
        taught(source, tmp_path / "run", tmp_path / "other")
    (tmp_path / "other" / "model.keras").unlink()
    with pytest.raises(UserError, match=r"Teacher .*other: holds no model\.keras yet"):
        taught(source, tmp_path / "run", tmp_path / "other")
