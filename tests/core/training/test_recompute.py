"""Recomputing: the same numbers from the same weights, with less of it in memory."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_fit import Recorder, result_of
from toy_task import ToyTask, config

from core.layers.mamba import mamba
from core.training import recompute, setup
from core.training.fit import train
from core.training.recompute import Recomputed, is_large, recomputed

KEPT = r"blocks\.\d"
SIDE = 8


def network(channels: int = 4, blocks: int = 3, side: int | None = SIDE) -> keras.Model:
    """Blocks of two convolutions with a gate, each beside an identity; the head sees two blocks."""
    image = keras.Input((side, side, channels))
    x = keras.layers.Conv2D(4, 1, name="stem")(image)
    sums = []
    for i in range(blocks):
        y = keras.layers.Conv2D(8, 3, padding="same", name=f"a.{i}")(x)
        gate, y = keras.ops.split(y, 2, axis=-1)
        gate = keras.layers.Activation("sigmoid", name=f"gate.{i}")(gate)
        y = keras.layers.Multiply(name=f"gated.{i}")([y, gate])
        y = keras.layers.Conv2D(4, 1, name=f"b.{i}")(y)
        x = keras.layers.Add(name=f"blocks.{i}")([x, y])
        sums.append(x)
    x = keras.layers.Concatenate(name="both")([sums[0], sums[-1]])
    return keras.Model(image, keras.layers.Conv2D(1, 1, name="head")(x), name="net")


@pytest.fixture
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return network()


IMAGE = np.random.default_rng(0).standard_normal((2, SIDE, SIDE, 4)).astype(np.float32)


def gradients(graph, variables) -> list[np.ndarray]:
    """Return loss and gradients as a training computes them."""

    @tf.function
    def run(image):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(graph(image, training=True)))
        return [loss, *tape.gradient(loss, [v.value for v in variables])]

    return [np.asarray(value) for value in run(IMAGE)]


def assert_same_results(graph, model):
    np.testing.assert_array_equal(graph(IMAGE), model(IMAGE))
    expected, found = (gradients(m, model.trainable_variables) for m in (model, graph))
    for a, b in zip(expected, found, strict=True):
        # Where a value is used more than twice, its gradients add up in another order.
        np.testing.assert_allclose(b, a, rtol=2e-6, atol=2e-6 * np.abs(a).max())


def test_outputs_and_gradients_are_the_same(model):
    assert_same_results(recomputed(model, KEPT), model)


def test_the_selective_scan_has_its_own_gradient_there_too():
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 4))
    x = keras.layers.Conv2D(4, 1, name="stem")(image)
    x = keras.layers.Add(name="blocks.0")([x, mamba(x, "scan")])
    model = keras.Model(image, keras.layers.Conv2D(1, 1, name="head")(x))
    assert_same_results(recomputed(model, KEPT), model)


def test_inputs_of_any_size_are_taken():
    model = network(side=None)
    assert_same_results(recomputed(model, KEPT), model)


def test_half_precision_stays_where_it_was():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = network()
        graph = recomputed(model, KEPT)
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_array_equal(graph(IMAGE), model(IMAGE))
    for block in graph.layers:
        if isinstance(block, Recomputed):
            assert {t.dtype for t in keras.tree.flatten(block.output)} == {"bfloat16"}


def test_weights_are_shared_and_keep_their_order(model):
    """State files hold the optimiser's variables in the order of the weights."""
    graph = recomputed(model, KEPT)
    assert [id(v) for v in graph.variables] == [id(v) for v in model.variables]


def test_segments_end_with_what_is_kept(model):
    graph = recomputed(model, r"blocks\.[01]")
    names = [layer.name for layer in graph.layers[1:]]
    assert names[:2] == ["blocks.0.recomputed", "blocks.1.recomputed"]
    assert {"a.2", "gate.2", "gated.2", "b.2", "blocks.2", "both", "head"} == set(names[2:])


def test_activations_of_segments_are_not_kept(model):
    """What the gradient reads of the forward pass is what enters the segments and the rest."""

    def kept(graph) -> int:
        forward = tf.function(lambda image: graph(image, training=True))
        concrete = forward.get_concrete_function(tf.TensorSpec(IMAGE.shape))
        _, backward = concrete._delayed_rewrite_functions.forward_backward()
        symbolic = filter(tf.is_symbolic_tensor, backward.captured_inputs)
        found = {source(tensor).ref() for tensor in symbolic}
        shapes = [reference.deref().shape for reference in found]
        return sum(s.num_elements() for s in shapes if len(s) == 4 and s[0] == len(IMAGE))

    def source(tensor):
        while tensor.op.type in ("Identity", "IdentityN"):  # of these no copy is made
            tensor = tensor.op.inputs[tensor.value_index]
        return tensor

    assert kept(recomputed(model, KEPT)) < 0.4 * kept(model)


class Recomputing(ToyTask):
    """The toy domain with a network whose activations may be recomputed."""

    def network(self, name):
        def build(variant, input_shape, *, classes=1, heads=1):
            return network(channels=input_shape[-1], side=input_shape[0])

        return replace(super().network(name), build=build, deploy=lambda model: model, kept=KEPT)


def test_large_inputs_are_trained_so(monkeypatch):
    def graph_of(batch: int):
        task, choices = Recomputing(), config(batch=batch, options={"heads": 1})
        toy = task.network("toy")
        model, graph = setup.build_trained(task, toy, toy.card("base"), choices)
        assert {id(v) for v in model.variables} == {id(v) for v in graph.variables}
        return graph

    monkeypatch.setattr(recompute, "LARGE", 16 * 16 * 4)
    assert any(isinstance(layer, Recomputed) for layer in graph_of(4).layers)
    assert not any(isinstance(layer, Recomputed) for layer in graph_of(3).layers)


class Interrupting(Recorder):
    """Stops a training in its second epoch."""

    def step(self, epoch, done_samples, logs):
        if epoch == 1:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_such_a_training_ends_the_same_and_can_be_resumed(toy_data, tmp_path, monkeypatch):
    def training(out: str, **choices):
        return train(Recomputing(), config(epochs=2), tmp_path / out, index=toy_data, **choices)

    usual = training("usual")
    monkeypatch.setattr(recompute, "LARGE", 1)
    whole = training("whole")
    with pytest.raises(KeyboardInterrupt):
        training("stopped", progress=Interrupting())
    assert result_of(training("stopped", resume=True)) == result_of(whole)
    for a, b in zip(*(run.load_model().get_weights() for run in (usual, whole)), strict=True):
        np.testing.assert_allclose(b, a, atol=1e-4)


def test_layers_that_are_none_are_named(model):
    with pytest.raises(ValueError, match=r"`kept` must match names.*stages"):
        recomputed(model, r"stages\.\d")


def test_layers_that_change_when_called_are_refused():
    image = keras.Input((SIDE, SIDE, 4))
    x = keras.layers.BatchNormalization(name="norm")(image)
    x = keras.layers.ReLU(name="blocks.0")(x)
    with pytest.raises(ValueError, match=r"layers with a state.*behind 'norm'"):
        recomputed(keras.Model(image, keras.layers.Conv2D(1, 1)(x)), KEPT)


@pytest.mark.parametrize(
    "sides, batch, large",
    [
        ((256, 256), 1, False),
        ((256, 256), 2, True),
        ((512, 512), 1, True),
        ((48, 48, 48), 1, False),
        ((64, 64, 64), 1, True),
    ],
)
def test_what_counts_as_large(sides, batch, large):
    assert is_large(sides, batch) is large
