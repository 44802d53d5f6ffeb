"""REIN as it was published: eight images turned and encoded one after the other.

The suite's form (`apps.bev_localization.models.rein`) is held to this one, in its results and in
its time (`benchmarks/bev_network.py`).
"""

from __future__ import annotations

import keras

from apps.bev_localization.models.rein import MAP, POOLING, encoder_of
from apps.bev_localization.models.rotation import Turned, resampled, unit_length


def plain_form(model: keras.Model, *, dense: bool = False) -> keras.Model:
    """Return a model of `rein` in the published form, with the same layers and outputs.

    Every rotation, that by 0 degrees too, is a bicubic one of its own, and so is every way back.

    Args:
        model: The suite's form.
        dense: Whether the map is given as the published network does: at the image's size, each
            pixel's features of length 1, (N, n, n, 128).
    """
    rotations, encode = model.get_layer(MAP).rotations, encoder_of(model)
    image = keras.Input(model.input_shape[1:], name="image")
    maps = []
    for i in range(rotations):
        degrees = -360.0 / rotations * i
        # The encoder of all rotations takes any batch.
        features = encode(Turned(-degrees, name=f"turned.{i}")(image))
        maps.append(Turned(degrees, name=f"turned_back.{i}")(features))
    largest = keras.layers.Maximum(name=f"{MAP}.largest")(maps)
    descriptor = model.get_layer(POOLING)(largest)
    if dense:
        largest = DenseFeatures(model.input_shape[1], name="local")(largest)
    return keras.Model(image, [largest, descriptor], name="rein_plain")


class DenseFeatures(keras.layers.Layer):
    """Enlarge a map to (N, side, side, C) by bicubic sampling and bring each pixel to length 1."""

    def __init__(self, side: int, **kwargs):
        super().__init__(**kwargs)
        self.side = side

    def call(self, inputs):
        return unit_length(resampled(inputs, self.side))
