"""Losses of person re-identification: who it is, and how far apart two crops are.

K. Zhou, T. Xiang, "Torchreid", arXiv:1910.10093; A. Hermans, L. Beyer, B. Leibe, "In defense of the
triplet loss for person re-identification", arXiv:1703.07737 (batch hard).
"""

from __future__ import annotations

import keras
import tensorflow as tf

from core.classification.losses import WeightedCrossentropy

MARGIN = 0.3
SMOOTHING = 0.1
SMALLEST = 1e-12  # of a squared distance: the root has no gradient at zero


def identity_loss(smoothing: float = SMOOTHING) -> WeightedCrossentropy:
    """Return the cross entropy of persons, (1 - s) for the person and s / K for all of the K."""
    return WeightedCrossentropy(label_smoothing=smoothing, name="identity")


@keras.saving.register_keras_serializable("gossamer")
class TripletLoss(keras.losses.Loss):
    """max(0, farthest of the same person - nearest of another + margin), by Euclidean distance.

    The batch must hold several images of several persons (`apps.person_reid.samplers`). Embeddings
    are taken as they are, not normalised; an image counts among those of its person.

    Args:
        margin: By how much others shall be farther.
    """

    def __init__(self, margin: float = MARGIN, name: str = "triplet", **kwargs):
        super().__init__(name=name, **kwargs)
        self.margin = margin

    def call(self, y_true, y_pred):
        """Return the loss of each anchor.

        Args:
            y_true: Persons (N,), integers.
            y_pred: Embeddings (N, D).
        """
        labels = tf.reshape(tf.cast(y_true, tf.int32), (-1,))
        squares = tf.reduce_sum(y_pred * y_pred, axis=1)
        products = tf.matmul(y_pred, y_pred, transpose_b=True)
        squared = squares[:, None] + squares[None, :] - 2.0 * products
        distances = tf.sqrt(tf.maximum(squared, SMALLEST))
        same = labels[:, None] == labels[None, :]
        farthest = tf.reduce_max(tf.where(same, distances, 0.0), axis=1)
        # Without another person in the batch nothing is near, and the loss is zero.
        nearest = tf.reduce_min(tf.where(same, distances.dtype.max, distances), axis=1)
        return tf.maximum(0.0, farthest - nearest + self.margin)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}
