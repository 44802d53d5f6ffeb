"""ResNet-50 by torchvision's names, shapes and counts; there is no golden file of it."""

import keras
import numpy as np
import pytest

from core.backbones.resnet import NETWORK, STAGES, resnet
from core.checkpoints import load_torch_state, torch_state


def published_shapes(classes: int) -> dict[str, tuple[int, ...]]:
    """Return the entries of torchvision's state dict, from the paper's Table 1 and its names."""
    shapes: dict[str, tuple[int, ...]] = {}

    def norm(name, width):
        leaves = ("weight", "bias", "running_mean", "running_var")
        shapes.update({f"{name}.{leaf}": (width,) for leaf in leaves})

    shapes["conv1.weight"] = (64, 3, 7, 7)
    norm("bn1", 64)
    before = 64
    for stage, (within, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 1):
        for block in range(blocks):
            path = f"layer{stage}.{block}"
            sizes = ((within, before, 1), (within, within, 3), (4 * within, within, 1))
            for number, (wide, narrow, side) in enumerate(sizes, 1):
                shapes[f"{path}.conv{number}.weight"] = (wide, narrow, side, side)
                norm(f"{path}.bn{number}", wide)
            if block == 0:
                shapes[f"{path}.downsample.0.weight"] = (4 * within, before, 1, 1)
                norm(f"{path}.downsample.1", 4 * within)
            before = 4 * within
    return {**shapes, "fc.weight": (classes, 2048), "fc.bias": (classes,)}


@pytest.fixture(scope="module")
def model():
    return resnet(input_shape=(32, 32, 3), classes=20)


def test_has_torchvisions_names_and_shapes(model):
    found = {name: value.shape for name, value in torch_state(model).items()}
    assert found == published_shapes(20)
    assert len(published_shapes(1000)) == 267  # of 320, the counters of batches left out


def test_has_as_many_parameters_as_published_of_aqua20(model):
    assert sum(np.prod(w.shape) for w in model.trainable_weights) == 23_549_012


def test_a_published_state_tells_what_it_is_of():
    state = {name: np.zeros(shape, "f") for name, shape in published_shapes(20).items()}
    assert NETWORK.infer(state) == {"variant": "50", "classes": 20}
    deeper = {**state, "layer3.6.conv3.weight": np.zeros((1024, 256, 1, 1))}
    assert NETWORK.infer(deeper) == {"classes": 20}


def convolved(x, kernel, strides):
    """Convolve (H, W, C) by (O, C, k, k) as PyTorch does, zeros on all sides alike."""
    side = kernel.shape[-1]
    x = np.pad(x, ((side // 2,) * 2, (side // 2,) * 2, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(0, 1))
    return np.einsum("hwcij,ocij->hwo", windows[::strides, ::strides], kernel)


def test_a_bottleneck_strides_in_its_3x3_and_adds_the_projected_input():
    keras.utils.set_random_seed(0)
    small = resnet(input_shape=(32, 48, 3), classes=None, depths=(1, 1, 1, 1))
    rng = np.random.default_rng(0)
    state = {
        name: rng.uniform(0.5, 1.5, value.shape) if value.ndim == 1
        else rng.standard_normal(value.shape) / np.sqrt(np.prod(value.shape[1:]))
        for name, value in torch_state(small).items()
    }  # fmt: skip
    load_torch_state(small, {name: value.astype(np.float32) for name, value in state.items()})
    path = "layer2.3"
    ends = keras.Model(small.input, [small.get_layer(n).output for n in ("layer1.2", path)])
    before, found = (np.asarray(x[0], np.float64) for x in ends(rng.random((1, 32, 48, 3), "f")))

    def normed(x, name):
        factor, shift, mean, variance = (
            state[f"{path}.{name}.{leaf}"]
            for leaf in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(variance + 1e-5) * factor + shift

    y = before
    for number, strides in ((1, 1), (2, 2), (3, 1)):
        kernel = state[f"{path}.conv{number}.weight"]
        y = normed(convolved(y, kernel, strides), f"bn{number}")
        y = np.maximum(y, 0) if number < 3 else y
    shortcut = convolved(before, state[f"{path}.downsample.0.weight"], 2)
    expected = np.maximum(y + normed(shortcut, "downsample.1"), 0)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_fewer_blocks_keep_the_names_of_the_stages_ends():
    small = resnet(input_shape=(64, 64, 3), depths=(1, 1, 1, 1))
    assert [tensor.shape[1:3] for tensor in NETWORK.pyramid(small).outputs] == [
        (64 // stride, 64 // stride) for stride in sorted(NETWORK.features)
    ]
    for depths in [(1, 1, 1), tuple(repeats + 1 for _, repeats, _ in STAGES), (0,) * 4]:
        with pytest.raises(ValueError, match=r"4 numbers from 1 to those of \(3, 4, 6, 3"):
            resnet(depths=depths)
