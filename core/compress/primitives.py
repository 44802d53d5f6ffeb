"""Rewrite a float model into the operators TFLite has an integer kernel for; outputs stay equal.

Keras has layers that are several operators in one (attention, layer normalisation, separable and
one-dimensional convolutions) and arithmetic with constants. Here each becomes what its integer form
is made of, so that the quantizing rewrite sees simple operators only and its quantizers stand at
every rounding of the file.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import keras
import numpy as np

from core.compress.folding import activation_of, affine_of, constant_operand, scale_outputs
from core.compress.graph import Call, graph_of
from core.compress.operators import WEIGHTED
from core.compress.primitive_attention import (
    attention,
    channel_split,
    shift_mask,
    split_dense,
    table_sum,
)
from core.compress.primitive_layers import AddEpsilon, ChannelMean, InverseRoot
from core.compress.primitive_mamba import causal_conv, learned_scale
from core.compress.primitive_rewriter import PrimitiveRewriter
from core.compress.scheme import Scheme
from core.errors import UserError
from core.layers.group_norm import group_matrices
from core.layers.instance_norm import InstanceNormalization
from core.layers.mamba import CausalDepthwiseConv
from core.layers.own_range import OwnRange
from core.layers.patches import LearnedPositions
from core.layers.scale import LearnedScale
from core.layers.window_attention import RelativePositionBias, ShiftMask

CONVOLUTIONS_1D = (keras.layers.Conv1D, keras.layers.DepthwiseConv1D)
# Activations that are several operators, also by the names of their operations.
COMPOSED = {"HardSigmoid": keras.activations.hard_sigmoid, "Silu": keras.activations.silu}
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


class _Primitives(PrimitiveRewriter):
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
        if type(operation).__name__ in OPERATIONS:
            OPERATIONS[type(operation).__name__](self, call)
        elif getattr(operation, "activation", None) in COMPOSED.values():
            self.composed(call)
        else:
            self.copy(call)

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

    def group_norm(self, call: Call) -> None:
        """Group normalisation of images: a group's mean is the mean of its channels' means."""
        layer, x = call.operation, self.input(call)
        if len(x.shape) != 4 or layer.axis not in (-1, 3):
            raise UserError(
                f"{layer.name} ({type(layer).__name__}): does not normalise the last axis of "
                "images, so it has no integer form; leave it in float "
                f"(exceptions={{'{layer.name}': 'float'}})."
            )
        joining, parting = group_matrices(x.shape[-1], layer.groups)

        def mean(name: str) -> Callable:
            pool = keras.layers.GlobalAveragePooling2D(keepdims=True, name=name)
            return lambda x: self.dense(
                pool(x), joining @ parting, None, f"{name}.groups", trainable=False
            )

        self.normalise(call, mean)

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

    def dense_of_any_rank(self, call: Call) -> None:
        """A Dense on more than (N, C), or before a norm, is a 1×1 convolution.

        It has a scale per channel, where FULLY_CONNECTED's kernel is converted with one only.
        """
        layer, x = call.operation, self.input(call)
        linear = layer.activation is keras.activations.linear
        split = channel_split(self, call) if linear else None
        if split is not None:
            split_dense(self, call, split)
            return
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
            if layer.activation in COMPOSED.values():
                self.composed(call)
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

    def own_range(self, call: Call) -> None:
        """What only rounds anew is multiplied by one."""
        self.set(call, self.affine(self.input(call), 1.0, 0.0, call.operation.name))

    def preprocessing(self, call: Call) -> None:
        """Rescaling and Normalization are a factor and a shift per channel."""
        factor, shift = affine_of(call.operation)
        self.set(call, self.affine(self.input(call), factor, shift, call.operation.name))

    # --- rules: operations ----------------------------------------------------------------------

    def composed(self, call: Call) -> None:
        """An activation of several operators, by itself or a layer's own."""
        operation = call.operation
        function = COMPOSED.get(type(operation).__name__) or operation.activation
        if isinstance(operation, keras.layers.Activation) or not isinstance(
            operation, keras.layers.Layer
        ):
            x, kernel = self.input(call), self.kernel_before(call)
            if function is keras.activations.hard_sigmoid and kernel is not None:
                scale_outputs(kernel, 1 / 6, 1 / 2)  # relu6(x + 3) / 6
                self.set(call, self.unit_range(x, operation.name))
            else:
                self.set(call, self.activation(x, function, operation.name))
            return

        def make():
            config = {**operation.get_config(), "activation": "linear"}
            twin = type(operation).from_config({**config, "name": self.name(operation.name)})
            twin.build(tuple(self.input(call).shape))
            twin.set_weights(operation.get_weights())
            return twin

        x = self.once(operation, make)(self.input(call))
        self.set(call, self.activation(x, function, f"{operation.name}.{function.__name__}"))

    def kernel_before(self, call: Call):
        """Return the new kernel with bias that an operation alone reads, or None."""
        value = call.inputs[0]
        maker = next((made for made in self.graph.calls if value in made.outputs), None)
        if maker is None or self.graph.sole_user(value) is not call:
            return None
        layer = maker.operation
        if type(layer).__name__ == "Split":  # of a kernel, maybe: each part is one of its own now
            layer = self.tensors[value]._keras_history.operation
            return layer if isinstance(layer, WEIGHTED) and layer.use_bias else None
        if not isinstance(layer, WEIGHTED) or self.scheme.exception(layer) is not None:
            return None
        linear = layer.activation is keras.activations.linear
        if not (linear and layer.use_bias) or self.graph.uses[id(layer)] > 1:
            return None
        return self.twin(layer)

    def with_constant(self, call: Call) -> None:
        """x + c, x - c, c - x, x·c, x / c: a factor and a shift per channel."""
        if len(call.inputs) != 1:
            self.copy(call)
            return
        factor, shift = constant_operand(call)
        kernel = self.kernel_before(call)
        if kernel is not None and factor.size == 1 and not shift.any():
            scale_outputs(kernel, factor)
            self.set(call, self.input(call))
        else:
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
    (keras.layers.GroupNormalization, _Primitives.group_norm),
    (CausalDepthwiseConv, causal_conv),
    (LearnedScale, learned_scale),
    (keras.layers.MultiHeadAttention, attention),
    ((LearnedPositions, RelativePositionBias), table_sum),
    (ShiftMask, shift_mask),
    (OwnRange, _Primitives.own_range),
    (keras.layers.EinsumDense, _Primitives.einsum_dense),
    (keras.layers.Dense, _Primitives.dense_of_any_rank),
    ((keras.layers.Rescaling, keras.layers.Normalization), _Primitives.preprocessing),
)
OPERATIONS = {
    "Add": _Primitives.with_constant,
    "Divide": _Primitives.with_constant,
    "Multiply": _Primitives.with_constant,
    "Negative": _Primitives.negative,
    "HardSigmoid": _Primitives.composed,
    "Silu": _Primitives.composed,
    "Square": _Primitives.square,
    "Subtract": _Primitives.with_constant,
    "TrueDivide": _Primitives.with_constant,
}
