"""IC-AMCNet: a small convolutional network with noise before its classifier.

A. P. Hermawan, R. R. Ginanjar, D.-S. Kim, J.-M. Lee, "CNN-Based Automatic Modulation Classification
for Beyond 5G Communications", IEEE Communications Letters 2020; layers as in the benchmark of
F. Zhang et al., DOI 10.1016/j.dsp.2022.103650.
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

VARIANTS = {"base": {"parameters": 1_264_011}}
# Filters and length of each convolution's window.
CONVOLUTIONS = ((64, 8), (64, 4), (128, 8), (128, 8))
UNITS, DROPOUT, NOISE = 128, 0.4, 1.0


def ic_amcnet(
    variant: str = "base",
    input_shape: Shape = (LENGTH, 2),
    *,
    classes: int = len(CLASSES),
    dropout: float = DROPOUT,
) -> keras.Model:
    """Return IC-AMCNet; arguments and result are those of `vt_cnn2`, the least length is 2."""
    frame = frame_input(VARIANTS, variant, input_shape, classes, smallest=2, fixed=FIXED)
    x = as_image(frame)
    for number, (filters, window) in enumerate(CONVOLUTIONS, start=1):
        x = keras.layers.Conv2D(
            filters, (1, window), padding="same", activation="relu", name=f"conv{number}"
        )(x)
        if number == 1:
            x = keras.layers.MaxPooling2D((2, 2), name="pool1")(x)
        elif number > 2:  # the published pooling by (1, 1) behind the third does nothing
            x = keras.layers.Dropout(dropout, name=f"dropout{number - 2}")(x)
    x = hidden(x, UNITS, "dense1")
    x = keras.layers.Dropout(dropout, name="dropout3")(x)
    x = keras.layers.GaussianNoise(NOISE, name="noise")(x)
    logits = keras.layers.Dense(classes, name="dense2")(x)
    return keras.Model(frame, logits, name=f"ic_amcnet_{variant}")


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    return frame_card(
        "ic_amcnet",
        variant,
        VARIANTS[variant]["parameters"],
        title="CNN-Based Automatic Modulation Classification for Beyond 5G Communications",
        paper="A. P. Hermawan et al., IEEE Communications Letters 2020",
        official_code=BENCHMARK,
    )


NETWORK = frame_network(
    ic_amcnet,
    VARIANTS,
    card,
    {
        "first": "conv2",
        "kernel": (64, 64, 1, 4),
        "last": "dense2",
        "dense": "dense1",
        "length": lambda inputs: 2 * inputs // CONVOLUTIONS[-1][0],
    },
    smallest=2,
    any_size=False,
)
