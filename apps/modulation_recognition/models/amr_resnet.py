"""ResNet of modulation recognition: one shortcut around two convolutions, then two more.

X. Liu, D. Yang, A. El Gamal, "Deep neural network architectures for modulation classification",
Asilomar 2017, arXiv:1712.00443; layers as in the benchmark of F. Zhang et al.,
DOI 10.1016/j.dsp.2022.103650.
"""

from __future__ import annotations

import keras

from apps.modulation_recognition.models.frames import (
    BENCHMARK,
    CLASSES,
    FIXED,
    LENGTH,
    Shape,
    as_image,
    frame_card,
    frame_input,
    frame_network,
    hidden,
)
from core.model_card import ModelCard

VARIANTS = {"base": {"parameters": 3_098_283}}
WIDE, NARROW, UNITS, DROPOUT = 256, 80, 128, 0.6


def amr_resnet(
    variant: str = "base",
    input_shape: Shape = (LENGTH, 2),
    *,
    classes: int = len(CLASSES),
    dropout: float = DROPOUT,
) -> keras.Model:
    """Return the network; arguments and result are those of `vt_cnn2`."""
    frame = frame_input(VARIANTS, variant, input_shape, classes, fixed=FIXED)

    def conv(x, filters: int, height: int, name: str, activation: str | None = "relu"):
        return keras.layers.Conv2D(
            filters, (height, 3), padding="same", activation=activation, name=name
        )(x)

    image = as_image(frame)
    x = conv(image, WIDE, 1, "conv1")
    x = conv(x, WIDE, 2, "conv2", None)
    x = keras.layers.Add(name="sum")([x, image])  # the image to every channel
    x = keras.layers.Activation("relu", name="relu")(x)
    x = conv(x, NARROW, 1, "conv3")
    x = conv(x, NARROW, 1, "conv4")
    x = keras.layers.Dropout(dropout, name="dropout1")(x)
    x = hidden(x, UNITS, "fc1")
    x = keras.layers.Dropout(dropout, name="dropout2")(x)
    logits = keras.layers.Dense(classes, name="softmax")(x)
    return keras.Model(frame, logits, name=f"amr_resnet_{variant}")


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    return frame_card(
        "amr_resnet",
        variant,
        VARIANTS[variant]["parameters"],
        title="Deep Neural Network Architectures for Modulation Classification",
        paper="X. Liu, D. Yang, A. El Gamal, Asilomar 2017, arXiv:1712.00443",
        official_code=BENCHMARK,
    )


NETWORK = frame_network(
    amr_resnet,
    VARIANTS,
    card,
    {
        "first": "conv2",
        "kernel": (WIDE, WIDE, 2, 3),
        "last": "softmax",
        "dense": "fc1",
        "length": lambda inputs: inputs // (2 * NARROW),
    },
    any_size=False,
)
