"""Ranges that lose least: a wide range rounds coarsely, a narrow one cuts off.

The extremes of a tensor are often a few values far from all others. The range here minimises the
expected squared error, step² / 12 for what lies inside and the squared distance for what is cut
off (R. Banner et al., "Post training 4-bit quantization of convolutional networks", NeurIPS 2019,
arXiv:1810.05723, with the histogram in place of a distribution).
"""

from __future__ import annotations

from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf

from core.compress.quantizers import ActivationQuantizer, rounding_off

BINS = 2048
SEARCHING = ("mse", "learned")  # observers that begin with this search
SHARES = np.linspace(0.2, 1.0, 81)  # of an extreme that are tried


def narrow(model, batches: Iterable[np.ndarray]) -> None:
    """Narrow calibrated ranges of a quantized model's "mse" and "learned" quantizers.

    Args:
        model: A result of `core.compress.quantize.quantize_aware` whose ranges hold every value.
        batches: The calibration samples once more, float32 (N, H, W, C).
    """
    uses = [
        (layer, node.input_tensors[0])
        for layer in model.layers
        if isinstance(layer, ActivationQuantizer) and _is_searched(layer)
        for node in layer._inbound_nodes
    ]
    if not uses:
        return
    with rounding_off(model):
        probe = keras.Model(model.input, [tensor for _, tensor in uses])

        @tf.function(reduce_retracing=True, autograph=False)
        def histograms(inputs):
            values = keras.tree.flatten(probe(inputs, training=False))
            ends = [tf.stack([*map(tf.convert_to_tensor, (q.minimum, q.maximum))]) for q, _ in uses]
            pairs = zip(values, ends, strict=True)
            return tf.stack([tf.histogram_fixed_width(value, end, BINS) for value, end in pairs])

        counts = sum(histograms(batch).numpy().astype(np.int64) for batch in batches)
    found: dict[int, tuple] = {}
    for (layer, _), count in zip(uses, counts, strict=True):
        known = found.setdefault(id(layer), (layer, np.zeros(BINS, np.int64)))
        known[1][:] += count
    for layer, count in found.values():
        ends = float(layer.minimum), float(layer.maximum)
        layer.set_range(*best_range(count, *ends, levels=2**layer.bits - 1))


def best_range(
    counts: np.ndarray, low: float, high: float, *, levels: int = 255
) -> tuple[float, float]:
    """Return the (low, high) of least expected squared error.

    Args:
        counts: Histogram of the values, bins of equal width from `low` to `high`.
        low, high: The extremes; low ≤ 0 ≤ high.
        levels: Steps between the two ends of a range.
    """
    centres = low + (np.arange(len(counts)) + 0.5) * (high - low) / len(counts)
    lows, highs = low * SHARES, high * SHARES
    below = np.minimum(centres - lows[:, None], 0.0)  # by how much each end cuts off each bin
    above = np.maximum(centres - highs[:, None], 0.0)
    cut = (below**2 @ counts)[:, None] + (above**2 @ counts)[None, :]
    inside = counts.sum() - ((below < 0) @ counts)[:, None] - ((above > 0) @ counts)[None, :]
    steps = (highs[None, :] - lows[:, None]) / levels
    error = cut + inside * steps**2 / 12.0
    first, second = np.unravel_index(np.argmin(error), error.shape)
    return float(lows[first]), float(highs[second])


def _is_searched(layer: ActivationQuantizer) -> bool:
    wide = float(layer.maximum) - float(layer.minimum) > 1e-6
    return layer.observer in SEARCHING and layer.fixed is None and layer.bits == 8 and wide
