"""Inception-v3 by torchvision's names, shapes and counts; there is no golden file of it."""

import keras
import network_checks
import numpy as np
import pytest
import torch_files

from core.backbones.inceptionv3 import MODULES, NETWORK, inceptionv3
from core.checkpoints import load_torch_state, parameter_shapes, read, torch_state
from core.model_card import IMAGENET_MEAN, IMAGENET_STD

FEW = {"depths": (1, 1, 1), "classes": 5}
# Of each module: its input's channels, and of each convolution in it input, output and window.
STEM = [
    ("Conv2d_1a_3x3", 3, 32, 3, 3), ("Conv2d_2a_3x3", 32, 32, 3, 3),
    ("Conv2d_2b_3x3", 32, 64, 3, 3), ("Conv2d_3b_1x1", 64, 80, 1, 1),
    ("Conv2d_4a_3x3", 80, 192, 3, 3),
]  # fmt: skip


def of_35(name: str, width: int, after: int) -> list[tuple]:
    parts = [
        ("branch1x1", width, 64, 1, 1), ("branch5x5_1", width, 48, 1, 1),
        ("branch5x5_2", 48, 64, 5, 5), ("branch3x3dbl_1", width, 64, 1, 1),
        ("branch3x3dbl_2", 64, 96, 3, 3), ("branch3x3dbl_3", 96, 96, 3, 3),
        ("branch_pool", width, after, 1, 1),
    ]  # fmt: skip
    return [(f"{name}.{part}", *shape) for part, *shape in parts]


def of_17(name: str, c: int) -> list[tuple]:
    parts = [
        ("branch1x1", 768, 192, 1, 1), ("branch7x7_1", 768, c, 1, 1), ("branch7x7_2", c, c, 1, 7),
        ("branch7x7_3", c, 192, 7, 1), ("branch7x7dbl_1", 768, c, 1, 1),
        ("branch7x7dbl_2", c, c, 7, 1), ("branch7x7dbl_3", c, c, 1, 7),
        ("branch7x7dbl_4", c, c, 7, 1), ("branch7x7dbl_5", c, 192, 1, 7),
        ("branch_pool", 768, 192, 1, 1),
    ]  # fmt: skip
    return [(f"{name}.{part}", *shape) for part, *shape in parts]


def of_8(name: str, width: int) -> list[tuple]:
    parts = [
        ("branch1x1", width, 320, 1, 1), ("branch3x3_1", width, 384, 1, 1),
        ("branch3x3_2a", 384, 384, 1, 3), ("branch3x3_2b", 384, 384, 3, 1),
        ("branch3x3dbl_1", width, 448, 1, 1), ("branch3x3dbl_2", 448, 384, 3, 3),
        ("branch3x3dbl_3a", 384, 384, 1, 3), ("branch3x3dbl_3b", 384, 384, 3, 1),
        ("branch_pool", width, 192, 1, 1),
    ]  # fmt: skip
    return [(f"{name}.{part}", *shape) for part, *shape in parts]


REDUCTIONS = [
    ("Mixed_6a.branch3x3", 288, 384, 3, 3), ("Mixed_6a.branch3x3dbl_1", 288, 64, 1, 1),
    ("Mixed_6a.branch3x3dbl_2", 64, 96, 3, 3), ("Mixed_6a.branch3x3dbl_3", 96, 96, 3, 3),
    ("Mixed_7a.branch3x3_1", 768, 192, 1, 1), ("Mixed_7a.branch3x3_2", 192, 320, 3, 3),
    ("Mixed_7a.branch7x7x3_1", 768, 192, 1, 1), ("Mixed_7a.branch7x7x3_2", 192, 192, 1, 7),
    ("Mixed_7a.branch7x7x3_3", 192, 192, 7, 1), ("Mixed_7a.branch7x7x3_4", 192, 192, 3, 3),
]  # fmt: skip


def published_shapes(classes: int) -> dict[str, tuple[int, ...]]:
    """Return the entries of torchvision's state dict but for the auxiliary head's, by its names."""
    convolutions = [
        *STEM,
        *of_35("Mixed_5b", 192, 32), *of_35("Mixed_5c", 256, 64), *of_35("Mixed_5d", 288, 64),
        *of_17("Mixed_6b", 128), *of_17("Mixed_6c", 160), *of_17("Mixed_6d", 160),
        *of_17("Mixed_6e", 192), *of_8("Mixed_7b", 1280), *of_8("Mixed_7c", 2048), *REDUCTIONS,
    ]  # fmt: skip
    shapes: dict[str, tuple[int, ...]] = {"fc.weight": (classes, 2048), "fc.bias": (classes,)}
    for name, width, filters, height, breadth in convolutions:
        shapes[f"{name}.conv.weight"] = (filters, width, height, breadth)
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.bn.{leaf}"] = (filters,)
    return shapes


@pytest.fixture(scope="module")
def symbolic():
    """The whole network, no weights made."""
    with keras.StatelessScope(initialize_variables=False):
        return inceptionv3(input_shape=(224, 224, 3), classes=20)


@pytest.fixture(scope="module")
def started():
    """One module on each grid, and its state as it starts."""
    keras.utils.set_random_seed(0)
    model = inceptionv3(input_shape=(80, 120, 3), **FEW)
    return model, torch_state(model)


@pytest.fixture(scope="module")
def small(started):
    """The same with weights that let signals through."""
    model, _ = started
    rng = np.random.default_rng(0)
    state = {
        name: rng.uniform(0.5, 1.5, value.shape) if value.ndim == 1
        else rng.standard_normal(value.shape) / np.sqrt(np.prod(value.shape[1:]))
        for name, value in torch_state(model).items()
    }  # fmt: skip
    state = {name: value.astype(np.float32) for name, value in state.items()}
    assert load_torch_state(model, state).complete
    return model


def test_has_torchvisions_names_and_shapes(symbolic):
    assert parameter_shapes(symbolic) == published_shapes(20)


def test_has_as_many_parameters_as_published_of_aqua20(symbolic):
    assert network_checks.parameters(symbolic) == 21_826_548


def test_the_published_file_loads_without_its_auxiliary_head(small, tmp_path):
    state = torch_state(small)
    auxiliary = {
        "AuxLogits.conv0.conv.weight": np.zeros((128, 768, 1, 1), np.float32),
        "AuxLogits.conv0.bn.num_batches_tracked": np.array(3),
        "AuxLogits.fc.bias": np.zeros(1000, np.float32),
    }
    file = torch_files.write_zip(tmp_path / "inception.pth", {**state, **auxiliary})
    published = NETWORK.published(read(file))
    assert NETWORK.infer(published) == {"variant": "v3", "classes": 5}
    image = network_checks.smooth(1, 80, 120)
    expected = np.asarray(small(image))
    load_torch_state(small, {name: np.zeros_like(array) for name, array in state.items()})
    report = load_torch_state(small, published, ignored=NETWORK.ignored)
    np.testing.assert_array_equal(small(image), expected)
    assert report.complete and set(report.ignored) == set(auxiliary)
    assert NETWORK.notes(published, "a.pth") == [
        "a.pth: the auxiliary head (AuxLogits) is left out; it serves training alone."
    ]
    assert NETWORK.notes(state, "a.pth") == []


def convolved(x: np.ndarray, state, name: str) -> np.ndarray:
    """Return a stride-1 convolution with its zeros around, normalised with eps 1e-3, rectified."""
    kernel = state[f"{name}.conv.weight"]
    _, _, height, width = kernel.shape
    padded = np.pad(x, ((height // 2,) * 2, (width // 2,) * 2, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(0, 1))
    y = np.einsum("hwcij,ocij->hwo", windows, kernel)
    factor, shift, mean, variance = (
        state[f"{name}.bn.{leaf}"] for leaf in ("weight", "bias", "running_mean", "running_var")
    )
    return np.maximum((y - mean) / np.sqrt(variance + 1e-3) * factor + shift, 0)


def test_a_modules_pooling_counts_the_zeros_around(small):
    ends = [small.get_layer(n).output for n in ("maxpool2", "Mixed_5d.branch_pool.relu")]
    model = keras.Model(small.input, ends)
    before, found = (np.asarray(x[0], np.float64) for x in model(network_checks.smooth(1, 80, 120)))
    padded = np.pad(before, ((1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    means = windows.sum((-1, -2)) / 9
    expected = convolved(means, torch_state(small), "Mixed_5d.branch_pool")
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_the_last_modules_branches_part_before_they_are_joined(small):
    """The 3x3 is a 1x3 beside a 3x1, and the channels come in torchvision's order."""
    ends = [small.get_layer(name).output for name in ("Mixed_7a", "Mixed_7c")]
    before, found = (
        np.asarray(x[0], np.float64)
        for x in keras.Model(small.input, ends)(network_checks.smooth(1, 80, 120))
    )
    state, name = torch_state(small), "Mixed_7c.branch3x3"
    narrow = convolved(before, state, f"{name}_1")
    twice = convolved(convolved(before, state, f"{name}dbl_1"), state, f"{name}dbl_2")
    parts = [
        convolved(before, state, "Mixed_7c.branch1x1"),
        *(convolved(narrow, state, f"{name}_2{letter}") for letter in "ab"),
        *(convolved(twice, state, f"{name}dbl_3{letter}") for letter in "ab"),
    ]
    expected = np.concatenate(parts, axis=-1)
    assert found.shape[-1] == expected.shape[-1] + 192
    error = np.abs(found[..., : expected.shape[-1]] - expected).max()
    assert error < 1e-4 * np.abs(expected).max()


def test_the_card_normalises_as_the_published_input_transform_does():
    """Torchvision takes ImageNet's mean and deviation back out inside of the network."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 3))
    outside = (pixels / 255 - IMAGENET_MEAN) / IMAGENET_STD
    inside = outside * (np.array(IMAGENET_STD) / 0.5) + (np.array(IMAGENET_MEAN) - 0.5) / 0.5
    np.testing.assert_allclose(NETWORK.card("v3").normalise(pixels), inside, atol=1e-6)


def test_starts_as_torchvision_starts_it(started):
    _, state = started
    for name in ("Mixed_7c.branch3x3_2b.conv.weight", "fc.weight"):
        assert state[name].std() == pytest.approx(0.1, rel=0.03)
    assert 0 < np.abs(state["fc.bias"]).max() <= 1 / np.sqrt(2048)


def test_fewer_modules_are_the_last_of_each_grid(small):
    joined = [x.name for x in small.layers if isinstance(x, keras.layers.Concatenate)]
    assert joined == ["Mixed_5d", "Mixed_6a", "Mixed_6e", "Mixed_7a", "Mixed_7c"]
    with pytest.raises(ValueError, match=r"3 numbers from 1 to those of \(3, 4, 2\)"):
        inceptionv3(depths=[len(modules) + 1 for modules in MODULES])
