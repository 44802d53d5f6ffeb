"""Group normalisation of quick operators."""

from __future__ import annotations

import keras
import numpy as np


@keras.saving.register_keras_serializable("gossamer")
class GroupNorm(keras.layers.GroupNormalization):
    """`keras.layers.GroupNormalization` over the last axis, computed channel by channel.

    A group's mean is the mean of its channels' means, so nothing is reshaped: each statistic is a
    mean over positions and two small matrix products. The file holds MEAN, SUB, MUL, ADD, RSQRT and
    FULLY_CONNECTED on the axes the input has. Keras's own splits the channels into an axis more,
    over which kernels for phones have no mean.

    Computes in float32 whatever the precision.
    """

    def build(self, input_shape):
        if self.axis not in (-1, len(input_shape) - 1):
            raise ValueError(f"`axis` must be the last one. Received: axis={self.axis}")
        super().build(input_shape)

    def call(self, inputs):
        ops = keras.ops
        x = ops.cast(inputs, "float32")
        centred = x - self.group_mean(x)
        factor = ops.rsqrt(self.group_mean(ops.multiply(centred, centred)) + self.epsilon)
        if self.scale:
            factor = factor * ops.cast(self.gamma, "float32")
        x = centred * factor
        if self.center:
            x = x + ops.cast(self.beta, "float32")
        return ops.cast(x, self.compute_dtype)

    def group_mean(self, x):
        """Return for every channel the mean of its group: (N, 1, …, C).

        One axis after the other: kernels for phones add up in order, and a single sum of 256x256
        values would be wrong by 3e-6, of which a later normalisation makes 1e-4.
        """
        mean = x
        for axis in reversed(range(1, len(x.shape) - 1)):
            mean = keras.ops.mean(mean, axis=axis, keepdims=True)
        joining, parting = group_matrices(x.shape[-1], self.groups)
        return keras.ops.matmul(keras.ops.matmul(mean, joining), parting)


def group_matrices(channels: int, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Return matrices from channels to the means of groups (C, G), and back to channels (G, C)."""
    members = np.kron(np.eye(groups, dtype=np.float32), np.ones((channels // groups, 1)))
    members = members.astype(np.float32)
    return members * np.float32(groups / channels), np.ascontiguousarray(members.T)
