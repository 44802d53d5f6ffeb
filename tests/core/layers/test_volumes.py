"""Layers for volumes against TensorFlow's own, and in files, which those cannot be."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from core.checkpoints import load_torch_state, torch_state
from core.engines import interpreter, output_error
from core.export.convert import to_tflite
from core.layers.volumes import DepthwiseConv3D, TrilinearUpsampling, VolumePooling
from core.tflite.inspect import foreign_operators

RNG = np.random.default_rng(0)
VOLUME = RNG.standard_normal((2, 4, 6, 8, 3)).astype(np.float32)
LAYERS = [
    lambda: DepthwiseConv3D(3, name="conv"),
    lambda: DepthwiseConv3D(1, use_bias=False, name="conv"),
    VolumePooling,
    TrilinearUpsampling,
]


def of(layer, sides=VOLUME.shape[1:4]) -> keras.Model:
    volume = keras.Input((*sides, 3))
    return keras.Model(volume, layer(volume))


@pytest.mark.parametrize("side, use_bias", [(3, True), (5, False), (1, True)])
def test_depthwise_convolution_equals_a_dense_one_of_single_channels(side, use_bias):
    model = of(DepthwiseConv3D(side, use_bias=use_bias, name="conv"))
    weight = RNG.standard_normal((3, 1, side, side, side)).astype(np.float32)
    state = {"conv.weight": weight}
    if use_bias:
        state["conv.bias"] = np.float32([1, -2, 3])
    assert load_torch_state(model, state).complete
    dense = np.zeros((side, side, side, 3, 3), np.float32)
    for channel in range(3):
        dense[..., channel, channel] = weight[channel, 0]
    expected = tf.nn.conv3d(VOLUME, dense, (1,) * 5, "SAME") + state.get("conv.bias", 0.0)
    assert output_error([np.asarray(expected)], [np.asarray(model(VOLUME))]) < 1e-6
    for name, value in torch_state(model).items():
        np.testing.assert_array_equal(value, state[name])


@pytest.mark.parametrize("sides", [(4, 6, 8), (5, 7, 3)])
def test_pooling_equals_tensorflow(sides):
    volume = RNG.standard_normal((2, *sides, 3)).astype(np.float32)
    expected = tf.nn.max_pool3d(volume, 2, 2, "VALID")
    np.testing.assert_array_equal(of(VolumePooling(), sides)(volume), expected)


def test_upsampling_is_linear_along_each_axis():
    """Output i lies at (i + 1/2) / 2 - 1/2 of the input, which ends at its outer values."""
    expected = VOLUME
    for axis in (1, 2, 3):
        side = expected.shape[axis]
        place = np.clip((np.arange(2 * side) + 0.5) / 2 - 0.5, 0, side - 1)
        low = np.floor(place).astype(int)
        high = np.minimum(low + 1, side - 1)
        share = (place - low).reshape([-1 if a == axis else 1 for a in range(5)])
        expected = (
            np.take(expected, low, axis) * (1 - share) + np.take(expected, high, axis) * share
        )
    assert output_error([expected], [np.asarray(of(TrilinearUpsampling())(VOLUME))]) < 1e-6


@pytest.mark.parametrize("make", LAYERS)
def test_files_hold_builtin_operators_and_compute_the_same(make):
    model = of(make())
    content = to_tflite(model)
    assert foreign_operators(content) == []
    lite = interpreter(content, threads=1, delegate=True)
    lite.set_tensor(lite.get_input_details()[0]["index"], VOLUME[:1])
    lite.invoke()
    found = lite.get_tensor(lite.get_output_details()[0]["index"])
    assert output_error([np.asarray(model(VOLUME[:1]))], [found]) < 1e-6


@pytest.mark.parametrize("make", LAYERS)
def test_sides_may_be_open_and_halves_stay_halves(make):
    layer = make()
    fixed, opened = of(layer), of(layer, (None, None, None))
    np.testing.assert_allclose(tf.function(opened)(VOLUME), fixed(VOLUME), atol=1e-5)
    assert opened.output_shape[1:4] == (None, None, None)
    assert fixed(VOLUME).shape[1:] == fixed.output_shape[1:]
    half = type(layer).from_config({**layer.get_config(), "dtype": "float16"})
    assert half(VOLUME.astype(np.float16)).dtype == tf.float16


@pytest.mark.parametrize("make", LAYERS)
def test_learn_and_survive_a_file(make, tmp_path):
    model = of(make())
    volume = tf.constant(VOLUME)
    with tf.GradientTape() as tape:
        tape.watch(volume)
        total = tf.reduce_sum(model(volume) ** 2)
    gradients = tape.gradient(total, [volume, *model.trainable_variables])
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(VOLUME), model(VOLUME))


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="kernel_size=2"):
        DepthwiseConv3D(2)
    with pytest.raises(ValueError, match=r"\(N, D, H, W, C\)"):
        DepthwiseConv3D(3)(VOLUME[0])
