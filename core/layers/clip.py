"""The end of a network whose outputs are pixels."""

from __future__ import annotations

import keras


@keras.saving.register_keras_serializable("gossamer")
class Clip(keras.layers.Layer):
    """Limit values to [low, high]; in an integer file that is the range itself, and costs nothing.

    Args:
        low, high: The limits.
    """

    def __init__(self, low: float = 0.0, high: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        if not low < high:
            raise ValueError(f"`low` must be below `high`. Received: low={low}, high={high}")
        self.low, self.high = float(low), float(high)

    def call(self, inputs):
        return keras.ops.clip(inputs, self.low, self.high)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "low": self.low, "high": self.high}
