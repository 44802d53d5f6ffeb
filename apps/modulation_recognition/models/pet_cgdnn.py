"""PET-CGDNN: turns a frame by an angle it estimates, then convolves along time, then a GRU.

F. Zhang, C. Luo, J. Xu, Y. Luo, "An Efficient Deep Learning Model for Automatic Modulation
Recognition Based on Parameter Estimation and Transformation", IEEE Communications Letters 2021.
"""

from __future__ import annotations

import keras

from apps.modulation_recognition.models.frames import (
    BENCHMARK,
    CHANNELS,
    CLASSES,
    LENGTH,
    Shape,
    frame_card,
    frame_input,
    frame_network,
)
from core.layers.recurrent import GRU
from core.model_card import ModelCard

VARIANTS = {"base": {"parameters": 71_871}}
FILTERS, WINDOWS, UNITS = (75, 25), (8, 5), 128
SMALLEST = sum(WINDOWS) - 1


@keras.saving.register_keras_serializable("gossamer")
class PhaseRotation(keras.layers.Layer):
    """Turn frames back by an angle each: I cos w + Q sin w and Q cos w - I sin w.

    Takes frames (N, length, 2) and angles (N, 1) in radian; float32 whatever the precision, for
    sine and cosine have no integer form.
    """

    always_float = True

    def call(self, inputs):
        frame, angle = inputs
        cosine, sine = (f(angle)[:, None] for f in (keras.ops.cos, keras.ops.sin))
        in_phase, quadrature = frame[..., :1], frame[..., 1:]
        turned = (in_phase * cosine + quadrature * sine, quadrature * cosine - in_phase * sine)
        return keras.ops.concatenate(turned, axis=-1)

    def compute_output_shape(self, input_shape):
        return input_shape[0]


def pet_cgdnn(
    variant: str = "base",
    input_shape: Shape = (LENGTH, CHANNELS),
    *,
    classes: int = len(CLASSES),
) -> keras.Model:
    """Return PET-CGDNN.

    Args:
        variant: One of `VARIANTS`.
        input_shape: (length, 2), at least 12 samples; the length is part of the network.
        classes: Classes to tell apart.

    Returns:
        A model from frames (N, length, 2) whose magnitudes sum to 1 to logits (N, classes).
    """
    fixed = "every sample has a weight where the angle is estimated"
    frame = frame_input(VARIANTS, variant, input_shape, classes, smallest=SMALLEST, fixed=fixed)
    angle = keras.layers.Flatten(name="flatten")(frame)  # I0, Q0, I1, Q1, …
    angle = keras.layers.Dense(1, name="fc2")(angle)
    x = PhaseRotation(name="rotation")([frame, angle])
    x = keras.layers.Reshape((-1, CHANNELS, 1), name="image")(x)
    for number, filters in enumerate(FILTERS):
        window = (WINDOWS[number], x.shape[2])
        x = keras.layers.Conv2D(filters, window, activation="relu", name=f"conv1_{number + 1}")(x)
    x = keras.layers.Reshape((-1, FILTERS[-1]), name="sequence")(x)
    x = GRU(UNITS, name="gru")(x)
    logits = keras.layers.Dense(classes, name="softmax")(x)
    return keras.Model(frame, logits, name=f"pet_cgdnn_{variant}")


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    return frame_card(
        "pet_cgdnn",
        variant,
        VARIANTS[variant]["parameters"],
        title="An Efficient Deep Learning Model for Automatic Modulation Recognition Based on "
        "Parameter Estimation and Transformation",
        paper="F. Zhang, C. Luo, J. Xu, Y. Luo, IEEE Communications Letters 2021",
        official_code=BENCHMARK,
    )


NETWORK = frame_network(
    pet_cgdnn,
    VARIANTS,
    card,
    {
        "first": "conv1_1",
        "kernel": (FILTERS[0], 1, WINDOWS[0], CHANNELS),
        "last": "softmax",
        "dense": "fc2",
        "length": lambda inputs: inputs // CHANNELS,
    },
    smallest=SMALLEST,
    any_size=False,
)
