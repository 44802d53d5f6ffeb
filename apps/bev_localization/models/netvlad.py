"""NetVLAD: what a map's local features have left over from their clusters, as one vector.

R. Arandjelović et al., "NetVLAD: CNN architecture for weakly supervised place recognition", CVPR
2016, as BEVPlace++ has it (its paper's Sec. IV). The published loop over clusters is two products
of matrices.
"""

from __future__ import annotations

import keras

from apps.bev_localization.models.rotation import resampled, unit_length
from apps.bev_localization.retrieval.clusters import CLUSTERS, Assignment
from core.layers.convolution import torch_uniform


@keras.saving.register_keras_serializable("gossamer")
class NetVLAD(keras.layers.Layer):
    """Features (N, P, C), or a map (N, h, w, C), to descriptors (N, K · C) of unit length.

    s = softmax(x W); V_k = sum_p s_pk (x_p - c_k); each V_k of unit length, then all together. It
    stays in float32: the logits of a started layer reach some thousand. Both weights are
    meaningless until `start`.

    Args:
        clusters: K.
        side: A map is first brought to this height and width by bicubic sampling, and its pixels
            to unit length; None takes features as they are.
    """

    always_float = True

    def __init__(self, clusters: int = CLUSTERS, side: int | None = None, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        if clusters < 1 or (side is not None and side < 1):
            raise ValueError(
                "`clusters` and `side` must be positive integers. "
                f"Received: clusters={clusters}, side={side}"
            )
        self.clusters, self.side = clusters, side

    def build(self, input_shape):
        channels = input_shape[-1]
        axes = len(input_shape)
        if axes not in (3, 4) or (axes == 4 and None in input_shape[1:3]):
            raise ValueError(
                "The input must be (N, P, C), or (N, h, w, C) of known size. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        if self.side is not None and axes == 3:
            raise ValueError("`side` needs a map (N, h, w, C). Received: (N, P, C)")
        self.centroids = self.add_weight(
            name="centroids",
            shape=(self.clusters, channels),
            initializer=keras.initializers.RandomUniform(0.0, 1.0),
        )
        self.assigning = self.add_weight(
            name="assigning", shape=(channels, self.clusters), initializer=torch_uniform(channels)
        )

    def features(self, inputs):
        """Return the local features (N, P, C) that are pooled."""
        if self.side is not None:
            inputs = unit_length(resampled(inputs, self.side))
        if len(inputs.shape) == 3:
            return inputs
        _, height, width, channels = inputs.shape
        return keras.ops.reshape(inputs, (-1, height * width, channels))

    def assigned(self, features):
        """Return how much of each of (N, P, C) belongs to every cluster, (N, P, K)."""
        ops = keras.ops
        logits = ops.matmul(features, self.assigning)
        # By a mean: of a sum the converter makes SOFTMAX, which a file of integers rounds to 1/256.
        powers = ops.exp(logits - ops.max(logits, axis=-1, keepdims=True))
        return powers / (self.clusters * ops.mean(powers, axis=-1, keepdims=True))

    def residuals(self, features):
        """Return V (N, K, C), not normalised, of (N, P, C)."""
        ops = keras.ops
        shares = ops.transpose(self.assigned(features), (0, 2, 1))
        return ops.matmul(shares, features) - ops.sum(shares, axis=-1, keepdims=True) * (
            self.centroids
        )

    def call(self, inputs):
        residuals = unit_length(self.residuals(self.features(inputs)))
        return unit_length(keras.ops.reshape(residuals, (-1, self.clusters * residuals.shape[-1])))

    def start(self, assignment: Assignment) -> None:
        """Set both weights to clusters found among local features.

        Args:
            assignment: Of `apps.bev_localization.retrieval.clusters`, with K and C of this layer.
        """
        if assignment.centroids.shape != tuple(self.centroids.shape):
            raise ValueError(
                f"`assignment` must have centroids {tuple(self.centroids.shape)}. "
                f"Received: {assignment.centroids.shape}"
            )
        self.centroids.assign(assignment.centroids)
        self.assigning.assign(assignment.weights.T)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.clusters * input_shape[-1])

    def torch_weights(self) -> dict:
        """Return `centroids`, and the 1x1 convolution `conv`, whose weight is (K, C, 1, 1)."""
        return {
            "centroids": (self.centroids, None),
            "conv.weight": (
                self.assigning,
                lambda array: array[:, :, 0, 0].T,
                lambda array: array.T[:, :, None, None],
            ),
        }

    def get_config(self):
        return {**super().get_config(), "clusters": self.clusters, "side": self.side}
