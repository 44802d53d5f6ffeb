"""VGG-19 by torchvision's names, shapes and counts; there is no golden file of it."""

import keras
import network_checks
import numpy as np
import pytest

from core.backbones.vgg import NETWORK, STAGES, vgg
from core.checkpoints import load_torch_state, parameter_shapes, torch_state

FEW = {"depths": (1, 1, 1, 1, 2), "hidden": 16, "classes": 5}
HIDDEN, LAST = "classifier.0.weight", "features.34"


def published_shapes(classes: int) -> dict[str, tuple[int, ...]]:
    """Return the entries of torchvision's state dict, from the paper's Table 1 and its names."""
    shapes: dict[str, tuple[int, ...]] = {}

    def add(name, *shape):
        shapes.update({f"{name}.weight": shape, f"{name}.bias": shape[:1]})

    number, before = 0, 3
    for width in (64, 64, 0, 128, 128, 0, *4 * [256], 0, *4 * [512], 0, *4 * [512], 0):
        if width:
            add(f"features.{number}", width, before, 3, 3)
            before = width
        number += 2 if width else 1
    add("classifier.0", 4096, 25088)
    add("classifier.3", 4096, 4096)
    add("classifier.6", classes, 4096)
    return shapes


@pytest.fixture(scope="module")
def symbolic():
    """The whole network without memory for its 140 million weights."""
    with keras.StatelessScope(initialize_variables=False):
        return vgg(classes=20)


@pytest.fixture(scope="module")
def small():
    """One or two convolutions a stage, with weights that let signals through."""
    model = vgg(input_shape=(64, 96, 3), **FEW)
    rng = np.random.default_rng(0)
    state = {
        name: rng.standard_normal(value.shape, np.float32)
        / np.float32(np.sqrt(np.prod(value.shape[1:])))
        for name, value in torch_state(model).items()
    }
    assert load_torch_state(model, state).complete
    return model


def published_layout(model) -> dict[str, np.ndarray]:
    """Return a network's state as torchvision stores it."""
    state = torch_state(model)
    return {**state, HIDDEN: state[HIDDEN].reshape(FEW["hidden"], -1)}


def test_has_torchvisions_names_and_shapes(symbolic):
    found = parameter_shapes(symbolic)
    found[HIDDEN] = (found[HIDDEN][0], np.prod(found[HIDDEN][1:]))
    assert found == published_shapes(20)


def test_has_as_many_parameters_as_published_of_aqua20(symbolic):
    assert network_checks.parameters(symbolic) == 139_652_180


def test_the_names_of_a_state_tell_variant_and_classes():
    state = {name: np.broadcast_to(np.float32(0), s) for name, s in published_shapes(20).items()}
    assert NETWORK.infer(state) == {"variant": "19", "classes": 20}
    assert NETWORK.convert_state(state)[HIDDEN].shape == (4096, 512, 7, 7)
    shorter = {name: array for name, array in state.items() if not name.startswith(LAST)}
    normalised = {**state, "features.37.weight": np.zeros((512, 512, 3, 3))}  # vgg19_bn
    assert NETWORK.infer(shorter) == NETWORK.infer(normalised) == {"classes": 20}


def test_the_classifier_reads_a_grid_of_means_channel_by_channel(small):
    """PyTorch flattens (C, 7, 7), and the 7x7 are means of windows of the 2x3 there are."""
    state = published_layout(small)
    assert state[HIDDEN].shape == (16, 25088)
    fresh = vgg(input_shape=(64, 96, 3), **FEW)
    assert load_torch_state(fresh, NETWORK.convert_state(state)).complete
    ends = keras.Model(fresh.input, [fresh.get_layer(NETWORK.features[32]).output, fresh.output])
    maps, logits = ends(network_checks.smooth(2, 64, 96))
    grid = np.empty((2, 512, 7, 7))
    for i in range(7):
        rows = slice(2 * i // 7, -(-2 * (i + 1) // 7))
        for j in range(7):
            columns = slice(3 * j // 7, -(-3 * (j + 1) // 7))
            grid[:, :, i, j] = np.asarray(maps, np.float64)[:, rows, columns].mean((1, 2))
    x = grid.reshape(2, -1)
    for n in (0, 3, 6):
        x = x @ state[f"classifier.{n}.weight"].T + state[f"classifier.{n}.bias"]
        x = np.maximum(x, 0) if n < 6 else x
    assert np.abs(np.asarray(logits) - x).max() < 1e-4 * np.abs(x).max()


def test_a_stage_convolves_rectifies_and_takes_the_largest_of_two_by_two(small):
    names = ("features.32", "features.33", "features.34", "features.35", "features.36")
    before, _, _, after, pooled = (
        np.asarray(x[0], np.float64)
        for x in keras.Model(small.input, [small.get_layer(n).output for n in names])(
            network_checks.smooth(1, 64, 96)
        )
    )
    state = torch_state(small)
    padded = np.pad(np.maximum(before, 0), ((1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    expected = np.einsum("hwcij,ocij->hwo", windows, state[f"{LAST}.weight"])
    expected = np.maximum(expected + state[f"{LAST}.bias"], 0)
    assert np.abs(after - expected).max() < 1e-4 * expected.max()
    height, width, channels = expected.shape
    blocks = expected.reshape(height // 2, 2, width // 2, 2, channels).max((1, 3))
    assert np.abs(pooled - blocks).max() < 1e-4 * expected.max()


def test_at_the_published_size_nothing_is_between_features_and_classifier(symbolic):
    assert symbolic.get_layer("classifier.0").input is symbolic.get_layer("features.36").output


def test_without_classifier_sizes_are_open_and_its_weights_passed_over(small):
    body = vgg(input_shape=(None, None, 3), classes=None, depths=FEW["depths"])
    ignored = NETWORK.skipped(body)
    assert load_torch_state(body, published_layout(small), ignored=ignored).complete
    images = network_checks.smooth(1, 64, 96)
    maps = keras.Model(small.input, small.get_layer("features.36").output)(images)
    np.testing.assert_allclose(body(images), np.mean(maps, (1, 2)), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="no None where there is a classifier"):
        vgg(input_shape=(None, 64, 3))


def test_starts_as_torchvision_starts_it():
    keras.utils.set_random_seed(0)
    model = vgg(input_shape=(32, 32, 3), **FEW)
    kernel = np.asarray(model.get_layer(LAST).kernel)
    assert kernel.std() == pytest.approx(np.sqrt(2 / (9 * 512)), rel=0.02)
    assert np.std(model.get_layer("classifier.0").kernel) == pytest.approx(0.01, rel=0.05)
    assert not np.any(model.get_layer("classifier.3").bias)


def test_fewer_convolutions_keep_the_names_of_the_stages_ends():
    with pytest.raises(ValueError, match="5 numbers from 1 to those"):
        vgg(depths=[repeats + 1 for _, repeats in STAGES])
    small = vgg(input_shape=(64, 64, 3), depths=(1,) * 5, classes=None)
    assert [tensor.shape[1:3] for tensor in NETWORK.pyramid(small).outputs] == [
        (64 // stride, 64 // stride) for stride in sorted(NETWORK.features)
    ]
