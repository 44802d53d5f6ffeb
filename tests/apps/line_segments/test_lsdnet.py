"""LSDNet against the published network, its import from every form, and its files."""

from pathlib import Path

import golden_files
import keras
import network_checks
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from apps.line_segments.models.lsdnet import NETWORK, VARIANTS, card, lsdnet
from core.checkpoints import load_torch_state, read, torch_state
from core.errors import UserError

SHARED = Path(__file__).resolve().parents[4] / "shared" / "golden"
# The golden file's names of what Keras numbers by kind.
KINDS = {"act": "activation", "pool": "max_pooling2d", "up": "up_sampling2d", "cat": "concatenate"}


def stage(name: str) -> str:
    """Return the layer that gives a golden output."""
    if name == "output":
        return "maps"
    kind = name.removeprefix("stage/").rstrip("0123456789")
    if kind == "logits":
        return "conv2d_13"
    number = int(name.removeprefix(f"stage/{kind}"))
    return f"{KINDS[kind]}_{number}" if number else KINDS[kind]


def loaded(variant: str, state, shape=(32, 48, 3)):
    """Return a model with a state as the command `import` loads it."""
    state = NETWORK.published(state)
    assert NETWORK.infer(state) == {"variant": variant}
    model = NETWORK.build(variant, shape)
    report = load_torch_state(model, NETWORK.convert_state(state), ignored=NETWORK.ignored)
    assert report.complete
    return model


def plausible(variant: str, shape=(32, 48, 3)):
    """Return a model with the parameters of the golden files."""
    model = lsdnet(variant, shape)
    shapes = {name: array.shape for name, array in torch_state(model).items()}
    load_torch_state(model, {n: golden_files.parameter(n, s) for n, s in shapes.items()})
    return model


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/golden")
@pytest.mark.parametrize("file, variant", [("fused", "published"), ("bn", "base")])
def test_agrees_with_the_published_network(file, variant):
    golden = golden_files.load(f"lsdnet__{file}", SHARED)
    inputs = golden.inputs()
    model = loaded(variant, golden.state(), inputs.shape[1:])
    errors = golden.errors(model, inputs, stage)
    assert len(errors) == len(golden.outputs) and max(errors.values()) < 1e-4, errors
    deployed = NETWORK.deploy(model)
    assert golden.error("output", deployed(inputs)) < 1e-4
    assert network_checks.parameters(deployed) == 498_882


@pytest.mark.parametrize("variant", VARIANTS)
def test_parameters_and_multiplications_are_those_of_the_card(variant):
    model = lsdnet(variant)
    assert network_checks.parameters(model) == card(variant).published["parameters"]
    macs = network_checks.macs(model)
    assert macs == VARIANTS[variant]["macs"]
    assert round(macs / 1e9, 3) == card(variant).published["GMACs at 288x288"]
    assert model.output_shape == (None, 288, 288, 3 if variant.startswith("doubled") else 2)


def onnx_file(path, arrays):
    """Write a file that has these tensors."""
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    model = helper.make_model(helper.make_graph(nodes, "g", [value], [], tensors))
    path.write_bytes(model.SerializeToString())
    return path


def in_onnx(state, prefix: str):
    """Return weights as the published file has them, a constant of the converter among them."""
    arrays = {"const_two__105": np.array([2, 2], np.int64)}
    for name, array in state.items():
        layer, leaf = name.split(".")
        end = f"BiasAdd_{leaf.replace('weight', 'weights')}_fused_bn"
        if layer == "conv2d_13":
            end = f"{dict(weight='Conv2D', bias='BiasAdd')[leaf]}/ReadVariableOp:0"
        arrays[f"{prefix}{layer}/{end}"] = array
    return arrays


def test_every_form_of_the_published_weights_loads_whole(tmp_path):
    model = plausible("published")
    state = torch_state(model)
    np.savez(tmp_path / "weights.npz", **state)
    model.save(tmp_path / "model.h5")
    images = network_checks.smooth(1, 32, 48, uniform=True)
    for file in (
        onnx_file(tmp_path / "a.onnx", in_onnx(state, "StatefulPartitionedCall/functional_1/")),
        onnx_file(tmp_path / "b.onnx", in_onnx(state, "")),
        tmp_path / "weights.npz",
        tmp_path / "model.h5",
    ):
        again = loaded("published", read(file))
        np.testing.assert_array_equal(again(images), model(images))


@pytest.mark.parametrize("variant", ["doubled_separable", "doubled_half"])
def test_weights_of_other_variants_come_back_from_keras(tmp_path, variant):
    model = plausible(variant, (16, 16, 3))
    model.save(tmp_path / "model.h5")
    expected = torch_state(model)
    again = torch_state(loaded(variant, read(tmp_path / "model.h5"), (16, 16, 3)))
    assert again.keys() == expected.keys()
    for name, array in again.items():
        np.testing.assert_array_equal(array, expected[name])


def test_weights_of_another_network_are_named(tmp_path):
    tensors = {"features.0.weight": np.zeros((4, 3, 3, 3), np.float32)}
    np.savez(tmp_path / "other.npz", **tensors)
    onnx_file(tmp_path / "other.onnx", tensors)
    for file in ("other.npz", "other.onnx"):
        with pytest.raises(UserError, match=r"not LSDNet's.*'features.0.weight'.*model.onnx"):
            NETWORK.infer(NETWORK.published(read(tmp_path / file)))


def test_a_network_with_other_widths_is_refused_before_anything_is_loaded():
    state = torch_state(plausible("published"))
    state["conv2d_5.weight"] = state["conv2d_5.weight"][:100]
    model = lsdnet("published", (16, 16, 3))
    before = model.get_weights()
    with pytest.raises(UserError, match=r"conv2d_5\.weight"):
        load_torch_state(model, NETWORK.convert_state(state))
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("shape", [(30, 32, 3), (32, 36, 3), (32, 32, 1), (32, 32)])
def test_a_size_that_does_not_fit_is_named(shape):
    with pytest.raises(ValueError, match=r"multiples of 8.*Received"):
        lsdnet("base", shape)


def test_the_maps_of_a_doubled_direction_wrap():
    """Heat in (0, 1), the direction's channels in (-1, 1), both sides of it taken."""
    maps = np.asarray(plausible("doubled")(network_checks.smooth(2, 32, 48)))
    assert maps[..., 0].min() > 0 and maps[..., 0].max() < 1
    assert maps[..., 1:].min() < -0.5 and maps[..., 1:].max() > 0.5


def test_a_network_of_any_size_computes_what_one_of_its_size_does():
    fixed = plausible("doubled_half")
    network_checks.check_open_size(
        fixed, lsdnet("doubled_half", (None, None, 3)), network_checks.smooth(1, 32, 48)
    )


def test_files_compute_what_keras_does():
    """The published form; the contract battery does the same with the smallest variant."""
    model = NETWORK.deploy(plausible("base", (16, 24, 3)))
    assert not any(isinstance(x, keras.layers.BatchNormalization) for x in model.layers)
    images = network_checks.smooth(8, 16, 24, uniform=True)
    network_checks.check_float_file(model, card("base"), images[:2])
    network_checks.check_int8_file(model, card("base"), images)
