"""ABPN against the published network, stage by stage."""

import golden_files
import keras
import network_checks
import numpy as np
import pytest

from apps.super_resolution.models.abpn import NETWORK, VARIANTS, abpn, deploy
from core.checkpoints import load_torch_state

GOLDEN = golden_files.load("mobile-sr__abpn_x3")
STAGES = {"output": "pixel_shuffle"}


def published(input_shape=(None, None, 3)) -> keras.Model:
    model = abpn("x3", input_shape)
    load_torch_state(model, GOLDEN.state())
    return model


def smooth(height: int, width: int, count: int = 4) -> np.ndarray:
    return 255 * network_checks.smooth(count, height, width, block=4, uniform=True)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_agrees_with_the_published_network(prefix):
    inputs = GOLDEN.inputs(127.0, 60.0)
    state = NETWORK.published({f"{prefix}{k}": v for k, v in GOLDEN.state().items()})
    assert NETWORK.infer(state) == {"variant": "x3"}
    model = abpn("x3", inputs.shape[1:], clip=True)
    report = load_torch_state(model, NETWORK.convert_state(state))
    assert report.complete and len(report.matched) == len(GOLDEN.shapes)
    assert model.count_params() == GOLDEN.meta["params"]
    errors = GOLDEN.errors(model, inputs, lambda name: STAGES.get(name, name))
    assert max(errors.values()) < 1e-4, errors


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_network_starts_as_the_nearest_neighbour(variant):
    model = abpn(variant)
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
    network_checks.check_open_size(model, abpn("x3"), image)
    network_checks.check_saving(model, image, tmp_path)


def test_layers_start_as_published():
    keras.utils.set_random_seed(3)
    model = abpn("x3")
    kernels = [model.get_layer(f"conv.{i}").get_weights()[0] for i in (1, 2)]
    for kernel in kernels:  # Glorot normal: variance 2 / (fan in + fan out)
        np.testing.assert_allclose(kernel.std(), np.sqrt(2 / (2 * 28 * 9)), rtol=0.05)
    assert not np.array_equal(*kernels)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_first_steps_leave_units_on(seed):
    """With a random last layer, nearly all are off after ten of these, for two of the seeds."""
    keras.utils.set_random_seed(seed)
    model = abpn("x2", (16, 16, 3))
    images = smooth(16, 16, 16)
    targets = images.repeat(2, axis=1).repeat(2, axis=2)
    targets += np.float32(5) * np.random.default_rng(0).standard_normal(targets.shape, "float32")
    model.compile(keras.optimizers.Adam(1e-3), "mae")
    model.fit(images, targets, batch_size=16, epochs=20, verbose=0)
    seen = keras.Model(model.input, model.get_layer("up1.relu").output)(images)
    assert float(np.mean(np.asarray(seen) > 0)) > 0.02


def test_files_compute_the_network_with_builtin_operators():
    model, image = deploy(published((16, 24, 3))), smooth(16, 24)
    network_checks.check_float_file(model, NETWORK.card("x3"), image)
    network_checks.check_int8_file(model, NETWORK.card("x3"), image, io="uint8")


def test_a_foreign_checkpoint_tells_nothing():
    assert NETWORK.infer({"up1.weight": np.zeros((27, 28, 3, 3))}) == {}
