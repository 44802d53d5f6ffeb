"""ABPN: anchor-based plain net for mobile image super-resolution.

Z. Du, J. Liu, J. Tang, G. Wu, CVPR 2021 Workshops (Mobile AI), arXiv:2105.09750.
Official code: github.com/NJU-Jet/SR_Mobile_Quantization ("base7"; no licence stated).
"""

from __future__ import annotations

import math

import keras
import numpy as np

from core.layers.clip import Clip
from core.layers.pixel_shuffle import DepthToSpace
from core.model_card import ModelCard
from core.network import Network

# The paper's network is x3; the others differ in the last two convolutions and the anchor.
VARIANTS = {
    "x3": {"scale": 3, "parameters": 42_539},
    "x2": {"scale": 2, "parameters": 33_464},
    "x4": {"scale": 4, "parameters": 62_048},
}
PUBLISHED = {
    "x3": {
        "PSNR-RGB DIV2K": 30.22,
        "PSNR-RGB DIV2K, int8": 30.09,
        "PSNR-RGB DIV2K, int8 trained": 30.15,
    },
}
WIDTH, DEPTH = 28, 5


def convolution(x, filters: int, name: str, *, relu: bool = True):
    """Convolve 3×3 with zero padding, initialised as published (Glorot normal, zero bias)."""
    x = keras.layers.Conv2D(
        filters,
        3,
        padding="same",
        kernel_initializer=keras.initializers.GlorotNormal(),
        name=name,
    )(x)
    return keras.layers.Activation("relu", name=f"{name}.relu")(x) if relu else x


def abpn(
    variant: str = "x3",
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    *,
    clip: bool = False,
) -> keras.Model:
    """Return the anchor-based plain net (Fig. 3).

    The anchor repeats the input for each sub-pixel, so the network learns what to add to the
    nearest neighbour; a residual in image space loses less to 8 bits than one between features.

    Args:
        variant: One of `VARIANTS`.
        input_shape: (H, W, 3), channels last; H and W may be None.
        clip: Whether the output is limited to [0, 255].

    Returns:
        A model from RGB in [0, 255] (N, H, W, 3) to RGB (N, scale·H, scale·W, 3).
    """
    if variant not in VARIANTS:
        raise ValueError(f"`variant` must be one of {list(VARIANTS)}. Received: {variant!r}")
    if input_shape[-1] != 3:
        raise ValueError(f"`input_shape` must be (H, W, 3). Received: {input_shape}")
    scale = VARIANTS[variant]["scale"]
    image = x = keras.Input(input_shape, name="image")
    for i in range(DEPTH):
        x = convolution(x, WIDTH, f"conv.{i}")
    x = convolution(x, 3 * scale**2, "up1")
    x = convolution(x, 3 * scale**2, "up2", relu=False)
    anchor = keras.layers.Concatenate(name="anchor")([image] * scale**2)
    x = keras.layers.Add(name="sum")([anchor, x])
    if clip:
        x = Clip(0, 255, name="clip")(x)
    x = DepthToSpace(scale, name="pixel_shuffle")(x)
    return keras.Model(image, x, name=f"abpn_{variant}")


def infer_arguments(state: dict[str, np.ndarray]) -> dict:
    """Return the variant of a state dict, as far as its shapes tell it."""
    if "up2.weight" not in state:
        return {}
    variant = f"x{math.isqrt(state['up2.weight'].shape[0] // 3)}"
    return {"variant": variant} if variant in VARIANTS else {}


def deploy(model: keras.Model) -> keras.Model:
    """Return the deployable network: the same weights, the output limited to [0, 255]."""
    if any(isinstance(layer, Clip) for layer in model.layers):
        return model
    deployed = abpn(model.name.removeprefix("abpn_"), model.input_shape[1:], clip=True)
    deployed.set_weights(model.get_weights())
    return deployed


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    return ModelCard(
        network="abpn",
        variant=variant,
        app="superres",
        title="ABPN: Anchor-based Plain Net for Mobile Image Super-Resolution",
        paper="Z. Du, J. Liu, J. Tang, G. Wu, CVPR 2021 Workshops, arXiv:2105.09750",
        official_code="github.com/NJU-Jet/SR_Mobile_Quantization (no licence stated)",
        licence="no licence stated: the authors' weights may not be passed on",
        input_size=(128, 128),
        size_multiple=1,
        mean=(0.0, 0.0, 0.0),
        std=(1.0 / 255.0,) * 3,
        labels=(),
        output="RGB in [0, 255]",
        decode={"scale": VARIANTS[variant]["scale"], "protocol": "y", "radius": 7},
        published={"parameters": VARIANTS[variant]["parameters"], **PUBLISHED.get(variant, {})},
        checkpoints="none as a state dict; the authors' repository has a SavedModel and .tflite "
        "files (TFMODEL/)"
        if variant == "x3"
        else "none published",
    )


# Its pixel shuffle is TensorFlow's, so no array of a state dict has to be converted.
NETWORK = Network(build=abpn, variants=VARIANTS, card=card, deploy=deploy, infer=infer_arguments)
