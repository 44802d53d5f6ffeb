"""The Mamba block: the published numbers, causality, its start and its integer form."""

import json

import golden_files
import keras
import network_checks
import numpy as np
import pytest

from core.checkpoints import load_torch_state, torch_state
from core.engines import output_error
from core.layers.mamba import CausalDepthwiseConv, StepSizes, mamba
from core.model_card import ModelCard


def built(*sides: int | None, channels: int = 32) -> keras.Model:
    keras.utils.set_random_seed(3)
    tokens = keras.Input((*sides, channels))
    return keras.Model(tokens, mamba(tokens, "block"))


def test_agrees_with_the_published_block():
    with np.load(golden_files.GOLDEN / "lightm-unet__selective-scan.npz") as data:
        shapes = json.loads(str(data["block_shapes"]))
        tokens, expected = data["block_input"], data["block_output"]
    state = {name: golden_files.parameter(name, tuple(shape)) for name, shape in shapes.items()}
    model = built(50)
    assert load_torch_state(model, {f"block.{k}": v for k, v in state.items()}).complete
    assert output_error([expected], [np.asarray(model(tokens))]) < 1e-5


def test_no_position_sees_a_later_one():
    """In an image: those to the right and below."""
    model = built(4, 5, channels=8)
    image = np.random.default_rng(0).standard_normal((1, 4, 5, 8)).astype(np.float32)
    changed = image.copy()
    changed[0, 2, 3] += 1.0
    same = np.isclose(model(image), model(changed), atol=1e-7).all(axis=-1).ravel()
    position = 2 * 5 + 3
    assert same[:position].all() and not same[position:].any()


def test_convolution_takes_the_last_positions_with_zeros_before_them():
    layer = CausalDepthwiseConv(3)
    layer(np.zeros((1, 4, 2)))
    layer.kernel.assign([[1, 2], [10, 20], [100, 200]])
    layer.bias.assign([0.5, 0])
    signal = np.float32([[[1, 1], [2, 0], [3, 0], [4, 0]]])
    expected = [[100.5, 200], [210.5, 20], [321.5, 2], [432.5, 0]]
    np.testing.assert_allclose(layer(signal)[0], expected)
    np.testing.assert_allclose(np.reshape(layer(signal.reshape(1, 2, 2, 2)), (4, 2)), expected)


def test_convolution_has_the_published_layout():
    model = built(6, channels=4)
    state = torch_state(model)
    assert state["block.conv1d.weight"].shape == (8, 1, 4)
    kernel = np.asarray(model.get_layer("block.conv1d").kernel)
    np.testing.assert_array_equal(state["block.conv1d.weight"][5, 0], kernel[:, 5])


def test_steps_start_between_a_thousandth_and_a_tenth():
    keras.utils.set_random_seed(0)
    steps = np.logaddexp(0, np.asarray(StepSizes()((4000,)), np.float64))
    assert 0.00099 < steps.min() < 0.0011 and 0.09 < steps.max() < 0.1001
    # Evenly in the logarithm: as many below a hundredth as above.
    assert abs((steps < 0.01).mean() - 0.5) < 0.03
    assert not np.array_equal(StepSizes()((9,)), StepSizes()((9,)))


def test_a_seed_of_the_start_survives_its_config():
    start = StepSizes(seed=5)
    again = StepSizes.from_config(start.get_config())
    np.testing.assert_array_equal(start((9,)), again((9,)))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_changes_little(policy):
    full = built(40, channels=16)
    keras.config.set_dtype_policy(policy)
    try:
        half = built(40, channels=16)
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(full.get_weights())
    tokens = np.random.default_rng(0).standard_normal((2, 40, 16)).astype(np.float32)
    error = output_error([np.asarray(full(tokens))], [np.asarray(half(tokens), np.float32)])
    assert error < (0.005 if policy == "mixed_float16" else 0.05)


@pytest.mark.slow
def test_integer_file_is_integer_around_the_scan(tmp_path):
    """Every operator that is none of the scan's, and what the file computes is what Keras said."""
    image = keras.Input((8, 12, 8))
    model = keras.Model(image, keras.layers.Conv2D(4, 1)(mamba(image, "block")))
    inputs = network_checks.smooth(8, 8, 12, 8, block=4)
    card = ModelCard("net", "v", "app", channels=8, color_order="", mean=(0.0,) * 8,
                     std=(1.0,) * 8)  # fmt: skip
    network_checks.check_int8_file(model, card, inputs)


@pytest.mark.parametrize("wrong, message", [(0, "window=0"), (-2, "window=-2")])
def test_wrong_windows_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        CausalDepthwiseConv(wrong)


def test_an_input_without_positions_is_named():
    with pytest.raises(ValueError, match=r"input_shape=\(2, 4\)"):
        CausalDepthwiseConv()(np.zeros((2, 4)))
