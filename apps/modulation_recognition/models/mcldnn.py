"""MCLDNN: in-phase and quadrature alone and together, convolutions, then two LSTMs.

J. Xu, C. Luo, G. Parr, Y. Luo, "A Spatiotemporal Multi-Channel Learning Framework for Automatic
Modulation Recognition", IEEE Wireless Communications Letters 2020, DOI 10.1109/LWC.2020.2999453.
"""

from __future__ import annotations

import keras

from apps.modulation_recognition.models.frames import (
    CLASSES,
    LENGTH,
    Shape,
    as_image,
    frame_card,
    frame_input,
    frame_network,
)
from core.layers.recurrent import LSTM
from core.model_card import ModelCard

VARIANTS = {"base": {"parameters": 405_175}}
FILTERS, WIDE, UNITS, DROPOUT = 50, 100, 128, 0.5
WINDOW, JOINING = 8, 5  # samples that a convolution sees; the last one's has no padding


@keras.saving.register_keras_serializable("gossamer")
class Selu(keras.layers.Layer):
    """The activation SELU, in float whatever the precision: it has no integer form."""

    always_float = True

    def call(self, inputs):
        return keras.activations.selu(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape


def mcldnn(
    variant: str = "base",
    input_shape: Shape = (LENGTH, 2),
    *,
    classes: int = len(CLASSES),
    dropout: float = DROPOUT,
) -> keras.Model:
    """Return MCLDNN (Fig. 1).

    Args:
        variant: One of `VARIANTS`.
        input_shape: (length, 2), at least 5 samples; the length may be None, but a file needs one.
        classes: Classes to tell apart.
        dropout: Share of a dense layer's outputs that training leaves out.

    Returns:
        A model from frames (N, length, 2) whose magnitudes sum to 1 to logits (N, classes).
    """
    frame = frame_input(VARIANTS, variant, input_shape, classes, smallest=JOINING)

    def conv(x, filters: int, window: tuple[int, int], name: str, padding: str = "same"):
        return keras.layers.Conv2D(filters, window, padding=padding, activation="relu", name=name)(
            x
        )

    image = as_image(frame)
    together = conv(image, FILTERS, (2, WINDOW), "Conv1")
    rows = []
    for row, name in enumerate(("Conv2", "Conv3")):
        x = keras.layers.Cropping2D(((row, 1 - row), (0, 0)), name=f"rows.{row}")(image)
        x = keras.layers.Reshape((-1, 1), name=f"rows.{row}.samples")(x)
        x = keras.layers.Conv1D(FILTERS, WINDOW, padding="causal", activation="relu", name=name)(x)
        rows.append(keras.layers.Reshape((1, -1, FILTERS), name=f"{name}.row")(x))
    apart = keras.layers.Concatenate(axis=1, name="rows.joined")(rows)
    apart = conv(apart, FILTERS, (1, WINDOW), "Conv4")
    x = keras.layers.Concatenate(name="joined")([together, apart])
    x = conv(x, WIDE, (2, JOINING), "Conv5", "valid")
    x = keras.layers.Reshape((-1, WIDE), name="sequence")(x)
    x = LSTM(UNITS, return_sequences=True, name="LSTM1")(x)
    x = LSTM(UNITS, name="LSTM2")(x)
    for number in (1, 2):
        x = Selu(name=f"FC{number}.selu")(keras.layers.Dense(UNITS, name=f"FC{number}")(x))
        x = keras.layers.Dropout(dropout, name=f"dropout{number}")(x)
    logits = keras.layers.Dense(classes, name="Softmax")(x)
    return keras.Model(frame, logits, name=f"mcldnn_{variant}")


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    return frame_card(
        "mcldnn",
        variant,
        VARIANTS[variant]["parameters"],
        title="A Spatiotemporal Multi-Channel Learning Framework for Automatic Modulation "
        "Recognition",
        paper="J. Xu, C. Luo, G. Parr, Y. Luo, IEEE Wireless Communications Letters 2020, "
        "DOI 10.1109/LWC.2020.2999453",
        official_code="github.com/wzjialang/MCLDNN (no licence), Keras",
        checkpoints="github.com/wzjialang/MCLDNN, release 'weights' (no licence); those of cuDNN's "
        "LSTM, with two biases, have another layout and do not load",
    )


NETWORK = frame_network(
    mcldnn,
    VARIANTS,
    card,
    {"first": "Conv5", "kernel": (WIDE, 2 * FILTERS, 2, JOINING), "last": "Softmax"},
    smallest=JOINING,
)
