"""ConvNeXt-Base by torchvision's names, shapes and counts; there is no golden file of it."""

import math

import keras
import numpy as np
import pytest

from core.backbones.convnext import NETWORK, STAGES, convnext
from core.checkpoints import load_torch_state, torch_state

LAST = {1: (2,), 3: (2,), 5: (26,), 7: (2,)}  # feature → its blocks, where each stage has one
ALL = {1: range(3), 3: range(3), 5: range(27), 7: range(3)}
FEW = {"input_shape": (64, 96, 3), "depths": (1, 1, 1, 1)}
BLOCK = "features.3.2"


def published_shapes(blocks, classes: int) -> dict[str, tuple[int, ...]]:
    """Return the entries of torchvision's state dict, from the paper and its names."""
    shapes: dict[str, tuple[int, ...]] = {}

    def add(name, *shape):
        shapes.update({f"{name}.weight": shape, f"{name}.bias": shape[:1]})

    add("features.0.0", 128, 3, 4, 4)
    add("features.0.1", 128)
    for feature, width in ((1, 128), (3, 256), (5, 512), (7, 1024)):
        if feature > 1:
            add(f"features.{feature - 1}.0", width // 2)
            add(f"features.{feature - 1}.1", width, width // 2, 2, 2)
        for i in blocks[feature]:
            name = f"features.{feature}.{i}"
            shapes[f"{name}.layer_scale"] = (width, 1, 1)
            add(f"{name}.block.0", width, 1, 7, 7)
            add(f"{name}.block.2", width)
            add(f"{name}.block.3", 4 * width, width)
            add(f"{name}.block.5", width, 4 * width)
    add("classifier.0", 1024)
    add("classifier.2", classes, 1024)
    return shapes


def random_state(classes: int = 5) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        name: rng.standard_normal(shape, np.float32) / np.float32(math.prod(shape[1:])) ** 0.5
        for name, shape in published_shapes(LAST, classes).items()
    }


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return convnext(classes=5, **FEW)


def test_has_torchvisions_names_and_shapes(model):
    found = {name: value.shape for name, value in torch_state(model).items()}
    assert found == published_shapes(LAST, 5)


def test_all_blocks_together_have_the_published_parameters():
    """The contract counts those of the network with 1000 classes; its blocks are these."""
    for classes, parameters in ((1000, 88_591_464), (20, 87_586_964)):
        shapes = published_shapes(ALL, classes).values()
        assert sum(math.prod(shape) for shape in shapes) == parameters


def test_starts_as_torchvision_starts_it():
    fresh = convnext(classes=None, **FEW)
    state = torch_state(fresh)
    for name in (f"{BLOCK}.block.0", f"{BLOCK}.block.5", "features.4.1"):
        assert state[f"{name}.weight"].std() == pytest.approx(0.02, rel=0.05)
        assert not state[f"{name}.bias"].any()
    np.testing.assert_array_equal(state[f"{BLOCK}.layer_scale"].ravel(), np.float32([1e-6] * 256))


def test_a_block_adds_what_it_makes_of_every_position(model):
    """In float64: filter each channel, normalise over channels, two linear layers, scale, add."""
    state = random_state()
    assert load_torch_state(model, state).complete
    names = ("features.2.1", f"{BLOCK}.sum")
    ends = keras.Model(model.input, [model.get_layer(name).output for name in names])
    x, found = (
        np.asarray(tensor[0], np.float64)
        for tensor in ends(np.random.default_rng(1).random((1, 64, 96, 3), "f"))
    )

    def of(name):
        return (np.float64(state[f"{BLOCK}.block.{name}.{leaf}"]) for leaf in ("weight", "bias"))

    kernel, bias = of(0)
    padded = np.pad(x, ((3, 3), (3, 3), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (7, 7), axis=(0, 1))
    y = np.einsum("hwcij,cij->hwc", windows, kernel[:, 0]) + bias
    factor, shift = of(2)
    centred = y - y.mean(-1, keepdims=True)
    y = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * factor + shift
    matrix, bias = of(3)
    y = y @ matrix.T + bias
    y = y * (1 + np.vectorize(math.erf)(y / math.sqrt(2))) / 2
    matrix, bias = of(5)
    y = y @ matrix.T + bias
    expected = x + y * state[f"{BLOCK}.layer_scale"].ravel()
    assert found.shape == (8, 12, 256)
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_training_leaves_out_blocks_of_whole_samples_the_last_ones_most(model):
    name = "stochastic_depth"
    rates = [layer.rate for layer in model.layers if layer.name.endswith(name)]
    np.testing.assert_allclose(rates, [1 / 6, 1 / 3, 1 / 2])  # a rate of 0 needs no layer
    layer = model.get_layer(f"features.7.2.{name}")
    kept = np.asarray(layer(np.ones((400, 2, 2, 3), np.float32), training=True)).reshape(400, -1)
    assert {*kept[:, 0]} == {0.0, 2.0} and (kept == kept[:, :1]).all()
    assert 0.4 < (kept[:, 0] == 0).mean() < 0.6


def test_a_state_tells_the_network_from_smaller_ones():
    last = {"features.5.26.layer_scale": np.ones((512, 1, 1))}
    head = {"classifier.2.weight": np.ones((20, 1024))}
    assert NETWORK.infer({**last, **head}) == {"variant": "base", "classes": 20}
    small = {"features.5.26.layer_scale": np.ones((384, 1, 1))}  # of the small one
    tiny = {"features.5.8.layer_scale": np.ones((384, 1, 1))}
    assert NETWORK.infer({**small, **head}) == NETWORK.infer({**tiny, **head}) == {"classes": 20}


def test_without_classifier_it_gives_that_ones_inputs(model):
    bare, state = convnext(classes=None, **FEW), random_state()
    load_torch_state(model, state)
    report = load_torch_state(bare, state, ignored=NETWORK.skipped(bare))
    assert report.complete and NETWORK.skipped(model) == ()
    image = np.random.default_rng(1).random((2, 64, 96, 3), "f")
    expected = np.asarray(bare(image)) @ state["classifier.2.weight"].T + state["classifier.2.bias"]
    np.testing.assert_allclose(model(image), expected, atol=1e-5 * np.abs(expected).max())


def test_fewer_blocks_keep_the_names_of_the_stages_ends(model):
    assert [tensor.shape[1:3] for tensor in NETWORK.pyramid(model).outputs] == [
        (64 // stride, 96 // stride) for stride in sorted(NETWORK.features)
    ]
    for depths in [(1, 1, 1), tuple(repeats + 1 for _, repeats in STAGES), (0,) * 4]:
        with pytest.raises(ValueError, match=r"4 numbers from 1 to those of \(3, 3, 27, 3"):
            convnext(depths=depths)
