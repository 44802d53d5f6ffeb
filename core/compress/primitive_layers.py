"""Operators of TFLite that Keras has no layer for; the primitive forms are made of them."""

from __future__ import annotations

from collections.abc import Sequence

import keras


@keras.saving.register_keras_serializable("gossamer")
class AddEpsilon(keras.layers.Layer):
    """x + epsilon, an operator of its own because its result is rounded."""

    def __init__(self, epsilon: float = 1e-3, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def call(self, inputs):
        return inputs + self.epsilon

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


@keras.saving.register_keras_serializable("gossamer")
class InverseRoot(keras.layers.Layer):
    """1 / sqrt(x), the operator RSQRT."""

    def call(self, inputs, training=None):
        return keras.ops.rsqrt(nonzero(inputs) if training else inputs)

    def compute_output_shape(self, input_shape):
        return input_shape


def nonzero(variance):
    """Return a variance without zeros, which rounding makes and whose gradient is NaN."""
    return keras.ops.maximum(variance, 1e-12)


@keras.saving.register_keras_serializable("gossamer")
class ChannelMean(keras.layers.Layer):
    """Mean over the last axis, kept as an axis of one."""

    def call(self, inputs):
        return keras.ops.mean(inputs, axis=-1, keepdims=True)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 1)


@keras.saving.register_keras_serializable("gossamer")
class Table(keras.layers.Layer):
    """A constant beside a tensor, whatever that tensor holds; it broadcasts over the batch.

    Args:
        shape: Of the constant, without the batch axis.
    """

    def __init__(self, shape: Sequence[int], **kwargs):
        super().__init__(**kwargs)
        self.shape = tuple(shape)

    def build(self, input_shape):
        self.value = self.add_weight(name="value", shape=self.shape, initializer="zeros")

    def call(self, inputs):
        return keras.ops.cast(self.value, inputs.dtype)[None]

    def compute_output_shape(self, input_shape):
        return (None, *self.shape)

    def get_config(self):
        return {**super().get_config(), "shape": self.shape}


@keras.saving.register_keras_serializable("gossamer")
class MaskSum(keras.layers.Add):
    """The sum of attention scores and a mask, whose integer form has a range of its own kind."""
