"""Published weights land in the right place, completely or not at all."""

import keras
import numpy as np
import pytest

from core.checkpoints import load_torch_state, parameter_shapes, read, torch_state
from core.errors import UserError

layers = keras.layers


def network(*stack, shape=(8, 8, 3)) -> keras.Model:
    """Return a functional model of layers one after the other."""
    x = image = keras.Input(shape)
    for layer in stack:
        x = layer(x)
    return keras.Model(image, x, name="net")


def small_net() -> keras.Model:
    """The Keras twin of `SmallNet` in tests/data/checkpoints/generate.py."""
    return network(
        layers.Conv2D(8, 3, padding="same", name="stem.0"),
        layers.BatchNormalization(epsilon=1e-5, name="stem.1"),
        layers.PReLU(shared_axes=[1, 2], name="stem.2"),
        layers.DepthwiseConv2D(
            3, padding="same", depth_multiplier=2, use_bias=False, name="depthwise"
        ),
        layers.Conv2DTranspose(6, 2, strides=2, name="up"),
        layers.GroupNormalization(3, epsilon=1e-5, name="norm"),
        layers.Conv2D(4, 3, padding="same", groups=2, name="grouped"),
        layers.Lambda(lambda x: keras.ops.mean(x, axis=2)),
        layers.Conv1D(4, 3, padding="same", name="signal"),
        layers.GlobalAveragePooling1D(),
        layers.Dense(5, name="head.0"),
        layers.LayerNormalization(epsilon=1e-5, name="head.1"),
    )


def snapshot(model) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(weight) for weight in model.weights]


def unchanged(model, before) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(snapshot(model), before, strict=True))


def test_a_real_checkpoint_gives_pytorchs_output(real):
    model = small_net()
    report = load_torch_state(model, read(real / "small_net_zip.pth"))
    with np.load(real / "small_net.npz") as golden:
        image, expected = golden["image"], golden["output"]
    found = keras.ops.convert_to_numpy(model(image.transpose(0, 2, 3, 1)))
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
    assert report.complete
    assert list(report.ignored) == ["stem.1.num_batches_tracked"]
    assert report.matched["depthwise.weight"] == (16, 1, 3, 3)


def test_there_and_back(real):
    state = read(real / "small_net_module.pth")
    model = small_net()
    load_torch_state(model, state)
    back = torch_state(model)
    del state["stem.1.num_batches_tracked"]
    assert list(back) == list(state)
    assert all(np.array_equal(back[name], state[name]) for name in state)
    assert parameter_shapes(model) == {name: array.shape for name, array in state.items()}


def test_layouts_element_by_element():
    model = network(
        layers.Conv2D(4, (1, 2), groups=1, use_bias=False, name="conv"),
        layers.DepthwiseConv2D((1, 2), depth_multiplier=3, use_bias=False, name="dw"),
        layers.Conv2DTranspose(5, (1, 2), use_bias=False, name="up"),
    )
    state = {
        name: np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        for name, shape in parameter_shapes(model).items()
    }
    assert {name: array.shape for name, array in state.items()} == {
        "conv.weight": (4, 3, 1, 2),
        "dw.weight": (12, 1, 1, 2),
        "up.weight": (12, 5, 1, 2),
    }
    load_torch_state(model, state)
    conv, dw, up = snapshot(model)
    assert conv[0, 1, 2, 3] == state["conv.weight"][3, 2, 0, 1]
    assert dw[0, 1, 2, 1] == state["dw.weight"][2 * 3 + 1, 0, 0, 1]
    assert up[0, 1, 4, 11] == state["up.weight"][11, 4, 0, 1]


@pytest.mark.parametrize(
    "layer, shape, expected",
    [
        (layers.Conv1D(6, 3, groups=2, name="x"), (9, 4), {"weight": (6, 2, 3), "bias": (6,)}),
        (layers.Conv3D(2, 3, name="x"), (4, 4, 4, 1), {"weight": (2, 1, 3, 3, 3), "bias": (2,)}),
        (layers.DepthwiseConv1D(3, name="x"), (9, 4), {"weight": (4, 1, 3), "bias": (4,)}),
        (layers.Conv1DTranspose(6, 3, name="x"), (9, 4), {"weight": (4, 6, 3), "bias": (6,)}),
        (layers.Dense(6, name="x"), (4,), {"weight": (6, 4), "bias": (6,)}),
        (layers.Embedding(6, 2, name="x"), (4,), {"weight": (6, 2)}),
        (layers.PReLU(shared_axes=[1, 2], name="x"), (4, 4, 3), {"weight": (3,)}),
        (layers.LayerNormalization(center=False, name="x"), (4, 3), {"weight": (3,)}),
        (
            layers.LayerNormalization(axis=(1, 2, 3), name="x"),
            (4, 5, 3),
            {"weight": (3, 4, 5), "bias": (3, 4, 5)},
        ),
        (
            layers.BatchNormalization(scale=False, name="x"),
            (4, 3),
            {"bias": (3,), "running_mean": (3,), "running_var": (3,)},
        ),
    ],
)
def test_shapes_by_layer_kind(layer, shape, expected):
    found = parameter_shapes(network(layer, shape=shape))
    assert found == {f"x.{leaf}": size for leaf, size in expected.items()}


def test_one_by_one_convolutions_and_linear_layers_are_the_same():
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    dense = network(layers.Dense(2, use_bias=False, name="fc"))
    conv = network(layers.Conv2D(2, 1, use_bias=False, name="fc"))
    load_torch_state(dense, {"fc.weight": weight.reshape(2, 3, 1, 1)})
    load_torch_state(conv, {"fc.weight": weight})
    assert np.array_equal(snapshot(dense)[0], weight.T)
    assert np.array_equal(snapshot(conv)[0], weight.T[None, None])
    with pytest.raises(UserError, match=r"the file has \(3, 2\), the network needs \(2, 3\)"):
        load_torch_state(dense, {"fc.weight": weight.T})


def test_prelu_with_one_slope_for_all_channels():
    model = network(layers.PReLU(shared_axes=[1, 2], name="act"))
    load_torch_state(model, {"act.weight": np.float32([0.25])})
    assert snapshot(model)[0].tolist() == [[[0.25, 0.25, 0.25]]]


def test_nested_and_shared_layers():
    inner = network(layers.Conv2D(3, 1, use_bias=False, name="encoder.0"))
    shared = layers.Conv2D(3, 1, use_bias=False, name="head")
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, shared(shared(inner(inner(image)))))
    assert parameter_shapes(model) == {
        "encoder.0.weight": (3, 3, 1, 1),
        "head.weight": (3, 3, 1, 1),
    }


def test_the_error_names_everything_and_the_model_stays(real):
    model = small_net()
    before = snapshot(model)
    state = read(real / "small_net_zip.pth")
    state["stem_0.weight"] = state.pop("stem.0.weight")
    state["head.0.bias"] = np.zeros(7, np.float32)
    with pytest.raises(UserError) as caught:
        load_torch_state(model, state)
    assert unchanged(model, before)
    assert str(caught.value) == (
        "The checkpoint does not fit 'net': "
        "18 matched, 1 missing, 1 unexpected, 1 mismatched, 1 ignored\n"
        "Missing (the network needs them):\n"
        "  stem.0.weight (8, 3, 3, 3); the file has 'stem_0.weight'\n"
        "Unexpected (the network has no place for them):\n"
        "  stem_0.weight (8, 3, 3, 3)\n"
        "Mismatched shapes:\n"
        "  head.0.bias: the file has (7,), the network needs (5,)\n"
        "Check the network and its variant, or load only what fits (--partial)."
    )

    report = load_torch_state(model, state, strict=False)
    assert not report.complete
    assert list(report.missing) == ["stem.0.weight"]
    assert report.mismatched == {"head.0.bias": ((7,), (5,))}
    back = torch_state(model)
    assert np.array_equal(back["up.weight"], state["up.weight"])


def test_long_lists_are_cut():
    state = {f"extra.{i}": np.zeros(1) for i in range(13)}
    report = load_torch_state(network(layers.ReLU()), state, strict=False)
    assert "extra.9 (1,)\n  … and 3 more" in str(report)
    assert "extra.10" not in str(report)


def test_ignored_patterns_match_whole_names():
    model = network(layers.Dense(2, use_bias=False, name="fc"))
    weight = np.zeros((2, 3), np.float32)
    state = {"fc.weight": weight, "fc.total_ops": np.zeros(1), "total_params": np.zeros(1)}
    report = load_torch_state(model, state, ignored=[r"(.*\.)?total_(ops|params)"])
    assert list(report.ignored) == ["fc.total_ops", "total_params"]
    with pytest.raises(UserError, match=r"2 unexpected"):
        load_torch_state(model, state, ignored=["total"])
    with pytest.raises(UserError, match=r"1 missing"):  # ignoring never leaves a layer unloaded
        load_torch_state(model, {"fc.weight": weight}, ignored=[r"fc\.weight"])


@pytest.mark.parametrize(
    "ours, theirs", [("model.0", "0"), ("0", "model.0"), ("backbone.0", "0"), ("0", "module.0")]
)
def test_a_common_prefix_is_bridged(ours, theirs):
    model = network(layers.Dense(2, use_bias=False, name=ours))
    weight = np.arange(6, dtype=np.float64).reshape(2, 3)
    report = load_torch_state(model, {f"{theirs}.weight": weight})
    assert list(report.matched) == [f"{ours}.weight"]
    assert np.array_equal(snapshot(model)[0], weight.T)


class Gate(layers.Layer):
    """A custom layer of every form that `torch_weights` allows."""

    def build(self, shape):
        self.scale = self.add_weight(name="scale", shape=(1, 1, shape[-1]))
        self.table = self.add_weight(name="table", shape=(2, 3, 4))
        self.twice = self.add_weight(name="twice", shape=(2,))
        self.conv = layers.Conv2D(2, 1, use_bias=False)
        self.conv.build(shape)

    def call(self, x):
        return self.conv(x * self.scale)

    def torch_weights(self):
        return {
            "scale": (self.scale, None),
            "table": (self.table, (1, 2, 0)),
            "twice": (self.twice, lambda array: array * 2, lambda array: array / 2),
            "conv": self.conv,
        }


class OneWay(Gate):
    def torch_weights(self):
        return {"scale": (self.scale, lambda array: array.reshape(1, 1, 3))}


def test_custom_layers():
    model = network(Gate(name="gate"))
    shapes = parameter_shapes(model)
    assert shapes == {
        "gate.scale": (1, 1, 3),
        "gate.table": (4, 2, 3),
        "gate.twice": (2,),
        "gate.conv.weight": (2, 3, 1, 1),
    }
    generator = np.random.default_rng(0)
    state = {n: generator.normal(size=s).astype(np.float32) for n, s in shapes.items()}
    load_torch_state(model, state)
    assert np.array_equal(model.get_layer("gate").twice, state["gate.twice"] * 2)
    back = torch_state(model)
    assert all(np.array_equal(back[name], state[name]) for name in state)


def test_a_custom_layer_without_a_way_back():
    model = network(OneWay(name="gate"))
    load_torch_state(model, {"gate.scale": np.float32([1, 2, 3])})
    with pytest.raises(UserError, match="1 mismatched"):
        load_torch_state(model, {"gate.scale": np.float32([1, 2])})
    with pytest.raises(TypeError, match="the way back to PyTorch is unknown"):
        torch_state(model)


def test_an_unknown_layer_is_named():
    model = network(layers.SeparableConv2D(2, 3, name="sep"))
    with pytest.raises(TypeError, match=r"'sep' of type SeparableConv2D .*torch_weights\(\)"):
        load_torch_state(model, {})


def test_half_precision_weights_and_variables():
    model = network(layers.Dense(2, use_bias=False, name="fc", dtype="bfloat16"))
    load_torch_state(model, {"fc.weight": np.full((2, 3), 1.5, np.float16)})
    assert torch_state(model)["fc.weight"].astype(np.float32).tolist() == [[1.5] * 3] * 2
