"""Losses of super-resolution, on pixels in the network's own range."""

from __future__ import annotations

import keras


@keras.saving.register_keras_serializable("gossamer")
class Charbonnier(keras.losses.Loss):
    """Mean of sqrt(d² + epsilon²), a smooth absolute difference (XLSR, arXiv:2105.10288).

    Args:
        epsilon: Where the square turns into a line; XLSR's 0.1 on pixels in [0, 1].
    """

    def __init__(self, epsilon: float = 0.1, name: str = "charbonnier", **kwargs):
        super().__init__(name=name, **kwargs)
        self.epsilon = epsilon

    def call(self, y_true, y_pred):
        difference = y_pred - y_true
        return keras.ops.mean(keras.ops.sqrt(difference * difference + self.epsilon**2), axis=-1)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}
