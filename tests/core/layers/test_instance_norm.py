"""Instance normalisation: PyTorch's numbers, exact under rescaled channels, plain operators."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from core.checkpoints import load_torch_state, torch_state
from core.engines import LiteRTEngine, interpreter, output_error
from core.export.convert import to_tflite
from core.layers.instance_norm import InstanceNormalization
from core.model_card import ModelCard
from core.tflite.inspect import foreign_operators

RNG = np.random.default_rng(0)
IMAGE = (3 * RNG.standard_normal((2, 6, 5, 4)) + [0, 1, -5, 0.01]).astype(np.float32)
STATE = {"norm.weight": np.float32([1, 0.5, -2, 3]), "norm.bias": np.float32([0, 1, -1, 0.1])}


def built(**options):
    image = keras.Input((6, 5, 4))
    model = keras.Model(image, InstanceNormalization(name="norm", **options)(image))
    if model.weights:
        load_torch_state(model, {k: v for k, v in STATE.items() if k in torch_state(model)})
    return model


def expected(image, epsilon=1e-5, gamma=STATE["norm.weight"], beta=STATE["norm.bias"]):
    image = image.astype(np.float64)
    mean, variance = (f(axis=(1, 2), keepdims=True) for f in (image.mean, image.var))
    return (image - mean) / np.sqrt(variance + epsilon) * gamma + beta


@pytest.mark.parametrize("training", [False, True])
def test_uses_each_samples_own_population_statistics(training):
    np.testing.assert_allclose(built()(IMAGE, training=training), expected(IMAGE), atol=2e-5)


def test_channels_and_their_epsilon_can_be_scaled_without_effect():
    """What an equalisation of ranges relies on; the epsilon is large, so that it matters."""
    scale = np.float32([0.01, 1, 7, 1000])
    changed = built(epsilon=list(0.5 * scale.astype(np.float64) ** 2))
    assert output_error([expected(IMAGE, 0.5)], [np.asarray(changed(IMAGE * scale))]) < 1e-6


def test_without_factors_and_shifts_there_are_no_weights():
    model = built(center=False, scale=False)
    assert model.weights == [] and torch_state(model) == {}
    np.testing.assert_allclose(model(IMAGE), expected(IMAGE, gamma=1, beta=0), atol=1e-5)
    assert list(torch_state(built(center=False))) == ["norm.weight"]
    assert list(torch_state(built(scale=False))) == ["norm.bias"]


@pytest.mark.parametrize("epsilon", [1e-5, [1e-5, 1e-3, 0.1, 1.0]])
def test_file_holds_plain_operators_and_computes_the_same(epsilon):
    model = built(epsilon=epsilon)
    content = to_tflite(model)
    assert foreign_operators(content) == []
    details = interpreter(content, threads=1, delegate=False)._get_ops_details()
    assert {d["op_name"] for d in details} == {"MEAN", "SUB", "MUL", "ADD", "RSQRT"}
    (outputs,) = LiteRTEngine(content, ModelCard("toy", "a", "toy"))(IMAGE)
    assert output_error([np.asarray(model(IMAGE))], [outputs]) < 1e-6


def test_survives_a_file(tmp_path):
    model = built(epsilon=[1e-5, 1e-3, 0.1, 1.0])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(IMAGE), model(IMAGE))
    assert loaded.get_layer("norm").epsilon == [1e-5, 1e-3, 0.1, 1.0]


def test_squares_of_halves_do_not_overflow():
    layer = InstanceNormalization(dtype="mixed_float16")
    outputs = layer(tf.cast(300 * IMAGE, tf.float16))
    assert outputs.dtype == tf.float16
    target = expected((300 * IMAGE).astype(np.float16), gamma=1, beta=0)
    np.testing.assert_allclose(outputs, target, atol=4e-3)


def test_a_constant_channel_is_its_shift_and_has_a_finite_gradient():
    x = tf.Variable(np.ones((1, 6, 5, 4), np.float32))
    model = built()
    with tf.GradientTape() as tape:
        y = model(x)
    np.testing.assert_array_equal(y[0, 0, 0], STATE["norm.bias"])
    assert np.isfinite(np.asarray(tape.gradient(y, x))).all()


@pytest.mark.parametrize("epsilon", [0.0, -1e-5, [1e-5, 0.0], [], [[1e-5]], float("nan")])
def test_wrong_epsilon_is_named(epsilon):
    with pytest.raises(ValueError, match="`epsilon` must be a positive number"):
        InstanceNormalization(epsilon)


def test_an_epsilon_of_other_channels_and_no_positions_are_named():
    with pytest.raises(ValueError, match="have 4 values, one a channel"):
        InstanceNormalization([1e-5] * 3)(IMAGE)
    with pytest.raises(ValueError, match=r"input_shape=\(2, 4\)"):
        InstanceNormalization()(IMAGE[:, 0, 0])
