"""Rewrite a functional Keras model into one that computes what its int8 file will compute.

Fake quantizers are placed as the TFLite converter fuses: batch normalisation goes into the kernel
before it is rounded, a range stands after the fused activation, and operators that only move values
share the range of their input. Post-training int8 is this model calibrated; quantization-aware
training is this model trained.
"""

from __future__ import annotations

import keras
import numpy as np

from core.compress.folding import (
    activation_of,
    fill,
    filters_of,
    fold_norm,
    weights_of,
    window_of,
)
from core.compress.graph import Call, Graph, graph_of
from core.compress.quantizers import (
    FIXED_RANGES,
    ActivationQuantizer,
    QuantizedConv2D,
    QuantizedConv2DTranspose,
    QuantizedDense,
    QuantizedDepthwiseConv2D,
)
from core.compress.ranges import Constraint
from core.errors import UserError
from core.layers.convolution import GroupedConv2D

WEIGHTED = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.Conv2DTranspose,
    keras.layers.Dense,
)
FUSED_ACTIVATIONS = ("relu", "relu6")
# Operators that move values without computing new ones: TFLite demands (or the kernels assume)
# the same scale on both sides.
MOVING = {
    "AveragePooling2D", "BilinearUpsampling", "Cropping2D", "Dropout", "ExpandDims", "Flatten",
    "GetItem", "GlobalMaxPooling2D", "Identity", "Max", "MaxPooling2D", "Permute", "Repeat",
    "Reshape", "Resize", "Resizing", "SpatialDropout2D", "Squeeze", "StopGradient", "Transpose",
    "UpSampling2D", "ZeroPadding2D",
}  # fmt: skip
CONCATENATING = {"Concatenate"}
# Elementwise operators of two tensors and the ratio of scales their kernels allow.
PAIRED = {"Add": "add", "Subtract": "add", "Multiply": "multiply"}


def quantize(model) -> keras.Model:
    """Return the model with fake quantizers, weights copied, ranges not yet calibrated.

    Args:
        model: A functional Keras model with float32 weights; it is not changed.

    Returns:
        A `keras.Model` with the same inputs and outputs; `model.constraints` lists what binds the
        ranges together (`core.compress.ranges`).

    Raises:
        UserError: When a layer cannot be computed in integers; it is named.
    """
    return _Rewriter(graph_of(model)).rewrite()


class _Rewriter:
    """Emits the quantized model call by call.

    Attributes:
        tensors: Old value → new tensor.
        ranges: Old value → the quantizer whose codes it carries.
        shared: Old value → the quantizer it must use because it meets others in a concatenation.
    """

    def __init__(self, graph: Graph):
        self.graph = graph
        self.tensors: dict[int, keras.KerasTensor] = {}
        self.ranges: dict[int, ActivationQuantizer] = {}
        self.shared: dict[int, ActivationQuantizer] = {}
        self.constraints: list[Constraint] = []
        self._layers: dict[int, keras.layers.Layer] = {}
        self._names: dict[str, int] = {}
        self._done: set[int] = set()

    def rewrite(self) -> keras.Model:
        graph = self.graph
        self._share_concatenations()
        inputs = []
        for value, name in zip(graph.inputs, graph.input_names, strict=True):
            inputs.append(keras.Input(graph.shapes[value][1:], name=name))
            self._quantized(value, inputs[-1], name)
        for call in graph.calls:
            if id(call) not in self._done:
                self._emit(call)
        outputs = [self.tensors[value] for value in graph.outputs]
        model = keras.Model(
            inputs if len(inputs) > 1 else inputs[0],
            outputs if len(outputs) > 1 else outputs[0],
            name=graph.name,
        )
        model.constraints = self.constraints
        return model

    # --- one call -----------------------------------------------------------------------------

    def _emit(self, call: Call) -> None:
        operation, kind = call.operation, type(call.operation).__name__
        if isinstance(operation, WEIGHTED):
            self._emit_weighted(call)
        elif isinstance(operation, keras.layers.BatchNormalization):
            self._emit_lone_norm(call)
        elif kind in MOVING:
            self._emit_moving(call)
        elif kind in CONCATENATING:
            self._emit_concatenation(call)
        elif kind in PAIRED:
            self._emit_paired(call, PAIRED[kind])
        elif len(call.outputs) != 1:
            raise UserError(
                f"{operation.name} ({kind}): has several outputs, which the int8 path cannot "
                "quantize; export with --calibrator converter or another --precision."
            )
        else:
            self._emit_other(call)

    def _emit_weighted(self, call: Call) -> None:
        layer = call.operation
        kernel, bias = weights_of(layer)
        end, norm = call.outputs[0], None
        own_activation = keras.activations.serialize(layer.activation)
        if own_activation == "linear":
            follower = self._follower(end, keras.layers.BatchNormalization)
            if follower is not None and self.graph.uses[id(layer)] == 1:
                norm, end = follower.operation, follower.outputs[0]
        factor = np.ones(filters_of(layer), np.float32)
        if norm is not None:
            factor, shift = fold_norm(norm)
            bias = shift + factor * (0.0 if bias is None else bias)
        source = self.ranges[call.inputs[0]]
        x = self.tensors[call.inputs[0]]
        if isinstance(layer, GroupedConv2D) and layer.groups > 1:
            x, source = self._depthwise_part(call, kernel, x, source)
            kernel = layer.group_sum()
        quantized = self._weighted_layer(layer, kernel, factor, bias, x)
        x = quantized(x)
        function, end = (
            self._fuse_activation(end) if own_activation == "linear" else (own_activation, end)
        )
        if function in FUSED_ACTIVATIONS:
            x = keras.layers.Activation(function, name=self._name(f"{layer.name}.{function}"))(x)
        output = self._quantized(end, x, layer.name)
        self.constraints.append(Constraint("weighted", [source], output, quantized))
        if function not in (None, "linear", *FUSED_ACTIVATIONS):
            self._apply(end, function, layer.name)

    def _weighted_layer(self, layer, kernel, factor, bias, x):
        """Return the quantized twin of a layer, made once however often the layer is called."""
        if id(layer) in self._layers:
            return self._layers[id(layer)]
        options = {"use_bias": bias is not None, "name": self._name(layer.name)}
        if isinstance(layer, keras.layers.Dense):
            twin, kernel = QuantizedDense(layer.units, **options), kernel * factor
        elif isinstance(layer, keras.layers.Conv2DTranspose):
            twin = QuantizedConv2DTranspose(
                layer.filters,
                layer.kernel_size,
                output_padding=layer.output_padding,
                **window_of(layer),
                **options,
            )
            kernel = kernel * factor[:, None]
        elif isinstance(layer, keras.layers.DepthwiseConv2D):
            twin = QuantizedDepthwiseConv2D(
                layer.kernel_size,
                depth_multiplier=layer.depth_multiplier,
                **window_of(layer),
                **options,
            )
            kernel = kernel * factor.reshape(kernel.shape[2:])
        elif isinstance(layer, GroupedConv2D) and layer.groups > 1:
            twin, kernel = QuantizedConv2D(layer.filters, 1, **options), kernel * factor
        else:
            twin = QuantizedConv2D(
                layer.filters, layer.kernel_size, groups=layer.groups, **window_of(layer), **options
            )
            kernel = kernel * factor
        fill(twin, x, kernel, bias)
        self._layers[id(layer)] = twin
        return twin

    def _depthwise_part(self, call: Call, kernel, x, source):
        """Emit the first half of a grouped convolution (see `GroupedConv2D`)."""
        layer = call.operation
        split = keras.ops.convert_to_numpy(layer.depthwise_kernel(kernel))
        key = ("depthwise", id(layer))
        if key not in self._layers:
            twin = QuantizedDepthwiseConv2D(
                layer.kernel_size,
                depth_multiplier=split.shape[-1],
                use_bias=False,
                name=self._name(f"{layer.name}.depthwise"),
                **window_of(layer),
            )
            fill(twin, x, split, None)
            self._layers[key] = twin
        twin = self._layers[key]
        quantizer = self._quantizer(twin.name)
        self.constraints.append(Constraint("weighted", [source], quantizer, twin))
        return quantizer(twin(x)), quantizer

    def _emit_lone_norm(self, call: Call) -> None:
        """A normalisation with nothing to fold into becomes a 1×1 depthwise convolution."""
        norm, value = call.operation, call.inputs[0]
        shape = self.graph.shapes[value]
        if len(shape) != 4 or norm.axis not in (-1, 3):
            raise UserError(
                f"{norm.name} (BatchNormalization): follows no convolution and its input is not "
                "(N, H, W, C), which the int8 path cannot fold; export with another --precision."
            )
        factor, shift = fold_norm(norm)
        x, source = self.tensors[value], self.ranges[value]
        twin = QuantizedDepthwiseConv2D(1, name=self._name(norm.name))
        fill(twin, x, factor.reshape(1, 1, -1, 1), shift)
        x = twin(x)
        function, end = self._fuse_activation(call.outputs[0])
        if function is not None:
            x = keras.layers.Activation(function, name=self._name(f"{norm.name}.{function}"))(x)
        output = self._quantized(end, x, norm.name)
        self.constraints.append(Constraint("weighted", [source], output, twin))

    def _emit_moving(self, call: Call) -> None:
        outputs = self._replay(call)
        for value, tensor in zip(call.outputs, outputs, strict=True):
            if value in self.shared:
                self._quantized(value, tensor, call.operation.name)
            else:
                self.tensors[value] = tensor
                self.ranges[value] = self.ranges[call.inputs[0]]

    def _emit_concatenation(self, call: Call) -> None:
        (self.tensors[call.outputs[0]],) = self._replay(call)
        self.ranges[call.outputs[0]] = self.shared[call.outputs[0]]

    def _emit_paired(self, call: Call, kind: str) -> None:
        """Sums and products of many become chains of two, with a range after each."""
        operation = call.operation
        if len(call.inputs) == 2:
            tensors, values = self._replay(call), call.inputs
            self._emit_pair(call.outputs[0], tensors[0], operation.name, kind, values)
            return
        if len(call.inputs) < 2:
            raise UserError(
                f"{operation.name} ({type(operation).__name__}): combines a tensor with a "
                "constant, which the int8 path cannot place; export with another --precision."
            )
        x, left = self.tensors[call.inputs[0]], self.ranges[call.inputs[0]]
        for position, value in enumerate(call.inputs[1:], start=1):
            layer = type(operation)(name=self._name(f"{operation.name}.{position}"))
            x = layer([x, self.tensors[value]])
            sources = [left, self.ranges[value]]
            if position == len(call.inputs) - 1:
                self._finish_pair(call.outputs[0], x, operation.name, kind, sources)
            else:
                left = self._quantizer(layer.name)
                self.constraints.append(Constraint(kind, sources, left))
                x = left(x)

    def _emit_pair(self, value, x, name, kind, values) -> None:
        self._finish_pair(value, x, name, kind, [self.ranges[v] for v in values])

    def _finish_pair(self, value, x, name, kind, sources) -> None:
        function, end = self._fuse_activation(value)
        if function is not None:
            x = keras.layers.Activation(function, name=self._name(f"{name}.{function}"))(x)
        output = self._quantized(end, x, name)
        self.constraints.append(Constraint(kind, sources, output))

    def _emit_other(self, call: Call) -> None:
        (x,) = self._replay(call)
        function = activation_of(call.operation)
        self._quantized(call.outputs[0], x, call.operation.name, FIXED_RANGES.get(function))

    # --- helpers ------------------------------------------------------------------------------

    def _replay(self, call: Call) -> list:
        tensors = [self.tensors[value] for value in call.inputs]
        return call.replay(self._twin(call.operation), tensors)

    def _twin(self, operation):
        """Return a copy of a layer, so that the new model shares nothing with the old one."""
        if not isinstance(operation, keras.layers.Layer):
            return operation
        if id(operation) not in self._layers:
            if operation.weights:
                raise UserError(
                    f"{operation.name} ({type(operation).__name__}): has weights that the int8 "
                    "path cannot quantize; export with --calibrator converter or another "
                    "--precision."
                )
            config = {**operation.get_config(), "name": self._name(operation.name)}
            self._layers[id(operation)] = type(operation).from_config(config)
        return self._layers[id(operation)]

    def _quantized(self, value: int, tensor, name: str, fixed=None) -> ActivationQuantizer:
        """Put a value's quantizer behind its tensor and record both."""
        quantizer = self.shared.get(value) or self._quantizer(name, fixed)
        self.tensors[value], self.ranges[value] = quantizer(tensor), quantizer
        return quantizer

    def _quantizer(self, name: str, fixed=None) -> ActivationQuantizer:
        return ActivationQuantizer(fixed=fixed, name=self._name(f"{name}.range"))

    def _apply(self, value: int, function: str, name: str) -> None:
        layer = keras.layers.Activation(function, name=self._name(f"{name}.{function}"))
        self._quantized(value, layer(self.tensors[value]), layer.name, FIXED_RANGES.get(function))

    def _follower(self, value: int, kind) -> Call | None:
        user = self.graph.sole_user(value)
        if user is None or not isinstance(user.operation, kind):
            return None
        if self.graph.uses[id(user.operation)] != 1:
            return None
        self._done.add(id(user))
        return user

    def _fuse_activation(self, value: int) -> tuple[str | None, int]:
        """Return the activation the converter fuses into a value's operator, and its output."""
        user = self.graph.sole_user(value)
        if user is None or activation_of(user.operation) not in FUSED_ACTIVATIONS:
            return None, value
        self._done.add(id(user))
        return activation_of(user.operation), user.outputs[0]

    def _share_concatenations(self) -> None:
        """Give everything that meets in a concatenation one range.

        TFLite demands equal scales there, and the converter does not take two ranges in a row on
        one value, so a value that other operators read too carries the common range everywhere;
        concatenations that share a value, or feed one another, share one range.
        """
        calls = [c for c in self.graph.calls if type(c.operation).__name__ in CONCATENATING]
        group = {id(call): id(call) for call in calls}
        met: dict[int, int] = {}
        for call in calls:
            for value in (*call.inputs, *call.outputs):
                if value in met:
                    old, new = group[id(call)], group[met[value]]
                    group = {key: new if g == old else g for key, g in group.items()}
                met[value] = id(call)
        quantizers: dict[int, ActivationQuantizer] = {}
        for call in calls:
            key = group[id(call)]
            if key not in quantizers:
                quantizers[key] = self._quantizer(call.operation.name)
            self.shared.update(dict.fromkeys((*call.inputs, *call.outputs), quantizers[key]))

    def _name(self, name: str) -> str:
        """Return a name no other layer of the new model has."""
        count = self._names[name] = self._names.get(name, 0) + 1
        return name if count == 1 else f"{name}_{count}"
