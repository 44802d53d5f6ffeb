"""IMDN, IMDN_AS, IMDN_RTC, IMDN_RTE and IMDN+ against the published networks, stage by stage."""

import golden_files
import keras
import network_checks
import numpy as np
import pytest
from mostly_slow import mostly_slow

from apps.super_resolution.models.imdn import NETWORK, VARIANTS, SquareRoot, deploy, imdn
from core.checkpoints import load_torch_state

FILES = ["x2", "x3", "x4", "x4_native48", "as", "rtc", "rte", "plus"]
# What the published modules' outputs are called where it is not the module's path.
STAGES = {
    "IMDB1.cca_in_c4": "IMDB1.c4",
    "FEM.1": "residual",
    "model.1": "residual",
    "output": "pixel_shuffle",
}


def published(variant: str, input_shape=(None, None, 3)) -> keras.Model:
    """Return a network with the parameters of its golden file."""
    model = imdn(variant, input_shape)
    load_torch_state(model, NETWORK.convert_state(golden_files.load(f"imdn__{variant}").state()))
    return model


def smooth(height: int, width: int, count: int = 4) -> np.ndarray:
    return network_checks.smooth(count, height, width, block=4, uniform=True)


@pytest.mark.parametrize("file", FILES)
def test_agrees_with_the_published_network(file):
    golden = golden_files.load(f"imdn__{file}")
    inputs, variant = golden.inputs(0.5, 0.25), file.removesuffix("_native48")
    model = imdn(variant, inputs.shape[1:])
    report = load_torch_state(model, NETWORK.convert_state(golden.state()))
    assert report.complete and len(report.matched) == len(golden.shapes)
    errors = golden.errors(model, inputs, lambda name: STAGES.get(name, name))
    assert max(errors.values()) < 1e-4, errors


@pytest.mark.parametrize("variant", VARIANTS)
def test_has_the_published_parameters(variant):
    golden = golden_files.load(f"imdn__{variant}")
    published = NETWORK.card(variant).published["parameters"]
    assert imdn(variant).count_params() == golden.meta["params"] == published


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("variant", mostly_slow(VARIANTS, {"as", "rtc"}))
def test_checkpoint_tells_its_variant_and_leaves_nothing_over(variant, prefix):
    """All names of "rtc" start with `model.`, which looks like a wrapper's prefix."""
    golden = golden_files.load(f"imdn__{variant}")
    state = NETWORK.published({f"{prefix}{k}": v for k, v in golden.state().items()})
    assert NETWORK.infer(state) == {"variant": variant}
    model = NETWORK.build(variant, (None, None, 3))
    assert load_torch_state(model, NETWORK.convert_state(state)).complete
    assert golden.error("output", model(golden.inputs(0.5, 0.25))) < 1e-4


def test_a_foreign_checkpoint_tells_nothing():
    state = {"fea_conv.weight": np.zeros((64, 3, 3, 3)), "body.weight": np.zeros((1, 1))}
    assert NETWORK.infer(state) == {}
    assert NETWORK.infer({**state, "upsampler.0.weight": np.zeros((192, 64, 3, 3))}) == {}


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_deploy_only_limits_the_output(variant):
    peak = 255 if variant == "rte" else 1
    model = published(variant, (16, 24, 3))
    deployed, image = deploy(model), peak * smooth(16, 24, 2)
    assert deployed.name == model.name and deployed.input_shape == model.input_shape
    raw, limited = np.asarray(model(image)), np.asarray(deployed(image))
    assert raw.min() < 0 or raw.max() > peak
    np.testing.assert_allclose(limited, np.clip(raw, 0, peak), atol=1e-6 * peak)
    assert deploy(deployed) is deployed


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["x2", "as"])
def test_open_and_fixed_sizes_agree_and_survive_saving(variant, tmp_path):
    fixed, image = published(variant, (16, 24, 3)), smooth(16, 24, 1)
    network_checks.check_open_size(fixed, imdn(variant), image)
    network_checks.check_saving(fixed, image, tmp_path)


def test_layers_start_as_pytorch_starts_them():
    """Uniform within 1 / sqrt(fan in), kernels and biases; every layer from a draw of its own."""
    keras.utils.set_random_seed(3)
    model = imdn("x2")
    for name, fan_in in {"fea_conv": 27, "IMDB2.c2": 48 * 9, "IMDB6.c5": 64}.items():
        kernel, bias = model.get_layer(name).get_weights()
        for values in (kernel, bias):
            assert np.abs(values).max() <= fan_in**-0.5 < 1.3 * np.abs(values).max()
    first, second = (model.get_layer(f"IMDB{k}.c1").get_weights()[0] for k in (1, 2))
    assert not np.array_equal(first, second)
    keras.utils.set_random_seed(3)
    np.testing.assert_array_equal(imdn("x2").get_layer("IMDB2.c1").get_weights()[0], second)


def test_a_constant_channel_has_a_finite_gradient():
    import tensorflow as tf

    x = tf.Variable(np.zeros((1, 1, 1, 2), np.float32))
    with tf.GradientTape() as tape:
        y = SquareRoot()(x, training=True)
    assert np.isfinite(np.asarray(tape.gradient(y, x))).all()
    np.testing.assert_array_equal(SquareRoot()(np.float32([0, 4])), [0, 2])


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["x2", "as", "rte", "plus"])
def test_float_file_computes_the_network(variant):
    model, image = published(variant, (16, 24, 3)), smooth(16, 24, 2)
    network_checks.check_float_file(model, NETWORK.card(variant), image)


@pytest.mark.slow
def test_int8_file_is_integer_throughout_and_computes_its_simulation():
    """The attention's deviation included: the test of all networks takes one without it."""
    model, image = deploy(published("x2", (16, 24, 3))), smooth(16, 24)
    # TFLite's square root rounds in ways of its own.
    network_checks.check_int8_file(model, NETWORK.card("x2"), image, exact=0.9)


@pytest.mark.parametrize(
    "arguments, multiple",
    [(("as", (30, 32, 3)), 4), (("rte", (32, 31, 3)), 2), (("x2", (32, 32, 1)), 1)],
)
def test_wrong_sizes_are_named(arguments, multiple):
    assert NETWORK.card(arguments[0]).size_multiple == multiple
    with pytest.raises(ValueError, match=f"multiples of {multiple} .* {arguments[1][1]}"):
        imdn(*arguments)
