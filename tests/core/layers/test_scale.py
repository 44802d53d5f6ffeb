"""A learned factor: its start, its published name, its integer form."""

import keras
import network_checks
import numpy as np

from core.checkpoints import load_torch_state, torch_state
from core.layers.scale import LearnedScale
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
