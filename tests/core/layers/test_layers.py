"""Own layers compute what their reference computes, in graphs, files and after loading."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from core.engines import LiteRTEngine
from core.export.convert import to_tflite
from core.layers.convolution import GroupedConv2D, convolution, depthwise
from core.layers.resize import BilinearUpsampling, NearestResize
from core.layers.squeeze_excitation import squeeze_excitation
from core.model_card import ModelCard
from core.tflite.inspect import operators


@pytest.mark.parametrize(
    "channels, filters, groups", [(4, 2, 2), (6, 12, 3), (8, 8, 1), (8, 4, 4), (40, 4, 2)]
)
@pytest.mark.parametrize("padding, strides", [("same", 1), ("valid", 2)])
def test_grouped_convolution_equals_its_groups(channels, filters, groups, padding, strides):
    rng = np.random.default_rng(0)
    image = rng.standard_normal((2, 9, 9, channels)).astype(np.float32)
    layer = GroupedConv2D(filters, 3, strides=strides, padding=padding, groups=groups)
    outputs = layer(image)
    layer.bias.assign(rng.standard_normal(filters))
    outputs = layer(image)
    width, out = channels // groups, filters // groups
    parts = [
        tf.nn.conv2d(
            image[..., g * width : (g + 1) * width],
            layer.kernel[..., g * out : (g + 1) * out],
            strides,
            padding.upper(),
        )
        for g in range(groups)
    ]
    np.testing.assert_allclose(outputs, tf.concat(parts, -1) + layer.bias, atol=1e-5)


@pytest.mark.parametrize("width", [2, 20])
def test_grouped_convolution_learns_like_its_groups(width):
    """The gradient of the kernel, which TensorFlow lacks for grouped kernels on the CPU."""
    image = np.random.default_rng(1).standard_normal((1, 6, 6, 2 * width)).astype(np.float32)
    layer = GroupedConv2D(2, 3, groups=2, padding="same", use_bias=False)
    layer(image)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(layer(image)))
    ours = tape.gradient(loss, layer.trainable_weights[0].value)
    kernel = tf.Variable(layer.kernel.value)
    with tf.GradientTape() as tape:
        parts = [
            tf.nn.conv2d(part, kernel[..., g : g + 1], 1, "SAME")
            for g, part in enumerate(np.split(image, 2, axis=-1))
        ]
        loss = tf.reduce_sum(tf.square(tf.concat(parts, -1)))
    np.testing.assert_allclose(ours, tape.gradient(loss, kernel), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "width, expected", [(16, ["CONV_2D", "DEPTHWISE_CONV_2D"]), (20, ["CONV_2D"])]
)
def test_a_file_holds_wide_groups_as_one_operator(width, expected):
    image = keras.Input((6, 6, 2 * width))
    model = keras.Model(image, GroupedConv2D(4, 3, groups=2, padding="same")(image))
    content = to_tflite(model)
    assert sorted(operator.name for operator in operators(content)) == expected
    inputs = np.random.default_rng(1).standard_normal((1, 6, 6, 2 * width)).astype(np.float32)
    card = ModelCard("toy", "a", "medseg", color_order="", mean=(), std=())
    (found,) = LiteRTEngine(content, card)(inputs)
    np.testing.assert_allclose(found, model(inputs), atol=1e-5)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_upsampling_equals_keras_and_works_with_open_sizes(factor):
    image = np.random.default_rng(2).standard_normal((2, 5, 7, 3)).astype(np.float32)
    expected = keras.layers.UpSampling2D(factor, interpolation="bilinear")(image)
    np.testing.assert_allclose(BilinearUpsampling(factor)(image), expected, atol=1e-6)
    open_input = keras.Input((None, None, 3))
    model = keras.Model(open_input, BilinearUpsampling(factor)(open_input))
    np.testing.assert_allclose(tf.function(model)(image), expected, atol=1e-6)
    assert model.output_shape == (None, None, None, 3)


def test_upsampling_keeps_half_precision():
    image = np.zeros((1, 2, 2, 1), np.float16)
    layer = BilinearUpsampling(2, dtype="mixed_float16")
    assert layer(image).dtype == tf.float16


def rows(count: int) -> np.ndarray:
    """Return an image whose pixels tell their row and column."""
    numbers = np.arange(count, dtype=np.float32)
    return np.stack(np.meshgrid(numbers, 100 + numbers, indexing="ij"), axis=-1)[None]


@pytest.mark.parametrize("small", range(1, 9))
def test_nearest_resize_takes_the_pixel_that_pytorch_takes(small):
    """Pixel i of a side of n takes floor(i · small / n); of 3 to 7: 0, 0, 0, 1, 1, 2, 2."""
    for large in range(1, 24):
        taken = np.floor(np.arange(large) * np.float32(small / large)).astype(int)
        resized = NearestResize()([rows(small), np.zeros((1, large, large, 1), np.float32)])
        np.testing.assert_array_equal(resized[0], rows(small)[0][taken][:, taken])
    if small == 3:
        resized = NearestResize()([rows(3), rows(7)])
        assert np.asarray(resized[0, :, 0, 0]).tolist() == [0, 0, 0, 1, 1, 2, 2]


def test_nearest_resize_works_with_open_sizes_and_passes_the_gradient_on():
    small, like = keras.Input((None, None, 2)), keras.Input((None, None, 5))
    model = keras.Model([small, like], NearestResize()([small, like]))
    assert model.output_shape == (None, None, None, 2)
    x = tf.constant(rows(3))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.function(model)([x, tf.zeros((1, 7, 6, 5))])
        total = tf.reduce_sum(y)
    assert y.shape == (1, 7, 6, 2)
    counts = np.asarray(tape.gradient(total, x))[0, ..., 0]
    np.testing.assert_array_equal(counts, np.outer([3, 2, 2], [2, 2, 2]))


def test_nearest_resize_keeps_half_precision():
    layer = NearestResize(dtype="mixed_float16")
    assert layer([np.zeros((1, 2, 2, 1), np.float16)] * 2).dtype == tf.float16


@pytest.mark.parametrize("kernel", [1, 3, (1, 5), (5, 1)])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("size", [(8, 6), (7, 5)])
def test_convolutions_pad_all_sides_alike(kernel, strides, size):
    """PyTorch's padding kernel // 2; Keras's "same" shifts the result of an even side by one."""
    window = (kernel, kernel) if isinstance(kernel, int) else kernel
    image = np.random.default_rng(0).standard_normal((2, *size, 4)).astype(np.float32)
    x = keras.Input((*size, 4))
    sides = [(side // 2, side // 2) for side in window]
    padded = np.pad(image, [(0, 0), *sides, (0, 0)])
    for layer, plain in ((convolution, tf.nn.conv2d), (depthwise, tf.nn.depthwise_conv2d)):
        filters = () if layer is depthwise else (6,)
        model = keras.Model(x, layer(x, *filters, kernel, "conv", strides=strides, use_bias=False))
        steps = strides if layer is convolution else (1, strides, strides, 1)
        expected = plain(padded, model.get_layer("conv").kernel, steps, "VALID")
        np.testing.assert_allclose(model(image), expected, atol=1e-5)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [(8, 6), (7, 5)])
def test_convolutions_pad_as_tensorflow_does_where_asked(kernel, size):
    x = keras.Input((*size, 4))
    image = np.random.default_rng(0).standard_normal((2, *size, 4)).astype(np.float32)
    model = keras.Model(
        x, convolution(x, 6, kernel, "c", strides=2, padding="same", use_bias=False)
    )
    expected = tf.nn.conv2d(image, model.get_layer("c").kernel, 2, "SAME")
    np.testing.assert_allclose(model(image), expected, atol=1e-5)


def test_squeeze_and_excitation_weights_channels_by_their_means():
    x = keras.Input((4, 6, 8))
    model = keras.Model(x, squeeze_excitation(x, 2, "se", gate="hard_sigmoid"))
    image = np.random.default_rng(0).standard_normal((2, 4, 6, 8)).astype(np.float32)
    (first, shift), (second, offset) = (
        model.get_layer(f"se.conv_{leaf}").get_weights() for leaf in ("reduce", "expand")
    )
    hidden = np.maximum(image.mean(axis=(1, 2)) @ first[0, 0] + shift, 0)
    gate = np.clip(hidden @ second[0, 0] + offset + 3, 0, 6) / 6
    np.testing.assert_allclose(model(image), image * gate[:, None, None], atol=1e-5)


@pytest.mark.parametrize(
    "layer", [BilinearUpsampling(3), GroupedConv2D(4, 3, groups=2), NearestResize()]
)
def test_config_round_trip(layer):
    assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()


def test_bad_factor_is_named():
    with pytest.raises(ValueError, match="factor=0"):
        BilinearUpsampling(0)
