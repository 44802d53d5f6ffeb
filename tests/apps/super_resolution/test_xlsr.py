"""XLSR against the published network, stage by stage."""

import golden_files
import keras
import network_checks
import numpy as np
import pytest

from apps.super_resolution.models.xlsr import NETWORK, convert_state, deploy, xlsr
from core.checkpoints import load_torch_state
from core.layers.convolution import GroupedConv2D
from core.tflite.inspect import operators

GOLDEN = golden_files.load("mobile-sr__xlsr_x3")
STAGES = {"conv0_0": "conv0.relu", "Gblocks": "Gblocks.2.conv1", "conv3": "conv3.relu"}


def golden_input() -> np.ndarray:
    """Return the input as red, green, blue; the published network takes blue, green, red."""
    return GOLDEN.inputs(0.5, 0.25)[..., ::-1]


def older(state: dict) -> dict:
    """Return a state dict as the published best.pt has it: grouped convolutions are one entry."""
    joined = {k: v for k, v in state.items() if "conv2d_block" not in k}
    for k in range(3):
        for leaf in ("weight", "bias"):
            parts = [state[f"Gblocks.{k}.conv0.conv2d_block.{g}.{leaf}"] for g in range(4)]
            joined[f"Gblocks.{k}.conv0.{leaf}"] = np.concatenate(parts)
    assert joined["Gblocks.0.conv0.weight"].shape == (32, 8, 3, 3)
    return joined


def published(input_shape=(None, None, 3)) -> keras.Model:
    model = xlsr("x3", input_shape)
    load_torch_state(model, convert_state(GOLDEN.state()))
    return model


def smooth(height: int, width: int, count: int = 4) -> np.ndarray:
    return network_checks.smooth(count, height, width, block=4, uniform=True)


@pytest.mark.parametrize("naming", [dict, older], ids=["present names", "older names"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_checkpoint_is_read_completely_and_agrees(naming, prefix):
    state = {f"{prefix}{name}": value for name, value in naming(GOLDEN.state()).items()}
    state = NETWORK.published(state)
    assert NETWORK.infer(state) == {"variant": "x3"}
    model = xlsr("x3", golden_input().shape[1:])
    assert load_torch_state(model, convert_state(state)).complete
    assert model.count_params() == GOLDEN.meta["params"]
    for network in (deploy(model), keras.models.clone_model(model)):
        network.set_weights(model.get_weights())
        output = np.clip(network(golden_input()), 0, 1)[..., ::-1]
        assert GOLDEN.error("output", output) < 1e-4


def test_agrees_with_the_published_network_stage_by_stage():
    model = published(golden_input().shape[1:])
    names = [name for name in GOLDEN.outputs if name != "output"]
    probe = keras.Model(
        model.input, [model.get_layer(STAGES.get(name, name)).output for name in names]
    )
    for name, value in zip(names, probe(golden_input()), strict=True):
        value = np.asarray(value)
        if name == "conv0_0":  # the first of four convolutions that are one here
            value = value[..., :8]
        if name == "conv4":  # from TensorFlow's order and RGB to PyTorch's and BGR
            value = value.reshape(*value.shape[:3], 9, 3)[..., ::-1]
            value = value.swapaxes(-1, -2).reshape(*value.shape[:3], 27)
        assert GOLDEN.error(name, value) < 1e-4, name


def test_deploy_limits_the_output_and_keeps_each_group_block_in_one_operator():
    model = published((16, 24, 3))
    deployed, image = deploy(model), smooth(16, 24, 2)
    raw = np.asarray(model(image))
    assert raw.min() < 0 and raw.max() > 1
    np.testing.assert_allclose(deployed(image), np.clip(raw, 0, 1), atol=1e-5)
    assert deployed.name == model.name and deployed.input_shape == model.input_shape
    assert not any(isinstance(layer, GroupedConv2D) for layer in deployed.layers)
    assert deploy(deployed) is deployed


def test_open_and_fixed_sizes_agree_and_survive_saving(tmp_path):
    model, image = published((16, 24, 3)), smooth(16, 24, 1)
    network_checks.check_open_size(model, xlsr("x3"), image)
    for network in (model, deploy(model)):
        network_checks.check_saving(network, image, tmp_path)


def test_layers_start_as_published():
    """Normal of variance 0.2 / fan out, counted for each of the four convolutions that are one."""
    keras.utils.set_random_seed(3)
    model = xlsr("x3")
    fans = {"conv0": 72, "Gblocks.0.conv0": 72, "conv2": 32, "conv4": 27 * 9}
    for name, fan_out in fans.items():
        kernel, bias = model.get_layer(name).get_weights()
        np.testing.assert_allclose(kernel.std(), np.sqrt(0.2 / fan_out), rtol=0.1)
        np.testing.assert_array_equal(bias, np.float32(0.01))
    first, second = (model.get_layer(f"Gblocks.{k}.conv0").get_weights()[0] for k in (0, 1))
    assert not np.array_equal(first, second)


def test_files_compute_the_network_with_builtin_operators():
    model, image = deploy(published((16, 24, 3))), smooth(16, 24)
    network_checks.check_float_file(model, NETWORK.card("x3"), image)
    content = network_checks.check_int8_file(model, NETWORK.card("x3"), image)
    kinds = [operator.name for operator in operators(content)]
    assert kinds.count("CONV_2D") == 11 and "DEPTHWISE_CONV_2D" not in kinds


def test_a_foreign_checkpoint_tells_nothing():
    assert NETWORK.infer({"conv4.weight": np.zeros((27, 32, 3, 3))}) == {}
