"""Checks of networks for frames of I/Q samples; a network's own tests hold what is special."""

from functools import cache

import golden_files
import keras
import network_checks
import numpy as np
import pytest

from core.checkpoints import load_torch_state, parameter_shapes
from core.network import Network

FRAMES = 8


@cache
def trained_like(build, variant: str, length: int, **options) -> keras.Model:
    """Return a network with weights of a plausible scale."""
    model = build(variant, (length, 2), **options)
    shapes = parameter_shapes(model)
    state = {name: golden_files.parameter(name, shape) for name, shape in shapes.items()}
    assert load_torch_state(model, state).complete
    return model


def frames(card, length: int) -> np.ndarray:
    """Return symbols of two samples as a network takes them: float32 (FRAMES, length, 2)."""
    symbols = np.random.default_rng(0).standard_normal((FRAMES, -(-length // 2), 2))
    samples = symbols.repeat(2, axis=1)[:, :length]
    magnitudes = np.linalg.norm(samples, axis=2).sum(axis=1)
    return card.normalise(samples / magnitudes[:, None, None])


def check_agreement(network: Network, golden_name: str) -> keras.Model:
    """The published weights load whole, and logits and the last layer's inputs are theirs."""
    golden = golden_files.load(golden_name)
    state = golden.state()
    found = network.infer(state)
    assert found.pop("input_size", (128,)) == (128,)
    assert found == {"variant": "base", "classes": 11}
    model = network.build(found["variant"], (128, 2), classes=found["classes"])
    assert load_torch_state(model, network.convert_state(state)).complete
    last = model.layers[-1]
    read = keras.Model(model.input, [last.input, last.output])
    features, logits = (np.asarray(x) for x in read(golden.inputs(deviation=0.1)))
    assert golden.error("features", features) < 1e-4
    assert golden.error("softmax", np.asarray(keras.ops.softmax(logits))) < 1e-4
    return model


def check_parameters(network: Network) -> None:
    """Every variant has as many parameters as its card says, at the length its card says."""
    for variant in network.variants:
        card = network.card(variant)
        model = network.build(variant, card.input_shape)
        assert network_checks.parameters(model) == card.published["parameters"]
        assert model.output_shape == (None, len(card.labels))


def check_float_file(network: Network, variant: str, length: int, **options) -> None:
    """The deployed network's file has builtin operators only and gives what Keras gives."""
    model = network.deploy(trained_like(network.build, variant, length, **options))
    card = network.card(variant)
    network_checks.check_float_file(model, card, frames(card, length)[:3])


def check_int8_file(
    network: Network, variant: str, length: int, *, exact: float = 0.999, **options
) -> bytes:
    """The deployed network's int8 file is integer, apart from layers that are always float."""
    model = network.deploy(trained_like(network.build, variant, length, **options))
    card = network.card(variant)
    return network_checks.check_int8_file(model, card, frames(card, length), exact=exact)


def check_lengths(network: Network, smallest: int) -> None:
    """A length that does not fit is refused with what does; an open one computes the same."""
    if smallest > 1:
        with pytest.raises(ValueError, match=f"length.*at least {smallest}.*{smallest - 1}"):
            network.build("base", (smallest - 1, 2))
    with pytest.raises(ValueError, match="`input_shape` must be"):
        network.build("base", (128, 3))
    network.build("base", (smallest, 2))
    if network.any_size:
        card, fixed = network.card("base"), trained_like(network.build, "base", 32)
        opened = network.build("base", (None, 2))
        network_checks.check_open_size(fixed, opened, frames(card, 32)[:2])
    else:
        with pytest.raises(ValueError, match=r"`input_shape` must have a length.*None"):
            network.build("base", (None, 2))
