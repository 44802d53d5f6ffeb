"""Rewrite a functional Keras model into one that computes what its integer file will compute.

Fake quantizers are placed as the TFLite converter fuses: batch normalisation belongs to the kernel,
a range stands after the fused activation, and operators that only move values share the range of
their input. Post-training int8 is this model calibrated; quantization-aware training is this model
trained; `core.compress.integer.integer_form` is what a file is made from.
"""

from __future__ import annotations

from functools import partial

import keras
import numpy as np

from core.compress.folding import activation_of
from core.compress.graph import Call, Graph, graph_of
from core.compress.joined import joined_groups
from core.compress.operators import (
    ACTIVATIONS,
    AVERAGING,
    COMPUTING,
    FUSED_ACTIVATIONS,
    JOINING,
    MOVING,
    PAIRED,
    TIES,
    WEIGHTED,
)
from core.compress.primitives import primitive_form
from core.compress.quantized_kernel import QuantizedKernel
from core.compress.quantizers import FIXED_RANGES, ActivationQuantizer
from core.compress.rewriter import Rewriter
from core.compress.scheme import Scheme
from core.compress.simulated_operators import PAIRED_TWINS, Conversion, RangeClip, simulated_twin
from core.compress.weighted_twins import WeightedTwins, is_split
from core.errors import UserError
from core.layers.clip import Clip
from core.layers.convolution import GroupedConv2D


def quantize_aware(
    model, scheme: Scheme | None = None, *, keep: tuple[str, ...] = ()
) -> keras.Model:
    """Return the model with fake quantizers, weights copied, ranges not yet calibrated.

    Calibrate it on real samples (`core.compress.ranges.calibrate`), train it like any Keras model
    if post-training accuracy is not enough, and export it (`core.export.convert.to_tflite`).

    Args:
        model: A functional Keras model with float32 weights; it is not changed. Shared layers and
            nested models are fine.
        scheme: Bit widths, granularity, observer, exceptions; the default is full int8.
        keep: What training must not lose: "zeros" of a pruned model (PQAT), "clusters" of a
            clustered one (CQAT), or both (PCQAT).

    Returns:
        A functional `keras.Model` with the same inputs and outputs. Quantizers of activations are
        called `<layer>.range`; convolutions hold their batch normalisation.

    Raises:
        UserError: When the model is subclassed or quantized already, or when a layer has no known
            rule: it is named, with the ways out (`Scheme.exceptions`).
    """
    unknown = set(keep) - {"zeros", "clusters"}
    if unknown:
        raise ValueError(f"`keep` may hold 'zeros' and 'clusters'. Received: {sorted(unknown)}")
    scheme = scheme or Scheme()
    if is_quantized(model):
        raise UserError(f"{model.name}: is quantized already; quantize the float network instead.")
    graph = graph_of(primitive_form(model, scheme))
    _check_exceptions(graph_of(model), scheme)
    return _Quantizing(graph, scheme, frozenset(keep)).rewrite()


def is_quantized(model) -> bool:
    """Return whether a model holds fake quantizers."""
    return any(isinstance(layer, ActivationQuantizer | QuantizedKernel) for layer in model.layers)


class _Quantizing(Rewriter):
    """Emits the quantized model.

    Attributes:
        codes: Old value → the quantizer whose codes it carries.
        shared: Old value → the quantizer it must use because it meets others in one operator.
        limits: Old value → the range a `Clip` gives it, which then needs no operator.
    """

    def __init__(self, graph: Graph, scheme: Scheme, keep: frozenset[str]):
        super().__init__(graph)
        self.scheme, self.keep = scheme, keep
        self.twins = WeightedTwins(scheme, keep)
        self.codes: dict[int, ActivationQuantizer] = {}
        self.shared: dict[int, ActivationQuantizer] = {}
        self.limits: dict[int, tuple[float, float]] = {}
        for name, values in joined_groups(graph, scheme):
            self.shared.update(dict.fromkeys(values, self._quantizer(name)))

    def emit_input(self, value: int, tensor, name: str) -> None:
        self._quantized(value, tensor, name)

    def emit(self, call: Call) -> None:
        operation, kind = call.operation, type(call.operation).__name__
        exception = self.scheme.exception(operation)
        if exception == "pass" or (exception is None and kind in MOVING):
            self._emit_moving(call)
        elif exception is None and kind in AVERAGING:
            self._emit_averaging(call)
        elif exception == "float":
            self._emit_computing(call)
        elif isinstance(operation, WEIGHTED):
            self._emit_weighted(call)
        elif isinstance(operation, keras.layers.BatchNormalization):
            self._emit_lone_norm(call)
        elif kind in JOINING and self._pairwise(call):
            self.copy(call)
            self.codes[call.outputs[0]] = self.shared[call.outputs[0]]
        elif kind in PAIRED:
            self._emit_paired(call)
        elif kind in COMPUTING and self._has_integer_form(operation):
            self._emit_computing(call)
        else:
            raise UserError(
                f"{operation.name} ({kind}): has no known integer form; leave it in float "
                f"(exceptions={{'{operation.name}': 'float'}}), or, if it only moves values, treat "
                f"it as such (exceptions={{'{operation.name}': 'pass'}})."
            )

    # --- weighted operators -------------------------------------------------------------------

    def _emit_weighted(self, call: Call) -> None:
        layer, end, norm = call.operation, call.outputs[0], None
        function = keras.activations.serialize(layer.activation)
        if function not in ACTIVATIONS:
            raise UserError(
                f"{layer.name} ({type(layer).__name__}): its activation '{function}' has no known "
                f"integer form; leave the layer in float (exceptions={{'{layer.name}': 'float'}})."
            )
        if function == "linear" and self.graph.uses[id(layer)] == 1 and self._norm_folds(call):
            follower = self.follower(end, keras.layers.BatchNormalization)
            if follower is not None:
                norm, end = follower.operation, follower.outputs[0]
        x = self.tensors[call.inputs[0]]
        if is_split(layer):
            x = self._first_half(layer, x)
        shape = tuple(x.shape)
        x = self.once(layer, lambda: self.twins.twin(layer, norm, shape, self.name(layer.name)))(x)
        own = function
        if function == "linear":
            own, end = self._fuse_activation(end)
        if own in FUSED_ACTIVATIONS:
            x = keras.layers.Activation(own, name=self.name(f"{layer.name}.{own}"))(x)
        self._quantized(end, x, layer.name)
        if own not in (None, "linear", *FUSED_ACTIVATIONS):
            activated = keras.layers.Activation(own)
            make = simulated_twin(activated, 4) or partial(keras.layers.Activation, own)
            activated = make(name=self.name(f"{layer.name}.{own}"))
            self._quantized(end, activated(self.tensors[end]), activated.name, own)

    def _first_half(self, layer: GroupedConv2D, x):
        """Emit the first half of a grouped convolution (see `GroupedConv2D`)."""
        name, shape = f"{layer.name}.depthwise", tuple(x.shape)
        twin = self.once(
            ("depthwise", id(layer)),
            lambda: self.twins.first_half(layer, shape, self.name(name)),
        )
        return self._quantizer(twin.name)(twin(x))

    def _norm_folds(self, call: Call) -> bool:
        """Whether the normalisation behind a layer may go into its kernel.

        Of a clustered kernel equal weights must keep equal codes: one scale over a folded kernel
        would part them, and so would a negative factor, which turns the signs of a channel's codes.
        """
        layer, follower = call.operation, self.graph.sole_user(call.outputs[0])
        if "clusters" not in self.keep or isinstance(layer, keras.layers.DepthwiseConv2D):
            return True
        if isinstance(layer, keras.layers.Dense | keras.layers.Conv2DTranspose):
            return False
        norm = None if follower is None else follower.operation
        if not isinstance(norm, keras.layers.BatchNormalization) or not norm.scale:
            return True
        return float(np.min(norm.gamma)) >= 0

    def _emit_lone_norm(self, call: Call) -> None:
        """A normalisation with nothing to fold into becomes a 1×1 depthwise convolution."""
        norm, value = call.operation, call.inputs[0]
        x = self.tensors[value]
        rank = len(x.shape)
        axis = norm.axis[0] if isinstance(norm.axis, list | tuple) else norm.axis
        if rank not in (2, 3, 4) or axis % rank != rank - 1:
            raise UserError(
                f"{norm.name} (BatchNormalization): does not normalise the last axis of a 2-D "
                "image, so it has no integer form; leave it in float "
                f"(exceptions={{'{norm.name}': 'float'}})."
            )
        length = 1 if rank == 2 else -1 if x.shape[1] is None else x.shape[1]
        if rank < 4:
            x = keras.layers.Reshape((1, length, x.shape[-1]), name=self.name("as_image"))(x)
        x = self.once(norm, lambda: self.twins.lone_norm(norm, self.name(norm.name)))(x)
        function, end = self._fuse_activation(call.outputs[0])
        if function is not None:
            x = keras.layers.Activation(function, name=self.name(f"{norm.name}.{function}"))(x)
        limits = self.limits.get(end) if rank < 4 else None
        if limits is not None:
            x = RangeClip(*limits, name=self.name(f"{norm.name}.clip"))(x)
        if rank == 4:
            self._quantized(end, x, norm.name)
            return
        quantizer = self.shared.get(end) or self._quantizer(norm.name, limits=limits)
        target = (x.shape[-1],) if rank == 2 else (length, x.shape[-1])
        shaped = keras.layers.Reshape(target, name=self.name("as_image"))
        self.tensors[end], self.codes[end] = shaped(quantizer(x)), quantizer

    # --- other operators ----------------------------------------------------------------------

    def _emit_moving(self, call: Call) -> None:
        for value, tensor in zip(call.outputs, self.copy(call), strict=True):
            self.codes[value] = self.codes[call.inputs[0]]
            shared = self.shared.get(value)
            if shared is not None and shared is not self.codes[value]:
                self._put(value, self._conversion(shared)(tensor), shared)

    def _emit_averaging(self, call: Call) -> None:
        """The file converts to a shared range first, in an operator of the converter's."""
        source, value, kind = call.inputs[0], call.outputs[0], type(call.operation).__name__
        known, quantizer = self.tensors[source], self.shared.get(value) or self.codes[source]
        if quantizer is not self.codes[source]:
            converted = self._conversion(quantizer)(known)
            self.tensors[source] = quantizer(converted, only_simulated=True)
        (tensor,) = self.copy(call)
        self.tensors[source] = known
        self._put(value, tensor, quantizer, TIES.get(kind))

    def _conversion(self, quantizer: ActivationQuantizer) -> Conversion:
        return Conversion(name=self.name(f"{quantizer.name}.conversion"))

    def _pairwise(self, call: Call) -> bool:
        """Return whether a joining operator has tensors only; say what to do where not."""
        if len(call.inputs) > 1 or type(call.operation).__name__ in ("Concatenate", "Stack"):
            return True
        raise UserError(
            f"{call.operation.name} ({type(call.operation).__name__}): compares a tensor with a "
            "constant, which has no integer form; use relu or relu6, or leave it in float "
            f"(exceptions={{'{call.operation.name}': 'float'}})."
        )

    def _emit_paired(self, call: Call) -> None:
        """Sums and products of many become chains of two, with a range after each."""
        operation = call.operation
        twin = PAIRED_TWINS[type(operation).__name__]
        ranks = {len(self.graph.shapes[value]) for value in call.inputs}
        if len(ranks) > 1 and isinstance(operation, keras.layers.Layer):
            twin = type(operation)  # which broadcasts in a way of its own
        x, *others = (self.tensors[value] for value in call.inputs)
        for position, other in enumerate(others, start=1):
            number = f".{position}" if len(others) > 1 else ""
            layer = twin(name=self.name(f"{operation.name}{number}"))
            x = layer([x, other])
            if position < len(others):
                x = self._quantizer(layer.name)(x)
        function, end = self._fuse_activation(call.outputs[0])
        if function is not None:
            name = self.name(f"{operation.name}.{function}")
            x = keras.layers.Activation(function, name=name)(x)
        self._quantized(end, x, operation.name)

    def _has_integer_form(self, operation) -> bool:
        if isinstance(operation, keras.layers.Activation):
            return keras.activations.serialize(operation.activation) in ACTIVATIONS
        if isinstance(operation, keras.layers.ReLU):
            return activation_of(operation) is not None or operation.max_value is None
        return True

    def _emit_computing(self, call: Call) -> None:
        operation, kind = call.operation, type(call.operation).__name__
        twin, outputs = None, None
        if self._is_range(call):
            value, limits = call.outputs[0], (operation.low, operation.high)
            clip = RangeClip(*limits, name=self.name(operation.name))
            self._put(
                value,
                clip(self.tensors[call.inputs[0]]),
                self._quantizer(operation.name, None, limits),
            )
            return
        if self.scheme.exception(operation) is None:
            twin = simulated_twin(operation, len(self.graph.shapes[call.inputs[0]]))
        if twin is not None:
            tensors = [self.tensors[value] for value in call.inputs]
            layer = twin(name=self.name(operation.name))
            outputs = [layer(tensors if len(tensors) > 1 else tensors[0])]
        for value, tensor in zip(call.outputs, outputs or self.copy(call), strict=True):
            if self.shared.get(value) is self.codes.get(call.inputs[0], self):
                # Otherwise, a result is half-way between two codes by rare chance.
                self._put(value, tensor, self.shared[value], TIES.get(kind))
            else:
                self._quantized(value, tensor, operation.name, activation_of(operation))

    # --- helpers ------------------------------------------------------------------------------

    def _quantized(self, value: int, tensor, name: str, function: str | None = None) -> None:
        """Put a value's quantizer behind its tensor."""
        quantizer, limits = self.shared.get(value), self.limits.get(value)
        if limits is not None:
            tensor = RangeClip(*limits, name=self.name(f"{name}.clip"))(tensor)
        if quantizer is None:
            quantizer = self._quantizer(name, function, limits)
        elif function in FIXED_RANGES and self.scheme.activation_bits == 8:
            own = self._quantizer(f"{name}.own", function)
            tensor = self._conversion(quantizer)(own(tensor, only_simulated=True))
        self._put(value, tensor, quantizer)

    def _put(self, value: int, tensor, quantizer: ActivationQuantizer, ties=None) -> None:
        self.tensors[value], self.codes[value] = quantizer(tensor, ties=ties), quantizer

    def _quantizer(self, name: str, function: str | None = None, limits=None):
        scheme, fixed = self.scheme, limits or FIXED_RANGES.get(function or "")
        return ActivationQuantizer(
            scheme.activation_bits,
            fixed if scheme.activation_bits == 8 else None,
            scheme.observer,
            scheme.decay,
            scheme.percentile,
            name=self.name(f"{name}.range"),
        )

    def _fuse_activation(self, value: int) -> tuple[str | None, int]:
        """Return the activation the converter fuses into a value's operator, and its output."""
        user = self.graph.sole_user(value)
        if user is None or self.scheme.exception(user.operation) is not None:
            return None, value
        if self._is_range(user):
            self._done.add(id(user))
            self.limits[user.outputs[0]] = (user.operation.low, user.operation.high)
            return None, user.outputs[0]
        if activation_of(user.operation) not in FUSED_ACTIVATIONS:
            return None, value
        self._done.add(id(user))
        return activation_of(user.operation), user.outputs[0]

    def _is_range(self, call: Call) -> bool:
        """Whether a call clips to what an 8-bit range of its own can clip to."""
        clip = call.operation
        if not isinstance(clip, Clip) or self.scheme.activation_bits != 8:
            return False
        return call.outputs[0] not in self.shared and clip.low <= 0.0 <= clip.high


def _check_exceptions(graph: Graph, scheme: Scheme) -> None:
    """Raise a `UserError` for an exception that names no layer."""
    from core.errors import near_miss

    known = {call.operation.name for call in graph.calls}
    kinds = {type(call.operation).__name__ for call in graph.calls}
    for name in scheme.exceptions:
        if name not in known | kinds:
            hint = near_miss(name, sorted(known))
            hint = hint if hint.startswith(" Did") else ""
            raise UserError(f"Quantization: no layer is called '{name}'.{hint}")
