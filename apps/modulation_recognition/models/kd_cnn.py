"""KD-CNN: the small convolutional student of signal knowledge distillation.

After D. Hou, L. Li, W. Lin, J. Liang, Z. Han, "ClST: A Convolutional Transformer Framework for
Automatic Modulation Recognition by Knowledge Distillation", IEEE Transactions on Wireless
Communications 2024, arXiv:2312.17446. The layers of the authors' student are not public: widths
and windows here are this suite's, so it is named after theirs and is not theirs.
"""

from __future__ import annotations

from typing import Any

import keras

from apps.modulation_recognition.models.frames import (
    CLASSES,
    LENGTH,
    Shape,
    as_row,
    frame_input,
    frame_network,
    style_card,
)
from core.compress.norm_folding import fold_norms
from core.layers.convolution import conv_norm, linear
from core.model_card import ModelCard

VARIANTS: dict[str, dict[str, Any]] = {"base": {"widths": (16, 24, 32, 48), "parameters": 19_819}}
WINDOW = 7
REDUCED = 16  # the length is divided by this


def kd_cnn(
    variant: str = "base",
    input_shape: Shape = (LENGTH, 2),
    *,
    classes: int = len(CLASSES),
) -> keras.Model:
    """Return KD-CNN, four convolutions each of which halves the length.

    Args:
        variant: One of `VARIANTS`.
        input_shape: (length, 2), at least 16 samples; the length may be None.
        classes: Classes to tell apart.

    Returns:
        A model from frames (N, length, 2) of mean magnitude 1 to logits (N, classes).
    """
    frame = frame_input(VARIANTS, variant, input_shape, classes, smallest=REDUCED)
    x = as_row(frame)
    for number, width in enumerate(VARIANTS[variant]["widths"]):
        name = f"stages.{number}"
        x = conv_norm(x, width, (1, WINDOW), name, activation="relu", padding="same")
        x = keras.layers.MaxPooling2D((1, 2), name=f"{name}.3")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    logits = linear(x, classes, "classifier")
    return keras.Model(frame, logits, name=f"kd_cnn_{variant}")


def card(variant: str) -> ModelCard:
    """Return the model card."""
    return style_card("kd_cnn", "KD-CNN", variant, VARIANTS[variant]["parameters"])


NETWORK = frame_network(
    kd_cnn,
    VARIANTS,
    card,
    {"first": "stages.0.0", "kernel": (16, 2, 1, WINDOW), "last": "classifier"},
    deploy=fold_norms,
    smallest=REDUCED,
)
