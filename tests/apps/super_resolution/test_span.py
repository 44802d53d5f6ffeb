"""SPAN and DSCF against the published networks, and what a checkpoint of each kind becomes."""

import json

import golden_files
import keras
import network_checks
import numpy as np
import pytest
import tensorflow as tf

from apps.super_resolution.models.span import (
    ADAPTATION,
    FEATURES,
    NETWORK,
    VARIANTS,
    convert_state,
    deploy,
    merge,
    merged_state,
    span,
)
from core.checkpoints import load_torch_state
from core.checkpoints.state import find_state
from core.compress.distill import Affinity, Distiller
from core.compress.low_rank_adaptation import adapt
from core.compress.quantize import quantize_aware
from core.compress.ranges import calibrate
from core.engines import output_error
from core.export.convert import to_tflite
from core.layers.conv3xc import Conv3XC
from core.tflite.inspect import float_operators, foreign_operators

FILES = {
    "span__x4_ch48": "s_x4",
    "span__x2_ch48": "s_x2",
    "span__x4_ch28": "ntire24_x4",
    "span__f_x4_ch32": "f_x4",
    "dsclora__dscf_x4_ch26": "tiny_x4",
}
BRANCHED = [name for name in FILES if name.startswith("span__x")]


def read(file):
    """Return the golden file, its state dict (PyTorch) and its input, channels last."""
    golden = golden_files.load(file)
    scaled = golden.meta.get("parameter_scale", {"contains": [], "factor": 1.0})
    state = {
        name: value * np.float32(scaled["factor"])
        if any(part in name for part in scaled["contains"])
        else value
        for name, value in golden.state().items()
    }
    mean, factor = (0.5, 0.25) if file.startswith("span__f") else (0.43, 0.004)
    return golden, state, golden.inputs(mean, factor)


def random_state(variant, **options):
    """Return a merged or training-form state dict of plausible scale, in PyTorch's layout."""
    from core.checkpoints import parameter_shapes

    shapes = parameter_shapes(span(variant, **options))
    return {name: golden_files.parameter(name, shape) for name, shape in shapes.items()}


def picture(height=12, width=10):
    return np.random.default_rng(2).uniform(0, 1, (1, height, width, 3)).astype(np.float32)


def stage(model, name, branched):
    """Return the symbolic tensor that the official network calls `name`."""
    if name.startswith("block_1.feat"):
        name = {"1": "block_1.o1", "2": "block_1.o2", "3": "block_1.c3_r"}[name[-1]]
    name = {"output": "pixel_shuffle", "block_1.out": "block_1"}.get(name, name)
    merged = name in ("conv_1", "conv_2") or "_r" in name
    return model.get_layer(f"{name}.eval_conv" if merged and not branched else name).output


@pytest.mark.parametrize("branches", [False, True])
@pytest.mark.parametrize("file", FILES)
def test_agrees_with_the_published_network(file, branches):
    golden, state, image = read(file)
    assert NETWORK.infer(state) == {"variant": FILES[file]}
    model = span(FILES[file], image.shape[1:], branches=branches)
    state = convert_state(state) if branches else merged_state(state)
    assert load_torch_state(model, state).complete

    names = [n for n in golden.outputs if not n.startswith("merged/") and n != "output_train_form"]
    if file == "span__f_x4_ch32":
        names.remove("conv_2")  # its channels are in TensorFlow's order
    probe = keras.Model(model.input, [stage(model, name, branches) for name in names])
    found = dict(zip(names, probe(image), strict=True))
    for name, value in found.items():
        assert golden.error(name, value) < 1e-4, name
    if file in BRANCHED:
        assert golden.error("output_train_form", found["output"]) < 1e-4


@pytest.mark.parametrize("file", BRANCHED)
def test_merged_kernels_agree_with_the_published_ones(file):
    golden, state, _ = read(file)
    model = span(FILES[file], branches=True)
    load_torch_state(model, convert_state(state))
    for name in ("conv_1", "block_1.c1_r", "conv_2"):
        kernel, bias = model.get_layer(name).merged()
        for leaf, value in (("weight", kernel.transpose(3, 2, 0, 1)), ("bias", bias)):
            expected, shape, stride = golden.outputs[f"merged/{name}.{leaf}"]
            assert value.shape == shape
            error = np.abs(value.ravel()[::stride] - expected).max()
            assert error < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("variant", VARIANTS)
def test_parameters_of_every_variant(variant):
    model = span(variant)
    count = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert count == VARIANTS[variant]["parameters"] == NETWORK.card(variant).published["parameters"]
    state = {name: np.zeros(shape) for name, shape in _shapes(model).items()}
    assert NETWORK.infer(state) == {"variant": variant}


def _shapes(model):
    from core.checkpoints import parameter_shapes

    return parameter_shapes(model)


@pytest.mark.parametrize("variant, count", [("s_x4", 2_236_728), ("ntire24_x4", 769_428)])
def test_parameters_of_the_training_form(variant, count):
    """The official count includes the merged copies, `eval_conv`, which are not trained."""
    branched, merged = span(variant, branches=True), span(variant)
    copies = sum(
        int(np.prod(weight.shape))
        for layer in merged.layers
        if layer.name.endswith("eval_conv")
        for weight in layer.weights
    )
    assert branched.count_params() + copies == count


@pytest.mark.parametrize("file", ["span__x4_ch28", "dsclora__dscf_x4_ch26", "span__f_x4_ch32"])
def test_deployed_network_equals_the_training_form(file):
    _, state, _ = read(file)
    model = span(FILES[file], (12, 10, 3), branches=True)
    load_torch_state(model, convert_state(state))
    deployed = deploy(model)
    assert not any(isinstance(layer, Conv3XC) for layer in deployed.layers)
    expected = np.asarray(model(picture()))
    inside = keras.Model(deployed.input, deployed.get_layer("clip").input)
    trained = keras.Model(model.input, model.get_layer("pixel_shuffle").input)
    assert output_error([trained(picture())], [inside(picture())]) < 1e-5
    np.testing.assert_allclose(
        deployed(picture()), np.clip(expected, 0, 1), atol=1e-5 * np.abs(expected).max()
    )
    assert deploy(deployed) is deployed and deployed.name == model.name
    assert deployed.input_shape == model.input_shape


def test_deploying_a_merged_file_gives_the_file_back_bit_for_bit():
    _, state, _ = read("dsclora__dscf_x4_ch26")
    model = span("tiny_x4", branches=True)
    load_torch_state(model, convert_state(state))
    deployed, expected = deploy(model), merged_state(state)
    for path in ("conv_1", "block_3.c2_r", "conv_2"):
        kernel, bias = deployed.get_layer(f"{path}.eval_conv").get_weights()
        np.testing.assert_array_equal(
            kernel.transpose(3, 2, 0, 1), expected[f"{path}.eval_conv.weight"]
        )
        np.testing.assert_array_equal(bias, expected[f"{path}.eval_conv.bias"])


def test_deployed_network_has_no_concatenation_of_unlike_ranges():
    """In integers one scale for all its parts would cost a trained SPAN 8 dB of signal to noise."""
    model = span("tiny_x4", (8, 8, 3))
    deployed = deploy(model)
    kinds = {type(layer).__name__ for layer in deployed.layers}
    assert "Concatenate" not in kinds and deployed.count_params() == model.count_params()
    shares = [deployed.get_layer(f"conv_cat.{i}").get_weights() for i in range(4)]
    kernel, bias = model.get_layer("conv_cat").get_weights()
    np.testing.assert_array_equal(np.concatenate([share[0] for share in shares], axis=2), kernel)
    np.testing.assert_array_equal(shares[0][1], bias)
    again = np.clip(merge(deployed)(picture(8, 8)), 0, 1)
    np.testing.assert_allclose(deployed(picture(8, 8)), again, atol=1e-5)


def test_stale_merged_copies_beside_branches_are_ignored():
    state = random_state("tiny_x4", branches=True)
    stale = {
        **state,
        "conv_1.eval_conv.weight": np.full((26, 3, 3, 3), 9.0, np.float32),
        "conv_1.eval_conv.bias": np.full(26, 9.0, np.float32),
    }
    for convert in (convert_state, merged_state):
        ours, theirs = convert(stale), convert(state)
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            np.testing.assert_array_equal(ours[name], value)


@pytest.mark.parametrize("branches", [False, True])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_official_checkpoints_import_completely(branches, prefix):
    """Weights of BasicSR come twice, as `params` and averaged; the averaged ones count."""
    state = random_state("f_x4", branches=branches)
    state = {f"{prefix}{name}": value for name, value in state.items()}
    found = NETWORK.published(find_state({"params": {}, "params_ema": _leaves(state)}))
    found = {name: state[leaf.key] for name, leaf in found.items()}
    assert NETWORK.infer(found) == {"variant": "f_x4"}
    model = NETWORK.build("f_x4", (8, 8, 3), **NETWORK.training_options)
    assert load_torch_state(model, NETWORK.convert_state(found)).complete


def _leaves(state):
    from core.checkpoints.pickled_values import Leaf

    class Named(Leaf):
        nbytes = 4

        def __init__(self, key):
            self.key = key

    return {name: Named(name) for name in state}


def test_foreign_state_infers_nothing():
    assert NETWORK.infer({"conv_cat.weight": np.zeros((7, 28, 1, 1))}) == {}
    assert NETWORK.infer({"LR_conv.weight": np.zeros((7, 28, 1, 1))}) == {}


def test_open_size_equals_fixed_and_survives_a_file(tmp_path):
    for branches in (False, True):
        keras.utils.set_random_seed(0)
        model = span("f_x4", branches=branches)
        fixed = span("f_x4", (12, 10, 3), branches=branches)
        fixed.set_weights(model.get_weights())
        np.testing.assert_allclose(model(picture()), fixed(picture()), atol=1e-6)
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(model(picture()), loaded(picture()))


def test_fresh_span_f_enlarges_by_copying():
    model = span("f_x4")
    probe = keras.Model(model.input, model.get_layer("conv_near").output)
    enlarged, image = np.asarray(probe(picture())), picture()
    np.testing.assert_array_equal(enlarged, image.repeat(16, axis=-1))


def test_layers_start_apart():
    keras.utils.set_random_seed(0)
    model = span("tiny_x4")
    kernels = [np.asarray(w) for w in model.weights if tuple(w.shape) == (3, 3, 26, 26)]
    assert len(kernels) == 19
    assert len({kernel.tobytes() for kernel in kernels}) == len(kernels)
    assert np.abs(kernels[0]).max() == pytest.approx(1 / np.sqrt(9 * 26), rel=0.01)


@pytest.fixture(scope="module")
def trained_like():
    """SPAN-Tiny with the golden weights, not clipped, at a small fixed size."""
    _, state, _ = read("dsclora__dscf_x4_ch26")
    model = span("tiny_x4", (32, 48, 3))
    load_torch_state(model, merged_state(state))
    return model


def smooth_pictures(count):
    """Return images that lie within the small range the golden weights are sound in."""
    return np.float32(0.43) + np.float32(0.004) * network_checks.smooth(count, 32, 48, seed=3)


def test_float_file_agrees_with_keras(trained_like):
    network_checks.check_float_file(trained_like, NETWORK.card("tiny_x4"), smooth_pictures(2))


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["tiny_x4", "f_x4"])
def test_int8_file_has_integers_throughout(variant):
    model = deploy(span(variant, (32, 48, 3)))
    quantized = quantize_aware(model)
    calibrate(quantized, smooth_pictures(4))
    content = to_tflite(quantized, "int8", io="int8")
    assert foreign_operators(content) == []
    assert [operator.name for operator in float_operators(content)] == []


@pytest.mark.slow
def test_adaptation_trains_what_the_paper_trains_and_deploys():
    keras.utils.set_random_seed(0)
    base = merge(span("tiny_x4", (8, 8, 3), branches=True))
    student = adapt(base, ADAPTATION)
    assert sum(int(np.prod(v.shape)) for v in student.trainable_variables) == 25_920
    distiller = Distiller(student, base, [Affinity({name: name for name in FEATURES})])
    distiller.compile(loss="mae")
    image, target = picture(8, 8), picture(32, 32)
    optimizer, losses = keras.optimizers.Adam(1e-3), []
    for _ in range(3):
        with tf.GradientTape() as tape:
            losses.append(distiller.compute_loss(image, target, distiller(image, training=True)))
        gradients = tape.gradient(losses[-1], distiller.trainable_variables)
        optimizer.apply_gradients(zip(gradients, distiller.trainable_variables, strict=True))
    assert losses[2] < losses[0]
    trained = merge(student)
    assert [layer.name for layer in trained.layers] == [layer.name for layer in base.layers]
    np.testing.assert_allclose(trained(image), student(image), atol=1e-6)
    scale = np.abs(student(image)).max()
    clipped = np.clip(student(image), 0, 1)
    np.testing.assert_allclose(deploy(student)(image), clipped, atol=1e-5 * scale)
    np.testing.assert_array_equal(
        base.get_layer("conv_1.eval_conv").kernel, trained.get_layer("conv_1.eval_conv").kernel
    )


def test_golden_files_know_the_parameters():
    for file, variant in FILES.items():
        with np.load(golden_files.GOLDEN / f"{file}.npz") as data:
            published = json.loads(str(data["meta"]))["params"]
        if file not in BRANCHED:
            assert published == VARIANTS[variant]["parameters"]
