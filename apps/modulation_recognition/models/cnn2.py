"""CNN2: four convolutions over both rows of the I/Q image, each halving the length.

"Robust and Fast Automatic Modulation Classification with CNN under Multipath Fading Channels",
2020; layers as in the benchmark of F. Zhang et al., DOI 10.1016/j.dsp.2022.103650.
"""

from __future__ import annotations

from typing import Any

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

VARIANTS: dict[str, dict[str, Any]] = {
    "base": {"filters": (256, 128, 64, 64), "parameters": 858_123}
}
WINDOW, UNITS, DROPOUT = (2, 8), 128, 0.5
REDUCED = 16  # the length is divided by this


def cnn2(
    variant: str = "base",
    input_shape: Shape = (LENGTH, 2),
    *,
    classes: int = len(CLASSES),
    dropout: float = DROPOUT,
) -> keras.Model:
    """Return CNN2; arguments and result are those of `vt_cnn2`, the least length is 16."""
    frame = frame_input(VARIANTS, variant, input_shape, classes, smallest=REDUCED, fixed=FIXED)
    x = as_image(frame)
    for number, filters in enumerate(VARIANTS[variant]["filters"], start=1):
        x = keras.layers.Conv2D(
            filters, WINDOW, padding="same", activation="relu", name=f"conv{number}"
        )(x)
        x = keras.layers.MaxPooling2D((1, 2), name=f"pool{number}")(x)
        x = keras.layers.Dropout(dropout, name=f"dropout{number}")(x)
    x = hidden(x, UNITS, "dense1")
    logits = keras.layers.Dense(classes, name="dense2")(x)
    return keras.Model(frame, logits, name=f"cnn2_{variant}")


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    return frame_card(
        "cnn2",
        variant,
        VARIANTS[variant]["parameters"],
        title="Robust and Fast Automatic Modulation Classification with CNN under Multipath "
        "Fading Channels",
        paper="2020; F. Zhang et al., Digital Signal Processing 2022, "
        "DOI 10.1016/j.dsp.2022.103650",
        official_code=BENCHMARK,
    )


NETWORK = frame_network(
    cnn2,
    VARIANTS,
    card,
    {
        "first": "conv1",
        "kernel": (256, 1, *WINDOW),
        "last": "dense2",
        "dense": "dense1",
        "length": lambda inputs: inputs // (2 * VARIANTS["base"]["filters"][-1]) * REDUCED,
    },
    smallest=REDUCED,
    any_size=False,
)
