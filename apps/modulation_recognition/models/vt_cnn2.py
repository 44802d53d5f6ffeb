"""VT-CNN2: two convolutions and two dense layers, the first network for raw I/Q samples.

T. J. O'Shea, J. Corgan, T. C. Clancy, "Convolutional Radio Modulation Recognition Networks", 2016,
arXiv:1602.04105. Layers as in the authors' notebook.
"""

from __future__ import annotations

import keras

from apps.modulation_recognition.models.frames import (
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

VARIANTS = {"base": {"parameters": 2_830_427}}
FILTERS, UNITS, DROPOUT = (256, 80), 256, 0.5


def vt_cnn2(
    variant: str = "base",
    input_shape: Shape = (LENGTH, 2),
    *,
    classes: int = len(CLASSES),
    dropout: float = DROPOUT,
) -> keras.Model:
    """Return VT-CNN2.

    Args:
        variant: One of `VARIANTS`.
        input_shape: (length, 2); the length is part of the network.
        classes: Classes to tell apart.
        dropout: Share of a hidden layer's outputs that training leaves out.

    Returns:
        A model from frames (N, length, 2) whose magnitudes sum to 1 to logits (N, classes).
    """
    frame = frame_input(VARIANTS, variant, input_shape, classes, fixed=FIXED)
    x = as_image(frame)
    for number, (filters, height) in enumerate(zip(FILTERS, (1, 2), strict=True), start=1):
        x = keras.layers.ZeroPadding2D((0, 2), name=f"pad{number}")(x)
        x = keras.layers.Conv2D(filters, (height, 3), activation="relu", name=f"conv{number}")(x)
        x = keras.layers.Dropout(dropout, name=f"dropout{number}")(x)
    x = keras.layers.Permute((3, 1, 2), name="channels_first")(x)  # as the notebook flattens
    x = hidden(x, UNITS, "dense1", initializer="he_normal")
    x = keras.layers.Dropout(dropout, name="dropout3")(x)
    logits = keras.layers.Dense(classes, kernel_initializer="he_normal", name="dense2")(x)
    return keras.Model(frame, logits, name=f"vt_cnn2_{variant}")


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    parameters = VARIANTS[variant]["parameters"]
    return frame_card(
        "vt_cnn2",
        variant,
        parameters,
        title="Convolutional Radio Modulation Recognition Networks",
        paper="T. J. O'Shea, J. Corgan, T. C. Clancy, 2016, arXiv:1602.04105",
        official_code="github.com/radioML/examples (CC BY-NC 4.0)",
        published={
            "parameters": parameters,
            "accuracy RadioML2016.10a label 0": 70.4,
            "accuracy RadioML2016.10a label 18": 72.4,
        },
    )


NETWORK = frame_network(
    vt_cnn2,
    VARIANTS,
    card,
    {
        "first": "conv2",
        "kernel": (80, 256, 2, 3),
        "last": "dense2",
        "dense": "dense1",
        "length": lambda inputs: inputs // FILTERS[-1] - 4,
    },
    any_size=False,
)
