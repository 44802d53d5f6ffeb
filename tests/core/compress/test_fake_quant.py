"""Fake quantization against the whitepaper's golden file."""

import golden_files
import keras
import numpy as np
import pytest
import tensorflow as tf

from core.compress.quantized_layers import QuantizedConv2D, QuantizedDense
from core.compress.quantizers import ActivationQuantizer


@pytest.fixture(scope="module")
def golden():
    path = golden_files.GOLDEN / "quantization-whitepaper__fake-quant.npz"
    with np.load(path, allow_pickle=False) as data:
        return {name: data[name] for name in data.files if name != "meta"}


ASYMMETRIC = [("fq0", -6, 6, 8), ("fq2", -1.3, 4.7, 8), ("fq3", -1.3, 4.7, 4), ("fq4", 0, 6, 8),
              ("fq5", 0.5, 6, 8), ("fq6", -5, -0.5, 8), ("fq10", 0, 0, 8)]  # fmt: skip
SYMMETRIC = [("fq1", 6, 8), ("fq7", 2.54, 8), ("fq8", 0.7, 4), ("fq9", 1, 2)]


def gradient(function, x):
    """Return values, and the gradient of sum(values · arange/257) as in the golden file."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
        loss = tf.reduce_sum(tf.reshape(y, (-1,)) * np.arange(257, dtype=np.float32) / 257)
    return y.numpy().ravel(), tape.gradient(loss, x).numpy().ravel()


@pytest.mark.parametrize("case, low, high, bits", ASYMMETRIC)
def test_activations(golden, case, low, high, bits):
    quantizer = ActivationQuantizer(bits)
    quantizer.minimum.assign(low)
    quantizer.maximum.assign(high)
    values, slope = gradient(quantizer, golden["x"])
    np.testing.assert_allclose(values, golden[f"{case}/y"], atol=1e-6)
    np.testing.assert_allclose(slope, golden[f"{case}/dx"], atol=1e-6)


@pytest.mark.parametrize("case, limit, bits", SYMMETRIC)
def test_kernels_of_one_range(golden, case, limit, bits):
    layer = QuantizedDense(1, bits=bits)
    layer.build((None, 257))
    layer.kernel_range.assign(limit)
    values, slope = gradient(lambda x: layer._rounded(x, False), golden["x"][:, None])
    np.testing.assert_allclose(values, golden[f"{case}/y"], atol=1e-6)
    np.testing.assert_allclose(slope, golden[f"{case}/dx"], atol=1e-6)


@pytest.mark.parametrize("bits", [8, 4])
def test_kernels_per_channel(golden, bits):
    kernel = golden["kernel"]
    layer = QuantizedConv2D(kernel.shape[-1], kernel.shape[:2], bits=bits)
    layer.build((None, 8, 8, kernel.shape[2]))
    layer.kernel.assign(kernel)
    layer.measure()
    np.testing.assert_allclose(layer.kernel_range, golden[f"perchannel{bits}/max"], rtol=1e-6)
    rounded = keras.ops.convert_to_numpy(layer._rounded(layer.kernel, False))
    np.testing.assert_allclose(rounded, golden[f"perchannel{bits}/y"], atol=1e-6)
    codes = np.rint(rounded / layer.scales)
    np.testing.assert_array_equal(codes.astype(np.int8), golden[f"perchannel{bits}/int"])


def test_a_kernel_of_one_scale_has_the_published_range(golden):
    kernel = golden["kernel"]
    layer = QuantizedConv2D(kernel.shape[-1], kernel.shape[:2], granularity="tensor")
    layer.build((None, 8, 8, kernel.shape[2]))
    layer.kernel.assign(kernel)
    layer.measure()
    assert float(layer.kernel_range) == pytest.approx(golden["pertensor8/minmax"][1])
    rounded = keras.ops.convert_to_numpy(layer._rounded(layer.kernel, False))
    np.testing.assert_allclose(rounded, golden["pertensor8/y"], atol=1e-6)
