"""A kernel of few distinct values: centroids, who belongs to which, and how both are trained.

The scheme is that of the TensorFlow Model Optimization toolkit: every weight is replaced by its
nearest centroid before use; a centroid receives the sum (or mean) of its members' gradients; the
weights behind receive the whole gradient, so that they can change sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from core.compress import toolkit
from core.errors import UserError, one_of

INITIALISERS = ("kmeans++", "linear", "density", "random")
GRADIENTS = ("sum", "mean")
# A kernel with more distinct values than this was not clustered (the toolkit's limit).
MOST_CENTROIDS = 1024
# TensorFlow's threads take subnormal numbers for zero.
SMALLEST = np.finfo(np.float32).tiny


@dataclass(frozen=True)
class ClusterPlan:
    """How kernels are clustered.

    Attributes:
        clusters: Number of distinct values a kernel keeps (per channel where so).
        initialiser: One of `INITIALISERS`, where the centroids start.
        per_channel: Every output channel of a Conv2D has its own centroids.
        preserve_sparsity: Weights at zero stay there, and one centroid stays zero.
        gradient: "sum" or "mean" of the members' gradients moves a centroid.

    Raises:
        UserError: When a value makes no sense; the message names it.
    """

    clusters: int = 16
    initialiser: str = "kmeans++"
    per_channel: bool = False
    preserve_sparsity: bool = False
    gradient: str = "sum"

    def __post_init__(self):
        least = 3 if self.preserve_sparsity else 2
        if not isinstance(self.clusters, int) or not least <= self.clusters <= MOST_CENTROIDS:
            kind = "sparsity-preserving clustering" if self.preserve_sparsity else "clustering"
            raise UserError(
                f"clusters: {self.clusters!r} is not a number of clusters; {kind} takes a whole "
                f"number from {least} to {MOST_CENTROIDS}."
            )
        one_of(self.initialiser, INITIALISERS, "Clustering: initialiser")
        one_of(self.gradient, GRADIENTS, "Clustering: gradient")


def initial_centroids(kernel: np.ndarray, plan: ClusterPlan) -> np.ndarray:
    """Return where the centroids of a kernel start.

    Where a kernel (or channel) has no more distinct values than clusters, these values are the
    centroids, and the last one is repeated.

    Args:
        kernel: Finite weights; output channels are the last axis.
        plan: The number of clusters and how to place them.

    Returns:
        (clusters,), or (channels, clusters) with `plan.per_channel`.
    """
    rows = _rows(np.asarray(kernel, np.float32), plan.per_channel)
    found = np.stack([_padded(_row_centroids(row, plan), plan.clusters) for row in rows])
    return found if plan.per_channel else found[0]


def recovered_centroids(kernel: np.ndarray, per_channel: bool | None = None) -> np.ndarray | None:
    """Return the centroids of an already clustered kernel: its distinct values.

    Args:
        kernel: Weights; output channels are the last axis.
        per_channel: Whether every channel has its own centroids. None finds out for 4-D kernels:
            so it is if no two channels share a value but zero; say False for a transposed
            convolution, whose last axis is its input.

    Returns:
        (k,) ascending, or (channels, k) with a channel's last value repeated where it has fewer;
        None when the kernel is not clustered: no non-zero value occurs twice, a single value, or
        more than `MOST_CENTROIDS`.
    """
    kernel = np.asarray(kernel, np.float32)
    values = np.unique(kernel)
    if np.count_nonzero(values) == np.count_nonzero(kernel) or values.size == 1:
        return None
    if per_channel is None:
        per_channel = kernel.ndim == 4 and _clustered_per_channel(kernel)
    if not per_channel:
        return values if values.size <= MOST_CENTROIDS else None
    channels = [np.unique(row) for row in _rows(kernel, True)]
    widest = max(channel.size for channel in channels)
    if not 1 < widest <= MOST_CENTROIDS:
        return None
    return np.stack([_padded(channel, widest) for channel in channels])


class KernelClusters:
    """The centroids of one kernel, as variables of the layer that owns it.

    Made in the layer's `build`; the layer's `call` passes its kernel through this object, and its
    `save_own_variables` must store all variables (Keras's convolutions and Dense store two).

    Args:
        layer: The Keras layer that owns the kernel.
        kernel_shape: The kernel's shape; output channels last if `per_channel`.
        k: Number of centroids (per channel).
        per_channel, preserve_sparsity, gradient: As in `ClusterPlan`.

    Attributes:
        centroids: (k,) or (channels, k), trainable.
        sparsity_mask: Kernel's shape, 0 where a weight must stay zero; None without
            `preserve_sparsity`.
        movable: Centroids' shape, 0 for the centroid that must stay zero; None likewise.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        kernel_shape: tuple[int, ...],
        k: int,
        per_channel: bool = False,
        preserve_sparsity: bool = False,
        gradient: str = "sum",
    ):
        if gradient not in GRADIENTS:
            raise ValueError(f"`gradient` must be one of {GRADIENTS}. Received: {gradient!r}")
        self.kernel_shape = tuple(kernel_shape)
        self.k = k
        self.per_channel = per_channel
        self.gradient = gradient
        shape = (self.kernel_shape[-1], k) if per_channel else (k,)
        # Nearest centroids are found in float32 under every dtype policy.
        options = {"dtype": "float32", "autocast": False}
        self.centroids = layer.add_weight(
            shape=shape, name="centroids", initializer="zeros", trainable=True, **options
        )
        self.sparsity_mask: Any = None
        self.movable: Any = None
        if preserve_sparsity:
            options |= {"initializer": "ones", "trainable": False}
            self.sparsity_mask = layer.add_weight(
                shape=self.kernel_shape, name="sparsity_mask", **options
            )
            self.movable = layer.add_weight(shape=shape, name="movable_centroids", **options)

    def set(self, kernel: np.ndarray, centroids: np.ndarray) -> None:
        """Start from a kernel and its centroids.

        Args:
            kernel: Weights of the kernel's shape.
            centroids: (≤ k,) or (channels, ≤ k); fewer than k are repeated. With
                `preserve_sparsity` those at exactly zero stay there, and so does every weight
                that has one of them as its nearest.
        """
        centroids = np.asarray(centroids, np.float32)
        shape = tuple(self.centroids.shape)
        if centroids.shape[:-1] != shape[:-1] or not 1 <= centroids.shape[-1] <= self.k:
            raise ValueError(
                f"`centroids` must have shape {shape} or fewer in the last axis. "
                f"Received: centroids.shape={centroids.shape}"
            )
        self.centroids.assign(_padded(centroids, self.k))
        if self.sparsity_mask is not None:
            self.movable.assign(self.centroids != 0)
            self.sparsity_mask.assign(np.ones(self.kernel_shape))
            self.sparsity_mask.assign(self.clustered(kernel) != 0)

    def __call__(self, kernel) -> tf.Tensor:
        """Return the kernel with every weight replaced by its nearest centroid, same dtype.

        Gradients: to the centroids the sum or mean over the members, to the kernel unchanged.
        """
        weights, centroids = self._effective(kernel)
        clustered = _nearest(weights, centroids, self.gradient)
        if self.per_channel:
            clustered = tf.transpose(clustered)
        return tf.cast(tf.reshape(clustered, self.kernel_shape), kernel.dtype)

    def clustered(self, kernel: np.ndarray) -> np.ndarray:
        """Return the clustered kernel as an array."""
        return self(tf.convert_to_tensor(kernel)).numpy()

    def indices(self, kernel: np.ndarray) -> np.ndarray:
        """Return for every weight the number of its centroid (of its channel), kernel's shape."""
        weights, centroids = self._effective(tf.convert_to_tensor(kernel))
        _, owners, slots = _assign(weights, centroids)
        found = np.take_along_axis(owners.numpy(), slots.numpy(), axis=1)
        return (found.T if self.per_channel else found).reshape(self.kernel_shape)

    def _effective(self, kernel) -> tuple[tf.Tensor, tf.Tensor]:
        """Return weights (rows, n) and centroids (rows, k), what must be zero made zero."""
        weights = tf.cast(tf.convert_to_tensor(kernel), tf.float32)
        centroids = tf.convert_to_tensor(self.centroids)
        if self.sparsity_mask is not None:
            # A product, so that what is held at zero receives no gradient either.
            weights *= tf.convert_to_tensor(self.sparsity_mask)
            centroids *= tf.convert_to_tensor(self.movable)
        if self.per_channel:
            return tf.transpose(tf.reshape(weights, (-1, self.kernel_shape[-1]))), centroids
        return tf.reshape(weights, (1, -1)), centroids[None]


def _nearest(weights, centroids, gradient: str):
    """Replace each weight (rows, n) by the nearest centroid (rows, k) of its row."""

    @tf.custom_gradient
    def replace(weights, centroids):
        ordered, owners, slots = _assign(weights, centroids)

        def total(values):
            """Sum over the members of each centroid: first by slot, then by the slot's owner."""
            return _sum_by(owners, _sum_by(slots, values, centroids.shape[1]), centroids.shape[1])

        def backward(upstream):
            moved = total(upstream)
            if gradient == "mean":
                moved = tf.math.divide_no_nan(moved, total(tf.ones_like(upstream)))
            return upstream, moved

        return tf.gather(ordered, slots, batch_dims=1), backward

    return replace(weights, centroids)


def _sum_by(numbers, values, k: int):
    """Add up (rows, n) values by their number below k, row by row: (rows, k).

    One row is added up in order, hence always to the same bits, unlike a flat histogram; and some
    twenty times faster on the CPU than a segment sum.
    """
    return tf.raw_ops.DenseBincount(input=numbers, size=k, weights=values, binary_output=False)


def _assign(weights, centroids):
    """Find each weight's nearest centroid, the first on ties, without a (n, k) table.

    A weight's place among the borders between the sorted centroids tells the nearest one.

    Args:
        weights: (rows, n) float32.
        centroids: (rows, k) float32.

    Returns:
        The sorted centroids (rows, k); the number of the first centroid that has each of these
        values (rows, k); for each weight its place among the sorted centroids (rows, n). int32.
    """
    order = tf.argsort(centroids, axis=-1, stable=True)
    ordered = tf.gather(centroids, order, batch_dims=1)
    owners = tf.gather(order, tf.searchsorted(ordered, ordered), batch_dims=1)
    # float64 holds the midpoints exactly. A border is the largest float32 that still belongs to
    # the left side: at or below the midpoint, or below it where a tie is the right one's.
    middle = (tf.cast(ordered[:, :-1], tf.float64) + tf.cast(ordered[:, 1:], tf.float64)) / 2
    border = tf.cast(middle, tf.float32)
    rounded = tf.cast(border, tf.float64)
    too_high = (rounded > middle) | ((rounded == middle) & (owners[:, :-1] >= owners[:, 1:]))
    lower = tf.math.nextafter(border, -np.float32(np.inf) * tf.ones_like(border))
    lower = tf.where(tf.abs(border) <= SMALLEST, -SMALLEST * tf.ones_like(border), lower)
    return ordered, owners, tf.searchsorted(tf.where(too_high, lower, border), weights)


def _rows(kernel: np.ndarray, per_channel: bool) -> np.ndarray:
    """Return what is clustered together as rows: (channels, n) or (1, n)."""
    return kernel.reshape(-1, kernel.shape[-1]).T if per_channel else kernel.reshape(1, -1)


def _row_centroids(row: np.ndarray, plan: ClusterPlan) -> np.ndarray:
    """Return at most `plan.clusters` centroids of a row of weights."""
    values = np.unique(row)
    if plan.preserve_sparsity:
        values = np.union1d(values, np.zeros(1, np.float32))
    if values.size <= plan.clusters:
        return values
    return toolkit.clustering_centroids(
        row, plan.clusters, plan.initialiser, keep_zero=plan.preserve_sparsity
    )


def _clustered_per_channel(kernel: np.ndarray) -> bool:
    """Whether every channel has values of its own: no two channels share one but zero."""
    own = sum(np.count_nonzero(np.unique(row)) for row in _rows(kernel, True))
    return own == np.count_nonzero(np.unique(kernel))


def _padded(centroids: np.ndarray, k: int) -> np.ndarray:
    """Repeat the last centroid of the last axis until there are k."""
    missing = k - centroids.shape[-1]
    return np.pad(centroids, [(0, 0)] * (centroids.ndim - 1) + [(0, missing)], mode="edge")
