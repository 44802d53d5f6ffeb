"""Learned factors: their starts, their published names, their integer forms."""

import keras
import network_checks
import numpy as np
import pytest

from core.checkpoints import load_torch_state, torch_state
from core.compress.operators import WEIGHTED
from core.compress.primitives import primitive_form
from core.layers.scale import LayerScale, LearnedScale
from core.model_card import ModelCard


def built() -> keras.Model:
    x = keras.Input((8, 8, 3))
    return keras.Model(x, LearnedScale("skip_scale", name="block")(keras.layers.ReLU()(x)))


def test_starts_at_one_and_loads_by_its_published_name():
    model, x = built(), np.ones((1, 8, 8, 3), np.float32)
    np.testing.assert_array_equal(model(x), x)
    np.testing.assert_array_equal(torch_state(model)["block.skip_scale"], [1])
    assert load_torch_state(model, {"block.skip_scale": np.float32([2.5])}).complete
    np.testing.assert_array_equal(model(x), 2.5 * x)


def test_survives_a_file(tmp_path):
    model, x = built(), np.ones((1, 8, 8, 3), np.float32)
    load_torch_state(model, {"block.skip_scale": np.float32([-3])})
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), -3 * x)
    assert list(torch_state(loaded)) == ["block.skip_scale"]


def test_integer_file_computes_what_keras_simulates():
    model = built()
    load_torch_state(model, {"block.skip_scale": np.float32([0.3])})
    card = ModelCard("net", "v", "app", color_order="", mean=(0.0,) * 3, std=(1.0,) * 3)
    network_checks.check_int8_file(model, card, network_checks.smooth(8, 8, 8, 3, block=2))


def by_channel(kernel) -> keras.Model:
    x = keras.Input((8, 8, 3))
    y = LayerScale(name="block")(kernel(x))
    return keras.Model(x, keras.layers.Add()([x, y]))


KERNELS = (
    keras.layers.Dense(3),
    keras.layers.Conv2D(3, 3, padding="same"),
    keras.layers.DepthwiseConv2D(3, padding="same"),
)


def test_of_a_layer_starts_near_zero_and_loads_by_its_published_name(tmp_path):
    model, x = by_channel(keras.layers.ReLU()), np.ones((1, 8, 8, 3), np.float32)
    start = np.full((3, 1, 1), 1e-6, np.float32)
    np.testing.assert_array_equal(torch_state(model)["block.layer_scale"], start)
    factors = np.float32([2.5, -1, 0]).reshape(3, 1, 1)
    assert load_torch_state(model, {"block.layer_scale": factors}).complete
    model.save(tmp_path / "model.keras")
    for network in (model, keras.models.load_model(tmp_path / "model.keras")):
        np.testing.assert_array_equal(network(x), x * (1 + factors.ravel()))
        np.testing.assert_array_equal(torch_state(network)["block.layer_scale"], factors)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: type(kernel).__name__)
def test_of_a_layer_is_part_of_the_kernel_before_it_in_an_integer_file(kernel):
    keras.utils.set_random_seed(0)
    model = by_channel(type(kernel).from_config(kernel.get_config()))
    factors = np.float32([2.5, -1, 0.01]).reshape(3, 1, 1)
    load_torch_state(model, {"block.layer_scale": factors}, strict=False)
    model.layers[1].bias.assign([0.5, -0.5, 1.0])
    form, inputs = primitive_form(model), network_checks.smooth(2, 8, 8, 3, block=2)
    assert sum(isinstance(layer, WEIGHTED) for layer in form.layers) == 1
    np.testing.assert_allclose(form(inputs), model(inputs), atol=1e-6)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: type(kernel).__name__)
def test_a_number_behind_a_kernel_is_part_of_it_in_an_integer_file(kernel):
    x = keras.Input((8, 8, 3))
    kernel = type(kernel).from_config(kernel.get_config())
    model, inputs = keras.Model(x, kernel(x) * 0.5), network_checks.smooth(2, 8, 8, 3, block=2)
    kernel.bias.assign([0.5, -0.5, 1.0])
    form = primitive_form(model)
    assert sum(isinstance(layer, WEIGHTED) for layer in form.layers) == 1
    np.testing.assert_allclose(form(inputs), model(inputs), atol=1e-6)
