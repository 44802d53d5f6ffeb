"""ToneNet: two convolutions along time."""

import keras

from core.model_card import ModelCard
from core.network import Network

VARIANTS = {"small": {"width": 8}, "wide": {"width": 16}}


def tone_net(variant, input_shape, *, classes=2):
    """Return the network: float32 (length, channels) in, a logit for each class out."""
    width = VARIANTS[variant]["width"]
    signal = x = keras.Input(input_shape, name="signal")
    for number, filters in enumerate((width, 2 * width), start=1):
        x = keras.layers.Conv1D(filters, 9, strides=2, activation="relu", name=f"conv{number}")(x)
    x = keras.layers.GlobalAveragePooling1D(name="pool")(x)
    logits = keras.layers.Dense(classes, name="classifier")(x)
    return keras.Model(signal, logits, name=f"tone_net_{variant}")


def card(variant):
    """Return the model card: two channels of 16-bit sound, 128 samples long."""
    return ModelCard(
        network="tone_net",
        variant=variant,
        app="tone",
        input_size=(128,),
        channels=2,
        color_order="",
        full_scale=32768.0,
        mean=(0.0, 0.0),
        std=(0.25, 0.25),
    )


NETWORK = Network(build=tone_net, variants=VARIANTS, card=card)
