"""Where the ranges of a quantized model come from: calibration on real samples, and floors.

A range that collapses (a bottleneck whose ReLU units are dead for all samples) makes the ratio
input_scale · weight_scale / output_scale of its operator leave what XNNPACK computes, and the
default delegate then refuses the whole file. Floors keep every ratio inside.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from core.compress.graph import graph_of
from core.compress.kernel_arithmetic import NARROWEST
from core.compress.links import range_of
from core.compress.quantized_kernel import QuantizedKernel
from core.compress.quantizers import ActivationQuantizer, percentile_range, rounding_off
from core.compress.range_search import SEARCHING, narrow
from core.compress.simulated_operators import QuantizedMaskSum
from core.errors import UserError

# XNNPACK computes ratios in [low, high); the margins of two keep rounding off the borders.
LIMITS = {
    "weighted": (2.0**-32 * 2, 2.0**8 / 2),
    "add": (2.0**-10 * 2, 2.0**8 / 2),
    "multiply": (2.0**-16 * 2, 2.0**8 / 2),
}
PAIRS = {
    "Add": "add", "Subtract": "add", "Multiply": "multiply",
    "QuantizedAdd": "add", "QuantizedSubtract": "add", "QuantizedMultiply": "multiply",
    "QuantizedMaskSum": "add",
}  # fmt: skip


@dataclass(frozen=True)
class Constraint:
    """An operator that binds the scales of its inputs, weights and output.

    Attributes:
        kind: Key of `LIMITS`: "weighted" and "multiply" bind the product of the input (and weight)
            scales over the output's, "add" each input's over the output's.
        inputs: Quantizers of the inputs.
        output: Quantizer of the output.
        layer: The layer with the kernel, for "weighted".
    """

    kind: str
    inputs: list[ActivationQuantizer]
    output: ActivationQuantizer
    layer: Any = None

    def ratios(self) -> np.ndarray:
        """Return the ratios as they are."""
        scales = np.array([quantizer.scale for quantizer in self.inputs])
        if self.kind == "weighted":
            scales = scales[0] * self.layer.scales
        elif self.kind == "multiply":
            scales = np.atleast_1d(scales.prod())
        return scales / self.output.scale if self.output.scale else np.full_like(scales, np.inf)


def constraints_of(model) -> list[Constraint]:
    """Return what binds the ranges of a quantized model together, read off its graph."""
    codes: dict[int, ActivationQuantizer] = {}  # value → the range its codes have
    pending: dict[int, tuple] = {}  # value not yet rounded → (kind, inputs, layer)
    found = []
    for call in graph_of(model).calls:
        operation, kind = call.operation, type(call.operation).__name__
        source, value = call.inputs[0], call.outputs[0]
        known = [codes[v] for v in call.inputs if v in codes]
        if isinstance(operation, ActivationQuantizer):
            codes[value] = operation
            if source in pending:
                kind, inputs, layer = pending[source]
                found.append(Constraint(kind, inputs, operation, layer))
        elif isinstance(operation, QuantizedKernel) and known:
            pending[value] = ("weighted", known, operation)
        elif kind in PAIRS and len(known) == 2:
            pending[value] = (PAIRS[kind], known, None)
        elif source in pending:  # the activation fused into the operator before
            pending[value] = pending[source]
        elif known:
            codes.update(dict.fromkeys(call.outputs, known[0]))
    return found


def calibrate(model, samples: Iterable[np.ndarray], *, batch: int = 8) -> None:
    """Set every range of a quantized model from real samples.

    Each activation's range follows its own observer: "minmax" takes the extremes over all samples,
    "moving_average" the mean of each batch's extremes, "percentile" that of its percentiles, "mse"
    and "learned" the range of least squared error. Ranges of 1 / √x are then frozen.

    Args:
        model: The result of `core.compress.quantize.quantize_aware`.
        samples: float32 network inputs (H, W, C), of one size.
        batch: Samples per call.

    Raises:
        UserError: When there are no samples, they have another shape than the network takes, or
            they produce NaN.
    """
    uses = [
        (layer, node)
        for layer in model.layers
        if isinstance(layer, ActivationQuantizer) and layer.fixed is None
        for node in layer._inbound_nodes
    ]
    samples = list(samples)
    lows, highs = _extremes(model, uses, samples, batch)
    bounds: dict[int, list] = {}
    for position, (layer, _) in enumerate(uses):
        low, high = lows[:, position], highs[:, position]
        extremes = (low.min(), high.max())
        if layer.observer in ("moving_average", "percentile"):
            extremes = (low.mean(), high.mean())
        # A quantizer with several uses (a shared range) takes the hull of all of them.
        known = bounds.setdefault(id(layer), [layer, *extremes])
        known[1:] = [min(known[1], extremes[0]), max(known[2], extremes[1])]
    for layer, low, high in bounds.values():
        if not (np.isfinite(low) and np.isfinite(high)):
            raise UserError(
                f"{layer.name}: calibration gives {low} to {high}; the network's weights or the "
                "calibration samples hold NaN or infinity: check the training."
            )
        layer.set_range(low, high)
    if any(layer.observer in SEARCHING for layer, _ in uses):
        narrow(model, _batches(samples, batch, model.inputs[0].shape[1:]))
    for layer, node in uses:
        if _is_inverse_root(node.input_tensors[0]):
            layer.freeze()


def _is_inverse_root(tensor) -> bool:
    """Whether a tensor is 1 / √x, whose range must not follow training.

    A variance that is rounded to zero makes it hundreds of times larger than any of the float
    network's: a range that followed would leave no code for all others. Cut off, it is the largest
    one that calibration saw, and passes no gradient on.
    """
    kind = type(tensor._keras_history.operation).__name__
    return kind in ("InverseRoot", "QuantizedInverseRoot", "Rsqrt")


def fix_input_range(model, limits: tuple[float, float] | None) -> None:
    """Fix the range of a quantized model's inputs; ranges shared with other tensors stay.

    Args:
        model: A calibrated result of `quantize_aware`; any other model is left alone.
        limits: (low, high) with zero between them, or None to do nothing.
    """
    if limits is None or not limits[0] <= 0.0 <= limits[1]:
        return
    for quantizer in model.layers:
        if not isinstance(quantizer, ActivationQuantizer) or quantizer.bits != 8:
            continue
        tensors = [node.input_tensors[0] for node in quantizer._inbound_nodes]
        # From the input itself, or from what was moved from it.
        outside = [t for t in tensors if range_of(t) is not quantizer]
        if outside and all(_is_input(tensor) for tensor in outside):
            quantizer.fix(*limits)


def _is_input(tensor) -> bool:
    return isinstance(tensor._keras_history.operation, keras.layers.InputLayer)


def raise_floors(model) -> list[str]:
    """Widen ranges until every operator's ratio is one that XNNPACK computes.

    Args:
        model: The result of `core.compress.integer.integer_form`, of 8-bit activations.

    Returns:
        A sentence per widened range, naming the operator's layer.
    """
    notes: dict[str, str] = {}
    quantizers = [layer for layer in model.layers if isinstance(layer, ActivationQuantizer)]
    constraints = constraints_of(model)
    calibrated = {id(q): f"[{float(q.minimum):.3g}, {float(q.maximum):.3g}]" for q in quantizers}
    for quantizer in quantizers:
        if quantizer.scale * (2**quantizer.bits - 1) < NARROWEST:
            _widen(quantizer, NARROWEST / (2**quantizer.bits - 1))
    # Widening one output changes the inputs of the next operators: repeat until nothing moves.
    for _ in range(100):
        moved = False
        for constraint in constraints:
            low, high = LIMITS[constraint.kind]
            ratios = constraint.ratios()
            name = constraint.output.name.removesuffix(".range")
            if ratios.max() > high:
                _widen(constraint.output, _wanted(constraint, ratios) / high)
                notes[name] = (
                    f"{name}: the calibrated range {calibrated[id(constraint.output)]} is too "
                    "narrow for XNNPACK and was widened to "
                    f"[{float(constraint.output.minimum):.3g}, "
                    f"{float(constraint.output.maximum):.3g}]"
                )
                moved = True
            elif ratios.min() < low:
                moved |= _raise_inputs(constraint, low)
                notes.setdefault(name, f"{name}: an input range was widened for XNNPACK")
        if not moved:
            return list(notes.values())
    raise UserError(
        "No ranges were found that XNNPACK computes "
        f"(last at {name}); the network's scales differ too much: export with --precision dynamic."
    )


def _wanted(constraint: Constraint, ratios: np.ndarray) -> float:
    """Return the largest numerator of the ratios (the output scale times the ratio)."""
    if np.isfinite(ratios).all():
        return float(ratios.max()) * constraint.output.scale
    scales = [quantizer.scale for quantizer in constraint.inputs]
    if constraint.kind == "weighted":
        return scales[0] * float(constraint.layer.scales.max())
    return float(np.prod(scales)) if constraint.kind == "multiply" else max(scales)


def _raise_inputs(constraint: Constraint, low: float) -> bool:
    """Widen what makes a ratio too small: the kernel's range, or the inputs' ranges."""
    output = constraint.output.scale
    if constraint.kind == "weighted":
        floor = low * output / constraint.inputs[0].scale * 127.0
        layer = constraint.layer
        limit = keras.ops.convert_to_numpy(layer.kernel_range)
        layer.kernel_range.assign(np.maximum(limit, floor * 1.01))
        return True
    moved = False
    factor = low / constraint.ratios().min() if constraint.kind == "multiply" else None
    for quantizer in constraint.inputs:
        wanted = quantizer.scale * np.sqrt(factor) * 1.01 if factor else low * output * 1.01
        if quantizer.fixed is None and quantizer.scale < wanted:
            _widen(quantizer, wanted)
            moved = True
    return moved


def _widen(quantizer: ActivationQuantizer, scale: float) -> None:
    """Stretch a range to a scale, keeping its shape; a collapsed one becomes [0, ...]."""
    low, high = float(quantizer.minimum), float(quantizer.maximum)
    width = scale * 1.01 * (2**quantizer.bits - 1)
    if quantizer.fixed is not None:
        raise UserError(f"{quantizer.name}: its range is fixed and cannot be widened.")
    if high - low < 1e-30:
        quantizer.set_range(0.0, width)
    else:
        factor = width / (high - low)
        quantizer.set_range(low * factor, high * factor)


def _extremes(model, uses, samples, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Return lower and upper end of every quantizer's input for every batch, each (batches, n)."""
    import tensorflow as tf

    tensors = [_observed(node.input_tensors[0]) for _, node in uses]
    shares = {position: layer.percentile for position, (layer, _) in enumerate(uses)
              if layer.observer == "percentile"}  # fmt: skip
    with rounding_off(model):
        probe = keras.Model(model.input, tensors)

        @tf.function(reduce_retracing=True, autograph=False)
        def extremes(inputs):
            values = keras.tree.flatten(probe(inputs, training=False))
            lows = tf.stack([tf.reduce_min(value) for value in values])
            highs = tf.stack([tf.reduce_max(value) for value in values])
            return lows, highs, [values[position] for position in shares]

        found = []
        for inputs in _batches(samples, batch, model.inputs[0].shape[1:]):
            lows, highs, values = (keras.tree.map_structure(np.array, v) for v in extremes(inputs))
            for (position, share), value in zip(shares.items(), values, strict=True):
                lows[position], highs[position] = percentile_range(value, share)
            found.append((lows, highs))
    if not found:
        raise UserError("Calibration needs at least one sample; pass --data.")
    lows, highs = zip(*found, strict=True)
    return np.stack(lows), np.stack(highs)


def _observed(tensor):
    """Return what the range behind a tensor is set from: the tensor, unless its layer says else."""
    maker = tensor._keras_history.operation
    return maker.observed() if isinstance(maker, QuantizedMaskSum) else tensor


def _batches(samples, batch: int, shape: tuple):
    pending: list[np.ndarray] = []
    for sample in samples:
        sample = np.asarray(sample, np.float32)
        fits = len(sample.shape) == len(shape) and all(
            wanted in (None, side) for wanted, side in zip(shape, sample.shape, strict=True)
        )
        if not fits:
            raise UserError(
                f"A calibration sample has shape {sample.shape}, but the network takes "
                f"{tuple(shape)}; pass single inputs without a batch axis."
            )
        pending.append(sample)
        if len(pending) == batch:
            yield np.stack(pending)
            pending = []
    if pending:
        yield np.stack(pending)
