"""Tiny converted networks, built once per test session."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

SIZE = 16


def tiny_network() -> keras.Model:
    """Conv, depthwise, residual sum, pooling, dense: 20 KB, every common operator kind."""
    keras.utils.set_random_seed(7)
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(image)
    y = keras.layers.DepthwiseConv2D(3, padding="same", activation="relu6")(x)
    y = keras.layers.Conv2D(8, 1)(y)
    x = keras.layers.Add()([x, y])
    x = keras.layers.Conv2DTranspose(4, 2, strides=2)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(5)(x), name="tiny")


def convert(function, shape=(1, SIZE, SIZE, 3), *, int8: bool = False) -> bytes:
    """Return the .tflite of a Keras model or a function of one float32 tensor, batch fixed at 1."""
    traced = tf.function(function).get_concrete_function(tf.TensorSpec(shape, tf.float32))
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [convert_variables_to_constants_v2(traced)]
    )
    if int8:
        generator = np.random.default_rng(0)
        samples = generator.uniform(-1, 1, (8, *shape)).astype(np.float32)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([sample] for sample in samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


@pytest.fixture(scope="session")
def network() -> keras.Model:
    return tiny_network()


@pytest.fixture(scope="session")
def float_bytes(network) -> bytes:
    return convert(network)


@pytest.fixture(scope="session")
def int8_bytes(network) -> bytes:
    return convert(network, int8=True)


def collapsed_convolution() -> bytes:
    """An int8 file whose one convolution has an output range of 1e-9: multiplier far above 256."""
    generator = np.random.default_rng(3)
    kernel = tf.constant(generator.uniform(-1, 1, (3, 3, 3, 4)).astype(np.float32))

    @tf.function
    def network(image):
        image = tf.quantization.fake_quant_with_min_max_args(image, -1.0, 1.0)
        weights = tf.quantization.fake_quant_with_min_max_vars_per_channel(
            kernel, [-1.0] * 4, [1.0] * 4, narrow_range=True
        )
        x = tf.nn.conv2d(image, weights, 1, "SAME")
        return tf.quantization.fake_quant_with_min_max_vars(x, -1e-9, 1e-9)

    traced = network.get_concrete_function(tf.TensorSpec((1, SIZE, SIZE, 3), tf.float32))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


@pytest.fixture(scope="session")
def collapsed_bytes() -> bytes:
    return collapsed_convolution()


@pytest.fixture(scope="session")
def converted():
    """The `convert` function, for test modules that need a network of their own."""
    return convert
