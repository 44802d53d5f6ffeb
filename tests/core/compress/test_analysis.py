"""Facts about kernels, files and noise, against values written by hand."""

import io
import math
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from core.compress.analysis import (
    BINS,
    Change,
    compare,
    compressed_size,
    float_operators_by_layer,
    kernel_table,
    layer_noise,
)
from core.compress.quantizers import ActivationQuantizer
from core.errors import UserError
from core.export.convert import freeze, to_tflite

# (1, 1, 4, 3): per output channel 3, 2 and 1 different values; 7 of 12 are zero.
POINTWISE = np.array(
    [[-1.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.25, 0.0], [-1.0, 0.25, 0.0]], np.float32
)[None, None]
# (2, 1, 3, 1)
DEPTHWISE = np.array([[[1.0], [2.0], [0.5]], [[1.0], [-2.0], [0.0]]], np.float32)[:, None]
DENSE = np.array([[4.0, 0.0], [0.0, 0.0], [1.0, -4.0]], np.float32)


def network(name="net"):
    """Pointwise and depthwise convolution, global average, dense: all kernels known."""
    image = keras.Input((4, 4, 4), name="image")
    x = layers.Conv2D(3, 1, name="block.0.conv")(image)
    x = layers.ReLU(name="block.0.act")(x)
    x = layers.DepthwiseConv2D((2, 1), name="block_1")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(image, layers.Dense(2, name="head")(x), name=name)
    for layer, kernel in (("block.0.conv", POINTWISE), ("block_1", DEPTHWISE), ("head", DENSE)):
        weights = model.get_layer(layer).get_weights()
        model.get_layer(layer).set_weights([kernel, *(w + 0.5 for w in weights[1:])])
    return model


def samples(count=4):
    generator = np.random.default_rng(0)
    return [generator.standard_normal((4, 4, 4)).astype(np.float32) for _ in range(count)]


@pytest.fixture(scope="module")
def files():
    """Float32, float16 and int8 files of the network."""
    made = {name: to_tflite(network(), name) for name in ("float32", "float16")}
    return {**made, "int8": to_tflite(network(), "int8", calibration=samples())}


def rows(table):
    return [(k.name, k.parameters, k.zeros, k.unique, k.unique_per_channel) for k in table]


EXPECTED = [("block.0.conv", 12, 7, 4, 3), ("block_1", 6, 1, 5, 2), ("head", 6, 3, 4, 3)]


# --- kernels -------------------------------------------------------------------------------------


def test_kernels_of_a_model():
    table = kernel_table(network())
    assert rows(table) == EXPECTED
    assert [k.shape for k in table] == [(1, 1, 4, 3), (2, 1, 3, 1), (3, 2)]
    assert (table[0].low, table[0].high) == (-1.0, 0.5)
    assert table[0].sparsity == 7 / 12
    counts = {bin: count for bin, count in enumerate(table[0].histogram) if count}
    assert len(table[0].histogram) == BINS == 41
    assert counts == {0: 2, 20: 7, 25: 2, 30: 1}  # −1, 0, 0.25 and 0.5 of −1 to 1


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_kernels_of_a_float_file(files, precision):
    table = kernel_table(files[precision])
    assert rows(table) == EXPECTED
    assert [k.shape for k in table] == [(3, 1, 1, 4), (1, 2, 1, 3), (2, 3)]
    assert (table[0].low, table[0].high) == (-1.0, 0.5)


def test_kernels_of_an_int8_file_count_codes_and_measure_values(files, tmp_path):
    path = tmp_path / "net.tflite"
    path.write_bytes(files["int8"])
    table = kernel_table(path)
    assert [row[:3] for row in rows(table)] == [row[:3] for row in EXPECTED]
    # Each channel has a scale of its own: −1 is code −127, 0.25 is 127 in the second channel.
    assert table[0].unique == 4 and table[0].unique_per_channel == 3
    assert (table[2].low, table[2].high) == pytest.approx((-4.0, 4.0))


def test_three_clusters_stay_three_values_in_each_channel_of_an_int8_file():
    columns = [[-0.9, 0.3, 0.8, 0.3], [0.3, 0.8, 0.3, 0.8], [0.3, 0.3, 0.3, 0.3]]
    model = network()
    model.get_layer("block.0.conv").kernel.assign(np.transpose(columns)[None, None])
    facts = kernel_table(model)[0]
    assert (facts.unique, facts.unique_per_channel) == (3, 3)
    facts = kernel_table(to_tflite(model, "int8", calibration=samples()))[0]
    # Scales 0.9, 0.8 and 0.3 over 127: codes −127, 42, 113; 48, 127; 127.
    assert (facts.unique, facts.unique_per_channel) == (5, 3)


def test_transposed_and_separable_kernels_have_their_channels_found():
    image = keras.Input((4, 4, 2))
    x = layers.Conv2DTranspose(3, 2, name="up")(image)
    model = keras.Model(image, layers.SeparableConv2D(4, 3, name="split")(x))
    model.get_layer("up").kernel.assign(
        np.tile([[[[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]]], (2, 2, 1, 1))
    )
    table = kernel_table(model)
    assert [k.name for k in table] == ["up", "split/depthwise_kernel", "split/pointwise_kernel"]
    assert (table[0].unique, table[0].unique_per_channel) == (3, 1)


def test_a_sparse_file_is_read_in_full():
    generator = np.random.default_rng(0)
    image = keras.Input((4, 4, 16))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(32, 1, name="wide")(image))
    model = keras.Model(image, layers.Dense(16, name="head")(x))
    wide = generator.standard_normal((1, 1, 16, 32)) * (generator.random((1, 1, 16, 32)) > 0.8)
    head = generator.standard_normal((32, 16)) * np.repeat(generator.random((8, 16)) > 0.8, 4, 0)
    model.get_layer("wide").kernel.assign(wide)
    model.get_layer("head").kernel.assign(head)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([freeze(model)])
    converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    content = converter.convert()
    stored, dense = kernel_table(content), kernel_table(model)
    assert stored[0].name == "wide"
    for facts, twin in zip(stored, dense, strict=True):
        for field in ("parameters", "zeros", "unique", "unique_per_channel", "histogram", "low"):
            assert getattr(facts, field) == getattr(twin, field), field


def test_sums_of_a_grouped_convolution_are_no_weights():
    from core.layers.convolution import GroupedConv2D

    image = keras.Input((4, 4, 8))
    model = keras.Model(image, GroupedConv2D(4, 3, groups=4, name="grouped")(image))
    assert [(k.name, k.parameters) for k in kernel_table(model)] == [("grouped", 72)]
    assert [(k.name, k.parameters) for k in kernel_table(to_tflite(model))] == [("grouped", 72)]


def test_a_file_of_another_kind():
    with pytest.raises(UserError, match="is not a TensorFlow Lite file"):
        kernel_table(b"PK\x03\x04" + bytes(20))


# --- names ---------------------------------------------------------------------------------------


def test_float_operators_name_their_layers(files):
    assert float_operators_by_layer(files["float32"]) == [
        ("CONV_2D", "block.0.conv"),
        ("DEPTHWISE_CONV_2D", "block_1"),
        ("MEAN", "pool"),
        ("FULLY_CONNECTED", "head"),
    ]
    assert float_operators_by_layer(files["float16"]) == float_operators_by_layer(files["float32"])
    assert float_operators_by_layer(files["int8"]) == []


def test_what_stays_float_in_an_integer_file_is_named():
    image = keras.Input((4, 4, 4), name="image")
    inner = keras.Input((4, 4, 4))
    inside = keras.Model(inner, layers.LayerNormalization(name="norm_2")(inner), name="inside")
    x = inside(layers.Conv2D(4, 1, name="conv")(image))
    model = keras.Model(image, layers.Conv2D(2, 1, name="out")(x), name="net")
    content = to_tflite(model, "int8", calibration=samples())
    found = float_operators_by_layer(content)
    assert found and {layer for _, layer in found} == {"inside/norm_2"}
    assert {layer for _, layer in float_operators_by_layer(content, model)} == {"norm_2"}


# --- sizes ---------------------------------------------------------------------------------------


def test_compressed_size_is_that_of_a_zip(files):
    noise = np.random.default_rng(0).bytes(1000)
    assert compressed_size(bytes(100_000)) < 400
    assert 1000 < compressed_size(noise) < 1200
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as opened:
        opened.writestr("model.tflite", files["float32"])
    assert compressed_size(files["float32"]) == len(archive.getvalue())


def test_before_and_after(files):
    changed = compare(network(), files["int8"])
    assert changed[:2] == [
        Change("kernel parameters", 24, 24),
        Change("non-zero kernel parameters", 13, 13),
    ]
    assert [c.name for c in changed[2:]] == [
        "most different values in a kernel", "most different values in a channel",
        "file bytes", "zip bytes",
    ]  # fmt: skip
    assert changed[4] == Change("file bytes", None, len(files["int8"]))
    assert changed[4].ratio is None and Change("x", 8, 2).ratio == 0.25


# --- noise ---------------------------------------------------------------------------------------


def decibels(signal, noise):
    return 10 * math.log10(signal / noise)


def rounding_network():
    """Round to whole numbers, halve, round again."""
    numbers = keras.Input((4,), name="image")
    first, second = (ActivationQuantizer(name=f"{n}.range") for n in ("image", "half"))
    for quantizer in (first, second):
        quantizer.set_range(0.0, 255.0)
    x = second(layers.Rescaling(0.5, name="half")(first(numbers)))
    return keras.Model(numbers, x, name="rounding")


def test_noise_gathers_and_a_layers_own_is_told_apart():
    noise = layer_noise(rounding_network(), [np.array([0.6, 1.0, 2.0, 3.0])])
    assert [layer.layer for layer in noise] == ["image", "half"]
    assert noise[0].sqnr_db == pytest.approx(decibels(14.36, 0.16), abs=1e-3)
    assert noise[0].own_db == pytest.approx(noise[0].sqnr_db)
    # In float 0.3, 0.5, 1, 1.5; with rounded inputs 1, 1, 1, 2; with exact inputs 0, 1, 1, 2.
    assert noise[1].sqnr_db == pytest.approx(decibels(3.59, 0.49 + 0.25 + 0.25), abs=1e-3)
    assert noise[1].own_db == pytest.approx(decibels(3.59, 0.09 + 0.25 + 0.25), abs=1e-3)


def test_noise_is_taken_over_all_samples_up_to_the_limit():
    model = rounding_network()
    data = np.array([[0.6, 1.0, 2.0, 3.0], [0.0, 0.0, 0.0, 1.25], [0.5, 0.5, 0.5, 0.5]])
    first = layer_noise(model, iter(data), limit=2)[0]
    assert first.sqnr_db == pytest.approx(decibels(14.36 + 1.5625, 0.16 + 0.0625), abs=1e-3)
    assert all(layer.active for layer in model.layers if hasattr(layer, "active"))


def test_no_noise_and_no_signal():
    noise = layer_noise(rounding_network(), [np.array([2.0, 4.0, 0.0, 0.0])])
    assert [layer.sqnr_db for layer in noise] == [math.inf, math.inf]


def test_calls_of_one_layer_are_taken_together():
    numbers = keras.Input((4,), name="image")
    x = ActivationQuantizer(name="twice.range")(numbers)
    model = keras.Model(numbers, ActivationQuantizer(name="twice.range_2")(x))
    assert [layer.layer for layer in layer_noise(model, [np.eye(4)[0]])] == ["twice"]


def test_noise_needs_a_quantized_model_and_fitting_samples():
    with pytest.raises(UserError, match="net: holds no quantizers"):
        layer_noise(network(), samples())
    with pytest.raises(UserError, match="at least one sample"):
        layer_noise(rounding_network(), [])
    with pytest.raises(UserError, match=r"rounding: takes \(4,\), but a sample is \(3,\)"):
        layer_noise(rounding_network(), [np.ones(3)])
