"""Normalisations folded into kernels: equal outputs, published names, nothing else changed."""

import keras
import numpy as np
import pytest
import quantization_zoo as zoo
from keras import layers

from core.compress.norm_folding import fold_norms
from core.engines import output_error

FOLDED = [
    zoo.conv_norm_relu,
    zoo.depthwise,
    zoo.grouped,
    zoo.transposed,
    zoo.dense_norm,
    zoo.residual,
    zoo.inverted_residual,
    zoo.nested,
]


def norms(model) -> int:
    return sum(isinstance(layer, layers.BatchNormalization) for layer in model.layers)


@pytest.mark.parametrize("network", FOLDED)
def test_every_kind_of_kernel_takes_its_norm_in(network):
    model = zoo.build(network)
    before = [np.array(weight) for weight in model.weights]
    folded = fold_norms(model)
    assert norms(folded) == 0 and folded.name == model.name
    expected = zoo.outputs_of(model, zoo.inputs())
    assert output_error(expected, zoo.outputs_of(folded, zoo.inputs())) < 1e-6
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)
    assert fold_norms(folded) is folded


def test_a_kernel_without_bias_gets_the_shift_only_whatever_a_bias_would_start_with():
    def network(x):
        start = keras.initializers.RandomUniform(-1, 1)
        x = layers.Conv2D(3, 1, use_bias=False, bias_initializer=start)(x)
        return layers.BatchNormalization()(x)

    model = zoo.build(network)
    expected = zoo.outputs_of(model, zoo.inputs())
    assert output_error(expected, zoo.outputs_of(fold_norms(model), zoo.inputs())) < 1e-6


def lone(x):
    return layers.BatchNormalization()(layers.MaxPooling2D(2)(x))


def activated(x):
    return layers.BatchNormalization()(layers.Conv2D(4, 1, activation="relu")(x))


def shared_kernel(x):
    kernel = layers.Conv2D(4, 1)
    return layers.Add()([layers.BatchNormalization()(kernel(x)), kernel(x)])


def read_twice(x):
    y = layers.Conv2D(4, 1)(x)
    return layers.Add()([layers.BatchNormalization()(y), y])


def other_axis(x):
    return layers.BatchNormalization(axis=1)(layers.Conv2D(4, 1)(x))


@pytest.mark.parametrize("network", [lone, activated, shared_kernel, read_twice, other_axis])
def test_what_is_no_part_of_one_kernel_stays(network):
    model = zoo.build(network)
    assert fold_norms(model) is model


def test_layers_keep_their_names():
    image = keras.Input((8, 12, 4))
    x = layers.Conv2D(4, 1, use_bias=False, name="block.conv")(image)
    x = layers.ReLU(name="block.act")(layers.BatchNormalization(name="block.bn")(x))
    folded = fold_norms(keras.Model(image, x))
    assert [layer.name for layer in folded.layers[1:]] == ["block.conv", "block.act"]
