"""A learned factor for a whole tensor."""

from __future__ import annotations

import keras


@keras.saving.register_keras_serializable("gossamer")
class LearnedScale(keras.layers.Layer):
    """Multiply by one learned number, which starts at 1.

    Args:
        leaf: The last part of its published name, such as "skip_scale".
    """

    def __init__(self, leaf: str = "scale", **kwargs):
        super().__init__(**kwargs)
        self.leaf = leaf

    def build(self, input_shape):
        self.factor = self.add_weight(name="factor", shape=(1,), initializer="ones")

    def call(self, inputs):
        return inputs * keras.ops.cast(self.factor, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def torch_weights(self) -> dict:
        """Return the factor by its published name."""
        return {self.leaf: (self.factor, None)}

    def get_config(self):
        return {**super().get_config(), "leaf": self.leaf}
