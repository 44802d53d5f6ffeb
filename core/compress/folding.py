"""What the rewrites need to know of Keras layers: activations, constants, geometry."""

from __future__ import annotations

import keras
import numpy as np

from core.errors import UserError


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


def window_of(layer) -> dict:
    """Return the geometry of a convolution as constructor arguments."""
    return {
        "strides": layer.strides,
        "padding": layer.padding,
        "dilation_rate": layer.dilation_rate,
    }


def affine_of(layer) -> tuple[np.ndarray, np.ndarray]:
    """Return factor and shift, scalars or per channel, of a preprocessing or norm layer.

    Args:
        layer: A built Rescaling, Normalization or BatchNormalization (at inference).
    """
    if isinstance(layer, keras.layers.Rescaling):
        return np.asarray(layer.scale, np.float32), np.asarray(layer.offset, np.float32)
    if isinstance(layer, keras.layers.Normalization):
        mean = np.ravel(keras.ops.convert_to_numpy(layer.mean))
        deviation = np.sqrt(np.ravel(keras.ops.convert_to_numpy(layer.variance)))
        deviation = np.maximum(deviation, keras.backend.epsilon())
        return (deviation, mean) if layer.invert else (1 / deviation, -mean / deviation)
    mean = keras.ops.convert_to_numpy(layer.moving_mean).astype(np.float64)
    variance = keras.ops.convert_to_numpy(layer.moving_variance).astype(np.float64)
    factor = 1.0 / np.sqrt(variance + layer.epsilon)
    if layer.scale:
        factor = factor * keras.ops.convert_to_numpy(layer.gamma)
    shift = -mean * factor
    if layer.center:
        shift = shift + keras.ops.convert_to_numpy(layer.beta)
    return factor.astype(np.float32), shift.astype(np.float32)


def constant_operand(call) -> tuple[np.ndarray, np.ndarray]:
    """Return factor and shift of an arithmetic operation of a tensor with a constant.

    Raises:
        UserError: When the constant differs by position, or the tensor is the divisor.
    """
    name, kind = call.operation.name, type(call.operation).__name__
    arguments = [*call.node.arguments.args, *call.node.arguments.kwargs.values()]
    first = arguments[0] is call.node.input_tensors[0]
    value = np.asarray(arguments[1] if first else arguments[0], np.float32)
    channels = call.node.input_tensors[0].shape[-1]
    if value.size != 1 and not (value.shape[-1] == value.size == channels):
        raise UserError(
            f"{name} ({kind}): combines a tensor with a constant of shape {value.shape}; only a "
            "number or one number per channel has an integer form."
        )
    value = value.ravel()
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    if kind == "Add":
        return one, value
    if kind == "Subtract":
        return (one, -value) if first else (-one, value)
    if kind == "Multiply":
        return value, zero
    if not first:
        raise UserError(f"{name} ({kind}): divides by a tensor, which has no integer form.")
    return one / value, zero


def scale_outputs(layer, factor, shift=0.0) -> None:
    """Multiply what a built layer with a kernel gives, and add to it if it has a bias; in place.

    Args:
        layer: A convolution of any kind or Dense, without activation.
        factor, shift: Numbers, or one per output channel.
    """
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    factor = by_channel = np.asarray(factor)
    if factor.size == 1:
        factor = by_channel = factor.reshape(())
    if isinstance(layer, keras.layers.DepthwiseConv2D) and factor.ndim:
        by_channel = factor.reshape(kernel.shape[2:])
    elif isinstance(layer, keras.layers.Conv2DTranspose) and factor.ndim:
        by_channel = factor[:, None]
    layer.kernel.assign((kernel * by_channel).astype(np.float32))
    if layer.use_bias:
        bias = keras.ops.convert_to_numpy(layer.bias) * factor + shift
        layer.bias.assign(bias.astype(np.float32))


def positive_factors(model):
    """Turn negative factors of batch normalisations into the kernels before them, in place.

    A clustered kernel whose channels have factors of both signs would hold twice its values once
    they are folded. The outputs stay the same. Returns the model.
    """
    from core.compress.graph import graph_of

    graph = graph_of(model)
    for call in graph.calls:
        layer, user = call.operation, graph.sole_user(call.outputs[0])
        if type(layer).__name__ not in ("Conv2D", "GroupedConv2D", "Conv1D", "Dense"):
            continue
        norm = None if user is None else user.operation
        if not isinstance(norm, keras.layers.BatchNormalization) or not norm.scale:
            continue
        linear = keras.activations.serialize(layer.activation) == "linear"
        if not linear or graph.uses[id(layer)] != 1 or graph.uses[id(norm)] != 1:
            continue
        sign = np.where(keras.ops.convert_to_numpy(norm.gamma) < 0, -1.0, 1.0).astype(np.float32)
        scale_outputs(layer, sign)
        norm.gamma.assign(norm.gamma * sign)
        norm.moving_mean.assign(norm.moving_mean * sign)
    return model
