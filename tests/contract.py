"""What every network of the catalog must do; a network's own tests hold only what is special.

`tests/test_contract.py` runs these checks over the catalog. Expensive ones use the smallest
variant, since the variants of a system are one architecture.
"""

from __future__ import annotations

from functools import cache

import keras
import numpy as np

from apps import catalog
from core.checkpoints import load_torch_state, torch_state
from core.compress.quantize import quantize_aware
from core.compress.ranges import calibrate
from core.engines import LiteRTEngine, output_error, signal_to_noise
from core.export.convert import to_tflite
from core.export.inspect import float_operators, foreign_operators, output_steps, requantisation

VARIANTS = [(name, v) for name in catalog.names() for v in catalog.network(name).variants]


def smallest(name: str) -> str:
    """Return the variant with the fewest published parameters."""
    network = catalog.network(name)
    return min(network.variants, key=lambda v: network.card(v).published["parameters"])


def small_shape(name: str) -> tuple[int, int, int]:
    """Return an input that is quick and not square, so that swapped sides are noticed."""
    card = catalog.card(name, smallest(name))
    unit = max(8, card.size_multiple)
    return (2 * unit, 3 * unit, card.channels)


@cache
def trained_like(name: str) -> keras.Model:
    """Return the smallest variant with weights of a plausible scale and live statistics.

    Fresh weights of std 0.02 make every activation vanish, which hides errors.
    """
    keras.utils.set_random_seed(1)
    model = catalog.build(name, smallest(name), input_shape=small_shape(name))
    rng = np.random.default_rng(1)
    state = {}
    for key, value in torch_state(model).items():
        leaf = key.rsplit(".", 1)[-1]
        if value.ndim > 1:
            fan_in = np.prod(value.shape[1:])
            state[key] = rng.standard_normal(value.shape) * np.sqrt(2.0 / fan_in)
        elif leaf in ("weight", "running_var"):
            state[key] = rng.uniform(0.5, 1.5, value.shape)
        else:
            state[key] = 0.1 * rng.standard_normal(value.shape)
    load_torch_state(model, {k: v.astype(np.float32) for k, v in state.items()})
    return model


@cache
def samples(name: str) -> np.ndarray:
    """Return eight smooth random inputs (images have no white noise), of the network's range."""
    height, width, channels = small_shape(name)
    coarse = np.random.default_rng(0).standard_normal((8, height // 8, width // 8, channels))
    if catalog.card(name).pixel_range() is not None:
        low, high = catalog.card(name, smallest(name)).pixel_range()  # inputs that are pixels
        coarse = np.clip((low + high) / 2 + (high - low) / 10 * coarse, low, high)
    return np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2).astype(np.float32)


@cache
def float_file(name: str) -> bytes:
    return to_tflite(trained_like(name), "float32")


@cache
def int8_pair(name: str) -> tuple[keras.Model, bytes]:
    """Return the calibrated fake-quantized model and its file."""
    quantized = quantize_aware(trained_like(name))
    calibrate(quantized, samples(name))
    return quantized, to_tflite(quantized, "int8", io="int8")


def check_parameters(name: str, variant: str) -> None:
    network = catalog.network(name)
    model = network.build(
        variant, (*network.card(variant).input_size, 3), **network.training_options
    )
    published = network.card(variant).published["parameters"]
    assert published in (_parameters(model), _parameters(network.deploy(model)))


def _parameters(model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def check_layer_names_unique_and_stable(name: str, variant: str) -> None:
    first, second = (
        [layer.name for layer in catalog.build(name, variant).layers if layer.weights]
        for _ in range(2)
    )
    assert first == second and len(set(first)) == len(first)


def check_seed_decides_the_start(name: str) -> None:
    """Equal seeds start alike, other seeds and other layers of a shape do not."""

    def kernels(seed: int) -> list[np.ndarray]:
        keras.utils.set_random_seed(seed)
        model = catalog.build(name, smallest(name))
        return [np.asarray(w) for w in model.trainable_weights if len(w.shape) > 1]

    first, again, other = kernels(1), kernels(1), kernels(2)
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)
    for i, a in enumerate(first):
        assert not any(np.array_equal(a, b) for b in first[:i])


def check_refuses_wrong_size(name: str) -> None:
    card = catalog.card(name, smallest(name))
    wrong = (card.size_multiple + 1, card.size_multiple, card.channels)
    try:
        catalog.build(name, smallest(name), input_shape=wrong)
    except ValueError as error:
        assert str(card.size_multiple) in str(error)
    else:
        assert card.size_multiple == 1


def check_open_size_equals_fixed(name: str) -> None:
    fixed = trained_like(name)
    open_model = catalog.build(name, smallest(name), input_shape=(None, None, fixed.input.shape[3]))
    open_model.set_weights(fixed.get_weights())
    inputs = samples(name)[:2]
    assert output_error(_outputs(fixed, inputs), _outputs(open_model, inputs)) < 1e-5


def check_save_and_load(name: str, folder) -> None:
    model = trained_like(name)
    model.save(folder / "model.keras")
    loaded = keras.models.load_model(folder / "model.keras", compile=False)
    inputs = samples(name)[:2]
    assert output_error(_outputs(model, inputs), _outputs(loaded, inputs)) == 0.0
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]


def check_learns(name: str) -> None:
    """A few gradient steps lower the loss on one batch."""
    import tensorflow as tf

    model = keras.models.clone_model(trained_like(name))
    model.set_weights(trained_like(name).get_weights())
    inputs = samples(name)[:4]
    shape = model(inputs).shape
    target = tf.cast(inputs[..., :1] > 0, tf.float32)
    if len(shape) == 4:
        target = tf.image.resize(target, shape[1:3])
    else:  # a vector: some pixels of the image
        target = tf.reshape(target, (len(inputs), -1))[:, : shape[1]]
        target = tf.pad(target, [(0, 0), (0, shape[1] - target.shape[1])])
    optimizer = keras.optimizers.Adam(1e-3)
    losses = []
    for _ in range(4):
        with tf.GradientTape() as tape:
            outputs = model(inputs, training=True)
            loss = tf.reduce_mean(tf.square(outputs - target))
        gradients = tape.gradient(loss, model.trainable_variables)
        assert all(gradient is not None for gradient in gradients)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        losses.append(float(loss))
    assert losses[-1] < losses[0]


def check_float_file(name: str) -> None:
    inputs, card = samples(name)[:4], catalog.card(name, smallest(name))
    reference = _outputs(trained_like(name), inputs)
    assert foreign_operators(float_file(name)) == []
    for delegate in (True, False):
        engine = LiteRTEngine(float_file(name), card, delegate=delegate)
        assert output_error(reference, engine(inputs)) < 1e-4


def check_int8_file(name: str) -> None:
    """Integers throughout, ratios XNNPACK computes, and the file computes what Keras simulated.

    Random weights lose far more to 8 bits than trained ones, so the budget is not absolute: the
    file must be as close to the float network as its simulation is.
    """
    quantized, content = int8_pair(name)
    inputs, card = samples(name), catalog.card(name, smallest(name))
    assert foreign_operators(content) == []
    assert [operator.name for operator in float_operators(content)] == []
    assert [str(entry) for entry in requantisation(content) if entry.fatal] == []
    reference = _outputs(trained_like(name), inputs)
    simulated = signal_to_noise(reference, _outputs(quantized, inputs))
    assert simulated > 12.0
    for delegate in (True, False):
        engine = LiteRTEngine(content, card, delegate=delegate)
        outputs = engine(inputs)
        assert signal_to_noise(reference, outputs) > simulated - 1.5
        if delegate:  # what Keras simulates is what the file computes
            steps = output_steps(content, engine.output_indices)
            for ours, theirs, step in zip(_outputs(quantized, inputs), outputs, steps, strict=True):
                assert (np.abs(ours - theirs) <= 1.01 * step).mean() >= 0.999


def _outputs(model, inputs) -> list[np.ndarray]:
    return [np.asarray(o) for o in keras.tree.flatten(model(inputs, training=False))]
