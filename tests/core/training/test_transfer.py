"""Weights move from one network into another completely, or not at all."""

import keras
import numpy as np
import pytest

from core.errors import UserError
from core.training.transfer import transfer


def network(width: int = 4, *, decoder: bool = True, names: str = "encoder") -> keras.Model:
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(width, 3, name=f"{names}.0")(image)
    x = keras.layers.BatchNormalization(name=f"{names}.1")(x)
    return keras.Model(
        image, keras.layers.Conv2D(1, 1, name="decoder")(x) if decoder else x, name="net"
    )


def test_every_array_is_accounted_for():
    source, target = network(decoder=False), network()
    source.get_layer("encoder.1").moving_mean.assign([1.0, 2.0, 3.0, 4.0])
    start = target.get_layer("decoder").get_weights()
    moved = transfer(source, target)
    assert moved.moved == ("encoder.0.weight", "encoder.0.bias", "encoder.1.weight",
                           "encoder.1.bias", "encoder.1.running_mean",
                           "encoder.1.running_var")  # fmt: skip
    assert moved.changed == ("encoder.0.weight", "encoder.1.running_mean")
    assert moved.kept == ("decoder.weight", "decoder.bias") and moved.resized == ()
    assert str(moved) == "6 arrays transferred, 2 keep their start"
    for layer in source.layers[1:]:
        for a, b in zip(layer.weights, target.get_layer(layer.name).weights, strict=True):
            np.testing.assert_array_equal(a, b)
    for a, b in zip(start, target.get_layer("decoder").get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "source, message",
    [
        (lambda: network(5, decoder=False), r"no place for encoder.0.weight \(5, 3, 3, 3\)"),
        (lambda: network(decoder=False, names="other"), r"no place for other\.0\.weight.* and 1 m"),
        (lambda: keras.Sequential([keras.Input((8,)), keras.layers.ReLU()]), "given no weights"),
    ],
)
def test_nothing_moves_unless_all_of_it_does(source, message):
    target = network()
    before = target.get_weights()
    with pytest.raises(UserError, match=f"{message}.*nothing was transferred"):
        transfer(source(), target)
    for a, b in zip(before, target.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_transfer_that_changes_nothing_is_an_error():
    """The trained encoder was not saved, or the fresh one was passed for it."""
    target = network()
    with pytest.raises(UserError, match="held the weights of part already"):
        transfer(keras.Model(target.input, target.layers[2].output, name="part"), target)
