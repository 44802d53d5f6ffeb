"""KD-MobileNet: the depthwise separable student of signal knowledge distillation.

After D. Hou, L. Li, W. Lin, J. Liang, Z. Han, arXiv:2312.17446, as `kd_cnn`: the layers of the
authors' student are not public, so this one is named after theirs and is not theirs.
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
from core.layers.convolution import conv_norm, depthwise_norm, linear
from core.model_card import ModelCard

# Channels of the first convolution; channels and stride of each block behind it.
VARIANTS: dict[str, dict[str, Any]] = {
    "base": {"stem": 16, "blocks": ((24, 1), (32, 2), (48, 1), (64, 2)), "parameters": 8_147},
}
WINDOW = 7
ACTIVATION = "relu6"


def separable_block(x, filters: int, strides: int, name: str):
    """Convolve every channel by itself, then mix them, each normalised and activated."""
    options: dict[str, Any] = {"activation": ACTIVATION, "padding": "same"}
    x = depthwise_norm(x, (1, WINDOW), name, strides=strides, **options)
    return conv_norm(x, filters, 1, name, first=3, **options)


def kd_mobilenet(
    variant: str = "base",
    input_shape: Shape = (LENGTH, 2),
    *,
    classes: int = len(CLASSES),
) -> keras.Model:
    """Return KD-MobileNet; arguments and result are those of `kd_cnn`, of any length."""
    frame = frame_input(VARIANTS, variant, input_shape, classes)
    table = VARIANTS[variant]
    x = conv_norm(
        as_row(frame),
        table["stem"],
        (1, WINDOW),
        "stem",
        strides=2,
        activation=ACTIVATION,
        padding="same",
    )
    for number, (filters, strides) in enumerate(table["blocks"]):
        x = separable_block(x, filters, strides, f"blocks.{number}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    logits = linear(x, classes, "classifier")
    return keras.Model(frame, logits, name=f"kd_mobilenet_{variant}")


def card(variant: str) -> ModelCard:
    """Return the model card."""
    return style_card("kd_mobilenet", "KD-MobileNet", variant, VARIANTS[variant]["parameters"])


NETWORK = frame_network(
    kd_mobilenet,
    VARIANTS,
    card,
    {"first": "stem.0", "kernel": (16, 2, 1, WINDOW), "last": "classifier"},
    deploy=fold_norms,
)
