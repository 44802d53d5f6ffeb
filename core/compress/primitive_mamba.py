"""What stands around a selective scan in primitive operators; the scan itself stays in float.

Rules of `core.compress.primitives`, called with its rewriter and a call.
"""

from __future__ import annotations

import math

import keras
import numpy as np

from core.compress.folding import scale_outputs
from core.compress.graph import Call


def causal_conv(rewriter, call: Call) -> None:
    """A causal convolution is a padding and a depthwise one of (N, 1, L, C)."""
    layer, x = call.operation, rewriter.input(call)
    sides = tuple(x.shape[1:-1])
    length = -1 if None in sides else math.prod(sides)

    def make():
        twin = keras.layers.DepthwiseConv2D((1, layer.window), name=rewriter.name(layer.name))
        twin.build((None, None, None, x.shape[-1]))
        twin.kernel.assign(np.asarray(layer.kernel)[None, :, :, None])
        twin.bias.assign(layer.bias)
        return twin

    x = rewriter.reshape(x, (1, length, x.shape[-1]))
    before = ((0, 0), (layer.window - 1, 0))
    x = keras.layers.ZeroPadding2D(before, name=rewriter.name(f"{layer.name}.before"))(x)
    x = rewriter.once(layer, make)(x)
    sides = tuple(-1 if side is None else side for side in sides)
    rewriter.set(call, rewriter.reshape(x, (*sides, x.shape[-1])))


def learned_scale(rewriter, call: Call) -> None:
    """A learned factor is one for each channel: in the kernel before it, if that has no other use.

    Rounded by itself, what a factor near 0 is applied to would be rounded twice.
    """
    layer, x = call.operation, rewriter.input(call)
    factor, kernel = np.asarray(layer.factor), rewriter.kernel_before(call)
    if kernel is None:
        rewriter.set(call, rewriter.affine(x, factor, 0.0, layer.name))
    else:
        scale_outputs(kernel, factor)
        rewriter.set(call, x)
