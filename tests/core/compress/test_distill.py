"""Teacher and student: terms with numbers worked out by hand, and what training leaves alone."""

import math
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from core.compress.distill import (
    Affinity,
    AttentionTransfer,
    Distiller,
    FeatureMatch,
    SoftTargets,
    Term,
)
from core.errors import UserError

PAIR = {"a": "b"}
# Softened by T = 2 the teacher says (3/4, 1/4) and the student (1/2, 1/2).
SOFT = 4 * (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))


def network(width=4, name="student", size=None, **options):
    """Convolution, normalisation, ReLU, dropout, logits of two classes; sizes open by default."""
    image = keras.Input((size, size, 3))
    x = layers.Conv2D(width, 3, padding="same", name="conv", **options)(image)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x))
    x = layers.Dropout(0.5, name="dropout")(x)
    return keras.Model(image, layers.Conv2D(2, 1, name="logits")(x), name=name)


def line(factor, name):
    """A network that multiplies one number."""
    x = keras.Input((1,))
    out = layers.Dense(
        1, use_bias=False, kernel_initializer=keras.initializers.Constant(factor), name="out"
    )
    return keras.Model(x, out(x), name=name)


def images(count=4, size=12):
    generator = np.random.default_rng(0)
    x = generator.standard_normal((count, size, size, 3)).astype(np.float32)
    return x, generator.integers(0, 2, (count, size, size)).astype(np.int32)


def compiled(distiller, loss=None):
    loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    distiller.compile(optimizer=keras.optimizers.SGD(0.1), loss=loss, jit_compile=False)
    return distiller


# --- distiller -----------------------------------------------------------------------------------


def test_total_is_the_weighted_sum_of_its_parts():
    terms = [FeatureMatch({"out": "out"}, weight=3.0), FeatureMatch([("out", "out")], 1.0, "l1")]
    distiller = Distiller(line(1.0, "s"), line(2.0, "t"), terms, task_weight=0.5)
    compiled(distiller, "mse")
    found = distiller.evaluate(
        np.array([[1.0], [2.0]]), np.zeros((2, 1)), verbose=0, return_dict=True
    )
    assert found == pytest.approx(
        {"loss": 0.5 * 2.5 + 3.0 * 2.5 + 1.5, "task_loss": 2.5, "feature_match_loss": 2.5,
         "feature_match_2_loss": 1.5}
    )  # fmt: skip


def test_own_losses_of_layers_are_added_once():
    student = network(kernel_regularizer=keras.regularizers.L2(1.0))
    distiller = compiled(Distiller(student, network(name="t"), [SoftTargets(weight=0.0)]))
    x, y = images()
    found = distiller.evaluate(x, y, verbose=0, return_dict=True)
    penalty = float(tf.reduce_sum(tf.square(student.get_layer("conv").kernel)))
    assert found["loss"] - found["task_loss"] == pytest.approx(penalty, rel=1e-4)


def test_a_call_is_the_student():
    student = network()
    distiller = Distiller(student, network(8, "t"), [AttentionTransfer({"relu": "relu"})])
    x, _ = images()
    np.testing.assert_array_equal(distiller.predict(x, verbose=0), student.predict(x, verbose=0))
    assert distiller.outputs is student.outputs


def test_training_leaves_the_teacher_alone():
    student, teacher = network(), network(8, "teacher")
    before = [value.copy() for value in teacher.get_weights()]
    terms = [SoftTargets(), FeatureMatch({"relu": "relu"}), Affinity({"relu": "relu"})]
    distiller = compiled(Distiller(student, teacher, terms))
    x, y = images()
    with tf.GradientTape() as tape:
        loss = distiller.compute_loss(x, y, distiller(x, training=True))
    assert all(g is None for g in tape.gradient(loss, teacher.trainable_variables))
    start = student.get_weights()
    distiller.fit(x, y, epochs=2, verbose=0)
    for value, after in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(value, after)
    assert all(
        np.abs(value - after).max() > 0
        for value, after, variable in zip(
            start, student.get_weights(), student.weights, strict=True
        )
        if variable.dtype.startswith("float")
    )
    assert not {id(v) for v in distiller.variables} & {id(v) for v in teacher.variables}


def test_normalisation_is_updated_once_a_step():
    x, y = images()
    plain, watched = network(), network()
    watched.set_weights(plain.get_weights())
    plain(x, training=True)
    distiller = compiled(Distiller(watched, network(8, "t"), [FeatureMatch({"norm": "norm"})]))
    distiller.train_on_batch(x, y)
    np.testing.assert_allclose(
        plain.get_layer("norm").moving_mean, watched.get_layer("norm").moving_mean, atol=1e-6
    )


def test_a_projection_is_trained_and_no_part_of_the_student():
    student, teacher = network(4), network(8, "teacher")
    distiller = compiled(Distiller(student, teacher, [FeatureMatch({"relu": "relu"})]))
    extra = distiller.trainable_variables[len(student.trainable_variables) :]
    assert [tuple(v.shape) for v in extra] == [(4, 8)]
    before = keras.ops.convert_to_numpy(extra[0])
    distiller.fit(*images(), verbose=0)
    assert np.abs(before - keras.ops.convert_to_numpy(extra[0])).max() > 0
    with pytest.raises(UserError, match=r"student.relu \(any, any, 4\).* different widths"):
        Distiller(student, teacher, [FeatureMatch({"relu": "relu"}, project=False)])


def test_what_is_saved_is_the_student(tmp_path):
    student, teacher = network(), network(64, "teacher")
    distiller = compiled(Distiller(student, teacher, [FeatureMatch({"relu": "relu"})]))
    x, y = images()
    distiller.fit(x, y, verbose=0)
    distiller.save(tmp_path / "model.keras")
    assert (tmp_path / "model.keras").stat().st_size < 40_000  # the teacher alone has 10 kB more
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.count_params() == student.count_params()
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), student.predict(x, verbose=0))
    with pytest.raises(NotImplementedError, match="`student`"):
        keras.saving.save_model(distiller, tmp_path / "whole.keras")


def test_images_of_several_sizes_in_one_epoch():
    terms = [SoftTargets(), Affinity({"relu": "relu"}, max_positions=40),
             AttentionTransfer({"conv": "conv"})]  # fmt: skip
    distiller = compiled(Distiller(network(), network(8, "t"), terms))

    def batches():
        for size in (8, 12, 10):
            yield images(2, size)

    signature = (tf.TensorSpec((None, None, None, 3)), tf.TensorSpec((None, None, None), tf.int32))
    data = tf.data.Dataset.from_generator(batches, output_signature=signature)
    history = distiller.fit(data, verbose=0).history
    assert math.isfinite(history["loss"][0]) and "affinity_loss" in history


def test_several_outputs_of_the_student_and_no_targets():
    image = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, padding="same", name="conv")(image)
    heads = {name: layers.Conv2D(2, 1, name=name)(x) for name in ("main", "side")}
    student = keras.Model(image, heads, name="student")
    distiller = Distiller(student, network(8, "t"), [SoftTargets()], task_weight=0.0)
    distiller.compile(optimizer="sgd", jit_compile=False)
    x, _ = images()
    assert set(distiller.predict(x, verbose=0)) == {"main", "side"}
    history = distiller.fit(x, verbose=0).history
    assert set(history) == {"loss", "soft_targets_loss"}


def test_a_term_of_an_app_sees_outputs_features_and_targets():
    @dataclass(frozen=True)
    class Hint(Term):
        name = "hint"
        weight: float = 1.0
        layer_pairs = (("relu", "conv"),)

        def __call__(self, student, teacher, targets=None):
            assert student.features[0].shape[-1] == 4 and teacher.features[0].shape[-1] == 8
            assert len(student.outputs) == len(teacher.outputs) == 1
            return tf.reduce_mean(tf.cast(targets, tf.float32))

    x, y = images()
    distiller = compiled(Distiller(network(), network(8, "t"), [Hint()]))
    found = distiller.evaluate(x, y, verbose=0, return_dict=True)
    assert found["hint_loss"] == pytest.approx(y.mean())


def points(count, seed):
    """Points in a square; the truth is a circle, every third label is wrong."""
    generator = np.random.default_rng(seed)
    x = generator.uniform(-1, 1, (count, 2)).astype(np.float32)
    truth = (np.square(x).sum(axis=1) < 0.6).astype(np.float32)[:, None]
    return x, truth, np.where(generator.random((count, 1)) < 0.35, 1 - truth, truth)


def circle():
    """A teacher who knows: 20 · (0.6 − x² − y²)."""
    x = keras.Input((2,))
    radius = keras.ops.sum(keras.ops.square(x), axis=-1, keepdims=True)
    return keras.Model(x, (0.6 - radius) * 20.0, name="circle")


@pytest.mark.slow
def test_a_student_learns_more_from_a_teacher_than_from_bad_labels_alone():
    x, _, labels = points(200, 0)
    unseen, truth, _ = points(1000, 1)
    right = {}
    for taught in (False, True):
        keras.utils.set_random_seed(3)
        point = keras.Input((2,))
        hidden = layers.Dense(24, activation="tanh")(point)
        student = keras.Model(point, layers.Dense(1)(hidden), name="student")
        model = student
        if taught:
            model = Distiller(student, circle(), [SoftTargets(2.0)], task_weight=0.1)
        model.compile(
            optimizer=keras.optimizers.Adam(0.03),
            loss=keras.losses.BinaryCrossentropy(from_logits=True),
            jit_compile=False,
        )
        model.fit(np.tile(x, (150, 1)), np.tile(labels, (150, 1)), batch_size=100, verbose=0)
        right[taught] = np.mean((student.predict(unseen, verbose=0) > 0) == truth)
    assert right[True] > 0.95
    assert right[True] > right[False] + 0.05


def test_it_trains_in_the_loop_of_the_house(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "training"))
    import toy_task

    from core.training.fit import train

    class Distilled(toy_task.ToyTask):
        def training_graph(self, model, config):
            teacher = keras.Sequential(
                [keras.Input((None, None, 3)), layers.Conv2D(9, 3, padding="same", name="conv"),
                 layers.Conv2D(1, 1)], name="teacher",
            )  # fmt: skip
            return Distiller(model, teacher, [SoftTargets(), AttentionTransfer({"relu1": "conv"})])

    index = toy_task.write_data(tmp_path / "data")
    run = train(Distilled(), toy_task.config(epochs=2, ema=0.9), tmp_path / "run", index=index)
    assert {"task_loss", "soft_targets_loss", "attention_transfer_loss"} <= set(run.history()[0])
    assert [layer.name for layer in run.load_model().layers][1] == "conv1"


# --- what does not fit ---------------------------------------------------------------------------


def halved():
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(2, 3, strides=2, padding="same", name="conv")(image)
    return keras.Model(image, x, name="halved")


def nested():
    image = keras.Input((16, 16, 3))
    return keras.Model(image, network(size=16, name="inside")(image), name="outside")


def shared():
    image = keras.Input((16, 16, 3))
    same = layers.Conv2D(3, 1, name="same")
    return keras.Model(image, layers.Conv2D(2, 1)(same(same(image))), name="shared")


def odd():
    image = keras.Input((16, 16, 3))
    return keras.Model(image, layers.MaxPooling2D(3, name="pool")(image), name="odd")


class Subclassed(keras.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize(
    "student, teacher, term, words",
    [
        (network, network, FeatureMatch({"rel": "relu"}), "student: the student has no layer 'rel'"
         ". Did you mean 'relu'?"),
        (network, network, FeatureMatch({"relu": "lu"}), "teacher: the teacher has no layer 'lu'. "
         "Did you mean 'relu'?"),
        (lambda: network(size=16), halved, SoftTargets(), "student: its output (16, 16, 2) differs "
         "from the output (8, 8, 2) of the teacher halved"),
        (network, network, SoftTargets(output=1), "student: has 1 outputs"),
        (network, halved, SoftTargets(), "halved: the teacher takes 16×16×3, but the student "
         "student is given any×any×3"),
        (nested, network, FeatureMatch({"relu": "relu"}), "lies inside the nested model 'inside'"),
        (shared, network, FeatureMatch({"same": "relu"}), "'same' is used 2 times"),
        (Subclassed, network, SoftTargets(), "the student is no functional model"),
        (halved, odd, AttentionTransfer({"conv": "pool"}), "no integer factor"),
    ],
)  # fmt: skip
def test_networks_that_do_not_fit(student, teacher, term, words):
    teacher = teacher(name="teacher") if teacher is network else teacher()
    with pytest.raises(UserError) as caught:
        Distiller(student(), teacher, [term])
    assert words in str(caught.value)


def test_sizes_that_only_a_batch_tells():
    image = keras.Input((None, None, 3))
    teacher = keras.Model(image, layers.Conv2D(2, 1, strides=2)(image), name="coarse")
    distiller = compiled(Distiller(network(), teacher, [SoftTargets()]))
    with pytest.raises(
        UserError, match=r"output \(12, 12, 2\) differs from the output \(6, 6, 2\)"
    ):
        distiller.fit(*images(), verbose=0)


def test_programmers_mistakes():
    student = network()
    with pytest.raises(ValueError, match="share no variables"):
        Distiller(student, student, [SoftTargets()])
    with pytest.raises(ValueError, match="at least one `Term`"):
        Distiller(student, network(name="t"), [])
    with pytest.raises(ValueError, match="`task_weight` must be"):
        Distiller(student, network(name="t"), [SoftTargets()], task_weight=-1.0)
