"""M-LSD against the published network, its import, its fourth channel, and its files."""

from __future__ import annotations

import golden_files
import keras
import network_checks
import numpy as np
import pytest
import torch_files

from apps.line_segments.models.mlsd import NETWORK, ONES, VARIANTS, card, deploy, mlsd
from core.checkpoints import load_torch_state, read, torch_state
from core.errors import UserError
from core.export.convert import to_tflite
from core.layers.resize import BilinearUpsampling
from core.tflite.inspect import operators

TAPS = {"tiny": (3, 6, 10), "large": (1, 3, 6, 10, 13)}
# Of the port, with the official half-pixel enlarging. The files hold every sixth of its values,
# `large` those of some stages.
GOLDEN = {variant: golden_files.load(f"mlsd__{variant}") for variant in VARIANTS}
STEM = "backbone.features.0.0"


def stage(variant: str, layers: set[str]):
    """Return the function from a golden output to the layer that gives it."""

    def end(name: str) -> str:
        kind, _, which = name.partition("/")
        if kind == "backbone":
            return f"backbone.features.{TAPS[variant][int(which)]}"
        ends = (which, f"{which}.conv3", f"{which}.conv2.2")
        return next(layer for layer in ends if layer in layers)

    return end


def port(variant: str, shape) -> keras.Model:
    """Return the network as the port has it, with the parameters of its golden file."""
    model = NETWORK.build(variant, shape, **NETWORK.training_options, enlarge_first=False)
    assert load_torch_state(model, GOLDEN[variant].state()).complete
    return model


def multiplications(model) -> int:
    """Return what the published count has: it takes 2 for a value that is normalised, 4 for one
    that is enlarged, and of the sixteen maps it enlarges nine."""
    counted = network_checks.macs(model)
    for layer in model.layers:
        values = int(np.prod(layer.output.shape[1:]))
        if isinstance(layer, keras.layers.BatchNormalization):
            counted += 2 * values
        elif isinstance(layer, BilinearUpsampling):
            counted += 4 * (values * 9 // 16 if layer.name == "maps" else values)
    return counted


def check_used_maps(model, deployed, image) -> None:
    """A deployed network gives two of the maps."""
    maps = np.asarray(model(image))
    used = deployed(image)
    for output, expected in zip(used, (maps[..., 7:8], maps[..., 8:12]), strict=True):
        np.testing.assert_allclose(output, expected, atol=1e-4 * np.abs(maps).max())


@pytest.mark.parametrize("variant", VARIANTS)
def test_is_the_published_network(variant):
    golden = GOLDEN[variant]
    inputs = golden.inputs()
    model = port(variant, inputs.shape[1:])
    assert network_checks.parameters(model) == golden.meta["params"]
    assert multiplications(model) == golden.meta["macs_320"]
    end = stage(variant, {layer.name for layer in model.layers})
    names = [name for name in golden.outputs if name != "output"]
    layers = [model.get_layer(end(name)).output for name in names]
    *stages, maps = keras.Model(model.input, [*layers, model.output])(inputs)
    errors = {name: golden.error(name, value) for name, value in zip(names, stages, strict=True)}
    errors["output"] = golden.error("output", maps[..., 7:])
    assert len(errors) >= 8 and max(errors.values()) < 1e-4, errors
    assert NETWORK.infer(golden.state()) == {"variant": variant}


@pytest.fixture(scope="module")
def imported(tmp_path_factory) -> keras.Model:
    """The network of a checkpoint of the port: 212 tensors, and 40 counters of its norms."""
    state = GOLDEN["tiny"].state()
    counters = {
        name.replace("running_mean", "num_batches_tracked"): np.int64(7).reshape(())
        for name in state
        if name.endswith("running_mean")
    }
    assert len(state) + len(counters) == 252
    file = tmp_path_factory.mktemp("port") / "mlsd_tiny_512_fp32.pth"
    found = NETWORK.published(read(torch_files.write_zip(file, {**state, **counters})))
    assert NETWORK.infer(found) == {"variant": "tiny"}
    model = NETWORK.build("tiny", (32, 48, 3), **NETWORK.training_options)
    report = load_torch_state(model, NETWORK.convert_state(found), ignored=NETWORK.ignored)
    assert report.complete and len(report.matched) == 212
    return model


def test_the_fourth_channel_is_one_of_ones(imported):
    image = network_checks.smooth(1, 32, 48)
    appended = np.concatenate([image, np.full((1, 32, 48, 1), ONES, np.float32)], axis=-1)
    given = mlsd("tiny", (32, 48, 4), all_maps=True, ones=True)
    given.set_weights(imported.get_weights())
    np.testing.assert_allclose(imported(image), given(appended), rtol=1e-5, atol=1e-4)
    assert np.float32(ONES) == card("tiny").normalise(np.ones((1, 1, 3), np.uint8))[0, 0, 0]


def test_the_official_network_enlarges_before_the_convolution(imported):
    """Of a linear map the order would not matter; behind the ReLU it does."""
    ported = port("tiny", (32, 48, 3))
    image = network_checks.smooth(1, 32, 48)
    ours, theirs = (np.asarray(network(image)) for network in (imported, ported))
    assert np.abs(ours - theirs).max() > 0.01 * np.abs(theirs).max()
    deployed = deploy(ported)
    check_used_maps(ported, deployed, image)
    for network, name in (
        (imported, "backbone.features.10"), (ported, "block12.conv1.2"),
        (deployed, "block12.conv1.2"),
    ):  # fmt: skip
        enlarged = network.get_layer("block12.upsample").input
        assert enlarged._keras_history.operation.name == name


def test_weights_that_the_port_trained_itself_are_refused_whole():
    """Its own training has a stem of three channels, and one layer more."""
    state = GOLDEN["tiny"].state()
    state[f"{STEM}.weight"] = state[f"{STEM}.weight"][:, :3]
    state["block17.weight"] = np.zeros((16, 16, 3, 3), np.float32)
    model = mlsd("tiny", (32, 32, 3), all_maps=True, ones=True)
    with pytest.raises(UserError, match=r"1 unexpected, 1 mismatched"):
        load_torch_state(model, state)


def test_the_network_for_use_gives_two_maps(imported):
    deployed = deploy(imported)
    assert not any(isinstance(x, keras.layers.BatchNormalization) for x in deployed.layers)
    check_used_maps(imported, deployed, network_checks.smooth(1, 32, 48))
    assert deployed.get_layer(STEM).kernel.shape[2] == 4
    assert deploy(deployed) is deployed


@pytest.fixture(scope="module")
def lean(imported) -> keras.Model:
    """A network whose fourth channel has no weight, as in the official one, as it is used."""
    model = keras.models.clone_model(imported)
    state = torch_state(imported)
    state[f"{STEM}.weight"][:, 3] = 0
    load_torch_state(model, state)
    deployed = deploy(model)
    check_used_maps(model, deployed, network_checks.smooth(1, 32, 48))
    return deployed


def test_a_fourth_channel_without_weight_is_left_out_of_the_file(lean):
    """All operators are builtin, and XNNPACK takes them."""
    assert lean.get_layer(STEM).kernel.shape[2] == 3
    content = to_tflite(lean)
    network_checks.check_float_file(lean, card("tiny"), network_checks.smooth(2, 32, 48), content)
    kinds = [operator.name for operator in operators(content)]
    assert set(kinds) == {
        "CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "CONCATENATION", "RESIZE_BILINEAR",
    }  # fmt: skip
    assert kinds.count("DEPTHWISE_CONV_2D") == 10 and kinds.count("ADD") == 8


@pytest.mark.parametrize(
    "arguments",
    [
        ("tiny", (40, 32, 3)), ("tiny", (32, 32, 4)), ("tiny", (32, 32, 1)), ("small", (32, 32, 3)),
    ],
)  # fmt: skip
def test_what_the_network_cannot_be_built_with_is_refused(arguments):
    with pytest.raises(ValueError, match="Received"):
        mlsd(*arguments)


@pytest.mark.slow
def test_the_integer_file_gives_the_raw_maps(lean):
    images = 0.3 * network_checks.smooth(8, 32, 48)
    network_checks.check_int8_file(lean, card("tiny"), images)
