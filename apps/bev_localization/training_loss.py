"""The loss REIN is trained with: a place's own image nearer than every other by a margin.

L. Luo et al., IEEE Transactions on Robotics 41, 2025, arXiv:2408.01841, as the published code has
it.
"""

from __future__ import annotations

import keras

MARGIN = 0.3
NEGATIVES = 10  # of each query
SMALLEST = 1e-12  # added to a squared distance: its root has no gradient at zero


@keras.saving.register_keras_serializable("gossamer")
class PlaceTripletLoss(keras.losses.Loss):
    """max over negatives of max(0, d(query, positive) - d(query, negative) + margin).

    d is the Euclidean distance. A batch is made of groups, one after the other: the query, its
    positive, its negatives. The targets are not looked at.

    Args:
        margin: By how much other places shall be farther.
        negatives: Negatives of each query.
    """

    def __init__(
        self,
        margin: float = MARGIN,
        negatives: int = NEGATIVES,
        name: str = "place_triplet",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        if negatives < 1:
            raise ValueError(
                f"`negatives` must be a positive integer. Received: negatives={negatives}"
            )
        self.margin, self.negatives = margin, negatives

    def call(self, y_true, y_pred):
        """Return the loss of each query, (Q,).

        Args:
            y_true: Ignored.
            y_pred: Descriptors (Q · (2 + negatives), D), of unit length.
        """
        ops = keras.ops
        groups = ops.reshape(y_pred, (-1, 2 + self.negatives, y_pred.shape[-1]))
        squares = ops.sum(ops.square(groups[:, :1] - groups[:, 1:]), axis=-1)
        distances = ops.sqrt(squares + SMALLEST)
        nearest = ops.min(distances[:, 1:], axis=1)  # its term is the largest
        return ops.relu(distances[:, 0] - nearest + self.margin)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin, "negatives": self.negatives}
