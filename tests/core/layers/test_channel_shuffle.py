"""Channels are exchanged as PyTorch's ShuffleNet exchanges them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from core.layers.channel_shuffle import ChannelShuffle


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_groups_are_interleaved(groups):
    image = np.random.default_rng(0).standard_normal((2, 4, 5, 12)).astype(np.float32)
    apart = image.reshape(2, 4, 5, groups, 12 // groups)
    expected = np.swapaxes(apart, 3, 4).reshape(image.shape)
    np.testing.assert_array_equal(ChannelShuffle(groups)(image), expected)
    opened = keras.Input((None, None, 12))
    model = keras.Model(opened, ChannelShuffle(groups)(opened))
    assert model.output_shape == (None, None, None, 12)
    np.testing.assert_array_equal(tf.function(model)(image), expected)


def test_config_round_trip():
    layer = ChannelShuffle.from_config(ChannelShuffle(3, name="mix").get_config())
    assert (layer.groups, layer.name) == (3, "mix")


def test_groups_that_do_not_divide_the_channels_are_named():
    with pytest.raises(ValueError, match="groups = 4"):
        ChannelShuffle(4)(np.zeros((1, 2, 2, 6), np.float32))
    with pytest.raises(ValueError, match="groups=0"):
        ChannelShuffle(0)
