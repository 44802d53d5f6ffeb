"""Learned factors: one for a whole tensor, or one for each channel."""

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


@keras.saving.register_keras_serializable("gossamer")
class LayerScale(LearnedScale):
    """Multiply every channel by a learned number of its own, which starts near 0.

    H. Touvron et al., "Going Deeper with Image Transformers", ICCV 2021, arXiv:2103.17239, Sec. 2.
    Its published form is (C, 1, 1).

    Args:
        leaf: The last part of its published name.
        start: What the numbers start at.
    """

    def __init__(self, leaf: str = "layer_scale", start: float = 1e-6, **kwargs):
        super().__init__(leaf, **kwargs)
        self.start = start

    def build(self, input_shape):
        start = keras.initializers.Constant(self.start)
        self.factor = self.add_weight(name="factor", shape=input_shape[-1:], initializer=start)

    def torch_weights(self) -> dict:
        """Return the factors by their published name."""
        return {self.leaf: (self.factor, lambda a: a.reshape(-1), lambda a: a.reshape(-1, 1, 1))}

    def get_config(self):
        return {**super().get_config(), "start": self.start}
