"""Attention in 8 bits: ranges that fit what they hold, masks that do not widen them."""

import keras
import numpy as np
import pytest
from keras import layers
from quantization_zoo import build, inputs, outputs_of

from core.compress.quantize import quantize_aware
from core.compress.quantizers import ActivationQuantizer
from core.compress.ranges import calibrate
from core.compress.scheme import Scheme
from core.compress.simulated_operators import SILENT
from core.engines import signal_to_noise
from core.export.convert import to_tflite
from core.export.ranges import LEAST_CLIPPING_DB, activation_ranges
from core.layers.own_range import OwnRange
from core.layers.window_attention import window_attention
from core.tflite.inspect import operators


def shifted(x):
    return window_attention(layers.Dense(8)(x), 2, "attn", window=4, shift=1)


def quantized_of(network, **choices) -> keras.Model:
    quantized = quantize_aware(build(network), Scheme(**choices))
    calibrate(quantized, inputs())
    return quantized


def ends(model: keras.Model, name: str) -> tuple[float, float]:
    quantizer = model.get_layer(f"{name}.range")
    return float(quantizer.minimum), float(quantizer.maximum)


@pytest.mark.parametrize("observer", ["minmax", "mse"])
def test_a_mask_costs_the_scores_little_of_their_range(observer):
    model = quantized_of(shifted, observer=observer)
    low, high = ends(model, "attn")
    masked_low, masked_high = ends(model, "attn.mask")
    assert masked_low >= 1.001 * (low - SILENT) and masked_high <= 1.001 * high
    assert masked_low < low
    assert ends(model, "attn.mask.table") == (-100.0, 0.0)
    reference = outputs_of(build(shifted), inputs())
    assert signal_to_noise(reference, outputs_of(model, inputs())) > 25.0


def test_a_mask_does_not_widen_the_range_in_training():
    model = quantized_of(shifted, decay=0.5)
    model.compile(keras.optimizers.SGD(0.01), loss="mse")
    model.fit(inputs(), outputs_of(build(shifted), inputs())[0], batch_size=4, verbose=0)
    low, _ = ends(model, "attn.mask")
    assert -30.0 < low < ends(model, "attn")[0]
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_verifying_a_file_does_not_take_a_mask_for_a_range_that_collapsed():
    content = to_tflite(quantized_of(shifted), "int8")
    ranges = activation_ranges(content, inputs()[:4])
    assert min(one.clipping_db for one in ranges) > LEAST_CLIPPING_DB


def test_queries_keys_and_values_have_ranges_of_their_own_and_the_scale_costs_nothing():
    model = quantized_of(shifted)
    ranges = {ends(model, f"attn.qkv.{part}") for part in range(3)}
    assert len(ranges) == 3
    names = [operator.name for operator in operators(to_tflite(model, "int8", io="int8"))]
    assert names.count("CONV_2D") == 5  # stem, q, k, v, projection
    assert not {"DEPTHWISE_CONV_2D", "MUL", "SPLIT", "GATHER"} & set(names)


def split_of_a_shared_kernel(x):
    dense = layers.Dense(8, name="shared")
    (a, b), (c, _) = (keras.ops.split(dense(y), 2, axis=-1) for y in (x, 0.5 * x))
    return layers.Add()([layers.Add()([a, b]), c])


def test_a_kernel_that_is_used_twice_stays_one():
    model = quantized_of(split_of_a_shared_kernel)
    names = {layer.name for layer in model.layers}
    assert "shared" in names and "shared.0" not in names


def residual_beside_a_wide_tensor(own: bool):
    def network(x):
        small = layers.Conv2D(4, 1, name="small")(x)
        wide = layers.Conv2D(4, 1)(layers.Rescaling(1000.0)(x))
        skip = OwnRange(name="skip")(small) if own else small
        joined = layers.Conv2D(2, 1)(layers.Concatenate()([wide, skip]))
        return layers.Conv2D(2, 1, name="alone")(small), joined

    return network


@pytest.mark.parametrize("own, least, most", [(False, 0.0, 15.0), (True, 30.0, 99.0)])
def test_a_range_of_its_own_keeps_a_small_tensor_fine(own, least, most):
    network = residual_beside_a_wide_tensor(own)
    alone = signal_to_noise(
        outputs_of(build(network), inputs())[:1], outputs_of(quantized_of(network), inputs())[:1]
    )
    assert least < alone < most
    assert any(isinstance(layer, ActivationQuantizer) for layer in quantized_of(network).layers)
