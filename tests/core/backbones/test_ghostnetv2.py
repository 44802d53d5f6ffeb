"""GhostNetV2 against the published network, stage by stage, fused and not."""

import golden_files
import keras
import network_checks
import numpy as np
import pytest
import torch_files
from mostly_slow import mostly_slow
from safetensors.numpy import save_file

from core.backbones.ghostnetv2 import (
    FEATURES,
    NETWORK,
    STAGES,
    VARIANTS,
    ghost_bottleneck,
    ghostnetv2,
)
from core.checkpoints import load_torch_state, read
from core.errors import UserError
from core.export.convert import to_tflite
from core.tflite.inspect import operators

FILES = ["100", "130", "160", "100_64x96"]
CASES = ["plain_s1", "attn_s1_odd", "attn_s1_se_k5", "attn_s2_se_k5"]
ATTENTIVE = sum(len(stage) for stage in STAGES) - 2


def published(file: str, input_shape=None, **options) -> keras.Model:
    """Return a network with the parameters of its golden file."""
    golden = golden_files.load(f"ghostnetv2__{file}")
    shape = input_shape or golden.inputs().shape[1:]
    model = ghostnetv2(file.partition("_")[0], shape, **options)
    ignored = (*NETWORK.ignored, *NETWORK.skipped(model))
    assert load_torch_state(model, golden.state(), ignored=ignored).complete
    return model


def end(output: str) -> str:
    """Return the layer that gives what the official network calls so."""
    stage = output.removeprefix("blocks.")
    if stage != output:
        last = len(STAGES[int(stage)]) - 1 if int(stage) < len(STAGES) else 0
        return f"{output}.{last}"
    return {"logits": "classifier"}.get(output, output)


@pytest.mark.parametrize("file", mostly_slow(FILES, {"100_64x96"}))
def test_agrees_with_the_published_network(file):
    golden, model = golden_files.load(f"ghostnetv2__{file}"), published(file)
    fused = NETWORK.deploy(model)
    assert not any(isinstance(x, keras.layers.BatchNormalization) for x in fused.layers)
    for form in (model, fused):
        errors = golden.errors(form, golden.inputs(), end)
        assert max(errors.values()) < 1e-4, errors


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_bottlenecks_agree_with_the_published_ones(name, fused):
    """Among them maps of 7x7 and 15x13, whose halves are enlarged to odd sides."""
    golden = golden_files.load("ghostnetv2__blocks")
    case, options = golden.case(name), golden.meta["cases"][name]["constructor"]
    image = keras.Input(case.inputs().shape[1:])
    block = ghost_bottleneck(
        image,
        options["mid_chs"],
        options["out_chs"],
        name,
        kernel=options["dw_kernel_size"],
        strides=options["stride"],
        excited=options["se_ratio"] > 0,
        attention=options["layer_id"] > 1,
    )
    model = keras.Model(image, block)
    assert load_torch_state(model, case.state()).complete
    model = NETWORK.deploy(model) if fused else model
    layers = {"out": name, "ghost1": f"{name}.ghost1", "gate_small": f"{name}.ghost1.gate"}
    errors = case.errors(model, case.inputs(), lambda output: layers[output.split("/")[1]])
    assert max(errors.values()) < 1e-5, errors


def written_by_the_authors(state, folder):
    entries = {f"module.{name}": array for name, array in state.items()}
    entries["module.bn1.num_batches_tracked"] = np.int64(7).reshape(())
    content = {"epoch": 449, "arch": "ghostnetv2", "state_dict": entries}
    return torch_files.write_zip(folder / "ck_ghostnetv2_10.pth.tar", content)


def written_by_timm(state, folder):
    save_file(state, folder / "model.safetensors")
    return folder / "model.safetensors"


@pytest.mark.parametrize("write", [written_by_the_authors, written_by_timm])
def test_official_checkpoints_load_whole(write, tmp_path):
    golden = golden_files.load("ghostnetv2__100_64x96")
    state = NETWORK.published(read(write(golden.state(), tmp_path)))
    arguments = NETWORK.infer(state)
    assert arguments == {"variant": "100", "classes": 1000}
    model = ghostnetv2(arguments["variant"], (64, 96, 3), classes=arguments["classes"])
    report = load_torch_state(model, NETWORK.convert_state(state), ignored=NETWORK.ignored)
    assert report.complete and len(report.matched) == len(golden.shapes)
    assert golden.error("logits", model(golden.inputs())) < 1e-4


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_checkpoint_tells_its_width(variant):
    assert NETWORK.infer(golden_files.load(f"ghostnetv2__{variant}").state()) == {
        "variant": variant,
        "classes": 1000,
    }
    assert NETWORK.infer({"conv_stem.weight": np.zeros((8, 3, 3, 3))}) == {}


@pytest.mark.slow
def test_without_classes_it_gives_the_features_before_the_classifier():
    golden = golden_files.load("ghostnetv2__100_64x96")
    inputs = golden.inputs()
    whole, model = published("100_64x96"), published("100_64x96", classes=None)
    assert model.output_shape == (None, 1280)
    features = whole.get_layer("flatten").output
    expected = keras.Model(whole.input, features)(inputs, training=False)
    np.testing.assert_allclose(model(inputs), expected, atol=1e-6)
    with pytest.raises(UserError, match=r"Unexpected[^:]*:\s+classifier.weight"):
        load_torch_state(model, golden.state())


@pytest.mark.slow
def test_feature_maps_are_the_published_taps():
    golden = golden_files.load("ghostnetv2__100_64x96")
    pyramid = NETWORK.pyramid(published("100_64x96", classes=None))
    maps = dict(zip(FEATURES, pyramid(golden.inputs()), strict=True))
    for stride, stage in {4: "blocks.2", 8: "blocks.4", 16: "blocks.6", 32: "blocks.8"}.items():
        assert golden.error(stage, maps[stride]) < 1e-4
    deepest = NETWORK.pyramid(ghostnetv2("160", (None, None, 3)), strides=(32,))
    assert [tensor.shape for tensor in deepest.outputs] == [(None, None, None, 256)]


def test_stages_with_fewer_blocks_end_where_the_published_ones_do():
    model = ghostnetv2("100", (64, 64, 3), classes=None, depths=(1, 1, 1, 1, 1, 1, 2, 1, 1))
    assert set(FEATURES.values()) <= {layer.name for layer in model.layers}
    assert "blocks.6.3" in {layer.name for layer in model.layers}
    assert "blocks.6.2" not in {layer.name for layer in model.layers}
    with pytest.raises(ValueError, match="`depths` must be 9 numbers"):
        ghostnetv2("100", (64, 64, 3), depths=(1, 1))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(33, 50), (65, 97)])
def test_any_size_from_33_pixels_on(size):
    """A 33rd pixel makes a second row of the last map, whose half has one."""
    images = np.random.default_rng(0).standard_normal((1, *size, 3)).astype(np.float32)
    fixed = published("100", (*size, 3), classes=None)
    network_checks.check_open_size(fixed, ghostnetv2("100", (None, None, 3), classes=None), images)
    with pytest.raises(ValueError, match=r"at least 33 .*\(32, 50, 3\)"):
        ghostnetv2("100", (32, 50, 3))


@pytest.mark.slow
def test_float_file_of_the_fused_network_keeps_one_operator_a_resize():
    model = NETWORK.deploy(published("100", (80, 112, 3)))
    content = to_tflite(model)
    network_checks.check_float_file(
        model, NETWORK.card("100"), network_checks.smooth(2, 80, 112), content
    )
    kinds = [operator.name for operator in operators(content)]
    assert kinds.count("RESIZE_NEAREST_NEIGHBOR") == kinds.count("LOGISTIC") == ATTENTIVE == 14
    assert not {"TILE", "GATHER", "SHAPE", "STRIDED_SLICE", "TRANSPOSE"} & set(kinds)


@pytest.mark.slow
def test_int8_file_of_the_fused_network_needs_no_operator_for_a_hard_sigmoid():
    model = NETWORK.deploy(published("100", (48, 72, 3)))
    content = network_checks.check_int8_file(
        model, NETWORK.card("100"), network_checks.smooth(8, 48, 72), least=30.0
    )
    kinds = [operator.name for operator in operators(content)]
    excited = sum(block[-1] for stage in STAGES for block in stage)
    assert kinds.count("MUL") == ATTENTIVE + excited
    assert not {"HARD_SWISH", "MINIMUM", "MAXIMUM", "RELU6", "QUANTIZE"} & set(kinds)


def test_layers_start_as_pytorch_starts_them():
    keras.utils.set_random_seed(3)
    model = ghostnetv2("100", (64, 64, 3))
    fans = {"conv_stem": 27, "blocks.8.0.ghost1.short_conv.2": 5, "classifier": 1280}
    for name, fan_in in fans.items():
        kernel = model.get_layer(name).get_weights()[0]
        assert np.abs(kernel).max() <= fan_in**-0.5 < 1.3 * np.abs(kernel).max()
    norm = model.get_layer("bn1")
    assert (norm.momentum, norm.epsilon) == (0.9, 1e-5)


@pytest.mark.parametrize(
    "arguments, options, message",
    [(("050",), {}, "050"), (("100",), {"classes": 0}, "classes=0")],
)
def test_wrong_arguments_are_named(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        ghostnetv2(*arguments, **options)
