"""The pieces that composite layers are rewritten into, each with a good integer form."""

from __future__ import annotations

import math

import keras
import numpy as np

from core.compress.graph import Call
from core.compress.rewriter import Rewriter
from core.layers.clip import Clip


class PrimitiveRewriter(Rewriter):
    """A rewriter that writes simple operators for a layer's arithmetic."""

    def input(self, call: Call):
        return self.tensors[call.inputs[0]]

    def set(self, call: Call, tensor) -> None:
        self.tensors[call.outputs[0]] = tensor

    def affine(self, x, factor, shift, name: str):
        """Return x·factor + shift per channel, as a 1×1 depthwise convolution.

        Its integer form has a scale per channel and a 32-bit shift, where a product and a sum
        would each round to 8 bits.
        """
        channels = x.shape[-1]
        layer = keras.layers.DepthwiseConv2D(1, name=self.name(name))
        layer.build((None, None, None, channels))
        layer.kernel.assign(np.broadcast_to(factor, (1, 1, channels))[..., None])
        layer.bias.assign(np.broadcast_to(shift, (channels,)))
        return self.in_four(x, layer)

    def in_four(self, x, layer, then=lambda y: y):
        """Apply a 2-D layer, and what belongs to it, to any rank: (N, 1, rest, C) and back."""
        shape = tuple(x.shape)
        if len(shape) == 4:
            return then(layer(x))
        rest = -1 if None in shape[1:-1] else math.prod(shape[1:-1])
        y = then(layer(self.reshape(x, (1, rest, shape[-1]))))
        target = tuple(-1 if side is None else side for side in shape[1:-1])
        return self.reshape(y, (*target, y.shape[-1]))

    def reshape(self, x, shape: tuple):
        return keras.layers.Reshape(shape, name=self.name("as_image"))(x)

    def dense(self, x, kernel, bias, name: str, *, trainable: bool = True):
        """Return x·kernel + bias: a Dense for (N, C), else a 1×1 convolution (per channel).

        A kernel that is no parameter but part of an operator's definition is not trained.
        """
        units = kernel.shape[-1]
        if len(x.shape) == 2:
            layer = keras.layers.Dense(units, use_bias=bias is not None, name=self.name(name))
            layer.build(x.shape)
            layer.kernel.assign(kernel)
        else:
            layer = keras.layers.Conv2D(units, 1, use_bias=bias is not None, name=self.name(name))
            layer.build((None, None, None, x.shape[-1]))
            layer.kernel.assign(kernel[None, None])
        if bias is not None:
            layer.bias.assign(bias)
        layer.trainable = trainable
        return layer(x) if len(x.shape) == 2 else self.in_four(x, layer)

    def activation(self, x, function, name: str):
        """Apply an activation as primitive operators."""
        if function is keras.activations.linear:
            return x
        if function is keras.activations.silu:
            return self.silu(x, name)
        if function is keras.activations.hard_sigmoid:
            return self.unit_range(self.affine(x, 1 / 6, 1 / 2, f"{name}.shifted"), name)
        return keras.layers.Activation(function, name=self.name(name))(x)

    def silu(self, x, name: str):
        gate = keras.layers.Activation("sigmoid", name=self.name(f"{name}.sigmoid"))(x)
        return keras.layers.Multiply(name=self.name(name))([x, gate])

    def unit_range(self, x, name: str):
        """Clip to [0, 1], which is the range of what stands before and no operator of its own."""
        return Clip(0.0, 1.0, name=self.name(name))(x)

    def norm_in_four(self, norm):
        config = {**norm.get_config(), "name": self.name(norm.name), "axis": -1}
        twin = keras.layers.BatchNormalization.from_config(config)
        twin.build((None, None, None, norm.moving_mean.shape[0]))
        twin.set_weights(norm.get_weights())
        return twin

    def projected(self, x, kernel, bias, contracted: int, name: str):
        """Contract the last axes of x with the first of a kernel."""
        before = x.shape[1 : len(x.shape) - contracted]
        target = tuple(-1 if side is None else side for side in before)
        width = math.prod(kernel.shape[:contracted])
        outputs = kernel.shape[contracted:]
        if contracted > 1:
            x = self.reshape(x, (*target, width))
        bias = None if bias is None else np.broadcast_to(np.asarray(bias), outputs).ravel()
        y = self.dense(x, kernel.reshape(width, -1), bias, name)
        return y if len(outputs) == 1 else self.reshape(y, (*target, *outputs))
