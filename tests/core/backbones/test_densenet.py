"""DenseNet-121 by torchvision's names, shapes and counts; there is no golden file of it."""

import keras
import numpy as np
import pytest

from core.backbones.densenet import NETWORK, REPEATS, densenet
from core.checkpoints import load_torch_state, torch_state

LAYER, BEFORE = "features.denseblock1.denselayer2", "features.denseblock1.denselayer1"


def published_shapes(classes: int) -> dict[str, tuple[int, ...]]:
    """Return the entries of torchvision's state dict, from the paper's Table 1 and its names."""
    shapes: dict[str, tuple[int, ...]] = {"features.conv0.weight": (64, 3, 7, 7)}

    def norm(name, width):
        leaves = ("weight", "bias", "running_mean", "running_var")
        shapes.update({f"{name}.{leaf}": (width,) for leaf in leaves})

    norm("features.norm0", 64)
    width = 64
    for block, layers in enumerate((6, 12, 24, 16), 1):
        for layer in range(1, layers + 1):
            path = f"features.denseblock{block}.denselayer{layer}"
            norm(f"{path}.norm1", width)
            shapes[f"{path}.conv1.weight"] = (128, width, 1, 1)
            norm(f"{path}.norm2", 128)
            shapes[f"{path}.conv2.weight"] = (32, 128, 3, 3)
            width += 32
        if block < 4:
            norm(f"features.transition{block}.norm", width)
            width //= 2
            shapes[f"features.transition{block}.conv.weight"] = (width, 2 * width, 1, 1)
    norm("features.norm5", width)
    return {**shapes, "classifier.weight": (classes, width), "classifier.bias": (classes,)}


@pytest.fixture(scope="module")
def model():
    return densenet(input_shape=(32, 32, 3), classes=20)


def test_has_torchvisions_names_and_shapes(model):
    found = {name: value.shape for name, value in torch_state(model).items()}
    assert found == published_shapes(20)


def test_has_as_many_parameters_as_published_of_aqua20(model):
    assert sum(np.prod(w.shape) for w in model.trainable_weights) == 6_974_356


def test_the_published_file_loads_by_its_older_names(model):
    """In densenet121-a639ec97.pth the layers are called norm.1, conv.1, norm.2 and conv.2."""
    rng = np.random.default_rng(0)
    state = {}
    for name, shape in published_shapes(20).items():
        if "denselayer" in name:
            for part in ("norm", "conv"):
                name = name.replace(f".{part}1.", f".{part}.1.").replace(
                    f".{part}2.", f".{part}.2."
                )
        state[name] = rng.standard_normal(shape).astype(np.float32)
    assert f"{LAYER}.norm.2.running_var" in state and f"{LAYER}.conv.1.weight" in state
    assert NETWORK.infer(state) == {"variant": "121", "classes": 20}
    longer = {**state, "features.denseblock3.denselayer25.conv.2.weight": np.zeros((32, 128, 3, 3))}
    assert NETWORK.infer(longer) == {"classes": 20}
    fresh = densenet(input_shape=(32, 32, 3), classes=20)
    assert load_torch_state(fresh, NETWORK.convert_state(state)).complete
    kernel = fresh.get_layer(f"{LAYER}.conv1").kernel
    np.testing.assert_array_equal(kernel, state[f"{LAYER}.conv.1.weight"].transpose(2, 3, 1, 0))


def test_a_layer_keeps_what_came_in_and_adds_normalised_convolutions():
    keras.utils.set_random_seed(0)
    small = densenet(input_shape=(32, 64, 3), classes=None, depths=(6, 1, 1, 1))
    rng = np.random.default_rng(0)
    state = {
        name: rng.uniform(0.5, 1.5, value.shape) if value.ndim == 1
        else rng.standard_normal(value.shape) / np.sqrt(np.prod(value.shape[1:]))
        for name, value in torch_state(small).items()
    }  # fmt: skip
    load_torch_state(small, {name: value.astype(np.float32) for name, value in state.items()})
    ends = keras.Model(small.input, [small.get_layer(n).output for n in (BEFORE, LAYER)])
    before, found = (np.asarray(x[0], np.float64) for x in ends(rng.random((1, 32, 64, 3), "f")))

    def rectified(x, number):
        factor, shift, mean, variance = (
            state[f"{LAYER}.norm{number}.{leaf}"]
            for leaf in ("weight", "bias", "running_mean", "running_var")
        )
        return np.maximum((x - mean) / np.sqrt(variance + 1e-5) * factor + shift, 0)

    narrow = rectified(before, 1) @ state[f"{LAYER}.conv1.weight"][:, :, 0, 0].T
    padded = np.pad(rectified(narrow, 2), ((1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    added = np.einsum("hwcij,ocij->hwo", windows, state[f"{LAYER}.conv2.weight"])
    expected = np.concatenate([before, added], axis=-1)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_starts_as_torchvision_starts_it(model):
    kernel = np.asarray(model.get_layer("features.denseblock4.denselayer1.conv1").kernel)
    assert kernel.std() == pytest.approx(np.sqrt(2 / kernel.shape[2]), rel=0.02)
    assert not np.any(model.get_layer("features.norm5").beta)


def test_fewer_layers_keep_the_names_of_the_blocks_ends():
    small = densenet(input_shape=(64, 64, 3), depths=(1, 1, 1, 1))
    assert [tensor.shape[1:3] for tensor in NETWORK.pyramid(small).outputs] == [
        (64 // stride, 64 // stride) for stride in sorted(NETWORK.features)
    ]
    for depths in [(1, 1, 1), tuple(repeats + 1 for repeats in REPEATS), (0,) * 4]:
        with pytest.raises(ValueError, match=r"4 numbers from 1 to those of \(6, 12, 24, 16"):
            densenet(depths=depths)
