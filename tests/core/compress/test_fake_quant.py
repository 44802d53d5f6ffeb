"""Fake quantization against the whitepaper's golden file."""

import golden_files
import keras
import numpy as np
import pytest

from core.compress.quantized_layers import QuantizedConv2D
from core.compress.quantizers import ActivationQuantizer


@pytest.fixture(scope="module")
def golden():
    path = golden_files.GOLDEN / "quantization-whitepaper__fake-quant.npz"
    with np.load(path, allow_pickle=False) as data:
        return {name: data[name] for name in data.files if name != "meta"}


@pytest.mark.parametrize(
    "case, low, high, bits",
    [("fq0", -6, 6, 8), ("fq2", -1.3, 4.7, 8), ("fq3", -1.3, 4.7, 4), ("fq4", 0, 6, 8)],
)
def test_activations(golden, case, low, high, bits):
    quantizer = ActivationQuantizer(bits)
    quantizer.set_range(low, high)
    np.testing.assert_allclose(quantizer(golden["x"]), golden[f"{case}/y"], atol=1e-6)


def test_kernels_per_channel(golden):
    kernel = golden["kernel"]
    layer = QuantizedConv2D(kernel.shape[-1], kernel.shape[:2])
    layer.build((None, 8, 8, kernel.shape[2]))
    layer.kernel.assign(kernel)
    layer.measure()
    np.testing.assert_allclose(layer.kernel_range, golden["perchannel8/max"], rtol=1e-6)
    rounded = keras.ops.convert_to_numpy(layer._rounded(layer.kernel, False))
    np.testing.assert_allclose(rounded, golden["perchannel8/y"], atol=1e-6)
    codes = np.rint(rounded / layer.scales)
    np.testing.assert_array_equal(codes.astype(np.int8), golden["perchannel8/int"])
