"""Rewrite a float model into the operators TFLite has an integer kernel for; outputs stay equal.

Keras has layers that are several operators in one (attention, layer normalisation, separable and
one-dimensional convolutions) and arithmetic with constants. Here each becomes what its integer form
is made of, so that the quantizing rewrite sees simple operators only and its quantizers stand at
every rounding of the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import keras
import numpy as np

from core.compress.folding import activation_of, affine_of, constant_operand
from core.compress.graph import Call, graph_of
from core.compress.primitive_layers import AddEpsilon, ChannelMean, InverseRoot
from core.compress.rewriter import Rewriter
from core.compress.scheme import Scheme
from core.compress.simulated_operators import MatMul
from core.errors import UserError
from core.layers.instance_norm import InstanceNormalization

CONVOLUTIONS_1D = (keras.layers.Conv1D, keras.layers.DepthwiseConv1D)
SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)


def primitive_form(model, scheme: Scheme | None = None) -> keras.Model:
    """Return a functional model of simple layers with equal outputs at inference.

    Args:
        model: A functional Keras model; it is not changed.
        scheme: Its exceptions are left as they are.

    Raises:
        UserError: When the model is subclassed, or an attention layer is used with masks.
    """
    return _Primitives(graph_of(model), scheme or Scheme()).rewrite()


class _Primitives(Rewriter):
    def __init__(self, graph, scheme: Scheme):
        super().__init__(graph)
        self.scheme = scheme

    def emit(self, call: Call) -> None:
        operation = call.operation
        if self.scheme.exception(operation) is not None:
            self.copy(call)
            return
        for kind, rule in RULES:
            if isinstance(operation, kind):
                rule(self, call)
                return
        rule = OPERATIONS.get(type(operation).__name__)
        if rule is not None:
            rule(self, call)
        elif getattr(operation, "activation", None) is keras.activations.silu:
            self.fused_silu(call)
        else:
            self.copy(call)

    # --- pieces ---------------------------------------------------------------------------------

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

    def dense(self, x, kernel, bias, name: str):
        """Return x·kernel + bias: a Dense for (N, C), else a 1×1 convolution (per channel)."""
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
        return layer(x) if len(x.shape) == 2 else self.in_four(x, layer)

    def activation(self, x, function, name: str):
        """Apply an activation as primitive operators."""
        if function is keras.activations.linear:
            return x
        if function is keras.activations.silu:
            return self.silu(x, name)
        return keras.layers.Activation(function, name=self.name(name))(x)

    def silu(self, x, name: str):
        gate = keras.layers.Activation("sigmoid", name=self.name(f"{name}.sigmoid"))(x)
        return keras.layers.Multiply(name=self.name(name))([x, gate])

    # --- rules: layers --------------------------------------------------------------------------

    def conv_1d(self, call: Call) -> None:
        """One-dimensional convolution (with its norm and activation) in (N, 1, L, C)."""
        layer = call.operation
        x, function = self.input(call), layer.activation
        window = {
            "strides": (1, layer.strides[0]),
            "padding": layer.padding,
            "dilation_rate": (1, layer.dilation_rate[0]),
            "use_bias": layer.use_bias,
        }
        x = self.reshape(x, (1, -1 if x.shape[1] is None else x.shape[1], x.shape[2]))
        if layer.padding == "causal":
            before = (layer.kernel_size[0] - 1) * layer.dilation_rate[0]
            pad = keras.layers.ZeroPadding2D(((0, 0), (before, 0)), name=self.name("causal"))
            x, window["padding"] = pad(x), "valid"

        def make():
            name = self.name(layer.name)
            if isinstance(layer, keras.layers.DepthwiseConv1D):
                twin = keras.layers.DepthwiseConv2D(
                    (1, layer.kernel_size[0]), depth_multiplier=layer.depth_multiplier,
                    name=name, **window,
                )  # fmt: skip
            else:
                twin = keras.layers.Conv2D(
                    layer.filters, (1, layer.kernel_size[0]), groups=layer.groups,
                    name=name, **window,
                )  # fmt: skip
            twin.build((None, None, None, x.shape[-1]))
            twin.kernel.assign(layer.kernel[None])
            if layer.use_bias:
                twin.bias.assign(layer.bias)
            return twin

        x, end = self.once(layer, make)(x), call.outputs[0]
        if function is keras.activations.linear:
            norm = self.follower(end, keras.layers.BatchNormalization)
            if norm is not None:
                x, end = self.norm_in_four(norm.operation)(x), norm.outputs[0]
        x = self.activation(x, function, f"{layer.name}.activation")
        length = x.shape[2]
        self.tensors[end] = self.reshape(x, (-1 if length is None else length, x.shape[3]))

    def norm_in_four(self, norm):
        config = {**norm.get_config(), "name": self.name(norm.name), "axis": -1}
        twin = keras.layers.BatchNormalization.from_config(config)
        twin.build((None, None, None, norm.moving_mean.shape[0]))
        twin.set_weights(norm.get_weights())
        return twin

    def separable(self, call: Call) -> None:
        """A separable convolution is a depthwise and a pointwise one."""
        layer = call.operation
        flat = isinstance(layer, keras.layers.SeparableConv1D)
        x = self.input(call)
        if flat:
            x = self.reshape(x, (1, -1 if x.shape[1] is None else x.shape[1], x.shape[2]))
        wide = (lambda pair: (1, pair[0])) if flat else tuple

        def make():
            depthwise = keras.layers.DepthwiseConv2D(
                wide(layer.kernel_size), strides=wide(layer.strides), padding=layer.padding,
                dilation_rate=wide(layer.dilation_rate), depth_multiplier=layer.depth_multiplier,
                use_bias=False, name=self.name(f"{layer.name}.depthwise"),
            )  # fmt: skip
            depthwise.build((None, None, None, x.shape[-1]))
            depthwise.kernel.assign(
                layer.depthwise_kernel[None] if flat else layer.depthwise_kernel
            )
            pointwise = keras.layers.Conv2D(
                layer.filters, 1, use_bias=layer.use_bias, name=self.name(layer.name)
            )
            pointwise.build((None, None, None, depthwise.kernel.shape[2] * layer.depth_multiplier))
            pointwise.kernel.assign(
                layer.pointwise_kernel[None] if flat else layer.pointwise_kernel
            )
            if layer.use_bias:
                pointwise.bias.assign(layer.bias)
            return depthwise, pointwise

        depthwise, pointwise = self.once(layer, make)
        x, end = pointwise(depthwise(x)), call.outputs[0]
        if layer.activation is keras.activations.linear and flat:
            norm = self.follower(end, keras.layers.BatchNormalization)
            if norm is not None:
                x, end = self.norm_in_four(norm.operation)(x), norm.outputs[0]
        x = self.activation(x, layer.activation, f"{layer.name}.activation")
        if flat:
            length = x.shape[2]
            x = self.reshape(x, (-1 if length is None else length, x.shape[3]))
        self.tensors[end] = x

    def layer_norm(self, call: Call) -> None:
        """Layer (or root-mean-square) normalisation over the last axis, operator by operator."""
        layer, x = call.operation, self.input(call)
        name, axes = layer.name, np.atleast_1d(layer.axis)
        if list(axes % len(x.shape)) != [len(x.shape) - 1]:
            raise UserError(
                f"{name} ({type(layer).__name__}): normalises over axes {list(map(int, axes))}, "
                "which has no integer form; normalise over the last axis, or leave it in float "
                f"(exceptions={{'{name}': 'float'}})."
            )
        centring = isinstance(layer, keras.layers.LayerNormalization)
        self.normalise(call, ChannelMean, centring=centring)

    def instance_norm(self, call: Call) -> None:
        """Instance normalisation, operator by operator."""
        self.normalise(call, partial(keras.layers.GlobalAveragePooling2D, keepdims=True))

    def normalise(self, call: Call, mean: Callable, *, centring: bool = True) -> None:
        """Take out what `mean` finds, divide by the root of the mean square, scale and shift."""
        layer, x = call.operation, self.input(call)
        name, centred = layer.name, x
        if centring:
            centred = keras.layers.Subtract(name=self.name(f"{name}.centred"))(
                [x, mean(name=self.name(f"{name}.mean"))(x)]
            )
        square = keras.layers.Multiply(name=self.name(f"{name}.square"))([centred, centred])
        variance = mean(name=self.name(f"{name}.variance"))(square)
        variance = AddEpsilon(layer.epsilon, name=self.name(f"{name}.epsilon"))(variance)
        inverse = InverseRoot(name=self.name(f"{name}.inverse"))(variance)
        y = keras.layers.Multiply(name=self.name(f"{name}.normal"))([centred, inverse])
        factor = getattr(layer, "gamma", None)
        factor = getattr(layer, "scale", 1.0) if factor is None else factor
        factor = 1.0 if isinstance(factor, bool) or factor is None else np.asarray(factor)
        shift = getattr(layer, "beta", None)
        shift = 0.0 if shift is None else np.asarray(shift)
        self.set(call, self.affine(y, factor, shift, name))

    def einsum_dense(self, call: Call) -> None:
        """An EinsumDense that contracts the input's last axes is a Dense."""
        layer, x = call.operation, self.input(call)
        kernel = np.asarray(layer.kernel)
        source, weights, result = _parse(layer.equation)
        shared = len([axis for axis in weights if axis in source])
        if source[-shared:] != weights[:shared] or result != source[:-shared] + weights[shared:]:
            raise UserError(
                f"{layer.name} (EinsumDense '{layer.equation}'): has no integer form; leave it in "
                f"float (exceptions={{'{layer.name}': 'float'}})."
            )
        y = self.projected(x, kernel, layer.bias, shared, layer.name)
        self.set(call, self.activation(y, layer.activation, f"{layer.name}.activation"))

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

    def attention(self, call: Call) -> None:
        """Multi-head attention: projections, scores, softmax, sum, projection."""
        layer = call.operation
        tensors = [self.tensors[value] for value in call.inputs]
        kwargs = {k: v for k, v in call.node.arguments.kwargs.items() if v is not None}
        masked = [k for k in kwargs if "mask" in k and kwargs[k] is not False]
        several = len(call.outputs) != 1 or len(layer._attention_axes) != 1
        if masked or several:
            raise UserError(
                f"{layer.name} (MultiHeadAttention): masks, several attention axes and returned "
                "scores have no integer form; leave it in float "
                f"(exceptions={{'{layer.name}': 'float'}})."
            )
        query, value, key = (tensors * 3)[:3] if len(tensors) == 1 else (*tensors, tensors[-1])[:3]
        name = layer.name
        scale = 1.0 / math.sqrt(layer.key_dim)

        def heads(x, dense, part, factor=1.0):
            bias = None if dense.bias is None else np.asarray(dense.bias) * factor
            kernel = np.asarray(dense.kernel) * np.float32(factor)
            y = self.projected(x, kernel, bias, 1, f"{name}.{part}")
            return keras.layers.Permute((2, 1, 3), name=self.name(f"{name}.{part}.heads"))(y)

        q = heads(query, layer._query_dense, "query", scale)
        k, v = heads(key, layer._key_dense, "key"), heads(value, layer._value_dense, "value")
        k = keras.layers.Permute((1, 3, 2), name=self.name(f"{name}.key.transposed"))(k)
        scores = MatMul(name=self.name(f"{name}.scores"))([q, k])
        weights = keras.layers.Activation("softmax", name=self.name(f"{name}.softmax"))(scores)
        if layer.dropout:
            weights = keras.layers.Dropout(layer.dropout, name=self.name(f"{name}.dropout"))(
                weights
            )
        y = MatMul(name=self.name(f"{name}.sum"))([weights, v])
        y = keras.layers.Permute((2, 1, 3), name=self.name(f"{name}.joined"))(y)
        dense = layer._output_dense
        self.set(call, self.projected(y, np.asarray(dense.kernel), dense.bias, 2, name))

    def dense_of_any_rank(self, call: Call) -> None:
        """A Dense on more than (N, C), or before a norm, is a 1×1 convolution.

        It has a scale per channel, where FULLY_CONNECTED's kernel is converted with one only.
        """
        layer, x = call.operation, self.input(call)
        linear = layer.activation is keras.activations.linear
        norm = self.follower(call.outputs[0], keras.layers.BatchNormalization) if linear else None
        if norm is not None:
            last, rectify = norm, lambda y: y
            user = self.graph.sole_user(norm.outputs[0])
            if user is not None and activation_of(user.operation) == "relu":
                last = self.follower(norm.outputs[0], type(user.operation)) or norm
            if last is not norm:  # before the axes go, so that it is fused
                rectify = self.twin(last.operation)
            x = self.in_four(
                x, self.once(layer, lambda: self._pointwise(layer, x.shape[-1])),
                then=lambda y: rectify(self.norm_in_four(norm.operation)(y)),
            )  # fmt: skip
            self.tensors[last.outputs[0]] = x
            return
        if len(x.shape) == 2:
            if layer.activation is keras.activations.silu:
                self.fused_silu(call)
            else:
                self.copy(call)
            return
        make = lambda: self._pointwise(layer, x.shape[-1])  # noqa: E731
        then = lambda y: self.activation(y, layer.activation, f"{layer.name}.activation")  # noqa: E731
        self.set(call, self.in_four(x, self.once(layer, make), then))

    def _pointwise(self, layer, channels: int):
        twin = keras.layers.Conv2D(
            layer.units, 1, use_bias=layer.use_bias, name=self.name(layer.name)
        )
        twin.build((None, None, None, channels))
        twin.kernel.assign(np.asarray(layer.kernel)[None, None])
        if layer.use_bias:
            twin.bias.assign(layer.bias)
        return twin

    def preprocessing(self, call: Call) -> None:
        """Rescaling and Normalization are a factor and a shift per channel."""
        factor, shift = affine_of(call.operation)
        self.set(call, self.affine(self.input(call), factor, shift, call.operation.name))

    # --- rules: operations ----------------------------------------------------------------------

    def fused_silu(self, call: Call) -> None:
        """A layer with a SiLU of its own, and SiLU by itself."""
        operation = call.operation
        if isinstance(operation, keras.layers.Activation) or not isinstance(
            operation, keras.layers.Layer
        ):
            self.set(call, self.silu(self.input(call), operation.name))
            return

        def make():
            config = {**operation.get_config(), "activation": "linear"}
            twin = type(operation).from_config({**config, "name": self.name(operation.name)})
            twin.build(tuple(self.input(call).shape))
            twin.set_weights(operation.get_weights())
            return twin

        x = self.once(operation, make)(self.input(call))
        self.set(call, self.silu(x, f"{operation.name}.silu"))

    def with_constant(self, call: Call) -> None:
        """x + c, x - c, c - x, x·c, x / c: a factor and a shift per channel."""
        if len(call.inputs) != 1:
            self.copy(call)
            return
        factor, shift = constant_operand(call)
        self.set(call, self.affine(self.input(call), factor, shift, call.operation.name))

    def square(self, call: Call) -> None:
        x = self.input(call)
        self.set(call, keras.layers.Multiply(name=self.name(call.operation.name))([x, x]))

    def negative(self, call: Call) -> None:
        self.set(call, self.affine(self.input(call), -1.0, 0.0, call.operation.name))


def _parse(equation: str) -> tuple[str, str, str]:
    left, result = equation.replace(" ", "").split("->")
    source, weights = left.split(",")
    return source.replace("...", "…"), weights, result.replace("...", "…")


RULES = (
    (CONVOLUTIONS_1D, _Primitives.conv_1d),
    (SEPARABLE, _Primitives.separable),
    (
        (keras.layers.LayerNormalization, keras.layers.RMSNormalization),
        _Primitives.layer_norm,
    ),
    (InstanceNormalization, _Primitives.instance_norm),
    (keras.layers.MultiHeadAttention, _Primitives.attention),
    (keras.layers.EinsumDense, _Primitives.einsum_dense),
    (keras.layers.Dense, _Primitives.dense_of_any_rank),
    ((keras.layers.Rescaling, keras.layers.Normalization), _Primitives.preprocessing),
)
OPERATIONS = {
    "Add": _Primitives.with_constant,
    "Divide": _Primitives.with_constant,
    "Multiply": _Primitives.with_constant,
    "Negative": _Primitives.negative,
    "Silu": _Primitives.fused_silu,
    "Square": _Primitives.square,
    "Subtract": _Primitives.with_constant,
    "TrueDivide": _Primitives.with_constant,
}
