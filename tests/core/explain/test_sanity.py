"""Cascading randomisation: maps of a network that learned something follow what it learned."""

import keras
import numpy as np
import pytest

from core.errors import UserError
from core.explain.sanity import cascading_randomisation, rank_correlation, shuffle_weights


@pytest.fixture
def inputs():
    return np.random.default_rng(5).normal(size=(3, 33, 47, 3)).astype(np.float32)


def test_maps_change_from_the_head_on_and_the_network_stays(network, inputs):
    before = network.get_weights()
    found = cascading_randomisation(network, inputs, classes=2)
    assert [step.layer for step in found] == ["fc", "conv3", "conv2", "conv1"]
    assert all(abs(step.correlation) < 0.9 for step in found)
    for one, other in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_map_that_ignores_the_network_is_found_out(inputs):
    """Its layer stands before anything learned, and all classes weigh it alike."""
    image = keras.Input((33, 47, 3))
    x = keras.layers.AveragePooling2D(2, name="soft")(image)
    x = keras.layers.GlobalAveragePooling2D()(x)
    start = keras.initializers.Constant(0.5)
    model = keras.Model(image, keras.layers.Dense(4, kernel_initializer=start, name="fc")(x))
    (step,) = cascading_randomisation(model, inputs, layer="soft")
    assert step.layer == "fc" and step.correlation == pytest.approx(1)


def test_maps_are_compared_only_where_that_is_wished(network, inputs):
    every = cascading_randomisation(network, inputs, seed=3)
    few = cascading_randomisation(network, inputs, stops=["conv2", "fc"], seed=3)
    assert few == [every[0], every[2]]
    with pytest.raises(UserError, match="Did you mean 'conv2'"):
        cascading_randomisation(network, inputs, stops=["conv_2"])


def test_a_shuffle_keeps_the_values(network):
    layer = network.get_layer("conv2")
    kernel = layer.get_weights()[0]
    shuffle_weights(layer, np.random.default_rng(0))
    shuffled = layer.get_weights()[0]
    assert not np.array_equal(kernel, shuffled)
    np.testing.assert_array_equal(np.sort(kernel, axis=None), np.sort(shuffled, axis=None))


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ([[10, 20], [30, 45]], 1.0),
        ([[4, 3], [2, 1]], -1.0),
        ([[7, 7], [7, 7]], 0.0),
        ([[1, 3], [2, 4]], 0.8),
    ],
)
def test_rank_correlation(other, expected):
    assert rank_correlation(np.array([[1, 2], [3, 4]]), np.array(other)) == pytest.approx(expected)
