"""Methods in a row: what pruning and clustering reached is still there in the integer file.

Every promise is read off the exported file's own codes, after training hard enough to break it.
"""

import functools

import keras
import numpy as np
import pytest
from keras import layers

from core.compress.clustering import cluster_aware, strip
from core.compress.clusters import ClusterPlan
from core.compress.integer import integer_form
from core.compress.pruning import Pruner, PruningPlan, prunable_kernels
from core.compress.quantize import quantize_aware
from core.compress.quantized_kernel import QuantizedKernel
from core.compress.ranges import calibrate
from core.engines import LiteRTEngine, signal_to_noise
from core.export.convert import to_tflite
from core.layers.convolution import GroupedConv2D
from core.model_card import ModelCard
from core.tflite.constants import kernels

CLUSTERS, SPARSITY = 6, 0.6
CARD = ModelCard("toy", "a", "medseg")


def network(factors=(0.3, 2.0), signs=(-1, 1)) -> keras.Model:
    """Every kind of kernel; normalisations have factors of all sizes, and of both signs."""
    keras.utils.set_random_seed(0)

    def normalised(x, name, activation="relu"):
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}.norm")(x)
        return layers.Activation(activation, name=f"{name}.act")(x)

    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="stem")(image)
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(
        normalised(x, "stem")
    )
    x = layers.Conv2D(16, 1, use_bias=False, name="pointwise")(normalised(x, "depthwise", "relu6"))
    x = GroupedConv2D(16, 3, groups=4, padding="same", use_bias=False, name="grouped")(
        normalised(x, "pointwise")
    )
    x = layers.Conv2DTranspose(8, 3, strides=2, padding="same", use_bias=False, name="up")(
        normalised(x, "grouped")
    )
    x = layers.Conv2D(8, 3, strides=2, activation="relu", name="biased")(normalised(x, "up"))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = normalised(layers.Dense(24, use_bias=False, name="hidden")(x), "hidden")
    model = keras.Model(image, layers.Dense(6, name="head")(x), name="everything")
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name == "gamma":
            weight.assign(rng.uniform(*factors, weight.shape) * rng.choice(signs, weight.shape))
        elif weight.name == "moving_variance":
            weight.assign(rng.uniform(0.3, 2.0, weight.shape))
        elif weight.name in ("beta", "moving_mean", "bias"):
            weight.assign(0.3 * rng.standard_normal(weight.shape))
    return model


def samples(count: int = 16) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return (
        rng.standard_normal((count, 8, 8, 3)).astype(np.float32),
        rng.standard_normal((count, 6)).astype(np.float32),
    )


def train(model, *, epochs=2, rate=0.05, callbacks=()):
    """Train with a rate so large that whatever is not held moves far."""
    images, targets = samples()
    # Step by step: for so few steps that is quicker than tracing the graph.
    model.compile(keras.optimizers.Adam(rate), "mse", run_eagerly=True)
    model.fit(images, targets, batch_size=8, epochs=epochs, verbose=0, callbacks=list(callbacks))
    return model


@functools.cache
def pruned() -> keras.Model:
    """Return the network with 60 % of its weights at zero."""
    model = network()
    plan = PruningPlan(final_sparsity=SPARSITY, end_step=4, frequency=2)
    return train(model, epochs=3, rate=0.01, callbacks=[Pruner(model, plan, 6)])


@functools.cache
def clustered(*, per_channel: bool = False, keep_zeros: bool = False, positive: bool = False):
    """Return the network, pruned or not, with few different weights, as `strip` leaves it."""
    model = pruned() if keep_zeros else network(*(((0.01, 0.3), (1,)) if positive else ()))
    plan = ClusterPlan(CLUSTERS, per_channel=per_channel, preserve_sparsity=keep_zeros)
    return strip(train(cluster_aware(model, plan), rate=0.01))


@functools.cache
def quantized(keep: tuple[str, ...], **choices):
    """Return the simulation of a compressed network, calibrated and trained."""
    model = clustered(keep_zeros="zeros" in keep, **choices) if "clusters" in keep else pruned()
    result = quantize_aware(model, keep=keep)
    calibrate(result, samples()[0])
    before = {x.name: x._own_kernel().numpy() for x in weighted(result)}
    train(result, epochs=8)
    moved = [np.abs(before[x.name] - x._own_kernel().numpy()).max() for x in weighted(result)]
    assert min(moved) > 0.02, "the weights hardly moved: the case shows too little"
    return model, result


def weighted(model) -> list:
    return [x for x in model.layers if isinstance(x, QuantizedKernel) and not x.fixed_kernel]


@functools.cache
def codes(keep: tuple[str, ...], **choices) -> dict[str, np.ndarray]:
    """Return the codes in the file, (values, output channels), by layer; and hold its outputs."""
    _, result = quantized(keep, **choices)
    content = to_tflite(result, "int8")
    images = samples()[0]
    # Outputs of a network with dead channels are a few steps high: compare what the file computes.
    simulated = [np.asarray(integer_form(result)[0](images, training=False))]
    assert signal_to_noise(simulated, LiteRTEngine(content, CARD)(images)) > 25
    found = {kernel.layer: kernel.matrix for kernel in kernels(content)}
    del found["grouped"]  # the sums of a grouped convolution, which only add
    return found


def as_stored(layer) -> tuple[str, np.ndarray]:
    """Return where a layer's kernel stands in the file, and the kernel in the file's order."""
    kernel = layer.kernel.numpy()
    if isinstance(layer, GroupedConv2D):
        kernel = keras.ops.convert_to_numpy(layer.depthwise_kernel(layer.kernel))
        return "grouped.depthwise", kernel.reshape(9, -1)
    if isinstance(layer, layers.DepthwiseConv2D):
        return layer.name, kernel.reshape(9, -1)
    if isinstance(layer, layers.Conv2DTranspose):
        kernel = np.moveaxis(kernel, -2, -1)
    return layer.name, kernel.reshape(-1, kernel.shape[-1])


def most_values(matrix: np.ndarray) -> int:
    """Return the most different values in an output channel."""
    return max(np.unique(channel).size for channel in matrix.T)


PRUNED = [
    pytest.param(("zeros",), {}, id="PQAT"),
    pytest.param(("zeros", "clusters"), {}, id="PCQAT"),
    pytest.param(("zeros", "clusters"), {"per_channel": True}, id="PCQAT per channel"),
]
DENSE = [
    pytest.param(("clusters",), {}, id="CQAT"),
    pytest.param(("clusters",), {"per_channel": True}, id="CQAT per channel"),
    pytest.param(("clusters",), {"positive": True}, id="CQAT, dead channels"),
]


# --- in the exported file ---------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("keep, choices", PRUNED)
def test_every_zero_weight_is_a_zero_code_of_the_file(keep, choices):
    source, _ = quantized(keep, **choices)
    found = codes(keep, **choices)
    for layer, _ in prunable_kernels(source):
        name, kernel = as_stored(layer)
        zero = kernel == 0
        assert zero.mean() > 0.55, name
        assert not found[name][zero].any(), name
        assert found[name].any(), name


@pytest.mark.slow
@pytest.mark.parametrize("keep, choices", [*DENSE, *PRUNED[1:]])
def test_the_file_holds_no_more_codes_than_clusters(keep, choices):
    source, _ = quantized(keep, **choices)
    found = codes(keep, **choices)
    for layer, variable in prunable_kernels(source):
        name, _ = as_stored(layer)
        own = choices.get("per_channel") and isinstance(layer, layers.Conv2D)
        assert most_values(found[name]) <= CLUSTERS, name
        alive = found[name][:, found[name].any(axis=0)]  # a channel of factor 0 is all zeros
        assert own or np.unique(alive).size <= CLUSTERS, name
        assert np.unique(variable).size <= CLUSTERS * (variable.shape[-1] if own else 1)
    assert np.unique(found["depthwise"]).size > CLUSTERS  # depthwise kernels are left as they are


@pytest.mark.slow
def test_dead_channels_are_among_the_cases():
    """Training pushes small factors to zero; such a channel's codes are clusters all the same."""
    _, result = quantized(("clusters",), positive=True)
    factors = [x.gamma.numpy() for x in weighted(result) if x.norm is not None and x.clusters]
    assert factors and min(factor.min() for factor in factors) == 0


@pytest.mark.slow
def test_what_is_not_asked_for_is_lost():
    """The control: the same training without `keep` leaves neither zeros nor clusters."""
    source = clustered(keep_zeros=True)
    result = quantize_aware(source)
    calibrate(result, samples()[0])
    train(result, epochs=3)
    found = {kernel.layer: kernel.matrix for kernel in kernels(to_tflite(result, "int8"))}
    kernel = source.get_layer("biased").kernel.numpy().reshape(-1, 8)
    assert np.count_nonzero(found["biased"][kernel == 0]) > 0.5 * (kernel == 0).sum()
    assert np.unique(found["biased"]).size > 4 * CLUSTERS


@pytest.mark.slow
@pytest.mark.parametrize("keep, choices", [*PRUNED, *DENSE])
def test_nothing_changes_before_training(keep, choices):
    """Without its rounding, the simulation computes what the compressed network computes."""
    model = clustered(keep_zeros="zeros" in keep, **choices) if "clusters" in keep else pruned()
    result = quantize_aware(model, keep=keep)
    for layer in result.layers:
        if hasattr(layer, "active"):
            layer.active = False
    images = samples()[0]
    expected = np.asarray(model(images, training=False))
    error = np.abs(np.asarray(result(images, training=False)) - expected).max()
    assert error < 1e-4 * np.abs(expected).max()


# --- clustering after pruning -----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("per_channel", [False, True])
def test_clustering_keeps_the_zeros_of_pruning(per_channel):
    before, after = pruned(), clustered(per_channel=per_channel, keep_zeros=True)
    for layer, variable in prunable_kernels(before):
        kernel = after.get_layer(layer.name).kernel.numpy()
        zero = variable.numpy() == 0
        own = per_channel and isinstance(layer, layers.Conv2D)
        rows = kernel.reshape(-1, kernel.shape[-1]) if own else kernel.reshape(-1, 1)
        assert zero.mean() > 0.55 and not kernel[zero].any(), layer.name
        assert most_values(rows) <= CLUSTERS, layer.name
        assert np.abs(kernel - variable).max() > 0.01, layer.name


@pytest.mark.slow
def test_clustering_without_that_choice_fills_zeros():
    model = strip(train(cluster_aware(pruned(), ClusterPlan(CLUSTERS)), rate=0.01))
    kernel = model.get_layer("biased").kernel.numpy()
    assert kernel[pruned().get_layer("biased").kernel.numpy() == 0].any()
