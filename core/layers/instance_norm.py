"""Instance normalisation: every channel of every sample by its own mean and variance.

D. Ulyanov, A. Vedaldi, V. Lempitsky, arXiv:1607.08022. `GroupNormalization(groups=-1)` computes the
same, but its file reshapes to five axes and has float operators between the integer ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np


@keras.saving.register_keras_serializable("gossamer")
class InstanceNormalization(keras.layers.Layer):
    """(x - mean) / sqrt(variance + epsilon) · gamma + beta over the positions of an image.

    PyTorch's `InstanceNorm2d`: the population variance, no running statistics, so training and
    inference are alike. The file holds MEAN, SUB, MUL, ADD and RSQRT only.

    Args:
        epsilon: Added to the variance; a number, or one a channel. Channel c of the input may be
            scaled by s and its epsilon by s², and the output stays the same: that is how ranges
            are made even before rounding.
        center: Whether there is a `beta`.
        scale: Whether there is a `gamma`.
    """

    def __init__(
        self,
        epsilon: float | Sequence[float] = 1e-5,
        center: bool = True,
        scale: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        values = np.asarray(epsilon, np.float64)
        if values.ndim > 1 or not values.size or not np.all((values > 0) & np.isfinite(values)):
            raise ValueError(
                "`epsilon` must be a positive number, or a list of one a channel. "
                f"Received: epsilon={epsilon}"
            )
        self.epsilon: float | list[float] = values.tolist()
        self.center, self.scale = bool(center), bool(scale)
        self.gamma = self.beta = None

    def build(self, input_shape):
        channels = input_shape[-1]
        if len(input_shape) < 3 or channels is None:
            raise ValueError(
                "The input must be (N, …, C) with a known number of channels. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        if isinstance(self.epsilon, list) and len(self.epsilon) != channels:
            raise ValueError(
                f"`epsilon` must be a number or have {channels} values, one a channel. "
                f"Received: {len(self.epsilon)} values"
            )
        if self.scale:
            self.gamma = self.add_weight(name="gamma", shape=(channels,), initializer="ones")
        if self.center:
            self.beta = self.add_weight(name="beta", shape=(channels,), initializer="zeros")

    def call(self, inputs):
        ops = keras.ops
        x = ops.cast(inputs, "float32")  # a half's squares overflow
        positions = tuple(range(1, len(x.shape) - 1))
        centred = x - ops.mean(x, axis=positions, keepdims=True)
        variance = ops.mean(ops.multiply(centred, centred), axis=positions, keepdims=True)
        factor = ops.rsqrt(variance + ops.convert_to_tensor(self.epsilon, "float32"))
        if self.gamma is not None:
            factor = factor * ops.cast(self.gamma, "float32")
        x = centred * factor
        if self.beta is not None:
            x = x + ops.cast(self.beta, "float32")
        return ops.cast(x, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def torch_weights(self) -> dict:
        """Return PyTorch's names: weight and bias, where the layer has them."""
        named = {"weight": self.gamma, "bias": self.beta}
        return {leaf: (variable, None) for leaf, variable in named.items() if variable is not None}

    def get_config(self):
        return {
            **super().get_config(),
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
        }
