"""Group normalisation: Keras's numbers by quicker operators."""

import keras
import network_checks
import numpy as np
import pytest
import tensorflow as tf

from core.checkpoints import load_torch_state, torch_state
from core.engines import interpreter, output_error
from core.export.convert import to_tflite
from core.layers.group_norm import GroupNorm
from core.model_card import ModelCard
from core.tflite.inspect import operators

RNG = np.random.default_rng(0)
SHAPES = [(6, 5, 12), (3, 4, 5, 12), (20, 12)]


def built(kind, shape=SHAPES[0], **options) -> keras.Model:
    x = keras.Input(shape)
    return keras.Model(x, kind(groups=3, epsilon=1e-5, name="norm", **options)(x))


def values(*shape: int) -> np.ndarray:
    return (3 * RNG.standard_normal(shape) + np.arange(shape[-1])).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_keras_in_any_number_of_axes(shape):
    ours, theirs = built(GroupNorm, shape), built(keras.layers.GroupNormalization, shape)
    state = {"norm.weight": values(12), "norm.bias": values(12)}
    for model in (ours, theirs):
        assert load_torch_state(model, state).complete
    x = values(2, *shape)
    assert output_error([np.asarray(theirs(x))], [np.asarray(ours(x))]) < 1e-6


def test_without_factors_and_shifts_there_are_no_weights():
    model = built(GroupNorm, center=False, scale=False)
    assert torch_state(model) == {}
    y = np.asarray(model(values(2, *SHAPES[0]))).reshape(2, -1, 3, 4)
    np.testing.assert_allclose(y.mean(axis=(1, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=(1, 3)), 1, atol=1e-4)


def test_a_group_of_far_off_mean_keeps_its_digits():
    """The variance is that of what is left when the mean is gone."""
    x = values(1, *SHAPES[0])
    expected = np.asarray(built(GroupNorm)(x))
    assert output_error([expected], [np.asarray(built(GroupNorm)(x + 1000))]) < 1e-4


def test_file_keeps_the_axes_and_computes_the_same():
    model = built(GroupNorm)
    content = to_tflite(model)
    kinds = {operator.name for operator in operators(content)}
    assert kinds <= {"MEAN", "SUB", "MUL", "ADD", "RSQRT", "FULLY_CONNECTED", "RESHAPE"}
    x = values(1, *SHAPES[0])
    lite = interpreter(content, threads=1, delegate=True)
    lite.set_tensor(lite.get_input_details()[0]["index"], x)
    lite.invoke()
    found = lite.get_tensor(lite.get_output_details()[0]["index"])
    assert output_error([np.asarray(model(x))], [found]) < 1e-6


def test_file_keeps_the_digits_of_many_positions():
    """Against float64; one sum over all positions would be wrong by 3e-6 here."""
    x = values(1, 256, 256, 12)
    parts = x.astype(np.float64).reshape(1, -1, 3, 4)
    centred = parts - parts.mean(axis=(1, 3), keepdims=True)
    exact = centred / np.sqrt(parts.var(axis=(1, 3), keepdims=True) + 1e-5)
    lite = interpreter(to_tflite(built(GroupNorm, x.shape[1:])), threads=1, delegate=True)
    lite.set_tensor(lite.get_input_details()[0]["index"], x)
    lite.invoke()
    found = lite.get_tensor(lite.get_output_details()[0]["index"])
    assert output_error([exact.reshape(x.shape)], [found]) < 5e-7


@pytest.mark.parametrize("kind", [GroupNorm, keras.layers.GroupNormalization])
def test_integer_file_computes_what_keras_simulates(kind):
    x = keras.Input((16, 24, 8))
    norm = kind(groups=4, epsilon=1e-5)(keras.layers.Conv2D(8, 1)(x))
    model = keras.Model(x, keras.layers.Conv2D(4, 1)(keras.layers.ReLU()(norm)))
    card = ModelCard("net", "v", "app", channels=8, color_order="", mean=(0.0,) * 8,
                     std=(1.0,) * 8)  # fmt: skip
    network_checks.check_int8_file(model, card, network_checks.smooth(8, 16, 24, 8, block=4))


def test_squares_of_halves_do_not_overflow():
    layer = GroupNorm(groups=3, dtype="mixed_float16")
    outputs = layer(tf.cast(300 * values(2, *SHAPES[0]), tf.float16))
    assert outputs.dtype == tf.float16 and np.isfinite(outputs).all()


def test_survives_a_file(tmp_path):
    model, x = built(GroupNorm), values(2, *SHAPES[0])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))


def test_another_axis_is_named():
    with pytest.raises(ValueError, match="axis=1"):
        GroupNorm(groups=3, axis=1)(values(2, 12, 12))
