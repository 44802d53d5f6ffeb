"""Exchange of channels between groups (X. Zhang et al., ShuffleNet, CVPR 2018)."""

from __future__ import annotations

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("gossamer")
class ChannelShuffle(keras.layers.Layer):
    """Interleave the groups of channels: of a, b, c, d in two groups a, c, b, d.

    Channel i of group j, of g groups, becomes channel i·g + j, as in PyTorch's `channel_shuffle`.
    In TFLite RESHAPE, TRANSPOSE of three axes and RESHAPE, which move integers as well.

    Args:
        groups: g, a divisor of the channels.
    """

    def __init__(self, groups: int = 2, **kwargs):
        super().__init__(**kwargs)
        if groups < 1:
            raise ValueError(f"`groups` must be a positive integer. Received: groups={groups}")
        self.groups = groups

    def build(self, input_shape):
        if input_shape[-1] % self.groups:
            raise ValueError(
                f"Channels must be a multiple of groups = {self.groups}. "
                f"Received: input_shape={input_shape}"
            )

    def call(self, inputs):
        *sides, channels = inputs.shape[1:]
        known = (-1, *sides, channels) if None not in sides else tf.shape(inputs)
        pixels = tf.reshape(inputs, (-1, self.groups, channels // self.groups))
        return tf.reshape(tf.transpose(pixels, (0, 2, 1)), known)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "groups": self.groups}
