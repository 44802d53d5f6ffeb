"""A training under a teacher: what it minimises, what it keeps, and which teachers it refuses."""

import dataclasses
import shutil
from pathlib import Path

import color_task
import keras
import numpy as np
import pytest
import tensorflow as tf
from color_task import CLASSES, SIDE, Colours, config
from scipy.special import log_softmax, softmax
from test_fit import Recorder, result_of
from untraced import untraced

from core.command_line.compress import split_settings
from core.config import TrainConfig
from core.data.pipeline import TrainingData
from core.errors import UserError
from core.files import sha256
from core.model_card import ModelCard
from core.run_folder import RunFolder
from core.training.compressing import plan_chain, run_chain
from core.training.fit import train
from core.training.pretraining import Pretraining
from core.training.setup import settled, training_card
from core.training.teaching import Teaching, before_last_layer, rescaling

OPTIONS = {"head_epochs": 0}


class Taught(Colours):
    """The colours with a wider network to learn from; a teacher knows most of blue."""

    networks = {**Colours.networks, "wide": Colours.networks["colour_net"]}
    followed = (0.0, 0.5, 1.0)

    def teacher_weights(self, index, config):
        return [self.followed[sample.label] for sample in index.samples]


def wide(classes=3, channels=3):
    image = keras.Input((SIDE, SIDE, channels), name="image")
    x = keras.layers.Conv2D(12, 3, strides=2, activation="relu", name="conv")(image)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, keras.layers.Dense(classes, name="head")(x), name="wide")


def teacher_run(out: Path, *, labels=CLASSES, channels=3, **card) -> RunFolder:
    """Write a run of the wide network, not trained."""
    keras.utils.set_random_seed(7)
    card = color_task.NETWORK.card("base").replace(
        app="colours",
        network="wide",
        input_size=(SIDE, SIDE),
        labels=tuple(labels),
        **{"channels": channels, **card},
    )
    run = RunFolder.create(out, config(network="wide", classes=len(labels)), card, source="train")
    model = wide(len(labels), channels)
    model.set_weights([3 * w for w in model.get_weights()])
    run.save_model(model)
    return run


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return color_task.write_data(tmp_path_factory.mktemp("colours"))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """It names the classes in another order, knows one more, and takes pixels from 0 to 1."""
    return teacher_run(
        tmp_path_factory.mktemp("teacher") / "wide",
        labels=("blue", "yellow", "red", "green"),
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
    )


def under(teacher, **changes) -> TrainConfig:
    changes = {"epochs": 2, "options": OPTIONS, **changes}
    return config(**changes, teacher=str(teacher.path))


def teaching_of(teacher, data, **changes):
    """Return the teaching of a config, with the card of the network that learns."""
    task, chosen = Taught(), under(teacher, **changes)
    card = task.network("colour_net").card("base")
    chosen = settled(chosen, task, card, data)
    card = training_card(task, card, chosen, data)
    return Teaching(task, chosen, card), card


# --- what is minimised ------------------------------------------------------------------------


def test_the_loss_is_the_one_of_the_paper(teacher, data):
    """a w T² KL + (1 - a) CE; classes by name, the teacher's input as its card has it."""
    teaching, card = teaching_of(teacher, data, distill={"temperature": 2.0, "weight": 0.6})
    student = color_task.build("base", (SIDE, SIDE, 3))
    fitted = teaching.around(student)
    fitted.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    pixels = np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)
    labels, weights = np.array([0, 1, 2, 2, 1]), np.array([0.0, 0.5, 1.0, 2.0, 1.0], np.float32)
    inputs = card.normalise(pixels)
    found = fitted.compute_loss(inputs, labels, fitted(inputs), weights)

    ours = student.predict(inputs, verbose=0)
    theirs = teacher.load_model().predict(pixels / np.float32(255), verbose=0)[:, [2, 3, 0]]
    p, log_q = softmax(theirs / 2, -1), log_softmax(ours / 2, -1)
    divergence = (p * (np.log(p) - log_q)).sum(-1)
    entropy = -log_softmax(ours, -1)[np.arange(5), labels]
    expected = 0.6 * 4 * (weights * divergence).mean() + 0.4 * entropy.mean()
    assert float(found) == pytest.approx(expected, rel=1e-4)
    assert {m.name: float(m.result()) for m in fitted.trackers} == pytest.approx(
        {"task_loss": entropy.mean(), "soft_targets_loss": 4 * (weights * divergence).mean()},
        rel=1e-4,
    )


def test_features_are_what_enters_the_last_layers(teacher, data):
    teaching, _ = teaching_of(teacher, data, distill={"feature_weight": 0.1})
    fitted = teaching.around(color_task.build("base", (SIDE, SIDE, 3)))
    assert [term.name for term in fitted.terms] == ["soft_targets", "feature_match"]
    assert fitted.terms[1].layer_pairs == (("dropout", "pool"),)
    assert [tuple(layer.kernel.shape) for layer in fitted.projections] == [(8, 12)]
    assert before_last_layer(wide()) == "pool"


def test_outputs_that_are_no_classes_are_compared_themselves(tmp_path, data):
    """And must be as many: 'labels' make no difference then."""
    teacher = teacher_run(tmp_path / "wide", output="three numbers")
    task, chosen = Taught(), under(teacher)
    card = task.network("colour_net").card("base").replace(output="three numbers")
    fitted = Teaching(task, chosen, card).around(color_task.build("base", (SIDE, SIDE, 3)))
    (term,) = fitted.terms
    assert (term.name, term.distance, term.weight) == ("feature_match", "l1", 0.7)
    assert Teaching(task, chosen, card).weights(data) is None
    with pytest.raises(UserError, match=r"wide: as a teacher makes 3 of an input of 16×16×3, but"):
        Teaching(task, chosen, card).around(color_task.build("base", (SIDE, SIDE, 3), classes=4))


@pytest.mark.parametrize("theirs", [{"std": (0.5, 1.0)}, {"full_scale": 4.0, "mean": (0.1, 0.3)}])
def test_each_network_sees_what_its_own_card_says(theirs):
    card = ModelCard(
        "net", "base", "app", input_size=(4,), channels=2, color_order="", full_scale=2.0,
        mean=(0.25, -1.0), std=(0.1, 0.2),
    )  # fmt: skip
    other = dataclasses.replace(card, **theirs)
    values = np.random.default_rng(1).uniform(-3, 3, (5, 4, 2))
    changed = rescaling(card, other)(card.normalise(values))
    np.testing.assert_allclose(changed, other.normalise(values), rtol=1e-4, atol=1e-5)
    assert rescaling(card, dataclasses.replace(card)) is None


def test_every_batch_has_the_weights_of_its_samples(data):
    index = data.split("train")
    weights = np.arange(len(index), dtype=np.float32)
    batches = TrainingData(
        Colours(), index, training_card_of(data), config(augment=False), weights=weights
    )
    for epoch in (0, 3):
        batches.start_epoch(epoch)
        for positions, (_, targets, found) in zip(
            batches.order(epoch), batches.dataset(), strict=True
        ):
            np.testing.assert_array_equal(found, positions)
            assert targets.numpy().tolist() == [index.samples[at].label for at in positions]
    assert batches.step_count() == len(batches.order(0))
    batches.close()


def test_a_task_that_regroups_batches_cannot_weight_samples(data):
    class Halving(Colours):
        def batches(self, dataset, config, *, epoch):
            return dataset.flat_map(lambda x, y: tf.data.Dataset.from_tensors((x, y)).repeat(2))

    index = data.split("train")
    batches = TrainingData(
        Halving(), index, training_card_of(data), config(), weights=np.ones(len(index))
    )
    with pytest.raises(ValueError, match="must keep the batches"):
        batches.dataset()
    batches.close()


def training_card_of(data) -> ModelCard:
    task = Colours()
    card = task.network("colour_net").card("base")
    return training_card(task, card, settled(config(), task, card, data), data)


# --- a training -------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for the moment a process is gone."""


class Killing(Recorder):
    def epoch(self, epoch, row, timing):
        raise Killed


@pytest.fixture(scope="module")
def whole(teacher, data, tmp_path_factory):
    """A training under the teacher that nothing interrupted; its projection counts too."""
    out = tmp_path_factory.mktemp("whole") / "run"
    with untraced():
        return train(Taught(), chosen(teacher), out, index=data)


def chosen(teacher) -> TrainConfig:
    return under(teacher, distill={"feature_weight": 0.05}, ema=0.9)


def test_the_run_says_who_taught_it_and_how(whole, teacher):
    run = RunFolder(whole.path)
    assert run.config.teacher == str(teacher.path)
    assert run.config.distill == {
        "temperature": 4.0, "weight": 0.7, "feature_weight": 0.05, "views": 0,
    }  # fmt: skip
    file = teacher.path / "model.keras"
    assert run.record["taught_by"] == {
        "run": str(teacher.path), "network": "wide", "variant": "base", "sha256": sha256(file),
    }  # fmt: skip
    columns = {"loss", "task_loss", "soft_targets_loss", "feature_match_loss", "val_macro_f1"}
    assert columns <= run.history()[0].keys()
    assert [layer.name for layer in run.load_model().layers][-1] == "classifier"


@pytest.mark.slow
def test_a_killed_training_ends_as_one_that_was_not(whole, teacher, data, tmp_path):
    out = tmp_path / "run"
    with untraced():
        with pytest.raises(Killed):
            train(Taught(), chosen(teacher), out, index=data, progress=Killing())
        assert len(RunFolder(out).history()) == 1
        train(Taught(), None, out, index=data, resume=True)
    assert result_of(RunFolder(out)) == result_of(whole)


def test_another_teacher_or_a_changed_one_is_refused(whole, teacher, data, tmp_path):
    out, copy = tmp_path / "run", tmp_path / "wide"
    shutil.copytree(whole.path, out)
    shutil.copytree(teacher.path, copy)
    longer = dataclasses.replace(whole.config, epochs=3)
    with pytest.raises(UserError, match=r"was started with teacher '.*', not '.*wide'; resume"):
        train(Taught(), dataclasses.replace(longer, teacher=str(copy)), out, index=data,
              resume=True)  # fmt: skip
    weaker = dataclasses.replace(longer, distill={**longer.distill, "weight": 0.5})
    with pytest.raises(UserError, match=r"was started with distill\.weight 0\.7, not 0\.5"):
        train(Taught(), weaker, out, index=data, resume=True)
    before = (teacher.path / "model.keras").read_bytes()
    try:
        RunFolder(teacher.path).save_model(wide(4))
        with pytest.raises(UserError, match=r"Teacher .*wide: is not the one .*run began with"):
            train(Taught(), longer, out, index=data, resume=True)
    finally:
        (teacher.path / "model.keras").write_bytes(before)
    assert result_of(RunFolder(out)) == result_of(whole)


def test_a_student_starts_as_it_would_alone(teacher, data, tmp_path):
    """So that what a teacher gains is not the luck of another start."""
    tiny = {"epochs": 1, "learning_rate": 1e-12, "weight_decay": 0.0}
    with untraced():
        taught = train(Taught(), under(teacher, **tiny), tmp_path / "taught", index=data)
        alone = train(Taught(), config(**tiny, options=OPTIONS), tmp_path / "alone", index=data)
    ours, theirs = (run.load_model().get_layer("conv1").get_weights() for run in (taught, alone))
    np.testing.assert_allclose(ours[0], theirs[0], atol=1e-9)


def test_rounding_is_trained_under_a_teacher(whole, teacher, data, tmp_path):
    training = {"epochs": 1, "teacher": str(teacher.path), "distill": {"weight": 0.9}}
    plans = plan_chain(Taught(), whole, ["quantize"], tmp_path / "q", training=training)
    with untraced():
        (run,) = run_chain(Taught(), plans, index=data)
    assert "soft_targets_loss" in run.history()[-1]
    assert run.record["taught_by"]["run"] == str(teacher.path)
    plain = plan_chain(Taught(), whole, ["quantize"], tmp_path / "p")
    assert plain[0].config.teacher is None and plain[0].config.distill == {}


def test_compress_takes_the_choices_of_a_teacher():
    said = {"teacher": "t", "distill.weight": 0.5, "quantize.weight_bits": 4}
    choices, training = split_settings(Taught(), said, ("quantize",))
    assert training == {"teacher": "t", "distill": {"weight": 0.5}}
    assert choices == {"quantize": {"weight_bits": 4}}


def test_an_encoder_is_pretrained_without_a_teacher(teacher):
    with pytest.raises(UserError, match="pre-trained without a teacher"):
        Pretraining(Taught()).training_graph(wide(), under(teacher))


# --- teachers that do not fit -----------------------------------------------------------------


@pytest.mark.parametrize(
    "given, said",
    [
        ({"labels": ("red", "gren", "blue")},
         r"does not know the class 'green'\. Did you mean 'gren'\? Choose a teacher of the same"),
        ({"channels": 1, "color_order": "gray", "mean": (0.0,), "std": (1.0,)},
         "takes 1 channels, but the student 3; choose"),
    ],
)  # fmt: skip
def test_a_teacher_of_something_else_is_refused(given, said, data, tmp_path):
    teacher = teacher_run(tmp_path / "wide", **given)
    with pytest.raises(UserError, match=rf"^Teacher {teacher.path}: {said}"):
        train(Taught(), under(teacher), tmp_path / "run", index=data)
    assert not (tmp_path / "run").exists()


def test_a_teacher_of_another_size_is_refused(teacher, data, tmp_path):
    with pytest.raises(UserError, match=r"the teacher takes 16×16×3, but the student colour_net"):
        train(Taught(), under(teacher, input_size=(20, 20)), tmp_path / "run", index=data)


def test_a_run_that_is_not_there_or_not_trained_is_no_teacher(teacher, data, tmp_path):
    with pytest.raises(UserError, match=r"^Teacher nowhere: is not a run folder"):
        train(Taught(), config(teacher="nowhere"), tmp_path / "run", index=data)
    shutil.copytree(teacher.path, tmp_path / "begun")
    (tmp_path / "begun" / "model.keras").unlink()
    begun = RunFolder(tmp_path / "begun")
    with pytest.raises(UserError, match=r"^Teacher .*begun: holds no model\.keras yet"):
        train(Taught(), under(begun), tmp_path / "run", index=data)


def test_compression_takes_one_teacher_and_no_features(whole, teacher, data, tmp_path):
    taught = {"epochs": 1, "teacher": str(teacher.path)}
    plans = plan_chain(Taught(), whole, ["adapt"], tmp_path / "a", training=taught)
    with pytest.raises(UserError, match="brings a teacher of its own; choose one"):
        run_chain(Taught(), plans, index=data)
    taught["distill"] = {"feature_weight": 1.0}
    plans = plan_chain(Taught(), whole, ["quantize"], tmp_path / "q", training=taught)
    with pytest.raises(UserError, match=r"distill\.feature_weight is for train"):
        run_chain(Taught(), plans, index=data)


def test_weights_that_are_no_factors_are_the_apps_mistake(teacher, data):
    teaching, _ = teaching_of(teacher, data)
    index = data.split("train")
    assert teaching.weights(index).tolist() == [Taught.followed[s.label] for s in index.samples]
    teaching._task.followed = (-1.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="`teacher_weights` must be 16 finite numbers from 0"):
        teaching.weights(index)


@pytest.mark.parametrize(
    "choices, said",
    [
        ({"distill": {"weight": 0.5}}, "distill needs a teacher, the run to learn from"),
        ({"teacher": "t", "distill": {"temperature": 0}}, r"distill\.temperature is 0\.0; it must"),
        ({"teacher": "t", "distill": {"weight": 1.5}}, r"distill\.weight is 1\.5; it must be from"),
        ({"teacher": "t", "distill": {"weight": "much"}}, r"distill\.weight is 'much'; it must be"),
        ({"teacher": "t", "distill": {"feature_weight": -1}}, r"feature_weight is -1\.0; it must"),
        ({"teacher": "t", "distill": {"weight": 0}}, "nothing would be learned from the teacher"),
        ({"teacher": "t", "distill": {"temprature": 3}},
         r"distill: no such key: 'temprature'\. Did you mean 'temperature'"),
    ],
)  # fmt: skip
def test_choices_that_make_no_sense_are_explained(choices, said):
    with pytest.raises(UserError, match=said):
        config(**choices)
