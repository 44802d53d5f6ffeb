"""Conv3XC: one convolution that is its branches, in outputs, gradients and after merging."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from core.checkpoints import load_torch_state, torch_state
from core.layers.conv3xc import BRANCHES, Conv3XC, merge_branches, split_kernel


def built(channels=3, filters=5, **options):
    """A layer with biases large enough to show at the border."""
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, channels))
    model = keras.Model(image, Conv3XC(filters, name="conv", **options)(image))
    rng = np.random.default_rng(0)
    state = {
        name: rng.standard_normal(value.shape).astype(np.float32)
        for name, value in torch_state(model).items()
    }
    load_torch_state(model, state)
    return model


def branch_by_branch(layer, x):
    """The published module, convolution by convolution."""
    conv = lambda x, name: (  # noqa: E731
        tf.nn.conv2d(x, layer.kernels[name], 1, "VALID") + layer.biases[name]
    )
    padded = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
    return conv(conv(conv(padded, "conv.0"), "conv.1"), "conv.2") + conv(x, "sk")


def image(channels=3, side=7):
    return np.random.default_rng(1).standard_normal((2, side, side, channels)).astype(np.float32)


def test_outputs_are_those_of_the_branches_at_the_border_too():
    model, x = built(), image()
    expected = np.asarray(branch_by_branch(model.get_layer("conv"), x))
    np.testing.assert_allclose(model(x), expected, atol=1e-5 * np.abs(expected).max())


def test_gradients_are_those_of_the_branches():
    model, x = built(), image()
    layer = model.get_layer("conv")
    gradients = []
    for forward in (model, lambda x: branch_by_branch(layer, x)):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.sin(forward(x)))
        gradients.append(tape.gradient(loss, model.trainable_variables))
    for ours, theirs in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


def test_merged_convolution_equals_the_layer_at_the_border_too():
    model, x = built(), image()
    kernel, bias = model.get_layer("conv").merged()
    found = np.asarray(tf.nn.conv2d(x, kernel, 1, "SAME") + bias)
    expected = np.asarray(model(x))
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("channels, filters", [(3, 5), (4, 2)])
def test_a_plain_convolution_splits_into_branches_that_merge_to_it(channels, filters):
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((filters, channels, 3, 3)).astype(np.float32)
    bias = rng.standard_normal(filters).astype(np.float32)
    kernel, offset = merge_branches(split_kernel(weight, bias, "conv"))
    np.testing.assert_array_equal(kernel, weight)
    np.testing.assert_array_equal(offset, bias)


def test_split_branches_all_learn():
    model, x = built(), image()
    weight = np.ones((5, 3, 3, 3), np.float32)
    parts = split_kernel(weight, np.zeros(5, np.float32), "conv")
    load_torch_state(model, {f"conv.{name}": value for name, value in parts.items()})
    layer = model.get_layer("conv")
    optimizer = keras.optimizers.Adam(1e-3)
    for _ in range(2):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(x)))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    for name in BRANCHES:
        moved = np.asarray(layer.kernels[name]).transpose(3, 2, 0, 1) != parts[f"{name}.weight"]
        assert moved.all(), name


def test_starts_as_pytorch_does():
    keras.utils.set_random_seed(3)
    layers = [Conv3XC(16, name=f"conv{i}") for i in range(2)]
    for layer in layers:
        layer.build((None, None, None, 16))
    for name, fan_in in {"sk": 16, "conv.0": 16, "conv.1": 9 * 32, "conv.2": 32}.items():
        bound = 1 / np.sqrt(fan_in)
        kernel, bias = np.asarray(layers[0].kernels[name]), np.asarray(layers[0].biases[name])
        assert 0.9 * bound < np.abs(kernel).max() <= bound
        assert 0.5 * bound < np.abs(bias).max() <= bound
        assert not np.array_equal(kernel, layers[1].kernels[name])


def test_mixed_precision_multiplies_branches_in_float32():
    model, x = built(), image()
    half = Conv3XC(5, dtype="mixed_bfloat16")
    half.build((None, None, None, 3))
    half.set_weights(model.get_layer("conv").get_weights())
    outputs = half(x)
    assert outputs.dtype == "bfloat16"
    kernel, bias = half.merged()
    rounded = tf.cast(kernel, tf.bfloat16)
    expected = tf.nn.conv2d(tf.cast(x, tf.bfloat16), rounded, 1, "SAME")
    expected += tf.cast(bias, tf.bfloat16)
    difference = np.abs(np.asarray(outputs, np.float32) - np.asarray(expected, np.float32))
    assert difference.max() < 0.01 * np.abs(np.asarray(expected, np.float32)).max()


def test_survives_a_file(tmp_path):
    model, x = built(gain=3), image()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(model(x), loaded(x))
    assert len(model.weights) == 8 and loaded.get_layer("conv").gain == 3


@pytest.mark.parametrize("arguments", [{"filters": 0}, {"filters": 4, "gain": 0}])
def test_wrong_arguments_are_named(arguments):
    with pytest.raises(ValueError, match="positive integer"):
        Conv3XC(**arguments)
