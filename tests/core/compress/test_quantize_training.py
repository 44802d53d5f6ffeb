"""Quantization-aware training: observers, batch statistics, freezing, and the file that follows."""

import golden_files
import keras
import numpy as np
import pytest
import quantization_zoo as zoo
from keras import layers

from core.compress.freezing import FreezeNorms, FreezeRanges
from core.compress.integer import float_form, integer_form
from core.compress.quantize import quantize_aware
from core.compress.quantized_kernel import QuantizedKernel
from core.compress.quantizers import ActivationQuantizer
from core.compress.ranges import calibrate
from core.compress.scheme import Scheme
from core.compress.tracing import exporting
from core.engines import LiteRTEngine, output_error, signal_to_noise
from core.errors import UserError
from core.export.convert import to_tflite
from core.export.exporting import left_in_float
from core.tflite.inspect import operators


@pytest.fixture(scope="module")
def golden():
    path = golden_files.GOLDEN / "quantization-whitepaper__fake-quant.npz"
    with np.load(path, allow_pickle=False) as data:
        return {name: data[name] for name in data.files if name != "meta"}


@pytest.mark.parametrize(
    "case, observer, decay, start",
    [("ema", "moving_average", 0.999, 6.0), ("ema09", "moving_average", 0.9, 6.0),
     ("all", "minmax", 0.0, 0.0)],
)  # fmt: skip
def test_observers_follow_batches_as_published(golden, case, observer, decay, start):
    quantizer = ActivationQuantizer(observer=observer, decay=decay)
    quantizer.set_range(-start, start)
    for batch, expected, rounded in zip(
        golden["act_batches"], golden[f"{case}/ranges"], golden[f"{case}/train_y"], strict=True
    ):
        np.testing.assert_allclose(quantizer(batch, training=True), rounded, atol=2e-6)
        np.testing.assert_allclose([quantizer.minimum, quantizer.maximum], expected, atol=1e-6)
    last = quantizer(golden["act_batches"][2], training=False)
    np.testing.assert_allclose(last, golden[f"{case}/eval_y_batch2"], atol=2e-6)


def test_sixteen_bit_ranges_are_symmetric():
    quantizer = ActivationQuantizer(16)
    quantizer.set_range(-1.0, 4.0)
    assert float(quantizer.minimum) == -4.0
    values = np.linspace(-4, 4, 1001, dtype=np.float32)
    np.testing.assert_allclose(quantizer(values), values, atol=4 / 32767)


def train(model, batch=None, *, epochs=1, callbacks=(), rate=1e-2):
    batch = zoo.inputs() if batch is None else batch
    targets = [np.zeros((len(batch), *o.shape[1:]), np.float32) for o in model.outputs]
    model.compile(optimizer=keras.optimizers.SGD(rate), loss="mse", jit_compile=False)
    target = targets if len(targets) > 1 else targets[0]
    return model.fit(batch, target, epochs=epochs, batch_size=8, shuffle=False, verbose=0,
                     callbacks=list(callbacks))  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "network",
    [zoo.conv_norm_relu, zoo.depthwise, zoo.grouped, zoo.transposed, zoo.dense_norm,
     zoo.concatenated_twice, zoo.hard_swish_gate, zoo.swish, zoo.one_dimensional,
     zoo.transformer_block, zoo.split_and_shuffle],
)  # fmt: skip
def test_every_network_trains_and_its_file_follows(network):
    """All weights move, the loss falls, and the file computes the trained simulation."""
    model = zoo.build(network)
    quantized = quantize_aware(model)
    calibrate(quantized, zoo.inputs())
    before = [np.array(weight) for weight in quantized.trainable_weights]
    losses = train(quantized, epochs=8, rate=2e-2).history["loss"]
    assert losses[-1] < losses[0]
    moved = [
        not np.array_equal(old, np.array(new))
        for old, new in zip(before, quantized.trainable_weights, strict=True)
    ]
    names = [weight.path for weight in quantized.trainable_weights]
    assert all(moved), [name for name, m in zip(names, moved, strict=True) if not m]
    simulated = zoo.outputs_of(quantized, zoo.inputs())
    computed = LiteRTEngine(to_tflite(quantized, "int8"), zoo.CARD)(zoo.inputs())
    assert signal_to_noise(simulated, computed) > 25.0


def test_batch_statistics_are_those_of_keras():
    """One step moves mean, variance, gamma and beta as the float network's step does."""
    model = zoo.build(zoo.conv_norm_relu)
    quantized = quantize_aware(model)
    for layer in quantized.layers:
        if isinstance(layer, ActivationQuantizer | QuantizedKernel):
            layer.active = False
    train(model)
    train(quantized)
    norm = next(x for x in model.layers if isinstance(x, layers.BatchNormalization))
    twin = next(x for x in quantized.layers if isinstance(x, QuantizedKernel))
    for name in ("moving_mean", "moving_variance", "gamma", "beta"):
        np.testing.assert_allclose(
            getattr(twin, name), getattr(norm, name), rtol=1e-4, atol=1e-5, err_msg=name
        )


@pytest.mark.parametrize("network", [zoo.conv_norm_relu, zoo.depthwise, zoo.transposed])
@pytest.mark.parametrize("per_channel", [True, False])
def test_folding_changes_no_code(network, per_channel):
    """Rounding before the normalisation and rounding the folded kernel are the same."""
    quantized = quantize_aware(zoo.build(network), Scheme(per_channel=per_channel))
    calibrate(quantized, zoo.inputs())
    train(quantized, epochs=2)
    folded, _ = integer_form(quantized)
    error = output_error(
        zoo.outputs_of(quantized, zoo.inputs()), zoo.outputs_of(folded, zoo.inputs())
    )
    assert error < 0.01  # a value on the border between two codes may fall on either side
    scales = [
        len(set(o.inputs[1].scales))
        for o in operators(to_tflite(quantized, "int8"))
        if o.name in ("CONV_2D", "DEPTHWISE_CONV_2D")
    ]
    assert all(n > 1 if per_channel else n == 1 for n in scales)


def test_frozen_ranges_and_statistics_stay():
    quantized = quantize_aware(zoo.build(zoo.conv_norm_relu))
    calibrate(quantized, zoo.inputs())
    train(quantized, epochs=1)
    twin = next(x for x in quantized.layers if isinstance(x, QuantizedKernel))
    watched = lambda: [  # noqa: E731
        np.array(w) for w in quantized.non_trainable_weights if "frozen" not in w.path
    ]
    kernel, before = np.array(twin.kernel), watched()
    train(quantized, epochs=3, callbacks=[FreezeRanges(0), FreezeNorms(0)])
    for old, new in zip(before, watched(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert not np.array_equal(kernel, np.array(twin.kernel))


def test_a_frozen_layer_trains_as_it_will_infer():
    quantized = quantize_aware(zoo.build(zoo.conv_norm_relu))
    calibrate(quantized, zoo.inputs())
    train(quantized, epochs=1, rate=0.0, callbacks=[FreezeRanges(0), FreezeNorms(0)])
    training = np.asarray(quantized(zoo.inputs(), training=True))
    with exporting():  # inference proper also rounds as a file's kernels do
        inferred = zoo.outputs_of(quantized, zoo.inputs())[0]
    np.testing.assert_allclose(training, inferred, atol=1e-5)


def test_four_bit_weights_hold_fifteen_codes():
    quantized = quantize_aware(zoo.build(zoo.residual), Scheme(weight_bits=4))
    calibrate(quantized, zoo.inputs())
    content = to_tflite(quantized, "int8")
    simulated = zoo.outputs_of(quantized, zoo.inputs())
    assert signal_to_noise(simulated, LiteRTEngine(content, zoo.CARD)(zoo.inputs())) > 30.0
    for layer in integer_form(quantized)[0].layers:
        if isinstance(layer, QuantizedKernel):
            codes = np.asarray(layer._rounded(layer.kernel, False)) / layer.scales
            assert np.abs(np.rint(codes)).max() == 7
            np.testing.assert_allclose(codes, np.rint(codes), atol=1e-3)


def test_sixteen_bit_activations_export_as_int16x8():
    quantized = quantize_aware(zoo.build(zoo.residual), Scheme(activation_bits=16))
    calibrate(quantized, zoo.inputs())
    content = to_tflite(quantized, "int16x8", calibration=zoo.inputs())
    simulated = zoo.outputs_of(quantized, zoo.inputs())
    assert signal_to_noise(simulated, LiteRTEngine(content, zoo.CARD)(zoo.inputs())) > 45.0


def test_operators_without_a_form_of_sixteen_bits_are_named():
    """The converter leaves a square root in float, which nobody should find out on a device."""
    image = keras.Input((8, 12, 4), name="image")
    root = keras.ops.sqrt(keras.layers.Conv2D(4, 1, activation="relu")(image))
    content = to_tflite(keras.Model(image, root), "int16x8", calibration=zoo.inputs())
    assert left_in_float(content, "int16x8") == [
        "operators without a form of 16 bits stay in float: SQRT"
    ]
    assert left_in_float(content, "float32") == []


def test_weight_only_files_hold_the_trained_codes():
    quantized = quantize_aware(zoo.build(zoo.residual))
    calibrate(quantized, zoo.inputs())
    expected = zoo.outputs_of(float_form(quantized, rounded=True), zoo.inputs())
    content = to_tflite(quantized, "weight_only")
    assert output_error(expected, LiteRTEngine(content, zoo.CARD)(zoo.inputs())) < 1e-4


@pytest.mark.slow
def test_a_trained_quantized_model_saves_and_loads(tmp_path):
    quantized = quantize_aware(zoo.build(zoo.transformer_block))
    calibrate(quantized, zoo.inputs())
    train(quantized)
    quantized.save(tmp_path / "q.keras")
    loaded = keras.models.load_model(tmp_path / "q.keras", compile=False)
    expected = zoo.outputs_of(quantized, zoo.inputs())
    assert output_error(expected, zoo.outputs_of(loaded, zoo.inputs())) == 0.0
    assert to_tflite(loaded, "int8") == to_tflite(quantized, "int8")


@pytest.mark.parametrize(
    "wrong, sentence",
    [({"weight_bits": 3}, "weight_bits is 3"), ({"activation_bits": 4}, "8 or 16"),
     ({"observer": "minmaxx"}, "Did you mean 'minmax'"), ({"decay": 1.0}, "decay"),
     ({"percentile": 10}, "percentile"), ({"exceptions": {"a": "flot"}}, "Did you mean 'float'")],
)  # fmt: skip
def test_wrong_schemes_are_refused(wrong, sentence):
    with pytest.raises(UserError, match=sentence):
        Scheme(**wrong)


@pytest.mark.slow
def test_the_readmes_ten_lines_on_mobilenet():
    """Any functional Keras network: keras.applications.MobileNetV2 to a full-int8 file."""
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2((64, 64, 3), alpha=0.35, weights=None, classes=10)
    images = np.random.default_rng(0).uniform(-1, 1, (8, 64, 64, 3)).astype(np.float32)
    quantized = quantize_aware(model)
    calibrate(quantized, images)
    content = to_tflite(quantized, "int8", io="uint8")
    folded, _ = integer_form(quantized)
    computed = LiteRTEngine(content, zoo.CARD)(images)
    assert signal_to_noise(zoo.outputs_of(folded, images), computed) > 20.0
