"""How much rounding disturbs each layer of a quantized model, on real samples."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.compress.quantizers import ActivationQuantizer, rounding_off
from core.errors import UserError


@dataclass(frozen=True)
class LayerNoise:
    """Signal-to-quantization-noise ratios at a layer's output, 10 log10(Σ x² / Σ (x − x̂)²) in dB.

    Attributes:
        layer: The layer of the float model.
        sqnr_db: With everything before it rounded too: the error that has gathered up to here.
        own_db: With exact inputs: only this layer's kernel and output are rounded.
    """

    layer: str
    sqnr_db: float
    own_db: float


def layer_noise(
    quantized_model: Any, samples: Iterable[Any], *, limit: int | None = None
) -> list[LayerNoise]:
    """Return how much rounding disturbs each layer of a quantized model, on real samples.

    Args:
        quantized_model: Of `core.compress.quantize`, calibrated or trained.
        samples: float32 network inputs without the batch axis, (H, W, C).
        limit: At most so many samples are used.

    Returns:
        In the order of computation, one entry for each layer with a range; all calls of a layer
        are taken together, and so are those that share a range (the inputs of a concatenation).

    Raises:
        UserError: When the model holds no quantizers, or there are no samples or of another shape.
    """
    import keras

    if not any(isinstance(layer, ActivationQuantizer) for layer in quantized_model.layers):
        raise UserError(
            f"{quantized_model.name}: holds no quantizers, so no layer rounds; quantize it first."
        )
    measure = _noise_function(quantized_model)
    names: list[str] = []
    total, count = np.zeros(()), 0
    for sample in samples:
        if limit is not None and count >= limit:
            break
        inputs = keras.tree.map_structure(lambda x: np.asarray(x, np.float32)[None], sample)
        _check_shapes(quantized_model, keras.tree.flatten(inputs))
        names, sums = measure(inputs)
        total, count = total + np.asarray(sums, np.float64), count + 1
    if not count:
        raise UserError("The noise of layers needs at least one sample; pass --data.")
    gathered: dict[str, Any] = {}
    for name, row in zip(names, total, strict=True):
        name = _original(name)
        gathered[name] = gathered.get(name, 0.0) + row
    return [
        LayerNoise(name, decibels(signal, error), decibels(signal, own))
        for name, (signal, error, own) in gathered.items()
    ]


def _noise_function(model):
    """Return a function: inputs → quantizers' names and (Σ x², Σ error², Σ own error²) of each.

    The graph is walked three times: in float; rounded; and rounded with every quantizer's result
    replaced by the float value, so that each layer starts from exact inputs.
    """
    import tensorflow as tf

    names: list[str] = []

    @tf.function(reduce_retracing=True, autograph=False)
    def sums(inputs):
        with rounding_off(model):
            _, exact = _walk(model, inputs)
        names[:], rounded = _walk(model, inputs)
        _, own = _walk(model, inputs, exact)
        rows = [
            [tf.reduce_sum(tf.square(v)) for v in (x, a - x, b - x)]
            for x, a, b in zip(exact, rounded, own, strict=True)
        ]
        return tf.stack([tf.stack(row) for row in rows])

    def measure(inputs):
        found = sums(inputs)
        return names, found

    return measure


def _walk(model, inputs, replacements: list | None = None) -> tuple[list[str], list]:
    """Run a functional model; return names and outputs of its quantizers in order of use."""
    names: list[str] = []
    seen: list = []

    def watched(operation):
        if not isinstance(operation, ActivationQuantizer):
            return operation

        def quantizer(*args, **kwargs):
            names.append(operation.name)
            seen.append(operation(*args, **kwargs))
            return seen[-1] if replacements is None else replacements[len(seen) - 1]

        return quantizer

    model._run_through_graph(inputs, operation_fn=watched)
    return names, seen


def _check_shapes(model, inputs: list[np.ndarray]) -> None:
    wanted = [tuple(tensor.shape) for tensor in model.inputs]
    given = [array.shape for array in inputs]
    fits = len(wanted) == len(given) and all(
        len(w) == len(g) and all(a in (None, b) for a, b in zip(w[1:], g[1:], strict=True))
        for w, g in zip(wanted, given, strict=True)
    )
    if not fits:
        shown = " and ".join(str(shape[1:]) for shape in given)
        raise UserError(
            f"{model.name}: takes {' and '.join(str(w[1:]) for w in wanted)}, but a sample is "
            f"{shown}; prepare the samples as for training."
        )


def _original(name: str) -> str:
    """Return the float model's layer behind a quantizer's name, "<layer>.range"."""
    return re.sub(r"\.range(_\d+)?$", "", name)


def decibels(signal: float, noise: float) -> float:
    """Return 10 log10(signal / noise), two sums of squares, in dB."""
    if not noise:
        return math.inf
    return 10.0 * math.log10(signal / noise) if signal else -math.inf
