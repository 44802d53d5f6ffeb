"""ConvLoRA against the golden file of DSCLoRA, and through files, roundings and rounds."""

import json

import golden_files
import keras
import numpy as np
import pytest
import tensorflow as tf

from core.checkpoints import load_torch_state
from core.layers.conv_lora import ConvLoRA
from core.layers.convolution import GroupedConv2D


@pytest.fixture(scope="module")
def golden():
    with np.load(golden_files.GOLDEN / "dsclora__lora_and_loss.npz") as data:
        return json.loads(str(data["meta"])), {k: data[k] for k in data.files if k != "meta"}


def small(channels=4, filters=6, kernel=3, **options):
    """A model with a trained-like update."""
    image = keras.Input((None, None, channels))
    layer = ConvLoRA(filters, kernel, padding="same", name="conv", **options)
    model = keras.Model(image, layer(image))
    rng = np.random.default_rng(0)
    for variable in (layer.bias, layer.lora_b):
        variable.assign(rng.standard_normal(variable.shape))
    return model, layer


def image(channels=4):
    return np.random.default_rng(1).standard_normal((2, 6, 5, channels)).astype(np.float32)


@pytest.mark.parametrize("case", range(3))
def test_agrees_with_the_published_layer(golden, case):
    meta, arrays = golden
    spec = meta["cases"][case]
    inputs = keras.Input((None, None, spec["in_channels"]))
    layer = ConvLoRA(
        spec["out_channels"], spec["kernel"], padding="same", low_rank=spec["r"],
        alpha=spec["lora_alpha"], name=f"case{case}",
    )  # fmt: skip
    model = keras.Model(inputs, layer(inputs))
    names = {f"case{case}.{leaf}": tuple(shape) for leaf, shape in spec["shapes"].items()}
    state = {name: golden_files.parameter(name, shape) for name, shape in names.items()}
    assert load_torch_state(model, state).complete
    x = np.random.default_rng(case).standard_normal((2, spec["in_channels"], 7, 8))
    x = x.astype(np.float32).transpose(0, 2, 3, 1)

    def check(name, value, axes):
        expected = arrays[f"case{case}_{name}"]
        value = np.asarray(value).transpose(axes)
        assert np.abs(value - expected).max() < 1e-5 * np.abs(expected).max(), name

    kernel, image = (3, 2, 0, 1), (0, 3, 1, 2)
    check("delta", layer.delta(), kernel)
    check("merged_weight", layer.kernel, kernel)
    check("output", model(x), image)
    layer.merge()
    check("merged_weight", layer.base_kernel, kernel)
    check("output_merged", model(x), image)


def test_only_the_update_is_trained_and_it_starts_at_nothing():
    keras.utils.set_random_seed(0)
    layer = ConvLoRA(6, 3, low_rank=2)
    layer.build((None, None, None, 4))
    assert [tuple(v.shape) for v in layer.trainable_variables] == [(6, 12), (18, 6)]
    assert [v.name for v in layer.trainable_variables] == ["lora_A", "lora_B"]
    np.testing.assert_array_equal(layer.delta(), np.zeros((3, 3, 4, 6)))
    bound = 1 / np.sqrt(4 * 3)
    assert 0.8 * bound < np.abs(np.asarray(layer.lora_a)).max() <= bound
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(layer(image())))
    gradients = tape.gradient(loss, layer.trainable_variables)
    assert np.any(np.asarray(gradients[1]) != 0)


def test_each_merge_starts_a_new_update_elsewhere():
    model, layer = small()
    starts = [np.asarray(layer.lora_a)]
    before = np.asarray(model(image()))
    for _ in range(2):
        layer.merge()
        starts.append(np.asarray(layer.lora_a))
        np.testing.assert_allclose(model(image()), before, atol=1e-5)
        assert not np.any(np.asarray(layer.lora_b))
    assert not np.array_equal(starts[0], starts[1]) and not np.array_equal(starts[1], starts[2])


def test_a_file_keeps_kernel_and_update_apart(tmp_path):
    """Were the sum stored as the kernel, loading would add the update twice."""
    model, layer = small(low_rank=3, alpha=2.0)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(image()), model(image()))
    np.testing.assert_array_equal(loaded.get_layer("conv").base_kernel, layer.base_kernel)
    assert [v.name for v in loaded.trainable_variables] == ["lora_A", "lora_B"]
    other, _ = small(low_rank=3, alpha=2.0)
    other.get_layer("conv").lora_b.assign(np.zeros(layer.lora_b.shape))
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(other(image()), model(image()))


@pytest.mark.parametrize("kernel, strides, groups", [((1, 5), 1, 1), (3, 2, 1), (3, 1, 2)])
def test_any_convolution_can_be_adapted(kernel, strides, groups):
    inputs = keras.Input((None, None, 4))
    layer = ConvLoRA(6, kernel, strides=strides, groups=groups, activation="relu")
    model = keras.Model(inputs, layer(inputs))
    layer.lora_b.assign(np.random.default_rng(0).standard_normal(layer.lora_b.shape))
    plain = GroupedConv2D(6, kernel, strides=strides, groups=groups, activation="relu")
    plain.build((None, None, None, 4))
    plain.set_weights([layer.kernel, layer.bias])
    np.testing.assert_allclose(model(image()), plain(image()), atol=1e-5)


@pytest.mark.parametrize("arguments", [{"low_rank": 0}, {"alpha": 0.0}, {"alpha": float("nan")}])
def test_wrong_arguments_are_named(arguments):
    with pytest.raises(ValueError, match="must be positive"):
        ConvLoRA(4, 3, **arguments)
