"""The small classifier of the golden file, with its parameters."""

import golden_files
import keras
import pytest
from keras import layers

from core.checkpoints import load_torch_state


def golden_network(*, ending: str | None = None) -> keras.Model:
    """Three convolutions with ReLU, global average, one dense layer (`meta["constructor"]`)."""
    x = image = keras.Input((33, 47, 3), name="image")
    for name, filters, strides in (("conv1", 8, 1), ("conv2", 12, 2), ("conv3", 16, 2)):
        x = layers.ZeroPadding2D(1)(x)
        x = layers.Conv2D(filters, 3, strides=strides, activation="relu", name=name)(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, layers.Dense(6, activation=ending, name="fc")(x), name="net")
    load_torch_state(model, golden_files.load("explain__gradcam").state())
    return model


@pytest.fixture(scope="package")
def golden():
    return golden_files.load("explain__gradcam")


@pytest.fixture
def network():
    return golden_network()


@pytest.fixture
def ending_network():
    """A function of the last activation function's name."""
    return lambda ending: golden_network(ending=ending)
