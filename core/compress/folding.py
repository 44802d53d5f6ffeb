"""What the quantizing rewrite needs to know of Keras layers: activation, weights, folded norms."""

from __future__ import annotations

import keras
import numpy as np


def activation_of(operation) -> str | None:
    """Return the name of a pure activation layer's or operation's function, or None."""
    kind = type(operation).__name__
    if isinstance(operation, keras.layers.ReLU):
        plain = not operation.negative_slope and not operation.threshold
        limits = {None: "relu", 6.0: "relu6"}
        return limits.get(operation.max_value) if plain else None
    if isinstance(operation, keras.layers.Activation):
        name = keras.activations.serialize(operation.activation)
        return name if isinstance(name, str) else None
    return {"Relu": "relu", "Relu6": "relu6", "Sigmoid": "sigmoid", "Softmax": "softmax",
            "Tanh": "tanh"}.get(kind)  # fmt: skip


def weights_of(layer) -> tuple[np.ndarray, np.ndarray | None]:
    """Return kernel and bias (or None) of a weighted layer as arrays."""
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    return kernel, keras.ops.convert_to_numpy(layer.bias) if layer.use_bias else None


def filters_of(layer) -> int:
    """Return the number of output channels of a weighted layer."""
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return layer.kernel.shape[2] * layer.depth_multiplier
    return layer.units if isinstance(layer, keras.layers.Dense) else layer.filters


def window_of(layer) -> dict:
    """Return the geometry of a convolution as constructor arguments."""
    return {
        "strides": layer.strides,
        "padding": layer.padding,
        "dilation_rate": layer.dilation_rate,
    }


def fold_norm(norm) -> tuple[np.ndarray, np.ndarray]:
    """Return factor and shift of a batch normalisation at inference, per channel, float32."""
    mean = keras.ops.convert_to_numpy(norm.moving_mean).astype(np.float64)
    variance = keras.ops.convert_to_numpy(norm.moving_variance).astype(np.float64)
    factor = 1.0 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        factor = factor * keras.ops.convert_to_numpy(norm.gamma)
    shift = -mean * factor
    if norm.center:
        shift = shift + keras.ops.convert_to_numpy(norm.beta)
    return factor.astype(np.float32), shift.astype(np.float32)


def fill(layer, x, kernel, bias) -> None:
    """Build a quantized layer and give it its weights and kernel range."""
    layer.build(x.shape)
    layer.kernel.assign(kernel)
    if bias is not None:
        layer.bias.assign(bias)
    layer.measure()
