"""The int8 path: exact folding, integers only, and the file computes what Keras simulated."""

import keras
import numpy as np
import pytest
from keras import layers
from quantization_zoo import (
    CARD,
    NETWORKS,
    build,
    clipped_pixels,
    concatenated_twice,
    conv_norm_relu,
    depthwise,
    gate,
    grouped,
    hard_swish_gate,
    inputs,
    outputs_of,
)

from core.compress.integer import float_form, integer_form
from core.compress.quantize import quantize_aware
from core.compress.quantizers import ActivationQuantizer, rounding_off
from core.compress.ranges import calibrate, fix_input_range
from core.compress.scheme import OBSERVERS, Scheme
from core.engines import LiteRTEngine, output_error, signal_to_noise
from core.errors import UserError
from core.export.convert import to_tflite
from core.tflite.inspect import float_operators, operators, output_steps, requantisation


@pytest.mark.parametrize("network", NETWORKS)
def test_without_rounding_nothing_changes(network):
    model = build(network)
    before = [weight.numpy().copy() for weight in model.weights]
    quantized = quantize_aware(model)
    with rounding_off(quantized):
        assert output_error(outputs_of(model, inputs()), outputs_of(quantized, inputs())) < 1e-5
    plain = float_form(quantized)
    assert output_error(outputs_of(model, inputs()), outputs_of(plain, inputs())) < 1e-5
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


# TFLite's HARD_SWISH multiplies in 16 bits; everything else is simulated bit for bit.
INEXACT = {hard_swish_gate: 0.997}
# The reference kernels round twice in every convolution.
REFERENCE = 0.9


@pytest.mark.parametrize("network", NETWORKS)
def test_int8_file_computes_the_simulation(network):
    """No float operator, loads in the default delegate, and gives the same codes bit for bit."""
    model = build(network)
    quantized = quantize_aware(model)
    calibrate(quantized, inputs())
    folded, _ = integer_form(quantized)
    content = to_tflite(quantized, "int8")
    assert [operator.name for operator in float_operators(content)] == []
    assert [str(entry) for entry in requantisation(content) if entry.fatal] == []
    simulated = outputs_of(folded, inputs())
    for mine, folded_one in zip(outputs_of(quantized, inputs()), simulated, strict=True):
        np.testing.assert_allclose(mine, folded_one, atol=1e-6)
    for delegate in (True, False):
        engine = LiteRTEngine(content, CARD, delegate=delegate)
        steps = output_steps(content, engine.output_indices)
        for expected, got, step in zip(simulated, engine(inputs()), steps, strict=True):
            difference = np.abs(expected - got)
            if delegate:
                assert (difference < 0.01 * step).mean() >= INEXACT.get(network, 1.0)
            assert (difference <= 1.01 * step).mean() >= (1.0 if delegate else REFERENCE)


def test_kernels_have_a_scale_per_output_channel():
    model = build(depthwise)
    quantized = quantize_aware(model)
    calibrate(quantized, inputs())
    (operator,) = [
        o for o in operators(to_tflite(quantized, "int8")) if o.name == "DEPTHWISE_CONV_2D"
    ]
    assert len(set(operator.inputs[1].scales)) == 8


@pytest.mark.parametrize("io", ["float32", "uint8", "int8"])
def test_input_and_output_types(io):
    quantized = quantize_aware(build(conv_norm_relu))
    calibrate(quantized, inputs())
    content = to_tflite(quantized, "int8", io=io)
    engine = LiteRTEngine(content, CARD)
    assert engine._inputs[0]["dtype"] == np.dtype(io)
    assert engine._outputs[0]["dtype"] == np.dtype(io)
    assert signal_to_noise(outputs_of(quantized, inputs()), engine(inputs())) > 30.0


def test_own_ranges_are_as_good_as_the_converters():
    """The converter's calibrator is the cross-check of ours, on the same samples."""
    model = build(gate)
    quantized = quantize_aware(model, Scheme(observer="minmax"))
    calibrate(quantized, inputs())
    reference = outputs_of(model, inputs())
    ours = LiteRTEngine(to_tflite(quantized, "int8"), CARD)(inputs())
    theirs = LiteRTEngine(to_tflite(model, "int8", calibration=inputs()), CARD)(inputs())
    assert signal_to_noise(reference, ours) > signal_to_noise(reference, theirs) - 1.0


def squeeze_and_excite(x):
    weights = layers.GlobalAveragePooling2D(keepdims=True)(x)
    weights = layers.Conv2D(2, 1, activation="relu", name="squeeze")(weights)
    weights = layers.Activation("sigmoid")(layers.Conv2D(4, 1, name="excite")(weights))
    return layers.Multiply(name="scaled")([x, weights])


def dead_bottleneck() -> keras.Model:
    """A squeeze whose ReLU units never fire: its calibrated range is [0, 0]."""
    model = build(squeeze_and_excite)
    kernel, _ = model.get_layer("squeeze").get_weights()
    model.get_layer("squeeze").set_weights([kernel * 50, np.full(2, -1e4, np.float32)])
    return model


def test_a_dead_bottleneck_gets_a_floor_and_loads():
    model = dead_bottleneck()
    quantized = quantize_aware(model)
    calibrate(quantized, inputs())
    _, notes = integer_form(quantized)
    assert any(note.startswith("squeeze:") for note in notes)
    content = to_tflite(quantized, "int8")
    assert [str(entry) for entry in requantisation(content) if entry.fatal] == []
    computed = LiteRTEngine(content, CARD)(inputs())
    assert signal_to_noise(outputs_of(model, inputs()), computed) > 30.0


def test_a_dead_bottleneck_exported_naively_is_refused():
    """Why floors exist: the converter's own calibration of the same network does not load."""
    content = to_tflite(dead_bottleneck(), "int8", calibration=inputs())
    assert any(entry.fatal for entry in requantisation(content))
    with pytest.raises(UserError, match="XNNPACK"):
        LiteRTEngine(content, CARD)


def test_layers_without_a_rule_are_named_with_the_ways_out():
    model = build(lambda x: layers.Conv3D(2, 1, name="cube")(x[..., None]))
    with pytest.raises(UserError, match=r"cube \(Conv3D\).*'float'.*'pass'"):
        quantize_aware(model)


def test_an_exception_stays_in_float_between_integers():
    model = build(lambda x: layers.Conv2D(3, 1)(layers.Activation("softplus", name="soft")(x)))
    with pytest.raises(UserError, match="soft"):
        quantize_aware(model)
    quantized = quantize_aware(model, Scheme(exceptions={"soft": "float"}))
    calibrate(quantized, inputs())
    content = to_tflite(quantized, "int8")
    floating = {operator.name for operator in float_operators(content)}
    assert floating and "CONV_2D" not in floating
    computed = LiteRTEngine(content, CARD)(inputs())
    assert signal_to_noise(outputs_of(quantized, inputs()), computed) > 30.0


def test_an_exception_that_names_no_layer_is_refused():
    with pytest.raises(UserError, match=r"no layer is called 'conv2d_9'. Did you mean"):
        quantize_aware(build(gate), Scheme(exceptions={"conv2d_9": "float"}))


def test_quantized_models_are_refused():
    with pytest.raises(UserError, match="quantized already"):
        quantize_aware(quantize_aware(build(gate)))


def test_subclassed_models_are_refused():
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(UserError, match="functional"):
        quantize_aware(Subclassed())


def test_nan_in_the_samples_is_refused():
    quantized = quantize_aware(build(conv_norm_relu))
    with pytest.raises(UserError, match="NaN"):
        calibrate(quantized, np.full((1, 8, 12, 4), np.nan, np.float32))


def test_no_samples_is_refused():
    with pytest.raises(UserError, match="at least one sample"):
        calibrate(quantize_aware(build(conv_norm_relu)), [])


def test_samples_of_another_shape_are_refused():
    with pytest.raises(UserError, match=r"shape \(1, 8, 12, 4\), but the network takes"):
        calibrate(quantize_aware(build(gate)), [inputs(1)])


def test_observers_differ_on_an_outlier():
    """ "minmax" keeps a single extreme batch, the average dampens it, percentiles forget it."""
    batch = inputs()
    batch[0, 0, 0, 0] = 500.0
    widths = {}
    for observer in OBSERVERS:
        quantized = quantize_aware(build(conv_norm_relu), Scheme(observer=observer, percentile=99))
        calibrate(quantized, batch)
        widths[observer] = float(quantized.get_layer("image.range").maximum)
    assert widths["minmax"] == pytest.approx(500.0)
    assert 200 < widths["moving_average"] < 300
    assert widths["percentile"] < 4


def test_quantized_models_save_and_load(tmp_path):
    quantized = quantize_aware(build(grouped))
    calibrate(quantized, inputs())
    quantized.save(tmp_path / "q.keras")
    loaded = keras.models.load_model(tmp_path / "q.keras", compile=False)
    np.testing.assert_array_equal(
        outputs_of(quantized, inputs())[0], outputs_of(loaded, inputs())[0]
    )


def test_a_clip_and_the_pixels_are_ranges_of_the_file():
    """Codes of an image network with uint8 input and output are the pixels themselves."""
    quantized = quantize_aware(build(clipped_pixels))
    calibrate(quantized, np.abs(inputs()) / 4)
    fix_input_range(quantized, (0.0, 1.0))
    content = to_tflite(quantized, "int8", io="uint8")
    names = [operator.name for operator in operators(content)]
    assert not {"MINIMUM", "MAXIMUM", "RELU"} & set(names)
    first, last = operators(content)[0].inputs[0], operators(content)[-1].outputs[0]
    for tensor in (first, last):
        assert tensor.scales[0] == pytest.approx(1 / 255) and tensor.zero_points[0] == 0


def test_an_input_range_shared_with_other_values_stays():
    quantized = quantize_aware(build(concatenated_twice))
    calibrate(quantized, inputs())
    before = [(q.minimum.numpy(), q.maximum.numpy()) for q in ranges_of(quantized)]
    fix_input_range(quantized, (0.0, 1.0))
    assert [(q.minimum.numpy(), q.maximum.numpy()) for q in ranges_of(quantized)] == before


def ranges_of(model) -> list[ActivationQuantizer]:
    return [layer for layer in model.layers if isinstance(layer, ActivationQuantizer)]


def test_ranges_always_hold_zero():
    quantizer = ActivationQuantizer()
    quantizer.set_range(0.5, 6.0)
    assert float(quantizer.minimum) == 0.0
    quantizer.set_range(-6.0, -0.5)
    assert float(quantizer.maximum) == 0.0


def test_what_follows_dead_units_is_their_bias():
    """As in an attention's bottleneck whose ReLU is dead for all samples: its range collapses."""
    image = keras.Input((8, 12, 4), name="image")
    dead = layers.Conv2D(4, 1, bias_initializer=keras.initializers.Constant(-90.0))(image)
    ones = layers.Conv2D(5, 1, bias_initializer="ones")(layers.ReLU()(dead))
    quantized = quantize_aware(keras.Model(image, ones))
    calibrate(quantized, inputs())
    np.testing.assert_allclose(outputs_of(quantized, inputs())[0], 1.0, atol=0.01)
    computed = LiteRTEngine(to_tflite(quantized, "int8"), CARD)(inputs())[0]
    np.testing.assert_allclose(computed, 1.0, atol=0.01)


def test_a_dead_channel_keeps_its_bias():
    """Its kernel's range is almost nothing, so its bias would not fit 32 bits of such steps."""
    model = build(conv_norm_relu)
    norm = next(x for x in model.layers if isinstance(x, layers.BatchNormalization))
    norm.gamma.assign(np.array([0, 1e-7, 1e-4, 1, 1, 1, 1, 1], np.float32))
    norm.beta.assign(np.full(8, 3.0, np.float32))
    quantized = quantize_aware(model)
    calibrate(quantized, inputs())
    computed = LiteRTEngine(to_tflite(quantized, "int8"), CARD)(inputs())[0]
    np.testing.assert_allclose(computed[..., :3], 3.0, atol=0.03)
    assert signal_to_noise(outputs_of(model, inputs()), [computed]) > 35.0


def test_a_rectified_dense_layer_with_norm_rounds_once():
    def head(x):
        x = keras.layers.Dense(6, name="fc")(keras.layers.GlobalAveragePooling2D()(x))
        return keras.layers.Activation("relu")(keras.layers.BatchNormalization()(x))

    quantized = quantize_aware(build(head))
    ranges = [layer.name for layer in quantized.layers if layer.name.endswith("range")]
    assert [name for name in ranges if name.startswith("fc")] == ["fc.range"]
    calibrate(quantized, inputs())
    assert float(quantized.get_layer("fc.range").minimum) == 0.0
