"""What a quantized model becomes: the form an integer file is made from, or a float model again."""

from __future__ import annotations

from collections import Counter

import keras
import numpy as np

from core.compress.graph import Call, graph_of
from core.compress.quantized_kernel import QuantizedKernel
from core.compress.quantizers import ActivationQuantizer
from core.compress.ranges import constraints_of, raise_floors
from core.compress.rewriter import Rewriter
from core.compress.simulated_operators import RangeClip, SimulatedOperator
from core.layers.clip import Clip

LARGEST_BIAS = 2.0**30  # of 2^31, so that the converter need not move any scale


def integer_form(model) -> tuple[keras.Model, list[str]]:
    """Return the model that computes what its int8 file computes, and notes on widened ranges.

    Normalisations, masks and clusters are folded into kernels and biases, and every range is wide
    enough for XNNPACK (`core.compress.ranges.raise_floors`).

    Args:
        model: A calibrated or trained result of `core.compress.quantize.quantize_aware`; it is not
            changed.

    Raises:
        UserError: When no ranges exist that XNNPACK computes.
    """
    folded = _Folding(graph_of(model), shared=False).rewrite()
    eight_bits = all(q.bits == 8 for q in folded.layers if isinstance(q, ActivationQuantizer))
    notes = raise_floors(folded) if eight_bits else []
    hold_biases(folded)
    round_biases(folded)
    return folded, notes


def hold_biases(folded) -> None:
    """Widen kernel ranges until each bias fits its 32 bits, which count in input · kernel scales.

    A dead channel, whose factor is (nearly) zero, has a kernel range of almost nothing and a bias
    like any other; cut off, it would be wrong in the file without a sign of it.
    """
    for constraint in constraints_of(folded):
        if constraint.kind == "weighted" and constraint.layer.use_bias:
            layer = constraint.layer
            levels = 2 ** (layer.bits - 1) - 1
            least = np.abs(np.asarray(layer.bias)) * levels
            least /= LARGEST_BIAS * constraint.inputs[0].scale
            limit = np.asarray(layer.kernel_range)
            least = least if limit.shape else least.max()
            layer.kernel_range.assign(np.maximum(limit, least).astype(np.float32))


def round_biases(folded) -> None:
    """Round every bias to the codes of a file: multiples of input scale · kernel scale.

    These are fine steps, yet a network of many layers multiplies what they leave.
    """
    seen: dict[int, tuple] = {}
    for constraint in constraints_of(folded):
        if constraint.kind == "weighted":
            layer = constraint.layer
            scale = np.float64(constraint.inputs[0].scale) * layer.scales
            known = seen.setdefault(id(layer), (layer, scale))
            if known[1] is not None and not np.allclose(known[1], scale, rtol=1e-6, atol=0):
                seen[id(layer)] = (layer, None)  # shared by inputs of different scales
    for layer, scale in seen.values():
        if scale is not None:
            bias = np.rint(np.asarray(layer.bias, np.float64) / scale) * scale
            layer.bias.assign(_not_all_equal(bias.astype(np.float32)))


def _not_all_equal(bias: np.ndarray) -> np.ndarray:
    """Return biases that the converter rounds one by one, by moving one in its last place.

    Where all are equal it takes the first channel's code for all, whatever their scales.
    """
    if len(bias) > 1 and bias[0] and (bias == bias[0]).all():
        bias[0] = np.nextafter(bias[0], np.float32(0))
    return bias


def float_form(model, *, rounded: bool = False) -> keras.Model:
    """Return a quantized model as plain Keras layers without any quantizer.

    Args:
        model: A result of `core.compress.quantize.quantize_aware`; it is not changed.
        rounded: Whether kernels hold the values of their integer codes (weight-only and int16x8
            files), or the float values behind them.
    """
    return _Plain(graph_of(_Folding(graph_of(model)).rewrite()), rounded).rewrite()


class _Folding(Rewriter):
    """Replaces every weighted layer by its folded form.

    Args:
        graph: Of a quantized model.
        shared: Whether a layer with several calls stays one. The converter drops the ranges of a
            kernel with several users and takes its own, a scale per channel; for a file each call
            therefore has a copy, its range wider by a bit so that the copies are not merged again.
    """

    def __init__(self, graph, shared: bool = True):
        super().__init__(graph)
        self.shared = shared
        self._copies: Counter = Counter()

    def emit(self, call: Call) -> None:
        layer = call.operation
        if not isinstance(layer, QuantizedKernel):
            self.copy(call)
            return
        number = 0 if self.shared else self._copies[id(layer)]
        self._copies[id(layer)] += 1

        def make():
            folded = layer.folded()
            folded.name = self.name(layer.name)
            folded.kernel_range.assign(folded.kernel_range * (1.0 + number * 2.0**-22))
            return folded

        folded = self.once((id(layer), number), make)
        self.tensors[call.outputs[0]] = folded(self.tensors[call.inputs[0]])

    def twin(self, operation):
        if isinstance(operation, ActivationQuantizer):
            return self.once(operation, lambda: _copied(operation))
        return super().twin(operation)


class _Plain(Rewriter):
    """Replaces every weighted layer by a plain one and leaves activation quantizers out."""

    def __init__(self, graph, rounded: bool):
        super().__init__(graph)
        self.rounded = rounded

    def emit(self, call: Call) -> None:
        layer = call.operation
        if isinstance(layer, ActivationQuantizer):
            self.tensors[call.outputs[0]] = self.tensors[call.inputs[0]]
        elif isinstance(layer, QuantizedKernel):
            plain = self.once(layer, lambda: layer.plain(rounded=self.rounded))
            self.tensors[call.outputs[0]] = plain(self.tensors[call.inputs[0]])
        elif isinstance(layer, RangeClip):
            plain = self.once(layer, lambda: Clip(layer.low, layer.high, name=layer.name))
            self.tensors[call.outputs[0]] = plain(self.tensors[call.inputs[0]])
        elif isinstance(layer, SimulatedOperator):
            (self.tensors[call.outputs[0]],) = call.replay(
                self.once(layer, layer.plain), [self.tensors[v] for v in call.inputs]
            )
        else:
            self.copy(call)


def _copied(quantizer: ActivationQuantizer) -> ActivationQuantizer:
    copy = ActivationQuantizer.from_config(quantizer.get_config())
    for mine, theirs in zip(copy.weights, quantizer.weights, strict=True):
        mine.assign(theirs)
    return copy
