"""Clustered networks: trained as tfmot trains them, few values for certain, plain again after."""

import os
import subprocess
import sys

import clustering_twin
import keras
import numpy as np
import pytest
from clustering_twin import CASES, RATE, STEPS
from keras import layers

from core.compress.clustering import ClusteredKernel, cluster_aware, strip, unique_counts
from core.compress.clusters import ClusterPlan
from core.errors import UserError
from core.layers.convolution import GroupedConv2D

# --- tfmot itself, in its own process ---------------------------------------------------------


@pytest.fixture(scope="module")
def tfmot(tmp_path_factory):
    path = tmp_path_factory.mktemp("tfmot") / "clusters.npz"
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([sys.executable, clustering_twin.__file__, path], env=environment, check=True)
    with np.load(path) as data:
        return {name: data[name] for name in data.files}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_training_steps_end_as_in_tfmot(tfmot, case):
    name, plan = CASES[case]
    images, targets = clustering_twin.batch()
    start = keras.Input(images.shape[1:])
    model = keras.Sequential([start, *clustering_twin.network(layers, name)])
    clustering_twin.set_kernels(model, name)
    model = cluster_aware(model, ClusterPlan(**plan))
    ours = [layer for layer in model.layers if isinstance(layer, ClusteredKernel)]
    assert {f"{case}/{layer.name}/start" for layer in ours} == {
        key for key in tfmot if key.startswith(f"{case}/") and key.endswith("/start")
    }
    before = {}
    for layer in ours:
        np.testing.assert_array_equal(layer.clusters.centroids, tfmot[f"{case}/{layer.name}/start"])
        before[layer.name] = layer.clusters.indices(layer.kernel)
    model.compile(keras.optimizers.SGD(RATE), "mse")
    for _ in range(STEPS):
        model.train_on_batch(images, targets)
    for layer in ours:
        key = f"{case}/{layer.name}"
        indices = layer.clusters.indices(layer.kernel)
        np.testing.assert_array_equal(indices, tfmot[f"{key}/indices"])
        clustered = layer.clusters.clustered(layer.kernel)
        np.testing.assert_allclose(clustered, tfmot[f"{key}/clustered"], atol=2e-6)
        before[layer.name] = (before[layer.name] != indices).sum()
    assert sum(before.values()) > 0, "no weight changed sides: the case shows too little"


# --- whole networks ---------------------------------------------------------------------------


def everything() -> keras.Model:
    """A network of every kind of layer, with a nested model used twice and a shared layer."""
    keras.utils.set_random_seed(0)
    inner_input = keras.Input((None, None, 8))
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="inner.conv")(inner_input)
    inner = keras.Model(inner_input, layers.BatchNormalization(name="inner.norm")(x), name="inner")
    ups = layers.Conv2DTranspose(6, 3, 2, "same", activation="relu", name="up")
    up = keras.Sequential([keras.Input((8, 8, 8)), ups], name="ups")
    shared = layers.Conv2D(8, 1, name="shared")
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0], name="scale")(image)
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="stem.0")(x)
    x = inner(inner(x))
    x = GroupedConv2D(8, 3, groups=2, padding="same", name="grouped")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.Add(name="sum")([shared(x), shared(layers.ReLU(name="relu")(x))])
    x = layers.Reshape((16, 16, 6, 1), name="volume")(up(x))
    x = layers.Conv3D(4, 3, strides=4, name="volumetric")(x)
    x = layers.Reshape((16, 4), name="sequence")(x)
    x = layers.Conv1D(6, 3, padding="causal", name="causal")(x)
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    x = layers.Dense(4, activation="softmax", name="head")(x)
    return keras.Model(image, layers.Dense(1, name="tiny")(x), name="everything")


CLUSTERED = (
    "stem.0", "inner.conv", "grouped", "shared", "up", "volumetric", "causal", "head",
)  # fmt: skip


def samples(count: int = 16):
    rng = np.random.default_rng(1)
    return rng.standard_normal((count, 8, 8, 3), np.float32), rng.standard_normal((count, 1))


def small() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(8, 3, activation="relu", name="conv"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4, name="hidden"),
            layers.Dense(1, name="tiny"),
        ]
    )


def own_loss(truth, output):
    """A loss that no file knows."""
    return keras.ops.mean(keras.ops.square(truth - output))


@pytest.mark.slow
def test_train_save_load_and_strip_give_equal_outputs(tmp_path):
    plan = ClusterPlan(6)
    images, targets = samples()
    original = everything()
    original.compile("sgd", own_loss)
    weights = [value.copy() for value in original.get_weights()]
    model = cluster_aware(original, plan)
    assert not model.compiled
    assert model.notes == ["tiny: has 4 weights, fewer than 6 clusters; left as it is"]
    start = {w.path: w.numpy() for w in model.trainable_variables if w.name == "centroids"}
    assert len(start) == len(CLUSTERED)
    model.compile(keras.optimizers.SGD(0.05), own_loss)
    model.fit(images, targets, epochs=2, batch_size=8, verbose=0)
    for variable in model.trainable_variables:
        assert variable.name != "centroids" or np.any(variable.value != start[variable.path])
    for before, after in zip(weights, original.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)  # the network given is not touched

    model.save(tmp_path / "clustered.keras")
    loaded = keras.models.load_model(tmp_path / "clustered.keras", compile=False)
    stripped = strip(loaded)
    stripped.save(tmp_path / "stripped.keras")
    final = keras.models.load_model(tmp_path / "stripped.keras", compile=False)
    expected = model.predict(images, verbose=0)
    for network in (loaded, stripped, final):
        np.testing.assert_array_equal(network.predict(images, verbose=0), expected)

    counts = unique_counts(final)
    assert all(counts[name] <= plan.clusters for name in CLUSTERED)
    assert counts == unique_counts(model) and counts["depthwise"] == 72
    assert [w.path for w in stripped.weights] == [w.path for w in original.weights]
    assert [type(layer) for layer in final.layers] == [type(layer) for layer in original.layers]


def test_channels_have_their_own_values_where_asked():
    stripped = strip(cluster_aware(everything(), ClusterPlan(6, "linear", per_channel=True)))
    for name in ("stem.0", "grouped", "shared"):
        kernel = stripped.get_layer(name).kernel.numpy()
        counts = [np.unique(kernel[..., channel]).size for channel in range(kernel.shape[-1])]
        assert max(counts) <= 6 < np.unique(kernel).size
    assert unique_counts(stripped)["up"] <= 6


def test_zeros_stay_zero_while_training():
    images, targets = samples()
    model = small()
    rng = np.random.default_rng(2)
    zeros = {}
    for layer in (model.get_layer("conv"), model.get_layer("hidden")):
        layer.kernel.assign(layer.kernel * (rng.random(layer.kernel.shape) < 0.5))
        zeros[layer.name] = layer.kernel.numpy() == 0
    plan = ClusterPlan(5, "linear", preserve_sparsity=True)
    model = cluster_aware(model, plan)
    model.compile(keras.optimizers.Adam(0.02), "mse")
    model.fit(images, targets, epochs=5, verbose=0)
    stripped = strip(model)
    for name, zero in zeros.items():
        kernel = stripped.get_layer(name).kernel.numpy()
        assert not kernel[zero].any() and kernel.any()
        assert np.unique(kernel).size <= 5


def test_mixed_precision_strips_to_equal_outputs():
    images, targets = samples()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = cluster_aware(small(), ClusterPlan(6, gradient="mean"))
        model.compile(keras.optimizers.SGD(0.05), "mse")
        model.fit(images, targets, verbose=0)
        stripped = strip(model)
    finally:
        keras.config.set_dtype_policy("float32")
    assert stripped.get_layer("conv").compute_dtype == "float16"
    np.testing.assert_array_equal(
        stripped.predict(images, verbose=0), model.predict(images, verbose=0)
    )


def test_only_the_named_layers_are_clustered():
    model = cluster_aware(everything(), ClusterPlan(6), layers=["inner.conv", "head"])
    counts = unique_counts(model)
    assert [name for name in CLUSTERED if counts[name] <= 6] == ["inner.conv", "head"]
    assert model.notes == []


def test_structured_inputs_and_outputs_are_kept():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    x = layers.Dense(6, name="dense")(keras.ops.concatenate([a, b]))
    model = keras.Model({"a": a, "b": b}, {"wide": x, "one": layers.Dense(1, name="one")(x)})
    clustered = cluster_aware(model, ClusterPlan(4))
    values = {"a": np.ones((2, 4)), "b": np.zeros((2, 4))}
    assert set(clustered(values)) == {"wide", "one"}
    assert isinstance(strip(clustered)(values), dict)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="mine")
        self.dense = layers.Dense(3)

    def call(self, inputs):
        return self.dense(inputs)


def test_models_that_cannot_be_clustered_are_refused():
    plan = ClusterPlan(6)
    with pytest.raises(UserError, match=r"mine: is a subclassed model.*functional API"):
        cluster_aware(Subclassed(), plan)
    image = keras.Input((4,))
    with pytest.raises(UserError, match="mine: is a subclassed model"):
        cluster_aware(keras.Model(image, layers.Dense(8)(Subclassed()(image))), plan)
    with pytest.raises(UserError, match="is clustered already; strip it first"):
        cluster_aware(cluster_aware(everything(), plan), plan)
    with pytest.raises(UserError, match=r"no convolution .* 'hed'. Did you mean 'head'"):
        cluster_aware(everything(), plan, layers=["hed"])
    small = keras.Sequential([image, layers.Dense(1, name="a")], name="small")
    with pytest.raises(UserError, match=r"small: has no kernel to cluster .a: has 4 weights"):
        cluster_aware(small, plan)


def test_broken_kernels_are_refused_by_name():
    model = everything()
    model.get_layer("head").kernel.assign(np.full((6, 4), np.nan))
    with pytest.raises(UserError, match="head: its kernel holds NaN"):
        cluster_aware(model, ClusterPlan(6))


def test_layers_of_other_kinds_are_noted():
    image = keras.Input((4, 8))
    x = layers.MultiHeadAttention(2, 4, name="attention")(image, image)
    model = cluster_aware(keras.Model(image, layers.Dense(4)(x)), ClusterPlan(6))
    assert len(model.notes) == 1
    assert model.notes[0].startswith("attention: holds matrices, but MultiHeadAttention is not")


def test_a_plan_travels_with_the_layer():
    plan = ClusterPlan(6, "linear", preserve_sparsity=True, gradient="mean")
    layer = cluster_aware(small(), plan).get_layer("conv")
    assert type(layer).from_config(layer.get_config()).plan == plan
