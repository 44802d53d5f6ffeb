"""Operators without weights that round as a file's kernels do."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import keras
import tensorflow as tf

from core.compress.folding import activation_of
from core.compress.kernel_arithmetic import (
    added,
    channel_mean,
    codes_of,
    converted,
    inverse_root,
    multiplied,
    requantized,
    rescaled_twice,
    softmax,
    step_of,
    zero_of,
)
from core.compress.links import Linked
from core.compress.primitive_layers import ChannelMean, InverseRoot, nonzero
from core.compress.tracing import is_exporting
from core.layers.clip import Clip

SILENT = math.log(512.0)  # below the largest score, a probability is less than half a code


class SimulatedOperator(Linked, keras.layers.Layer):
    """An operator with a float form, and a form in codes that is used where ranges are known."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.active = True

    def plain(self) -> keras.layers.Layer:
        """Return the float layer that computes the same; by default one of this kind."""
        return type(self).from_config(self.get_config())

    def call(self, inputs, training=None):
        tensors = keras.tree.flatten(inputs)
        if not (self.active and self.simulates(training)):
            return self.exact(*tensors)
        steps, target = [step_of(source) for source in self.ends.sources], step_of(self.ends.target)
        codes = [codes_of(x, step) for x, step in zip(tensors, steps, strict=True)]
        return target * self.rounded(*codes, steps, target)


@keras.saving.register_keras_serializable("gossamer")
class QuantizedAdd(SimulatedOperator):
    """a + b."""

    def plain(self):
        return keras.layers.Add(name=self.name)

    exact = staticmethod(tf.add)
    rounded = staticmethod(added)


@keras.saving.register_keras_serializable("gossamer")
class QuantizedMaskSum(QuantizedAdd):
    """a + b, of attention scores and a mask whose large negative numbers silence some of them.

    A range as wide as the mask would leave the scores a few codes. So the range is set from sums
    that reach only so far below the least score that eight bits take their exponentials for zero;
    it cuts off the rest.
    """

    def call(self, inputs, training=None):
        outputs = super().call(inputs, training=training)
        return self.floored(outputs, inputs[0]) if training else outputs

    def observed(self):
        """Return the symbolic tensor that calibration sets the range behind this layer from."""
        node = self._inbound_nodes[0]
        return self.floored(node.outputs[0], node.input_tensors[0])

    @staticmethod
    def floored(sums, scores):
        """Return sums that are no lower than what eight bits take for silence."""
        least = keras.ops.stop_gradient(keras.ops.min(scores))
        return keras.ops.maximum(sums, least - SILENT)


@keras.saving.register_keras_serializable("gossamer")
class QuantizedSubtract(SimulatedOperator):
    """a − b."""

    def plain(self):
        return keras.layers.Subtract(name=self.name)

    exact = staticmethod(tf.subtract)

    @staticmethod
    def rounded(left, right, steps, target):
        return added(left, -right, steps, target)


@keras.saving.register_keras_serializable("gossamer")
class QuantizedMultiply(SimulatedOperator):
    """a · b."""

    def plain(self):
        return keras.layers.Multiply(name=self.name)

    exact = staticmethod(tf.multiply)
    rounded = staticmethod(multiplied)


@keras.saving.register_keras_serializable("gossamer")
class MatMul(SimulatedOperator):
    """Product of two batches of matrices."""

    exact = staticmethod(tf.matmul)

    def rounded(self, left, right, steps, target):
        # XNNPACK takes a product whose right range has its zero at code 0, TFLite the others.
        total = tf.matmul(left, right)
        once = requantized(total, None, steps[0], steps[1], target)
        wide = [tf.cast(step, tf.float64) for step in (*steps, target)]
        twice = rescaled_twice(total, wide[0] * wide[1] / wide[2])
        return tf.where(zero_of(self.ends.sources[1], steps[1]) == 0.0, once, twice)


@keras.saving.register_keras_serializable("gossamer")
class QuantizedChannelMean(SimulatedOperator):
    """Mean over the last axis, which stays."""

    def plain(self):
        return ChannelMean(name=self.name)

    @staticmethod
    def exact(inputs):
        return tf.reduce_mean(inputs, axis=-1, keepdims=True)

    def rounded(self, codes, steps, target):
        return channel_mean(codes, zero_of(self.ends.sources[0], steps[0]), steps[0], target)


@keras.saving.register_keras_serializable("gossamer")
class QuantizedSoftmax(SimulatedOperator):
    """exp(x) / Σ exp(x) over the last axis."""

    def plain(self):
        return keras.layers.Activation("softmax", name=self.name)

    exact = staticmethod(tf.nn.softmax)
    rounded = staticmethod(softmax)


@keras.saving.register_keras_serializable("gossamer")
class QuantizedInverseRoot(SimulatedOperator):
    """1 / sqrt(x)."""

    def plain(self):
        return InverseRoot(name=self.name)

    def call(self, inputs, training=None):
        return super().call(nonzero(inputs) if training else inputs, training=training)

    exact = staticmethod(tf.math.rsqrt)
    rounded = staticmethod(inverse_root)


@keras.saving.register_keras_serializable("gossamer")
class QuantizedLeakyReLU(SimulatedOperator):
    """max(x, 0) + slope · min(x, 0), the slope in [0, 1]."""

    def __init__(self, slope: float, **kwargs):
        super().__init__(**kwargs)
        self.slope = slope

    def plain(self):
        return keras.layers.LeakyReLU(self.slope, name=self.name)

    def exact(self, inputs):
        return tf.nn.leaky_relu(inputs, self.slope)

    def rounded(self, codes, steps, target):
        ratio = steps[0] / target
        return converted(codes, tf.where(codes < 0.0, ratio * self.slope, ratio))

    def get_config(self):
        return {**super().get_config(), "slope": self.slope}


@keras.saving.register_keras_serializable("gossamer")
class Conversion(SimulatedOperator):
    """The change from one range to another, which a file does in an operator of its own."""

    def plain(self):
        return keras.layers.Identity(name=self.name)

    exact = staticmethod(tf.identity)

    @staticmethod
    def rounded(codes, steps, target):
        return converted(codes, steps[0] / target)


@keras.saving.register_keras_serializable("gossamer")
class RangeClip(Clip):
    """A clip that a file needs no operator for: the range behind it clips to the same limits."""

    def call(self, inputs):
        return inputs if is_exporting() else super().call(inputs)


PAIRED_TWINS = {"Add": QuantizedAdd, "Subtract": QuantizedSubtract, "Multiply": QuantizedMultiply}


def simulated_twin(operation, rank: int) -> Callable | None:
    """Return what makes the operator that stands for a Keras operation, or None without one.

    Args:
        operation: A layer or an operation.
        rank: Of its first input.
    """
    kind = type(operation).__name__
    if kind == "Matmul" and rank > 2:  # of two matrices it becomes a FULLY_CONNECTED
        return MatMul
    if kind == "MaskSum":
        return QuantizedMaskSum
    if kind == "ChannelMean":
        return QuantizedChannelMean
    if kind in ("InverseRoot", "Rsqrt"):
        return QuantizedInverseRoot
    if kind in ("LeakyReLU", "LeakyRelu"):
        return partial(QuantizedLeakyReLU, float(operation.negative_slope))
    function = activation_of(operation)
    if function == "leaky_relu":
        return partial(QuantizedLeakyReLU, 0.2)  # Keras's default
    if function == "softmax" and getattr(operation, "axis", -1) in (-1, rank - 1):
        return QuantizedSoftmax
    return None
