"""The int8 path: exact folding, integers only, and the file computes what Keras simulated."""

import keras
import numpy as np
import pytest
from keras import layers

from core.compress.quantize import quantize
from core.compress.quantizers import ActivationQuantizer, rounding_off
from core.compress.ranges import calibrate
from core.engines import LiteRTEngine, output_error, signal_to_noise
from core.errors import UserError
from core.export.convert import to_tflite
from core.export.inspect import float_operators, operators, requantisation
from core.layers.convolution import GroupedConv2D
from core.model_card import ModelCard

CARD = ModelCard("toy", "a", "medseg")


def conv_norm_relu(x):
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
    return layers.Activation("relu6")(layers.BatchNormalization()(x))


def depthwise(x):
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, depth_multiplier=2)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def grouped(x):
    x = GroupedConv2D(6, 3, groups=2, padding="same", use_bias=True)(x)
    return layers.BatchNormalization()(x)


def transposed(x):
    x = layers.Conv2DTranspose(5, 3, strides=2, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def lone_norm(x):
    return layers.BatchNormalization()(layers.MaxPooling2D(2)(x))


def fused_in_layer(x):
    return layers.Conv2D(4, 1, activation="relu")(layers.Conv2D(4, 1, activation="sigmoid")(x))


def dense_head(x):
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, activation="relu")(x))
    return layers.Softmax()(layers.Dense(5)(layers.Dense(7, activation="relu")(x)))


def shared_layer(x):
    """One convolution for two tensors, as in a squeeze of average and maximum."""
    shared = layers.Conv2D(4, 1)
    pooled = (
        layers.GlobalAveragePooling2D(keepdims=True)(x),
        layers.GlobalMaxPooling2D(keepdims=True)(x),
    )
    return layers.Add()([shared(tensor) for tensor in pooled])


def gate(x):
    weights = layers.Activation("sigmoid")(layers.Conv2D(4, 1)(x))
    return layers.Multiply()([x, weights])


def mean_and_max(x):
    mean = keras.ops.mean(x, axis=-1, keepdims=True)
    peak = keras.ops.max(x, axis=-1, keepdims=True)
    return layers.Conv2D(1, 3, padding="same")(layers.Concatenate()([mean, peak]))


def concatenated_twice(x):
    """A value that a concatenation and another operator read."""
    a, b = layers.Conv2D(3, 1)(x), layers.Conv2D(5, 3, padding="same")(x)
    joined = layers.Concatenate()([a, b, x])
    return layers.Conv2D(2, 1)(joined), layers.Conv2D(2, 1)(a)


def sigmoids_concatenated(x):
    """A sigmoid's own scale is fixed by TFLite, a concatenation's is not."""
    weights = layers.Activation("sigmoid")(layers.Conv2D(2, 1)(x))
    return layers.Conv2D(2, 1)(layers.Concatenate()([x, weights]))


def concatenations_in_a_row(x):
    for _ in range(3):
        x = layers.Concatenate()([x, layers.Conv2D(2, 3, padding="same", activation="relu")(x)])
    return layers.Conv2D(2, 1)(x)


def sum_of_three(x):
    return layers.Add()([x, layers.Conv2D(4, 1)(x), layers.Conv2D(4, 3, padding="same")(x)])


def upsampled(x):
    x = layers.UpSampling2D(2, interpolation="bilinear")(layers.Conv2D(4, 1)(x))
    return layers.Activation("relu")(x)


def nested(x):
    inner_input = keras.Input((8, 12, 4))
    inner = keras.Model(inner_input, conv_norm_relu(inner_input), name="inner")
    return layers.Conv2D(2, 1)(inner(x))


NETWORKS = [
    conv_norm_relu, depthwise, grouped, transposed, lone_norm, fused_in_layer, dense_head,
    shared_layer, gate, mean_and_max, concatenated_twice,
    sigmoids_concatenated, concatenations_in_a_row, sum_of_three, upsampled, nested,
]  # fmt: skip


def build(network) -> keras.Model:
    """Return the network with lively weights and statistics."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 12, 4), name="image")
    model = keras.Model(image, network(image), name=network.__name__)
    rng = np.random.default_rng(3)
    for weight in model.weights:
        shape = weight.shape
        if weight.name in ("gamma", "moving_variance"):
            # Channels of very different scale are what per-channel weights are for.
            weight.assign(rng.uniform(0.2, 2.0, shape) * np.where(weight.name == "gamma", -1, 1))
        elif weight.name in ("beta", "moving_mean", "bias"):
            weight.assign(0.3 * rng.standard_normal(shape))
    return model


def inputs(count: int = 16) -> np.ndarray:
    return np.random.default_rng(5).standard_normal((count, 8, 12, 4)).astype(np.float32)


def outputs_of(model, batch) -> list[np.ndarray]:
    return [np.asarray(o) for o in keras.tree.flatten(model(batch, training=False))]


@pytest.mark.parametrize("network", NETWORKS)
def test_int8_file_computes_the_simulation(network):
    model = build(network)
    before = [weight.numpy().copy() for weight in model.weights]
    quantized = quantize(model)
    with rounding_off(quantized):
        assert output_error(outputs_of(model, inputs()), outputs_of(quantized, inputs())) < 1e-5
    calibrate(quantized, inputs())
    content = to_tflite(quantized, "int8")
    assert [operator.name for operator in float_operators(content)] == []
    assert [str(entry) for entry in requantisation(content) if entry.fatal] == []
    simulated = outputs_of(quantized, inputs())
    for delegate in (True, False):
        computed = LiteRTEngine(content, CARD, delegate=delegate)(inputs())
        assert signal_to_noise(simulated, computed) > 30.0
    assert signal_to_noise(outputs_of(model, inputs()), simulated) > 20.0
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


def test_kernels_have_a_scale_per_output_channel():
    model = build(depthwise)
    quantized = quantize(model)
    calibrate(quantized, inputs())
    (operator,) = [
        o for o in operators(to_tflite(quantized, "int8")) if o.name == "DEPTHWISE_CONV_2D"
    ]
    assert len(set(operator.inputs[1].scales)) == 8


@pytest.mark.parametrize("io", ["float32", "uint8", "int8"])
def test_input_and_output_types(io):
    quantized = quantize(build(conv_norm_relu))
    calibrate(quantized, inputs())
    content = to_tflite(quantized, "int8", io=io)
    engine = LiteRTEngine(content, CARD)
    assert engine._inputs[0]["dtype"] == np.dtype(io)
    assert engine._outputs[0]["dtype"] == np.dtype(io)
    assert signal_to_noise(outputs_of(quantized, inputs()), engine(inputs())) > 30.0


def test_own_ranges_are_as_good_as_the_converters():
    """The converter's calibrator is the cross-check of ours, on the same samples."""
    model = build(gate)
    quantized = quantize(model)
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
    quantized = quantize(model)
    notes = calibrate(quantized, inputs())
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


def test_layers_without_an_integer_form_are_named():
    model = build(lambda x: layers.LayerNormalization(name="norm_1")(x))
    with pytest.raises(UserError, match="norm_1"):
        quantize(model)


def test_subclassed_models_are_refused():
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(UserError, match="functional"):
        quantize(Subclassed())


def test_nan_in_the_samples_is_refused():
    quantized = quantize(build(conv_norm_relu))
    with pytest.raises(UserError, match="NaN"):
        calibrate(quantized, np.full((1, 8, 12, 4), np.nan, np.float32))


def test_no_samples_is_refused():
    with pytest.raises(UserError, match="at least one sample"):
        calibrate(quantize(build(conv_norm_relu)), [])


def test_observers_differ_on_an_outlier():
    """ "average" forgets a single extreme sample, "minmax" keeps it."""
    batch = inputs()
    batch[0] *= 20
    widths = {}
    for observer in ("minmax", "average"):
        quantized = quantize(build(conv_norm_relu))
        calibrate(quantized, batch, observer=observer)
        widths[observer] = float(quantized.get_layer("image.range").maximum)
    assert widths["minmax"] == pytest.approx(batch.max())
    assert widths["average"] < widths["minmax"] / 4


def test_quantized_models_save_and_load(tmp_path):
    quantized = quantize(build(grouped))
    calibrate(quantized, inputs())
    quantized.save(tmp_path / "q.keras")
    loaded = keras.models.load_model(tmp_path / "q.keras", compile=False)
    np.testing.assert_array_equal(
        outputs_of(quantized, inputs())[0], outputs_of(loaded, inputs())[0]
    )


def test_ranges_always_hold_zero():
    quantizer = ActivationQuantizer()
    quantizer.set_range(0.5, 6.0)
    assert float(quantizer.minimum) == 0.0
    quantizer.set_range(-6.0, -0.5)
    assert float(quantizer.maximum) == 0.0
