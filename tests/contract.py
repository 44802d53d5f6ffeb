"""What every network of the catalog must do; a network's own tests hold only what is special.

`tests/test_contract.py` runs these checks over the catalog, one network after the other: what is
built for a network is kept for the checks of it, and no longer. Expensive ones use the smallest
variant, since the variants of a system are one architecture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache

import keras
import network_checks
import numpy as np
import pytest

from apps import catalog
from core.checkpoints import load_torch_state, torch_state
from core.engines import output_error
from core.layers.clip import Clip

# Options of a builder that leave blocks out which are equal to others, where the converter would
# take a minute for all of them, or what hides what is checked.
FEWER_BLOCKS = {
    "lightm_unet": {"depths": (1, 1, 1, 1)},
    "barlow_swin": {"depths": (2, 1, 1)},
    "mobilenetv2": {"depths": (1, 2, 1, 1, 1, 1, 1)},
    "shufflenetv2": {"depths": (2, 1, 1)},
    "resnet": {"depths": (1, 1, 1, 1)},
    "densenet": {"depths": (2, 1, 1, 1)},
    "vgg": {"depths": (2, 1, 1, 1, 1), "hidden": 64, "dropout": 0.0},
    "inceptionv3": {"depths": (1, 1, 1)},
    "convnext": {"depths": (1, 1, 1, 1)},
    "regnet": {"depths": (1, 1, 1, 1)},
    "efficientnet": {"depths": (1, 2, 1, 1, 1, 1, 1)},
    "efficientnetv2": {"depths": (1, 1, 1, 1, 2, 1)},
    "efficientnet_lite": {"depths": (1, 2, 1, 1, 1, 1, 1)},
    "fetal_net": {"depths": (1, 2, 1, 1, 1, 1, 1)},
    "clst": {"depths": (0, 1, 0)},
    "rein": {"depths": (1, 1)},
    # Four steps of learning are lost in the noise of half the values left out.
    "vt_cnn2": {"dropout": 0.0},
    "cnn1": {"dropout": 0.0},
    "cnn2": {"dropout": 0.0},
    "ic_amcnet": {"dropout": 0.0},
    "amr_resnet": {"dropout": 0.0},
    "mcldnn": {"dropout": 0.0},
}
# Sound factors of the norms where the search below does not find them: the first norm of this
# network takes away what disturbs its input, and above these factors other noise grows too much.
GAINS = {"lightm_unet": (0.1,)}
# Share of an int8 file's outputs within a step of the simulation behind a layer that stays in
# float: its last bit decides ties, and the blocks behind it carry such a difference on. 0.965 and
# 1 were seen, for ranges that differ in their last digits. Up to that layer all agree.
WITHIN_A_STEP = {"lightm_unet": 0.95}
# What layers do at random while training, and the attribute that says how much.
CHANCE = {keras.layers.Dropout: "rate", keras.layers.GaussianNoise: "stddev"}
VARIANTS = [(name, v) for name in catalog.names() for v in catalog.network(name).variants]


def smallest(name: str) -> str:
    """Return the variant with the fewest published parameters."""
    network = catalog.network(name)
    return min(network.variants, key=lambda v: network.card(v).published["parameters"])


def small_shape(name: str) -> tuple[int, ...]:
    """Return an input that is quick and not square, so that swapped sides are noticed.

    Those of networks that take squares only are square.
    """
    card, network = catalog.card(name, smallest(name)), catalog.network(name)
    step = max(8, card.size_multiple)
    unit = step * -(-network.smallest // (2 * step))
    if network.square:
        return (*(3 * unit,) * len(card.input_size), card.channels)
    return (*(2 * unit, 3 * unit)[: len(card.input_size)], card.channels)


def build(name: str, **arguments) -> keras.Model:
    """Return the smallest variant, with one of several equal blocks where those are many."""
    return catalog.build(name, smallest(name), **FEWER_BLOCKS.get(name, {}), **arguments)


@dataclass(frozen=True)
class Start:
    """How a network starts: its layers with weights, and the kernels that are random."""

    names: list[str]
    kernels: list[np.ndarray]


def _start_of(model) -> Start:
    weights = [np.array(w) for w in model.trainable_weights if len(w.shape) > 1]
    # Two rows of biases start as zeros.
    return Start(_named(model), [w for w in weights if np.ptp(w)])


def _started(name: str, seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return build(name, input_shape=small_shape(name))


@lru_cache(maxsize=1)
def _first(name: str) -> tuple[keras.Model, Start]:
    """Return the network of seed 1, which `trained_like` gives other weights, and its start."""
    model = _started(name, 1)
    return model, _start_of(model)


@lru_cache(maxsize=1)
def _again(name: str) -> Start:
    return _start_of(_started(name, 1))


@lru_cache(maxsize=1)
def trained_like(name: str) -> keras.Model:
    """Return the smallest variant with weights of a plausible scale and live statistics.

    Fresh weights of std 0.02 make every activation vanish, which hides errors; with full factors
    of the norms a deep network may be chaotic, so that not even two float programs agree. The
    largest factors are taken that are sound.
    """
    model, _ = _first(name)
    inputs = samples(name)[:1]
    for gain in GAINS.get(name, (1.0, 0.5, 0.25)):
        load_torch_state(model, _plausible_state(model, gain))
        disturbed = inputs * np.float32(1 + 1e-6)
        if output_error(*(network_checks.outputs_of(model, x) for x in (inputs, disturbed))) < 1e-4:
            break
    return model


def _plausible_state(model, gain: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    state = {}
    for key, value in torch_state(model).items():
        leaf = key.rsplit(".", 1)[-1]
        if value.ndim > 1:
            fan_in = np.prod(value.shape[1:])
            state[key] = rng.standard_normal(value.shape) * np.sqrt(2.0 / fan_in)
        elif leaf in ("weight", "running_var"):
            state[key] = rng.uniform(0.5, 1.5, value.shape) * (gain if leaf == "weight" else 1.0)
        else:
            state[key] = 0.1 * rng.standard_normal(value.shape)
    return {key: value.astype(np.float32) for key, value in state.items()}


@lru_cache(maxsize=1)
def deployed_like(name: str) -> keras.Model:
    """Return the deployable form of `trained_like`."""
    return catalog.network(name).deploy(trained_like(name))


@cache
def samples(name: str) -> np.ndarray:
    """Return eight inputs of the network's range."""
    *sides, channels = small_shape(name)
    height, width = (*sides, 8)[:2]
    inputs = network_checks.smooth(8, height, width, channels)
    inputs = inputs if len(sides) == 2 else inputs[:, :, 0]  # a signal: an image's column
    limits = catalog.card(name, smallest(name)).pixel_range()
    if limits is not None:  # inputs that are pixels
        low, high = limits
        inputs = np.clip((low + high) / 2 + (high - low) / 10 * inputs, low, high)
    return inputs.astype(np.float32)


@dataclass(frozen=True)
class Facts:
    """What is counted of a network that takes long to build."""

    parameters: int
    macs: int
    names: list[str]


@cache
def facts(name: str, variant: str, shape: tuple[int, ...], trained: bool) -> Facts:
    """Return the facts of a network as it is used, or as it is `trained` where that differs."""
    network = catalog.network(name)
    with keras.StatelessScope(initialize_variables=False):  # shapes only: no memory, no time
        model = network.build(variant, shape, **(network.training_options if trained else {}))
    return Facts(network_checks.parameters(model), network_checks.macs(model), _named(model))


def _named(model) -> list[str]:
    return [layer.name for layer in model.layers if layer.weights]


def check_parameters(name: str, variant: str) -> None:
    network, card = catalog.network(name), catalog.card(name, variant)
    trained = facts(name, variant, card.input_shape, bool(network.training_options))
    if trained.parameters != card.published["parameters"]:
        model = network.build(variant, card.input_shape, **network.training_options)
        deployed = network_checks.parameters(network.deploy(model))
        assert deployed == card.published["parameters"]


def check_macs(name: str, variant: str) -> None:
    """Where the card says "GMACs at HxW", the kernels have so many, to its last digit."""
    card = catalog.card(name, variant)
    for what, number in card.published.items():
        if size := re.fullmatch(r"GMACs at (\d+(?:x\d+)+)", what):
            shape = (*map(int, size[1].split("x")), card.channels)
            counted = facts(name, variant, shape, False).macs / 1e9
            digits = len(str(number).partition(".")[2])
            assert round(counted, digits) == number


def check_layer_names_are_unique(name: str, variant: str) -> None:
    names = facts(name, variant, catalog.card(name, variant).input_shape, False).names
    assert len(set(names)) == len(names)


def check_layer_names_are_stable(name: str) -> None:
    """A network that is built again in the same process has the same names, as its files do."""
    assert _first(name)[1].names == _again(name).names


def check_seed_decides_the_start(name: str) -> None:
    """Equal seeds start alike, other seeds and other layers of a shape do not."""

    starts = (_first(name)[1], _again(name), _start_of(_started(name, 2)))
    first, again, other = (start.kernels for start in starts)
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c) or _is_table(a)
    for i, a in enumerate(first):
        assert not any(np.array_equal(a, b) for b in first[:i]) or _is_table(a)


def _is_table(weight: np.ndarray) -> bool:
    """Whether a start is a row of different numbers, several times (Mamba's rates), not random."""
    return bool((weight == weight[:1]).all()) and len(np.unique(weight[0])) == weight[0].size > 1


def check_refuses_wrong_size(name: str) -> None:
    card = catalog.card(name, smallest(name))
    multiple, others = card.size_multiple, len(card.input_size) - 1
    wrong = (multiple + 1, *(multiple,) * others, card.channels)
    try:
        build(name, input_shape=wrong)
    except ValueError as error:
        assert str(multiple) in str(error)
    else:
        assert multiple == 1

    if catalog.network(name).square:
        with pytest.raises(ValueError, match="square"):
            build(name, input_shape=(8 * multiple, 16 * multiple, card.channels))

    smallest_side = catalog.network(name).smallest
    if smallest_side > multiple:
        wrong = (smallest_side - 1, *(4 * smallest_side,) * others, card.channels)
        with pytest.raises(ValueError, match=f"at least {smallest_side}.*{wrong[0]}"):
            catalog.build(name, smallest(name), input_shape=wrong)


def check_deploy(name: str) -> None:
    """The deployable network computes the same, but for a limit to the pixels' range."""
    model, inputs = trained_like(name), samples(name)[:2]
    deployed = deployed_like(name)
    expected = network_checks.outputs_of(model, inputs)
    for layer in deployed.layers:
        if isinstance(layer, Clip):
            expected = [np.clip(values, layer.low, layer.high) for values in expected]
    assert output_error(expected, network_checks.outputs_of(deployed, inputs)) < 1e-4
    assert (deployed.name, deployed.input_shape) == (model.name, model.input_shape)
    assert catalog.network(name).deploy(deployed) is deployed


def check_feature_maps(name: str) -> None:
    """The maps have the sizes their strides say, and are those of the deployable network."""
    network, model, inputs = catalog.network(name), trained_like(name), samples(name)[:2]
    pyramid = network.pyramid(model)
    height, width, _ = small_shape(name)
    for stride, tensor in zip(sorted(network.features_of(model)), pyramid.outputs, strict=True):
        assert tensor.shape[1:3] == (-(-height // stride), -(-width // stride))
    deployed = network.pyramid(deployed_like(name))
    maps = network_checks.outputs_of(pyramid, inputs)
    assert output_error(maps, network_checks.outputs_of(deployed, inputs)) < 1e-5


def check_open_size_equals_fixed(name: str) -> None:
    """Height and width may be open, or the builder says that they may not."""
    fixed = trained_like(name)
    *sides, channels = small_shape(name)
    opened_shape = (*[None] * len(sides), channels)
    if not catalog.network(name).any_size:
        with pytest.raises(ValueError, match=r"`input_shape`.*None"):
            build(name, input_shape=opened_shape)
        return
    opened = build(name, input_shape=opened_shape)
    network_checks.check_open_size(fixed, opened, samples(name)[:2])


def check_save_and_load(name: str, folder) -> None:
    network_checks.check_saving(trained_like(name), samples(name)[:2], folder)


def check_learns(name: str) -> None:
    """A few gradient steps lower the loss on one batch, chance left out of it."""
    import tensorflow as tf

    model = trained_like(name)
    inputs = samples(name)[:4]
    some = tf.cast(inputs[..., :1] > 0, tf.float32)
    targets = [_shaped(some, output.shape) for output in model.outputs]
    losses = []
    with _without_chance(model):
        weights = model.trainable_variables
        ends = np.cumsum([np.prod(weight.shape, dtype=int) for weight in weights])
        flat = keras.Variable(_joined(weights))  # one, since the optimizer is slow with many
        optimizer = keras.optimizers.Adam(1e-3)
        for _ in range(4):
            with tf.GradientTape() as tape:
                outputs = keras.tree.flatten(model(inputs, training=True))
                loss = sum(
                    tf.reduce_mean(tf.square(output - target))
                    for output, target in zip(outputs, targets, strict=True)
                )
            gradients = tape.gradient(loss, weights)
            assert all(gradient is not None for gradient in gradients)
            losses.append(float(loss))
            optimizer.apply_gradients([(_joined(gradients), flat)])
            for weight, values in zip(weights, np.split(flat.numpy(), ends[:-1]), strict=True):
                weight.assign(values.reshape(weight.shape))
    assert losses[-1] < losses[0]


@contextmanager
def _without_chance(model) -> Iterator[None]:
    """Leave out dropout and noise within the block; the weights are afterwards as before."""
    weights, known = model.get_weights(), []
    for layer in model.layers:
        for kind, amount in CHANCE.items():
            if isinstance(layer, kind):
                known.append((layer, amount, getattr(layer, amount)))
                setattr(layer, amount, 0.0)
    try:
        yield
    finally:
        model.set_weights(weights)
        for layer, amount, value in known:
            setattr(layer, amount, value)


def _joined(values) -> np.ndarray:
    return np.concatenate([np.ravel(keras.ops.convert_to_numpy(value)) for value in values])


def _shaped(target, shape):
    """Return something to learn (N, H, W, 1) in an output's shape."""
    import tensorflow as tf

    if len(shape) == 4:
        return tf.image.resize(target, shape[1:3])
    # A vector: some pixels of the image.
    target = tf.reshape(target, (len(target), -1))[:, : shape[1]]
    return tf.pad(target, [(0, 0), (0, shape[1] - target.shape[1])])


def check_float_file(name: str) -> None:
    card = catalog.card(name, smallest(name))
    network_checks.check_float_file(trained_like(name), card, samples(name)[:4])


def check_int8_file(name: str) -> None:
    card = catalog.card(name, smallest(name))
    exact = WITHIN_A_STEP.get(name, 0.999)
    network_checks.check_int8_file(trained_like(name), card, samples(name), exact=exact)
