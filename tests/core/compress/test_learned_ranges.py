"""Ranges that the loss trains, and quantization under the float network as teacher."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from core.compress.distill import Distiller
from core.compress.freezing import FreezeRanges
from core.compress.quantize import quantize_aware
from core.compress.quantizers import LEARNING_SPEED, ActivationQuantizer
from core.compress.ranges import calibrate
from core.compress.scheme import Scheme
from core.compress.stages import Quantize
from core.errors import UserError


def values(seed: int = 0, shape=(8, 6, 6, 3)) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def quantizer(low: float, high: float, **options) -> ActivationQuantizer:
    layer = ActivationQuantizer(observer="learned", name="range", **options)
    layer.set_range(low, high)
    return layer


def trained(layer: ActivationQuantizer, target, steps: int = 60) -> None:
    """Train nothing but the ends of a range to leave its input as it is."""
    inputs = keras.Input(target.shape[1:])
    model = keras.Model(inputs, layer(inputs))
    model.compile(keras.optimizers.Adam(0.05), "mse")
    model.fit(target, target, batch_size=len(target), epochs=steps, verbose=0)


def test_training_rounds_to_the_codes_of_inference():
    layer = quantizer(-1.0, 2.5)
    np.testing.assert_allclose(
        layer(values(), training=True), layer(values(), training=False), atol=1e-6
    )


@pytest.mark.parametrize("bits", [8, 16])
def test_gradients_are_those_of_learned_step_sizes(bits):
    """By differentiating the formula itself, rounding taken for the identity."""
    layer = quantizer(-1.0, 1.7, bits=bits)
    x, upstream = (tf.constant(values(seed) * 1.5) for seed in (3, 4))
    start = tf.constant(layer.start)

    def by_formula(x, shift):
        low, high = tf.unstack(start * tf.exp(LEARNING_SPEED * shift))
        low = -high if layer.symmetric else low
        top = 2.0**bits - (2.0 if layer.symmetric else 1.0)
        step = (high - low) / top
        zero = straight_through(-low / step)
        return step * (straight_through(tf.clip_by_value(x / step + zero, 0.0, top)) - zero)

    found = []
    for function in (lambda x, _: layer(x, training=True), by_formula):
        shift = layer.shift.value if function is not by_formula else tf.zeros(2)
        with tf.GradientTape() as tape:
            tape.watch((x, shift))
            loss = tf.reduce_sum(function(x, shift) * upstream)
        found.append(tape.gradient(loss, (x, shift)))
    (by_input, by_range), (expected, expected_range) = found
    np.testing.assert_allclose(by_input, expected, rtol=1e-6)
    assert np.mean(by_input == 0) > 0.1  # what was cut off
    np.testing.assert_allclose(by_range, expected_range, rtol=1e-3)


def straight_through(x):
    return x + tf.stop_gradient(tf.round(x) - x)


@pytest.mark.slow
def test_a_range_that_cuts_off_grows_and_one_too_wide_shrinks():
    spread = values()
    narrow, wide = quantizer(-0.2, 0.2), quantizer(-60.0, 60.0)
    for layer in (narrow, wide):
        trained(layer, spread)
        assert 0.5 * spread.max() < float(layer.maximum) < 3 * spread.max()
        assert 0.5 * spread.min() > float(layer.minimum) > 3 * spread.min()


def test_sixteen_bit_ranges_stay_symmetric():
    layer = quantizer(-1.0, 3.0, bits=16)
    trained(layer, values(), steps=3)
    assert float(layer.minimum) == -float(layer.maximum)


def test_frozen_and_fixed_ranges_stay():
    frozen, fixed = quantizer(-1.0, 2.0), quantizer(-5.0, 5.0)
    frozen.freeze()
    trained(frozen, values(), steps=3)
    fixed.fix(-1.0, 2.0)
    fixed(values(), training=True)
    assert not fixed.trainable_variables
    for layer in (frozen, fixed):
        assert (float(layer.minimum), float(layer.maximum)) == (-1.0, 2.0)


def test_a_saved_network_keeps_learned_ranges(tmp_path):
    layer = quantizer(-1.0, 2.0)
    trained(layer, values(), steps=3)
    inputs = keras.Input((6, 6, 3))
    keras.Model(inputs, layer(inputs)).save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again(values()), layer(values()))


def small_network() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    return keras.Model(inputs, keras.layers.Conv2D(3, 3, padding="same", name="last")(x))


def test_learning_starts_from_the_ranges_of_least_squared_error():
    samples = list(values(1, (16, 8, 8, 3)))
    ranges = {}
    for observer in ("mse", "learned"):
        model = quantize_aware(small_network(), Scheme(observer=observer))
        calibrate(model, samples)
        ranges[observer] = [
            float(layer.maximum) for layer in model.layers if isinstance(layer, ActivationQuantizer)
        ]
    assert ranges["mse"] == ranges["learned"]


@pytest.mark.slow
def test_under_the_float_network_its_outputs_are_kept():
    network, samples = small_network(), values(1, (16, 8, 8, 3))
    stage = Quantize({"observer": "learned", "task_weight": 0.0, "teacher_weight": 1.0})
    model = stage.prepare(network, list(samples[:2] * 0.3))  # calibrated too narrow
    student = stage.fitted(model)
    assert isinstance(student, Distiller)

    def error() -> float:
        return float(
            np.abs(model.predict(samples, verbose=0) - network.predict(samples, verbose=0)).mean()
        )

    before = error()
    student.compile(keras.optimizers.Adam(3e-3), "mae")
    # Targets without meaning: the task's weight is zero.
    student.fit(samples, np.zeros_like(samples), epochs=30, batch_size=8, verbose=0)
    assert error() < 0.6 * before


def test_ranges_freeze_below_a_teacher_too():
    stage = Quantize({"observer": "learned", "teacher_weight": 1.0})
    model = stage.prepare(small_network(), list(values(1, (4, 8, 8, 3))))
    student = stage.fitted(model)
    student.compile(keras.optimizers.Adam(1e-2), "mae")
    x = values(2, (4, 8, 8, 3))
    student.fit(x, x, epochs=1, verbose=0, callbacks=[FreezeRanges(0)])
    frozen = [q for q in model.layers if isinstance(q, ActivationQuantizer)]
    assert frozen and all(float(q.frozen) == 1.0 for q in frozen)


@pytest.mark.parametrize("weights", [{"task_weight": 0.0}, {"teacher_weight": -1.0}])
def test_weights_that_train_nothing_are_refused(weights):
    with pytest.raises(UserError, match="task_weight and teacher_weight"):
        Quantize(weights)
