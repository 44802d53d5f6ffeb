"""Rewrite a float network in the basis of features that is cheapest to round, without training.

The results stay (`core.compress.freedom`); what rounding costs does not
(`core.compress.rounding_cost`). Among 12 features that mostly repeat the brightness, some are ten
times as wide as others that the outputs depend on as much; in the basis found here each fills its
codes, and their independent errors average out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from core.compress.basis import Basis
from core.compress.freedom import freedom_of
from core.compress.graph import graph_of
from core.compress.integer import float_form
from core.compress.quantize import quantize_aware
from core.compress.quantizers import rounding_off
from core.compress.rounding_cost import RoundingCost, measure
from core.compress.scheme import Scheme

STEPS, LEARNING_RATE = 400, 0.01


@dataclass(frozen=True)
class Balanced:
    """What was chosen.

    Attributes:
        matrices, factors: How many there were to choose.
        before, after: Expected squared rounding error of the outputs, mean over their elements.
    """

    matrices: int
    factors: int
    before: float
    after: float

    @property
    def share(self) -> float:
        """Which part of the expected error is left."""
        return self.after / self.before if self.before > 0 else 1.0


def balance(
    model,
    samples: Sequence[np.ndarray],
    *,
    exceptions: Mapping[str, str] | None = None,
    limit: int = 32,
) -> tuple[keras.Model, Balanced]:
    """Return a float network with equal outputs whose features are cheaper to round.

    Batch normalisations are folded first. Samples should show more than the usual pictures: a basis
    is as wide as its widest feature, on pictures not seen here too.

    Args:
        model: A functional Keras model; it is not changed.
        samples: Network inputs, float32 (H, W, C), without a batch axis.
        exceptions: Of the `Scheme` it will be quantized by.
        limit: Samples at most, evenly chosen.

    Returns:
        The network of plain layers, and what was chosen.
    """
    scheme = Scheme(exceptions=exceptions or {})
    quantized = quantize_aware(float_form(quantize_aware(model, scheme)), scheme)
    graph = graph_of(quantized)
    freedom = freedom_of(graph)
    if not freedom or not len(samples):  # calibration says what is missing
        return float_form(quantized), Balanced(0, 0, 0.0, 0.0)
    chosen = [np.asarray(s, np.float32) for s in samples][:: -(-len(samples) // limit)]
    with rounding_off(quantized):
        cost = RoundingCost(graph, freedom, measure(quantized, graph, freedom, chosen))
    basis = Basis(freedom)
    before = after = float(cost(basis))
    if before > 0:
        _minimise(cost, basis)
        after = float(cost(basis))
    if after < before:
        for call in graph.calls:
            basis.write_into(call)
    found = Balanced(len(freedom.matrices), freedom.factors, before, min(before, after))
    return float_form(quantized), found


def _minimise(cost: RoundingCost, basis: Basis) -> None:
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, STEPS, alpha=0.1)
    optimizer = keras.optimizers.Adam(schedule)
    optimizer.build(basis.variables)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            basis.settle()
            logarithm = tf.math.log(cost(basis))
        gradients = tape.gradient(logarithm, basis.variables)
        optimizer.apply_gradients(zip(gradients, basis.variables, strict=True))

    for _ in range(STEPS):
        step()
    basis.settle()
