"""The one door to the TensorFlow Model Optimization toolkit (tfmot).

tfmot's wrappers accept only Keras 2 models, but its schedules, masks and initial centroids are
plain TensorFlow and are used here as they are. Importing it drags tf_keras in and sets an
environment variable that makes `tf.keras` Keras 2, in child processes too; so its modules are
imported when they are first needed, and the variable is put back.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

LEGACY = "TF_USE_LEGACY_KERAS"


def module(path: str) -> Any:
    """Return a module of `tensorflow_model_optimization.python.core`, by its dotted path."""
    before = os.environ.get(LEGACY)
    try:
        return importlib.import_module(f"tensorflow_model_optimization.python.core.{path}")
    finally:
        os.environ.pop(LEGACY, None)
        if before is not None:
            os.environ[LEGACY] = before


def polynomial_decay(
    initial: float, final: float, begin: int, end: int, *, power: float = 3, frequency: int = 100
) -> Callable:
    """Return the gradual schedule of Zhu & Gupta 2017: step → (masks are due, sparsity).

    Args:
        initial, final: Sparsity at `begin` and from `end` on.
        begin, end: First and last step at which masks are made, every `frequency` steps.
        power: Exponent of the decay.
    """
    schedules = module("sparsity.keras.pruning_schedule")
    return schedules.PolynomialDecay(initial, final, begin, end, power, frequency)


def constant_sparsity(
    target: float, begin: int, end: int = -1, *, frequency: int = 100
) -> Callable:
    """Return the schedule of one sparsity: step → (masks are due, sparsity); end -1 is never."""
    schedules = module("sparsity.keras.pruning_schedule")
    return schedules.ConstantSparsity(target, begin, end, frequency)


def magnitude_mask(
    schedule: Callable,
    step: Callable[[], Any],
    *,
    block: tuple[int, int] = (1, 1),
    pooling: str = "AVG",
    m_by_n: tuple[int, int] | None = None,
) -> Callable[[Any], tuple[Any, Any]]:
    """Return tfmot's mask algorithm: kernel tensor → (threshold, mask of 0 and 1).

    Args:
        schedule: What `polynomial_decay` or `constant_sparsity` returned.
        step: Returns the current step as an int64 tensor.
        block: Shape of the blocks that are kept or dropped as one; kernels are then 2-D.
        pooling: How a block's magnitude is made from its members': "AVG" or "MAX".
        m_by_n: (m, n): m zeros in every n consecutive input channels, whatever the schedule's
            sparsity; kernels are then (in, out) or (h, w, in, out). The threshold means nothing.
    """
    implementation = module("sparsity.keras.pruning_impl")
    pruning = implementation.Pruning(step, [], schedule, block, pooling, m_by_n)
    return pruning._maybe_update_block_mask


def clustering_centroids(
    weights: Any, clusters: int, initialiser: str, *, keep_zero: bool = False
) -> Any:
    """Return tfmot's initial centroids (clusters,) of weights that are clustered together.

    Args:
        weights: Finite float32 array with more than `clusters` distinct values.
        clusters: Number of centroids.
        initialiser: "linear", "density", "kmeans++", or "random" (which draws from a fixed seed
            here, from TensorFlow's global one in tfmot).
        keep_zero: One centroid is zero; the others are shared out between the negative and the
            positive weights by their numbers.
    """
    import numpy as np
    import tensorflow as tf

    kinds: Any = module("clustering.keras.clustering_centroids")

    class SeededRandom(kinds.RandomCentroidsInitialisation):
        def _calculate_centroids_for_interval(self, weight_interval, count):
            if count <= 0:
                return tf.constant([])
            low, high = tf.reduce_min(weight_interval), tf.reduce_max(weight_interval)
            return tf.random.stateless_uniform((count,), (9, 9), low, high)

    class Density(kinds.DensityBasedCentroidsInitialisation):
        """tfmot's to the last bit without its loops, which take 60 ms a channel."""

        def _calculate_centroids_for_interval(self, weight_interval, count):
            if count <= 0:
                return tf.constant([])
            values = np.sort(weight_interval.numpy(), axis=None)
            low, high, gap = values[0], values[-1], np.float32(0.01)
            if self.preserve_sparsity:
                gap = min(gap, min(abs(low), abs(high)) / 2)
            grid = tf.linspace(low - gap, high + gap, 30).numpy()
            share = np.searchsorted(values, grid, "right").astype(np.float32) / values.size
            share = share.astype(np.float32)
            wanted = tf.linspace(0.01, 1.0, count).numpy()
            place = np.minimum(np.searchsorted(share, wanted, "right"), grid.size - 1)
            before = np.maximum(place - 1, 0)
            x, y, rise = grid[place], share[place], share[before] - share[place]
            slope = rise / np.maximum(grid[before] - x, np.float32(0.001))
            with np.errstate(invalid="ignore"):
                solved = (y - (y - x * slope)) / slope
            return tf.constant(np.where(rise == 0, x, solved))

    kind = {
        "linear": kinds.LinearCentroidsInitialisation,
        "density": Density,
        "kmeans++": kinds.KmeansPlusPlusCentroidsInitialisation,
        "random": SeededRandom,
    }[initialiser]
    start = kind(tf.constant(weights), clusters, preserve_sparsity=keep_zero)
    return start.get_cluster_centroids().numpy()
