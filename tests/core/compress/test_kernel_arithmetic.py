"""Rounding where it is hard: the simulation takes the side the kernels of a file take."""

import keras
import numpy as np
import pytest

from core.compress.primitive_layers import ChannelMean, InverseRoot
from core.compress.quantize import quantize_aware
from core.compress.quantizers import ActivationQuantizer
from core.compress.ranges import calibrate
from core.engines import interpreter
from core.export.convert import to_tflite

RNG = np.random.default_rng(0)


def quantized_of(layer, shape, *ranges) -> keras.Model:
    """Return a model of one layer with the ranges (low, high) of its input and output."""
    image = keras.Input(shape)
    model = quantize_aware(keras.Model(image, layer(image)))
    quantizers = [one for one in model.layers if isinstance(one, ActivationQuantizer)]
    calibrate(model, [RNG.random(shape)])
    for quantizer, limits in zip(quantizers, ranges, strict=False):
        quantizer.set_range(*limits)
    return model


def check_codes(model: keras.Model, codes: np.ndarray) -> np.ndarray:
    """Compare the file of a model with its simulation for stored codes; return the file's."""
    file = interpreter(to_tflite(model, "int8", io="int8"), threads=1, delegate=True)
    (source,), (target,) = file.get_input_details(), file.get_output_details()
    file.set_tensor(source["index"], codes[None].astype(np.int8))
    file.invoke()
    found = file.get_tensor(target["index"])[0].astype(int)
    (scale, zero), (step, start) = source["quantization"], target["quantization"]
    values = (codes - zero).astype(np.float32) * np.float32(scale)
    simulated = np.rint(np.asarray(model(values[None]))[0] / step) + start
    np.testing.assert_array_equal(simulated, found)
    return found - start


def range_of(step: float) -> tuple[float, float]:
    """Return a range whose codes lie a float32 step apart, to its last place."""
    high = np.float32(255 * step)
    for place in (high, np.nextafter(high, np.float32(0)), np.nextafter(high, np.float32(1e9))):
        if np.float32(float(place) / 255) == np.float32(step):
            return 0.0, float(place)
    raise AssertionError(step)


@pytest.mark.parametrize(
    "channels, source, target, total, mean",
    [
        (192, 0.076710746, 0.031421, 8061, 102),  # 102.50001 in exact arithmetic
        (96, 0.042529996, 0.01812754, 3744, 91),  # 91.499997
        (384, 0.07387866, 0.027191468, 212, 2),  # 1.4999991
        (192, 0.03974587, 0.01580394, 5993, 78),  # 78.500004
    ],
)
def test_a_mean_of_channels_near_a_tie(channels, source, target, total, mean):
    """The kernel takes the zero points off after it has multiplied, in float32."""
    model = quantized_of(ChannelMean(), (1, 1, channels), range_of(source), range_of(target))
    codes = np.full((1, 1, channels), total // channels - 128)
    codes[..., : total % channels] += 1
    assert check_codes(model, codes).ravel().tolist() == [mean]


@pytest.mark.parametrize("channels", [96, 100, 384])
def test_means_of_channels(channels):
    model = quantized_of(ChannelMean(), (16, 16, channels), (-2.0, 3.1), (-1.0, 1.2))
    check_codes(model, RNG.integers(-128, 128, (16, 16, channels)))


@pytest.mark.parametrize("high, top", [(33.684063, 1.2642175), (23.122795, 1.4762375), (0.3, 20.0)])
def test_inverse_roots_of_all_codes(high, top):
    """The kernel has 20 bits for a root, and rounds twice."""
    model = quantized_of(InverseRoot(), (16, 16, 1), (0.0, high), (0.0, top))
    check_codes(model, np.arange(-128, 128).reshape(16, 16, 1))


@pytest.mark.parametrize("high", [5.0, 23.6])
def test_softmax(high):
    """The kernel adds a table's exponentials one after the other, in float32."""
    model = quantized_of(keras.layers.Activation("softmax"), (256, 128, 16), (0.0, high))
    check_codes(model, RNG.integers(-128, 128, (256, 128, 16)))


@pytest.mark.parametrize("low", [-1.28, -1.2])
def test_products_of_matrices(low):
    """XNNPACK takes those whose right range has its zero in the middle, and rounds once."""

    def product(x):
        return keras.ops.matmul(x, keras.ops.transpose(x, (0, 1, 3, 2)))

    model = quantized_of(product, (2, 48, 16), (low, low + 2.55), (-7.3, 6.9))
    check_codes(model, RNG.integers(-60, 60, (2, 48, 16)))


def test_biases_half_way_between_two_codes():
    """A bias counts in products of two scales; their last places decide where it goes."""
    layer = keras.layers.Conv2D(256, 1, name="conv")
    model = quantized_of(layer, (32, 32, 8), (-1.3, 2.9), (-0.5, 0.6))
    conv = model.get_layer("conv")
    halves = RNG.integers(1000, 3000, 256) + 0.5
    conv.bias.assign(halves * conv.ends.sources[0].scale * conv.scales)
    check_codes(model, RNG.integers(-128, 128, (32, 32, 8)))
