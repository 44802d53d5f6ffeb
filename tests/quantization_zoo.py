"""A zoo of small networks, each with a pattern that quantization has to get right."""

import keras
import numpy as np
from keras import layers

from core.layers.channel_shuffle import ChannelShuffle
from core.layers.clip import Clip
from core.layers.convolution import GroupedConv2D
from core.layers.own_range import OwnRange
from core.layers.patches import LearnedPositions, merge_patches
from core.layers.pixel_shuffle import DepthToSpace
from core.layers.pooling import adaptive_mean, max_pool
from core.layers.resize import NearestResize, NearestUpsampling
from core.layers.window_attention import window_attention
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


def wide_groups(x):
    """Groups of 20 channels are one operator."""
    x = layers.Conv2D(40, 1, activation="relu")(x)
    x = GroupedConv2D(6, 3, groups=2, strides=2, use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


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


def enlarged_beside_a_skip(x):
    """A U-Net's decoder: what is enlarged takes the range of the larger skip at once."""
    skip = layers.Conv2D(4, 3, padding="same", activation="relu")(layers.Rescaling(3.0)(x))
    low = layers.Conv2D(8, 1, activation="relu")(layers.MaxPooling2D(2)(x))
    low = layers.UpSampling2D(2, interpolation="bilinear")(low)
    return layers.Conv2D(2, 1)(layers.Concatenate()([skip, low]))


def clipped_pixels(x):
    """The end of a super-resolution network: the clip becomes the range of the last operator."""
    x = layers.Concatenate()([x, x, x, x])
    x = layers.Add()([x, layers.Conv2D(16, 3, padding="same")(x)])
    return DepthToSpace(2)(Clip(0.0, 1.0)(x))


def nested(x):
    inner_input = keras.Input((8, 12, 4))
    inner = keras.Model(inner_input, conv_norm_relu(inner_input), name="inner")
    return layers.Conv2D(2, 1)(inner(x))


def residual(x):
    y = conv_norm_relu(conv_norm_relu(x))
    return layers.ReLU()(layers.Add()([y, layers.Conv2D(8, 1)(x)]))


def inverted_residual(x):
    y = layers.Conv2D(12, 1, use_bias=False)(x)
    y = layers.ReLU(6.0)(layers.BatchNormalization()(y))
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(y)
    y = layers.ReLU(6.0)(layers.BatchNormalization()(y))
    y = layers.BatchNormalization()(layers.Conv2D(4, 1, use_bias=False)(y))
    return layers.Add()([x, y])


def hard_swish_gate(x):
    y = layers.Activation("hard_silu")(layers.Conv2D(8, 1)(x))
    weights = layers.GlobalAveragePooling2D(keepdims=True)(y)
    weights = layers.Conv2D(8, 1, activation="sigmoid")(
        layers.Conv2D(2, 1, activation="relu")(weights)
    )
    return layers.Multiply()([y, weights])


def swish(x):
    x = layers.Conv2D(6, 3, activation="silu")(x)
    return layers.Activation("silu")(layers.Conv2D(4, 1)(x))


def gelu(x):
    return layers.Conv2D(4, 1)(layers.Activation("gelu")(layers.Conv2D(8, 1)(x)))


def leaky_and_tanh(x):
    x = layers.LeakyReLU(0.1)(layers.Conv2D(6, 3)(x))
    return layers.Activation("tanh")(layers.Conv2D(4, 1)(x))


def separable(x):
    x = layers.SeparableConv2D(8, 3, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def one_dimensional(x):
    x = layers.Reshape((24, 16))(x)
    x = layers.Conv1D(8, 3, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.MaxPooling1D(2)(layers.SeparableConv1D(6, 3, activation="relu")(x))
    x = layers.Conv1D(4, 3, padding="causal", dilation_rate=2)(x)
    return layers.Dense(3)(layers.GlobalAveragePooling1D()(x))


def dense_norm(x):
    x = layers.Dense(12, use_bias=False)(layers.Flatten()(x))
    return layers.Dense(3)(layers.ReLU()(layers.BatchNormalization()(x)))


def layer_norm(x):
    x = layers.Reshape((24, 16))(x)
    return layers.Dense(5)(layers.LayerNormalization(epsilon=1e-3)(x))


def transformer_block(x):
    """A transformer block: batched products, softmax, layer norms, GELU, residuals."""
    x = layers.Dense(16)(layers.Reshape((24, 16))(x))
    y = layers.LayerNormalization(epsilon=1e-3)(x)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 8)(y, y)])
    y = layers.Dense(16)(
        layers.Dense(32, activation="gelu")(layers.LayerNormalization(epsilon=1e-3)(x))
    )
    return layers.Add()([x, y])


def attention_after_norm(x):
    y = layers.Dense(16)(layers.Reshape((24, 16))(x))
    y = layers.LayerNormalization(epsilon=1e-3)(y)
    return layers.MultiHeadAttention(2, 8)(y, y)


def own_attention(x):
    """Attention written with operations, as published networks have it."""
    tokens = layers.Reshape((24, 16))(x)
    q, k, v = (layers.Dense(8)(tokens) for _ in range(3))
    scores = keras.ops.softmax(keras.ops.matmul(q, keras.ops.transpose(k, (0, 2, 1))) * 0.35)
    return layers.Dense(4)(keras.ops.matmul(scores, v))


def preprocessing(x):
    x = layers.Rescaling(0.5, offset=-0.2)(x)
    return layers.Conv2D(4, 1)(x * np.array([1.0, 2.0, 0.5, -1.0], np.float32) + 0.25)


def split_and_shuffle(x):
    """ShuffleNet's unit: split, one half through a branch, joined, channels exchanged."""
    a, b = keras.ops.split(layers.Conv2D(8, 1)(x), 2, axis=-1)
    joined = layers.Concatenate()([a, layers.Conv2D(4, 3, padding="same", activation="relu")(b)])
    x = keras.ops.reshape(joined, (-1, 8, 12, 2, 4))
    return layers.Conv2D(3, 1)(
        keras.ops.reshape(keras.ops.transpose(x, (0, 1, 2, 4, 3)), (-1, 8, 12, 8))
    )


def shuffle_unit(x):
    """The same with the layer that exchanges channels, behind a padded pooling."""
    x = max_pool(layers.Conv2D(8, 1, activation="relu")(x), "pool")
    a, b = keras.ops.split(x, 2, axis=-1)
    joined = layers.Concatenate()([a, layers.Conv2D(4, 3, padding="same", activation="relu")(b)])
    return layers.Conv2D(3, 1)(ChannelShuffle(2)(joined))


def pooled_pyramid(x):
    a = layers.AveragePooling2D(2)(layers.Conv2D(4, 3, padding="same")(x))
    a = layers.UpSampling2D(2, interpolation="nearest")(a)
    b = layers.MaxPooling2D(2)(layers.ZeroPadding2D(1)(x))
    return layers.Maximum()([a, x]), layers.Conv2D(2, 3, strides=2, padding="same")(b)


def grids_of_means(x):
    """Windows that overlap, and windows of a single pixel that repeat it."""
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    single = adaptive_mean(layers.AveragePooling2D((8, 4))(x), 5, "single")
    return layers.Conv2D(2, 5)(adaptive_mean(x, 5, "overlapping")), layers.Conv2D(2, 5)(single)


def hard_sigmoid_gates(x):
    """Behind a kernel that takes it in, behind a norm, and a layer's own."""
    mean = layers.GlobalAveragePooling2D(keepdims=True)(x)
    taken = layers.Activation("hard_sigmoid")(layers.Conv2D(4, 1)(mean))
    normed = layers.BatchNormalization()(layers.Conv2D(4, 1, use_bias=False)(x))
    own = layers.Conv2D(4, 1, activation="hard_sigmoid")(x)
    gates = layers.Multiply()([keras.ops.hard_sigmoid(normed), own])
    return layers.Multiply()([x, taken]), gates


def enlarged_gate(x):
    """A gate at half the resolution of odd sides."""
    x = layers.Cropping2D(((0, 1), (1, 0)))(x)
    small = layers.Conv2D(4, 1)(layers.AveragePooling2D(2)(x))
    return layers.Multiply()([x, NearestResize()([layers.Activation("sigmoid")(small), x])])


def windows(x):
    """Attention in windows of their own positions, whole and shifted, and between patches."""
    x = LearnedPositions()(layers.Dense(8)(x))
    x = layers.Add()([x, window_attention(x, 2, "whole", window=4)])
    y = layers.Add()([x, window_attention(x, 2, "shifted", window=4, shift=1)])
    return merge_patches(y, 6, "merge"), NearestUpsampling(2)(y)


def skip_with_a_range_of_its_own(x):
    """A small tensor that goes on by itself, too, beside a large one."""
    large = layers.Conv2D(4, 1)(layers.Rescaling(20.0)(x))
    joined = layers.Concatenate()([large, OwnRange()(x)])
    return layers.Conv2D(3, 1)(joined), layers.Conv2D(3, 1)(x)


def squares_and_differences(x):
    centred = x - keras.ops.mean(x, axis=(1, 2), keepdims=True)
    return layers.Conv2D(3, 1)(keras.ops.square(centred)), layers.Subtract()([x, centred])


NETWORKS = [
    conv_norm_relu, depthwise, grouped, wide_groups, transposed, lone_norm, fused_in_layer,
    dense_head, shared_layer, gate, mean_and_max, concatenated_twice,
    sigmoids_concatenated, concatenations_in_a_row, sum_of_three, upsampled, nested, residual,
    clipped_pixels, enlarged_beside_a_skip,
    inverted_residual, hard_swish_gate, swish, gelu, leaky_and_tanh, separable, one_dimensional,
    dense_norm, layer_norm, transformer_block, attention_after_norm, own_attention,
    preprocessing, split_and_shuffle, shuffle_unit, pooled_pyramid, grids_of_means,
    squares_and_differences, hard_sigmoid_gates, enlarged_gate, windows,
    skip_with_a_range_of_its_own,
]  # fmt: skip


def build(network) -> keras.Model:
    """Return the network with lively weights and statistics."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 12, 4), name="image")
    model = keras.Model(image, network(image), name=network.__name__.strip("<>"))
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
