"""FetalNet: its parts' sizes, its weights' names, and its attentions as integers."""

import keras
import network_checks
import numpy as np
import pytest

from apps import catalog
from apps.fetal_planes.models.attention import ATTENTIONS, GATE_MAP, PREFIXES
from apps.fetal_planes.models.fetal_net import (
    BACKBONES,
    LAST,
    MLP_PARAMETERS,
    NETWORK,
    VARIANTS,
    convert_state,
    fetal_net,
    infer_arguments,
)
from core.checkpoints import torch_state
from core.config import TrainConfig
from core.finetuning.opening import head_layers
from core.finetuning.pretrained import bring_backbone
from core.layers.convolution import linear
from core.model_card import ModelCard

SMALL = {"depths": (1, 1, 1, 1, 1, 1, 1)}
SIDE, CHANNELS = 8, 32


def counted(layers) -> int:
    return sum(layer.count_params() for layer in layers)


@pytest.fixture(scope="module")
def default():
    return fetal_net()


def test_the_parts_have_the_parameters_of_the_paper_and_of_keras_applications(default):
    """EfficientNet-B0 without top: 4,049,571 with, 4,007,548 without what is not trained.

    Keras counts the seven numbers of its Normalization among the first.
    """
    head = head_layers(default, NETWORK.head)
    below = [layer for layer in default.layers if layer.name not in head]
    assert counted(below) + 7 == 4_049_571
    trained = network_checks.parameters(default)
    assert BACKBONES["b0"].parameters == 4_007_548
    assert trained == VARIANTS["b0-spatial-gate"]["parameters"] == 4_437_923
    perceptron = [layer for layer in default.layers if layer.name.startswith("mlp.")]
    assert counted(perceptron) == MLP_PARAMETERS == 344_774
    gate = [layer for layer in default.layers if layer.name.startswith("gate.")]
    norm = counted(layer for layer in gate if layer.name == "gate.norm")
    assert counted(gate) - norm == 83_041


def test_the_backbone_of_version_2_has_the_parameters_of_keras_applications():
    assert BACKBONES["v2b0"].parameters == 5_858_704


def test_the_features_are_those_that_attention_refines(default):
    maps = NETWORK.pyramid(default, [32])
    assert maps.output_shape == [(None, 7, 7, 1280)] or maps.output_shape == (None, 7, 7, 1280)
    assert default.get_layer(GATE_MAP).output.shape == (None, 7, 7, 1)
    assert default.get_layer(LAST).units == 6


@pytest.fixture(scope="module")
def small():
    keras.utils.set_random_seed(0)
    return fetal_net("lite0-spatial-gate", (64, 64, 3), **SMALL)


def test_the_head_is_attention_and_perceptron(small):
    names = head_layers(small, NETWORK.head)
    assert {LAST, "mlp.0", "mlp.3", "gate.norm", "gate.0", "gate.2", "gate.4"} == names


def test_a_state_dict_tells_its_variant_and_classes(small):
    state = torch_state(small)
    assert infer_arguments(state) == {"variant": "lite0-spatial-gate", "classes": 6}
    assert NETWORK.features_of(small)[32] == "head"
    for attention, start in PREFIXES.items():
        names = {"conv_stem.weight": 0, f"{LAST}.bias": np.zeros(4), f"{start}x.weight": 0}
        assert infer_arguments(names) == {"variant": f"v2b0-{attention}", "classes": 4}
    bare = {"features.0.0.weight": 0, f"{LAST}.bias": np.zeros(2)}
    assert infer_arguments(bare) == {"variant": "b0-none", "classes": 2}
    assert infer_arguments({"features.0.0.weight": 0, "classifier.1.bias": np.zeros(1000)}) == {}


def test_weights_of_a_published_backbone_fill_all_but_the_head(small, tmp_path):
    """They come with a thousand classes of their own, which are left out."""
    published = {
        name: values + 1
        for name, values in torch_state(small).items()
        if not name.startswith(("gate.", "mlp."))
    }
    published |= {"_fc.weight": np.zeros((1000, 1280)), "_fc.bias": np.zeros(1000)}
    np.savez(tmp_path / "lite0.npz", **published)
    again = fetal_net("lite0-spatial-gate", (64, 64, 3), **SMALL)
    before = torch_state(again)
    config = TrainConfig("fetal", "fetal_net", "lite0-spatial-gate", classes=6)
    told = bring_backbone(NETWORK, again, config, str(tmp_path / "lite0.npz"))
    assert "the head (gate.norm to mlp.6) starts anew" in told
    for name, values in torch_state(again).items():
        np.testing.assert_array_equal(values, published.get(name, before[name]))


def test_a_variant_says_which_published_network_it_is_built_upon():
    named = {catalog.network("fetal_net").backbone(variant) for variant in VARIANTS}
    assert named == {("efficientnet", "b0_tf"), ("efficientnetv2", "b0"),
                     ("efficientnet_lite", "lite0")}  # fmt: skip
    for name, variant in named:
        assert variant in catalog.network(name).variants


@pytest.mark.parametrize(
    "layer, theirs, ours",
    [
        ("block1a_dwconv.depthwise_kernel", "stem_conv.kernel", "features.0.0.weight"),
        ("block1a_project_conv.kernel", "stem_conv.kernel", "conv_stem.weight"),
    ],
)
def test_weights_that_keras_saved_are_renamed_for_their_backbone(layer, theirs, ours):
    state = {theirs: np.zeros((3, 3, 3, 32)), layer: np.zeros((3, 3, 32, 1))}
    assert convert_state(state)[ours].shape == (32, 3, 3, 3)


def test_names_of_pytorch_stay():
    state = {"features.0.0.weight": np.zeros((32, 3, 3, 3))}
    assert list(convert_state(state)) == list(state)


@pytest.mark.parametrize("arguments", [{"variant": "b0"}, {"classes": 0}])
def test_wrong_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="Received: "):
        fetal_net(**arguments)


def refined(kind: str) -> keras.Model:
    """Return an attention on a small map with a layer of classes behind, its norms as trained."""
    keras.utils.set_random_seed(3)
    image = keras.Input((SIDE, SIDE, CHANNELS), name="image")
    model = keras.Model(image, linear(ATTENTIONS[kind](image), 6, LAST), name="refined")
    rng = np.random.default_rng(3)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(0.1 * rng.standard_normal(CHANNELS))
            layer.moving_variance.assign(rng.uniform(0.5, 1.5, CHANNELS))
    return model


def maps(count: int = 8) -> np.ndarray:
    return network_checks.smooth(count, SIDE, SIDE, CHANNELS).astype(np.float32)


CARD = ModelCard("refined", "all", "fetal", input_size=(SIDE, SIDE), channels=CHANNELS,
                 color_order="", mean=(0.0,) * CHANNELS, std=(1.0,) * CHANNELS)  # fmt: skip


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_attention_as_a_file_is_that_of_keras(kind):
    network_checks.check_float_file(refined(kind), CARD, maps())


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_attention_has_an_integer_form(kind):
    network_checks.check_int8_file(refined(kind), CARD, maps())


def test_the_gate_is_a_mean_weighted_by_its_map():
    model, inputs = refined("spatial-gate"), maps(2)
    probe = keras.Model(
        model.input, [model.get_layer(GATE_MAP).output, model.get_layer(LAST).input]
    )
    weights, pooled = (np.asarray(value) for value in probe(inputs))
    assert weights.min() > 0 and weights.max() < 1
    expected = (inputs * weights).sum((1, 2)) / weights.sum((1, 2))
    np.testing.assert_allclose(pooled, expected, rtol=1e-4, atol=1e-5)


def test_self_attention_sees_all_places_whatever_their_order():
    model, inputs = refined("mhsa"), maps(2)
    turned = inputs[:, ::-1].copy()
    np.testing.assert_allclose(model(inputs), model(turned), rtol=1e-3, atol=1e-4)
    changed = inputs.copy()
    changed[:, 0, 0] += 5
    assert np.abs(np.asarray(model(changed)) - np.asarray(model(inputs))).max() > 1e-3
