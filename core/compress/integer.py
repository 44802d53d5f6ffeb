"""What a quantized model becomes: the form an integer file is made from, or a float model again."""

from __future__ import annotations

import keras

from core.compress.graph import Call, graph_of
from core.compress.quantized_layers import QuantizedKernel
from core.compress.quantizers import ActivationQuantizer
from core.compress.ranges import raise_floors
from core.compress.rewriter import Rewriter


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
    folded = _Folding(graph_of(model)).rewrite()
    eight_bits = all(q.bits == 8 for q in folded.layers if isinstance(q, ActivationQuantizer))
    return folded, raise_floors(folded) if eight_bits else []


def float_form(model, *, rounded: bool = False) -> keras.Model:
    """Return a quantized model as plain Keras layers without any quantizer.

    Args:
        model: A result of `core.compress.quantize.quantize_aware`; it is not changed.
        rounded: Whether kernels hold the values of their integer codes (weight-only and int16x8
            files), or the float values behind them.
    """
    return _Plain(graph_of(_Folding(graph_of(model)).rewrite()), rounded).rewrite()


class _Folding(Rewriter):
    """Replaces every weighted layer by its folded form."""

    def emit(self, call: Call) -> None:
        layer = call.operation
        if not isinstance(layer, QuantizedKernel):
            self.copy(call)
            return
        folded = self.once(layer, layer.folded)
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
        else:
            self.copy(call)


def _copied(quantizer: ActivationQuantizer) -> ActivationQuantizer:
    copy = ActivationQuantizer.from_config(quantizer.get_config())
    for mine, theirs in zip(copy.weights, quantizer.weights, strict=True):
        mine.assign(theirs)
    return copy
