"""OSNet, OSNet-IBN and OSNet-AIN against the published networks, and their deployable form."""

import golden_files
import keras
import network_checks
import numpy as np
import pytest
from mostly_slow import mostly_slow

from apps.person_reid.models.osnet import (
    NETWORK,
    VARIANTS,
    aggregation_gate,
    card,
    deploy,
    light_conv,
    omni_scale_block,
    osnet,
)
from core.checkpoints import load_torch_state, parameter_shapes
from core.engines import output_error

# What a block of the golden file is built with.
BLOCKS = {
    "block": (64, {}),
    "block_identity": (256, {}),
    "block_ibn": (64, {"kind": "INv2"}),
    "block_quarter": (16, {}),
    "ain_block": (64, {"names": "ain"}),
    "ain_block_in": (64, {"kind": "INv1", "names": "ain"}),
    "in_v2": (64, {"kind": "INv2", "names": "ain"}),
    "in_v3": (64, {"kind": "INv3", "names": "ain"}),
}
# Where a published module ends in our graph, if not in the layer of its path.
ENDS = {
    "embedding": "embedding",
    "logits": "classifier",
    "conv4": "conv4.1",
    "conv2a": "conv2a",
    "conv2b": "conv2b.1",
    "conv2c": "conv2c.2",
    "conv2d": "conv2d.3",
    "conv3": "conv3.bn",
    "downsample": "downsample.bn",
}


def filled(variant: str, input_shape=(64, 32, 3), **options) -> keras.Model:
    """Return a network with the golden parameters, which depend on their names only."""
    model = osnet(variant, input_shape, **options)
    shapes = parameter_shapes(model)
    load_torch_state(model, {k: golden_files.parameter(k, s) for k, s in shapes.items()})
    return model


def smooth(count: int = 4, height: int = 64, width: int = 32) -> np.ndarray:
    return network_checks.smooth(count, height, width)


@pytest.mark.parametrize("variant", mostly_slow(VARIANTS, {"x0_25", "ibn_x1_0", "ain_x0_25"}))
def test_agrees_with_the_published_network(variant):
    golden = golden_files.load(f"osnet__osnet_{variant}")
    model = osnet(variant, classes=751)
    report = load_torch_state(model, golden.state())
    assert report.complete and len(report.matched) == len(golden.shapes)

    def end(name: str) -> str:
        name = name.removeprefix("stage/")
        if name in ("conv2", "conv3"):  # the official OSNet has its transition inside the stage
            return f"{name}.1" if variant.startswith("ain") else f"{name}.2"
        return ENDS.get(name, name)

    errors = golden.errors(model, golden.inputs(), end)
    assert len(errors) >= 9 and max(errors.values()) < 1e-4, errors
    assert [output.shape[-1] for output in model.outputs] == [512, 751]


@pytest.mark.parametrize("variant", VARIANTS)
def test_has_the_published_parameters(variant):
    golden = golden_files.load(f"osnet__osnet_{variant}").meta
    table = VARIANTS[variant]
    assert table["parameters"] == golden["params_without_classifier"]
    assert table["macs"] == pytest.approx(golden["torchreid_flops"], rel=1e-3)
    with keras.StatelessScope(initialize_variables=False):  # shapes only
        model = osnet(variant, (32, 16, 3), classes=751)
    assert network_checks.parameters(model) == golden["params_total"]
    assert card(variant).published["parameters"] == table["parameters"]


@pytest.fixture(scope="module")
def blocks():
    return golden_files.load("osnet__blocks")


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_agree_with_the_published_ones(blocks, name):
    channels, options = BLOCKS[name]
    filters = 64 if name == "block_quarter" else 256
    image = keras.Input((16, 8, channels))
    model = keras.Model(image, omni_scale_block(image, filters, name, **options))
    case = blocks.case(name, (2, channels, 16, 8))
    assert load_torch_state(model, case.state()).complete
    ends = {f"conv2.{t}": f"conv2.{t}.layers.{t}" for t in range(4)} | ENDS
    if options.get("kind") == "INv1":
        ends["conv3"] = "conv3.conv"

    def end(output: str) -> str:
        leaf = output.split("/")[1]
        return name if leaf == "out" else f"{name}.{ends.get(leaf, leaf)}"

    errors = case.errors(model, case.inputs(), end)
    assert max(errors.values()) < 1e-5, errors


def test_light_layer_and_gate_agree_with_the_published_ones(blocks):
    for name, channels in (("light_conv", 64), ("gate", 64), ("gate16", 16)):
        image = keras.Input((16, 8, channels))
        if name == "light_conv":
            model = keras.Model(image, light_conv(image, channels, name))
        else:
            model = keras.Model(image, aggregation_gate([image], name)[0])
        case = blocks.case(name, (2, channels, 16, 8))
        assert load_torch_state(model, case.state()).complete
        assert case.error(f"{name}/out", model(case.inputs())) < 1e-5


def test_one_gate_serves_all_four_streams():
    model = osnet("x0_25", (32, 16, 3))
    assert len(model.get_layer("conv2.0.gate.fc1")._inbound_nodes) == 4


def test_layers_start_as_the_official_ones():
    """Kaiming normal by PyTorch's fan out, which counts all channels of a depthwise kernel."""
    keras.utils.set_random_seed(2)
    model = osnet("x1_0", classes=100)
    spreads = {
        "conv1.conv": (2 / (64 * 49)) ** 0.5,
        "conv2.0.conv2a.conv2": (2 / (64 * 9)) ** 0.5,
        "conv4.1.conv3.conv": (2 / 512) ** 0.5,
        "conv4.1.gate.fc2": (2 / 128) ** 0.5,
        "fc.0": 0.01,
        "classifier": 0.01,
    }
    for name, spread in spreads.items():
        kernel, *bias = model.get_layer(name).get_weights()
        assert kernel.std() == pytest.approx(spread, rel=0.12), name
        assert not any(np.any(values) for values in bias)
    norm = model.get_layer("conv1.bn")
    assert (norm.momentum, norm.epsilon) == (0.9, 1e-5)
    first, second = (model.get_layer(f"conv2.0.conv2{s}.conv1").kernel for s in ("a", "b.0"))
    assert not np.array_equal(first, second)


@pytest.mark.slow
def test_with_instance_norms_open_and_other_sizes_agree_and_survive_saving(tmp_path):
    fixed, images = filled("ain_x0_25", (32, 48, 3)), smooth(2, 32, 48)
    network_checks.check_open_size(fixed, osnet("ain_x0_25", (None, None, 3)), images)
    network_checks.check_saving(fixed, images, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "variant, fuse, fused",
    [
        ("x0_25", None, True),
        ("x0_25", False, False),
        ("ain_x0_5", None, False),
        ("ain_x0_5", True, True),
        ("ibn_x1_0", True, True),
    ],
)
def test_deployed_network_computes_the_same_embedding(variant, fuse, fused):
    images, model = smooth(2), filled(variant, classes=7)
    embedding, logits = model(images)
    assert embedding.shape == (2, 512) and logits.shape == (2, 7)
    deployed = deploy(model, fuse=fuse)
    assert deployed.name == f"osnet_{variant}" and deployed.output_shape == (None, 512)
    assert output_error([np.asarray(embedding)], [np.asarray(deployed(images))]) < 1e-6
    assert sum(layer.name.endswith(".streams") for layer in deployed.layers) == 6 * fused
    assert deploy(deployed, fuse=fuse) is deployed


@pytest.mark.slow
def test_a_loaded_network_is_deployed_and_a_deployed_one_loads(tmp_path):
    images, model = smooth(2), filled("ain_x0_25", classes=7)
    model.save(tmp_path / "model.keras")
    deployed = deploy(keras.models.load_model(tmp_path / "model.keras"))
    assert output_error([np.asarray(model(images)[0])], [np.asarray(deployed(images))]) < 1e-6
    deployed.save(tmp_path / "deployed.keras")
    again = keras.models.load_model(tmp_path / "deployed.keras")
    assert deploy(again) is again
    np.testing.assert_array_equal(again(images), deployed(images))


@pytest.mark.slow
@pytest.mark.parametrize("variant, normalize", [("x0_25", False), ("ain_x0_25", True)])
def test_float_file_computes_the_network(variant, normalize):
    model, images = filled(variant, classes=3), smooth(2)
    expected = np.asarray(model(images)[0])
    if normalize:
        expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    deployed = deploy(model, normalize=normalize)
    np.testing.assert_allclose(deployed(images), expected, atol=1e-6 * expected.max())
    assert deploy(deployed, normalize=normalize) is deployed is deploy(deployed)
    network_checks.check_float_file(deployed, card(variant), images)


@pytest.mark.slow
def test_int8_file_is_integer_throughout_and_computes_its_simulation():
    model = deploy(filled("x0_25"))
    network_checks.check_int8_file(model, card("x0_25"), smooth(8), least=13.5)


def test_card_says_how_embeddings_are_compared():
    plain = {"metric": "euclidean", "rerank": "off"}
    assert card("x1_0").decode == plain == card("ibn_x1_0").decode
    assert card("ain_x0_5").decode == {"metric": "cosine", "rerank": "off"}
    assert card("x0_25").published["Rank-1 Market"] == 91.2
    assert card("ain_x1_0").published["mAP MSMT17 → Duke"] == 52.7
    assert card("x1_0").input_size == (256, 128) and card("x1_0").size_multiple == 16
    assert next(iter(NETWORK.variants)) == "x1_0"


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        (("x2_0",), {}, "x2_0"),
        (("x0_25", (250, 128, 3)), {}, "multiples of 16 .*250"),
        (("x0_25",), {"classes": 0}, "classes=0"),
        (("x0_25",), {"placement": ["plain"] * 5}, "must be 6 of"),
        (("x0_25",), {"placement": ["INv4"] * 6}, "INv4"),
    ],
)
def test_wrong_arguments_are_named(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        osnet(*arguments, **options)
