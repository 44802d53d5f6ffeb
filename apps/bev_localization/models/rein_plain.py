"""REIN as it was published: eight images turned and encoded one after the other.

The suite's form (`apps.bev_localization.models.rein`) is held to this one, in its results and in
its time (`benchmarks/bev_network.py`).
"""

from __future__ import annotations

import keras

from apps.bev_localization.models.rein import MAP, POOLING, encoder_of
from apps.bev_localization.models.rotation import Turned


def plain_form(model: keras.Model) -> keras.Model:
    """Return a model of `rein` in the published form, with the same layers and outputs.

    Every rotation, that by 0 degrees too, is a bicubic one of its own, and so is every way back.
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
    return keras.Model(image, [largest, model.get_layer(POOLING)(largest)], name="rein_plain")
