"""What the networks of this domain share: cards for pixels, the clip at their end, their scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import keras

from core.layers.clip import Clip
from core.model_card import ModelCard

CHANNELS = 3


def pixel_card(
    network: str,
    variant: str,
    table: Mapping[str, Any],
    *,
    radius: int,
    published: Mapping[str, float],
    **provenance,
) -> ModelCard:
    """Return the card of a network from RGB in [0, peak] to RGB in [0, peak].

    Args:
        network, variant: Catalog name and variant.
        table: The variant's row: "scale", "parameters", and "peak" where that is not 1.
        radius: How many pixels of the input around one decide its result.
        published: Published numbers but the parameters.
        **provenance: Further fields of the card.
    """
    peak = table.get("peak", 1)
    settings: dict[str, Any] = {
        "input_size": (128, 128),
        "mean": (0.0,) * CHANNELS,
        "std": (1.0 / peak,) * CHANNELS,
        "output": f"RGB in [0, {peak}]",
        "decode": {"scale": table["scale"], "protocol": "y", "radius": radius},
        "published": {"parameters": table["parameters"], **published},
    }
    return ModelCard(network, variant, "superres", **settings, **provenance)


def clipped(model: keras.Model, build: Callable[..., keras.Model], **options) -> keras.Model:
    """Return the same weights in a network whose output is limited to the pixels' range.

    Args:
        model: Called `<network>_<variant>`, with or without that limit.
        build: Its builder, which takes `clip`.
        **options: Further arguments of the builder for the deployable form.
    """
    if any(isinstance(layer, Clip) for layer in model.layers):
        return model
    variant = model.name.partition("_")[2]
    deployed = build(variant, model.input_shape[1:], clip=True, **options)
    deployed.set_weights(model.get_weights())
    return deployed


def scale_of(channels: int) -> int:
    """Return how much a pixel shuffle of so many channels enlarges a picture."""
    return math.isqrt(channels // CHANNELS)


def variant_of_scale(state: Mapping[str, Any], name: str, variants: Mapping[str, Any]) -> dict:
    """Return {"variant": "x<scale>"} by the last convolution's entry `name`; {} if none fits."""
    if name not in state:
        return {}
    variant = f"x{scale_of(state[name].shape[0])}"
    return {"variant": variant} if variant in variants else {}
