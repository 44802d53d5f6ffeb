"""ABPN against the published network, stage by stage."""

import golden_files
import keras
import numpy as np
import pytest

from apps.super_resolution.models.abpn import NETWORK, VARIANTS, abpn, deploy
from core.checkpoints import load_torch_state
from core.compress.quantize import quantize_aware
from core.compress.ranges import calibrate
from core.engines import LiteRTEngine, output_error, signal_to_noise
from core.export.convert import to_tflite
from core.export.inspect import float_operators, foreign_operators

GOLDEN = golden_files.load("mobile-sr__abpn_x3")


def golden_input() -> np.ndarray:
    noise = np.random.default_rng(GOLDEN.meta["seed"]).standard_normal(GOLDEN.meta["input_shape"])
    return (127.0 + 60.0 * noise.astype(np.float32)).astype(np.float32).transpose(0, 2, 3, 1)


def published(input_shape=(None, None, 3)) -> keras.Model:
    model = abpn("x3", input_shape)
    load_torch_state(model, GOLDEN.state())
    return model


def smooth(height: int, width: int, count: int = 4) -> np.ndarray:
    """Return random images without white noise, in [0, 255]."""
    coarse = np.random.default_rng(0).random((count, height // 4, width // 4, 3))
    return (255 * np.repeat(np.repeat(coarse, 4, axis=1), 4, axis=2)).astype(np.float32)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_agrees_with_the_published_network(prefix):
    inputs = golden_input()
    state = NETWORK.published({f"{prefix}{k}": v for k, v in GOLDEN.state().items()})
    assert NETWORK.infer(state) == {"variant": "x3"}
    model = abpn("x3", inputs.shape[1:], clip=True)
    report = load_torch_state(model, NETWORK.convert_state(state))
    assert report.complete and len(report.matched) == len(GOLDEN.shapes)
    stages = {"up1": "up1", "up2": "up2", "output": "pixel_shuffle"}
    probe = keras.Model(model.input, [model.get_layer(stages[n]).output for n in GOLDEN.outputs])
    for name, value in zip(GOLDEN.outputs, probe(inputs), strict=True):
        assert GOLDEN.error(name, value) < 1e-4, name


@pytest.mark.parametrize("variant", VARIANTS)
def test_has_its_parameters_and_scale(variant):
    model, card = abpn(variant, (8, 12, 3)), NETWORK.card(variant)
    assert model.count_params() == card.published["parameters"]
    scale = card.decode["scale"]
    assert model.output_shape == (None, 8 * scale, 12 * scale, 3)
    assert variant != "x3" or model.count_params() == GOLDEN.meta["params"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_anchor_is_the_nearest_neighbour(variant):
    model = abpn(variant)
    model.get_layer("up2").set_weights([0 * w for w in model.get_layer("up2").get_weights()])
    image, scale = smooth(8, 12, 1), VARIANTS[variant]["scale"]
    nearest = image.repeat(scale, axis=1).repeat(scale, axis=2)
    np.testing.assert_array_equal(model(image), nearest)


def test_deploy_only_limits_the_output():
    model = published((16, 24, 3))
    deployed, image = deploy(model), smooth(16, 24, 2)
    raw = np.asarray(model(image))
    assert raw.min() < 0 and raw.max() > 255
    np.testing.assert_allclose(deployed(image), np.clip(raw, 0, 255), atol=1e-3)
    assert deployed.name == model.name and deployed.input_shape == model.input_shape
    assert deploy(deployed) is deployed


def test_open_and_fixed_sizes_agree_and_survive_saving(tmp_path):
    model, image = published((16, 24, 3)), smooth(16, 24, 1)
    reference = np.asarray(model(image))
    assert output_error([reference], [np.asarray(published()(image))]) < 1e-5
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(loaded(image), reference)


def test_layers_start_as_published():
    keras.utils.set_random_seed(3)
    model = abpn("x3")
    kernels = [model.get_layer(f"conv.{i}").get_weights()[0] for i in (1, 2)]
    for kernel in kernels:  # Glorot normal: variance 2 / (fan in + fan out)
        np.testing.assert_allclose(kernel.std(), np.sqrt(2 / (2 * 28 * 9)), rtol=0.05)
    assert not np.array_equal(*kernels)
    assert not model.get_layer("up2").get_weights()[1].any()


def test_files_compute_the_network_with_builtin_operators():
    model, image = deploy(published((16, 24, 3))), smooth(16, 24)
    reference, card = [np.asarray(model(image))], NETWORK.card("x3")
    content = to_tflite(model, "float32")
    assert foreign_operators(content) == []
    assert output_error(reference, LiteRTEngine(content, card)(image)) < 1e-4

    quantized = quantize_aware(model)
    calibrate(quantized, image)
    content = to_tflite(quantized, "int8", io="uint8")
    assert foreign_operators(content) == [] and float_operators(content) == []
    simulated = signal_to_noise(reference, [np.asarray(quantized(image, training=False))])
    outputs = LiteRTEngine(content, card)(image)
    assert signal_to_noise(reference, outputs) > simulated - 1.5 > 10.0


@pytest.mark.parametrize("arguments", [("x8",), ("x3", (8, 8, 1))])
def test_wrong_arguments_are_named(arguments):
    with pytest.raises(ValueError, match=r"x8|\(8, 8, 1\)"):
        abpn(*arguments)


def test_a_foreign_checkpoint_tells_nothing():
    assert NETWORK.infer({"up1.weight": np.zeros((27, 28, 3, 3))}) == {}
