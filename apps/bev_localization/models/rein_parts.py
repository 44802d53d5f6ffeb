"""The two halves of REIN for a small computer: a map of features, and the vector of the place.

The encoder is nearly all of the work and may become integers. What pools the map stays in float: it
is cheap, and its softmax tells values apart that eight bits do not. The pixels' own features are
read of the map at keypoints (`apps.bev_localization.pose.features`).
"""

from __future__ import annotations

import keras

from apps.bev_localization.models.rein import MAP, POOLING
from apps.bev_localization.models.rein_deploy import deploy


def map_part(model: keras.Model) -> keras.Model:
    """Return the first half: images (N, n, n, C) to maps (N, h, h, 128), for use.

    It takes the image alone. The one bicubic rotation within costs its file 1.5 MB of constants
    and a hundredth of its time at 201x201, so that it is not left to whoever uses the file.
    """
    deployed = deploy(model)
    features = deployed.get_layer(MAP).output
    return keras.Model(deployed.input, features, name=f"{model.name}_map")


def place_part(model: keras.Model) -> keras.Model:
    """Return the second half: maps (N, h, h, 128) to global descriptors (N, 8192) of length 1."""
    features = keras.Input(model.get_layer(MAP).output.shape[1:], name="features")
    descriptor = model.get_layer(POOLING)(features)
    return keras.Model(features, descriptor, name=f"{model.name}_place")
