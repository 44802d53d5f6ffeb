"""RegNetX-32GF by torchvision's names, shapes and counts; there is no golden file of it."""

import math

import keras
import numpy as np
import pytest

from core.backbones.regnet import NETWORK, STAGES, regnet
from core.checkpoints import load_torch_state, torch_state

LAST = {1: (1,), 2: (6,), 3: (12,), 4: (0,)}  # stage → its blocks, where each has one
FEW = {"input_shape": (56, 88, 3), "depths": (1, 1, 1, 1)}
BLOCK = "trunk_output.block2.block2-6"


def published_shapes(blocks, classes: int) -> dict[str, tuple[int, ...]]:
    """Return the entries of torchvision's state dict, from the paper and its names."""
    shapes: dict[str, tuple[int, ...]] = {}

    def add(name, *shape):
        shapes[f"{name}.0.weight"] = shape
        leaves = ("weight", "bias", "running_mean", "running_var")
        shapes.update({f"{name}.1.{leaf}": shape[:1] for leaf in leaves})

    add("stem", 32, 3, 3, 3)
    before = 32
    for stage, width in enumerate((336, 672, 1344, 2520), 1):
        for i in blocks[stage]:
            name = f"trunk_output.block{stage}.block{stage}-{i}"
            if before != width:
                add(f"{name}.proj", width, before, 1, 1)
            add(f"{name}.f.a", width, before, 1, 1)
            add(f"{name}.f.b", width, 168, 3, 3)
            add(f"{name}.f.c", width, width, 1, 1)
            before = width
    return {**shapes, "fc.weight": (classes, before), "fc.bias": (classes,)}


@pytest.fixture(scope="module")
def state() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        name: rng.standard_normal(shape, np.float32) / np.float32(math.prod(shape[1:])) ** 0.5
        if len(shape) > 1
        else rng.uniform(0.5, 1.5, shape).astype(np.float32)
        for name, shape in published_shapes(LAST, 5).items()
    }


@pytest.fixture(scope="module")
def fresh() -> keras.Model:
    keras.utils.set_random_seed(0)
    return regnet(classes=5, **FEW)


@pytest.fixture(scope="module")
def starts(fresh) -> list[np.ndarray]:
    """Two kernels as they start."""
    return [fresh.get_layer(name).kernel.numpy() for name in (f"{BLOCK}.f.b.0", "fc")]


@pytest.fixture(scope="module")
def model(fresh, starts, state):
    assert load_torch_state(fresh, state).complete
    return fresh


def test_has_torchvisions_names_and_shapes(model):
    found = {name: value.shape for name, value in torch_state(model).items()}
    assert found == published_shapes(LAST, 5)


def test_all_blocks_together_have_the_published_parameters():
    """The contract counts those of the network with 1000 classes; its blocks are these."""
    every = {stage: range(repeats) for stage, (_, repeats) in enumerate(STAGES, 1)}
    for classes, parameters in ((1000, 107_811_560), (20, 105_340_980)):
        shapes = published_shapes(every, classes).items()
        learned = {name: shape for name, shape in shapes if ".running_" not in name}
        assert sum(math.prod(shape) for shape in learned.values()) == parameters


def test_widths_and_depths_are_those_of_the_papers_rule():
    """Eq. 2 to 4: a linear rule, its values on a grid of powers, whole groups of 168 channels."""
    linear = 320 + 69.86 * np.arange(23)
    widths = 320 * 2.0 ** np.round(np.log2(linear / 320))
    widths, repeats = np.unique(8 * np.round(widths / 8), return_counts=True)
    in_groups = 168 * np.round(widths / 168)
    assert [*zip(in_groups.astype(int), repeats, strict=True)] == [*STAGES]


def test_starts_as_torchvision_starts_it(starts):
    grouped, classifier = starts
    assert grouped.std() == pytest.approx(math.sqrt(2 / (9 * 672)), rel=0.02)
    assert classifier.std() == pytest.approx(0.01, rel=0.02)


def test_a_block_filters_in_groups_of_168_channels_and_adds_its_input(model, state):
    names = ("trunk_output.block1.block1-1", BLOCK)
    ends = keras.Model(model.input, [model.get_layer(name).output for name in names])
    image = np.random.default_rng(1).random((1, 56, 88, 3), "f")
    before, found = (np.asarray(x[0], np.float64) for x in ends(image))
    assert before.shape == (14, 22, 336) and found.shape == (7, 11, 672)

    def normalised(y, name):
        factor, shift, mean, variance = (
            np.float64(state[f"{BLOCK}.{name}.1.{leaf}"])
            for leaf in ("weight", "bias", "running_mean", "running_var")
        )
        return (y - mean) / np.sqrt(variance + 1e-5) * factor + shift

    def pointwise(y, name):
        return normalised(y @ np.float64(state[f"{BLOCK}.{name}.0.weight"])[:, :, 0, 0].T, name)

    y = np.maximum(pointwise(before, "f.a"), 0)
    padded = np.pad(y, ((1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))[::2, ::2]
    windows = windows.reshape(7, 11, 4, 168, 3, 3)
    kernel = np.float64(state[f"{BLOCK}.f.b.0.weight"]).reshape(4, 168, 168, 3, 3)
    y = np.einsum("hwgcij,gocij->hwgo", windows, kernel, optimize=True).reshape(7, 11, 672)
    y = pointwise(np.maximum(normalised(y, "f.b"), 0), "f.c")
    expected = np.maximum(y + pointwise(before[::2, ::2], "proj"), 0)
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_a_state_tells_the_network_from_others_of_its_family():
    last = "trunk_output.block3.block3-12.f.b.0.weight"
    head = {"fc.weight": np.ones((20, 2520))}
    assert NETWORK.infer({last: np.ones((1344, 168, 3, 3)), **head}) == {
        "variant": "x_32gf",
        "classes": 20,
    }
    longer = last.replace("-12", "-13")  # as RegNetX-8GF's, and of narrower groups
    for shapes in ({last: (1344, 120, 3, 3)}, {last: (1344, 168, 3, 3), longer: (1344, 168, 3, 3)}):
        state = {name: np.ones(shape) for name, shape in shapes.items()}
        assert NETWORK.infer({**state, **head}) == {"classes": 20}


def test_fewer_blocks_keep_the_names_of_the_stages_ends(model):
    assert [tensor.shape[1:3] for tensor in NETWORK.pyramid(model).outputs] == [
        (-(-56 // stride), -(-88 // stride)) for stride in sorted(NETWORK.features)
    ]
    for depths in [(1, 1, 1), tuple(repeats + 1 for _, repeats in STAGES), (0,) * 4]:
        with pytest.raises(ValueError, match=r"4 numbers from 1 to those of \(2, 7, 13, 1"):
            regnet(depths=depths)
