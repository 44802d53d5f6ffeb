"""CNN1: VT-CNN2's idea as the benchmark of modulation recognition has it, with wider windows.

F. Zhang, C. Luo, J. Xu, Y. Luo, F. Zheng, "Deep learning based automatic modulation recognition:
Models, datasets, and challenges", Digital Signal Processing 2022, DOI 10.1016/j.dsp.2022.103650.
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

VARIANTS = {"base": {"parameters": 1_592_383}}
FILTERS, WINDOW, UNITS, DROPOUT = 50, 8, 256, 0.5


def cnn1(
    variant: str = "base",
    input_shape: Shape = (LENGTH, 2),
    *,
    classes: int = len(CLASSES),
    dropout: float = DROPOUT,
) -> keras.Model:
    """Return CNN1; arguments and result are those of `vt_cnn2`, the least length is 8."""
    frame = frame_input(VARIANTS, variant, input_shape, classes, smallest=WINDOW, fixed=FIXED)
    x = keras.layers.Conv2D(FILTERS, (1, WINDOW), padding="same", activation="relu", name="conv1")(
        as_image(frame)
    )
    x = keras.layers.Dropout(dropout, name="dropout1")(x)
    x = keras.layers.Conv2D(FILTERS, (2, WINDOW), activation="relu", name="conv2")(x)
    x = keras.layers.Dropout(dropout, name="dropout2")(x)
    x = hidden(x, UNITS, "dense1")
    x = keras.layers.Dropout(dropout, name="dropout3")(x)
    logits = keras.layers.Dense(classes, name="dense2")(x)
    return keras.Model(frame, logits, name=f"cnn1_{variant}")


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    return frame_card(
        "cnn1",
        variant,
        VARIANTS[variant]["parameters"],
        title="CNN1 of the benchmark of automatic modulation recognition",
        paper="F. Zhang et al., Digital Signal Processing 2022, DOI 10.1016/j.dsp.2022.103650",
        official_code=BENCHMARK,
    )


NETWORK = frame_network(
    cnn1,
    VARIANTS,
    card,
    {
        "first": "conv2",
        "kernel": (FILTERS, FILTERS, 2, WINDOW),
        "last": "dense2",
        "dense": "dense1",
        "length": lambda inputs: inputs // FILTERS + WINDOW - 1,
    },
    smallest=WINDOW,
    any_size=False,
)
