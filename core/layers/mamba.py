"""The Mamba block: a gated selective scan over all positions, in linear time.

A. Gu, T. Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", arXiv:2312.00752,
Sec. 3.4. Official code: github.com/state-spaces/mamba (Apache-2.0).
"""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from core.layers.convolution import linear, torch_uniform
from core.layers.selective_scan import SelectiveScan, as_sequence, shape_of

LARGEST_STEP, SMALLEST_STEP, LEAST_STEP = 0.1, 0.001, 1e-4


def mamba(x, name: str, *, states: int = 16, expand: int = 2, window: int = 4):
    """Return what a Mamba block makes of a sequence; the caller adds the input, if at all.

    Args:
        x: Features (N, …, C); the positions in between are one sequence, row by row.
        name: The published module's path.
        states: States of each channel inside.
        expand: How many times wider the block is inside.
        window: Positions of the causal convolution.
    """
    channels = x.shape[-1]
    width, rank = expand * channels, math.ceil(channels / 16)
    x = linear(x, 2 * width, f"{name}.in_proj", use_bias=False)
    u, gate = keras.ops.split(x, 2, axis=-1)
    u = CausalDepthwiseConv(window, name=f"{name}.conv1d")(u)
    u = keras.layers.Activation("silu", name=f"{name}.act")(u)
    x = linear(u, rank + 2 * states, f"{name}.x_proj", use_bias=False)
    dt, b, c = keras.ops.split(x, (rank, rank + states), axis=-1)
    bound = 1.0 / math.sqrt(rank)
    dt = keras.layers.Dense(
        width,
        kernel_initializer=keras.initializers.RandomUniform(-bound, bound),
        bias_initializer=StepSizes(),
        name=f"{name}.dt_proj",
    )(dt)
    y = SelectiveScan(name=name)([u, dt, b, c])
    gate = keras.layers.Activation("silu", name=f"{name}.gate")(gate)
    y = keras.layers.Multiply(name=f"{name}.gated")([y, gate])
    return linear(y, channels, f"{name}.out_proj", use_bias=False)


@keras.saving.register_keras_serializable("gossamer")
class CausalDepthwiseConv(keras.layers.Layer):
    """Convolve every channel over its last few positions: y_t = bias + Σ_j kernel_j · x_{t-K+1+j}.

    Takes (N, …, C); the positions in between are one sequence, row by row, with zeros before it.
    In a file it is PAD and DEPTHWISE_CONV_2D.

    Args:
        window: K, the number of positions.
    """

    def __init__(self, window: int = 4, **kwargs):
        super().__init__(**kwargs)
        if window < 1:
            raise ValueError(f"`window` must be a positive integer. Received: window={window}")
        self.window = window

    def build(self, input_shape):
        channels = input_shape[-1]
        if len(input_shape) < 3 or channels is None:
            raise ValueError(
                "The input must be (N, …, C) with a known number of channels. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.window, channels),
            initializer=torch_uniform(self.window),
        )
        self.bias = self.add_weight(
            name="bias", shape=(channels,), initializer=torch_uniform(self.window)
        )

    def call(self, inputs):
        sequence = as_sequence(inputs)[:, None]
        padded = tf.pad(sequence, ((0, 0), (0, 0), (self.window - 1, 0), (0, 0)))
        kernel = tf.convert_to_tensor(self.kernel)[None, :, :, None]
        outputs = tf.nn.depthwise_conv2d(padded, kernel, (1, 1, 1, 1), "VALID")
        return tf.reshape(outputs + tf.convert_to_tensor(self.bias), shape_of(inputs))

    def compute_output_shape(self, input_shape):
        return input_shape

    def torch_weights(self) -> dict:
        """Return the published convolution: weight (C, 1, K) and bias."""
        layouts = (lambda a: a[:, 0].T, lambda a: a.T[:, None])
        return {"weight": (self.kernel, *layouts), "bias": (self.bias, None)}

    def get_config(self):
        return {**super().get_config(), "window": self.window}


@keras.saving.register_keras_serializable("gossamer")
class StepSizes(keras.initializers.RandomUniform):
    """Biases whose softplus is spread over 0.001 to 0.1, evenly in the logarithm: Mamba's start."""

    def __init__(self, seed=None):
        super().__init__(0.0, 1.0, seed)

    def __call__(self, shape, dtype=None):
        ops = keras.ops
        low, high = math.log(SMALLEST_STEP), math.log(LARGEST_STEP)
        steps = ops.exp(super().__call__(shape, "float32") * (high - low) + low)
        steps = ops.maximum(steps, LEAST_STEP)
        return ops.cast(steps + ops.log(-ops.expm1(-steps)), dtype or "float32")

    def get_config(self):
        return {"seed": super().get_config()["seed"]}
