"""ABPN: anchor-based plain net for mobile image super-resolution.

Z. Du, J. Liu, J. Tang, G. Wu, CVPR 2021 Workshops (Mobile AI), arXiv:2105.09750.
Official code: github.com/NJU-Jet/SR_Mobile_Quantization ("base7"; no licence stated).
"""

from __future__ import annotations

import keras
import numpy as np

from apps.super_resolution.models.common import CHANNELS, clipped, pixel_card, variant_of_scale
from core.layers.clip import Clip
from core.layers.convolution import activate, convolution
from core.layers.pixel_shuffle import DepthToSpace
from core.model_card import ModelCard
from core.network import Network, check_arguments

# The paper's network is x3; the others differ in the last two convolutions and the anchor.
VARIANTS = {
    "x3": {"scale": 3, "peak": 255, "parameters": 42_539},
    "x2": {"scale": 2, "peak": 255, "parameters": 33_464},
    "x4": {"scale": 4, "peak": 255, "parameters": 62_048},
}
PUBLISHED = {
    "x3": {
        "PSNR-RGB DIV2K": 30.22,
        "PSNR-RGB DIV2K, int8": 30.09,
        "PSNR-RGB DIV2K, int8 trained": 30.15,
    },
}
WIDTH, DEPTH = 28, 5


def conv_relu(x, filters: int, name: str):
    """Convolve 3×3, initialised as published (Glorot normal, zero bias), and rectify."""
    x = convolution(x, filters, 3, name, initializer=keras.initializers.GlorotNormal())
    return activate(x, "relu", f"{name}.relu")


def abpn(
    variant: str = "x3",
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    *,
    clip: bool = False,
) -> keras.Model:
    """Return the anchor-based plain net (Fig. 3).

    The anchor repeats the input for each sub-pixel, so the network learns what to add to the
    nearest neighbour; a residual in image space loses less to 8 bits than one between features.
    The last layer starts as zeros, other than published (Glorot normal): training first makes
    a random residual smaller, and within ten steps does so by switching off the ReLUs before it.

    Args:
        variant: One of `VARIANTS`.
        input_shape: (H, W, 3), channels last; H and W may be None.
        clip: Whether the output is limited to [0, 255].

    Returns:
        A model from RGB in [0, 255] (N, H, W, 3) to RGB (N, scale·H, scale·W, 3).
    """
    check_arguments(VARIANTS, variant, input_shape, channels=CHANNELS)
    scale = VARIANTS[variant]["scale"]
    image = x = keras.Input(input_shape, name="image")
    for i in range(DEPTH):
        x = conv_relu(x, WIDTH, f"conv.{i}")
    x = conv_relu(x, CHANNELS * scale**2, "up1")
    x = convolution(x, CHANNELS * scale**2, 3, "up2", initializer="zeros")
    anchor = keras.layers.Concatenate(name="anchor")([image] * scale**2)
    x = keras.layers.Add(name="sum")([anchor, x])
    if clip:
        x = Clip(0, 255, name="clip")(x)
    x = DepthToSpace(scale, name="pixel_shuffle")(x)
    return keras.Model(image, x, name=f"abpn_{variant}")


def infer_arguments(state: dict[str, np.ndarray]) -> dict:
    """Return the variant of a state dict, as far as its shapes tell it."""
    return variant_of_scale(state, "up2.weight", VARIANTS)


def deploy(model: keras.Model) -> keras.Model:
    """Return the deployable network: the same weights, the output limited to [0, 255]."""
    return clipped(model, abpn)


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    return pixel_card(
        "abpn",
        variant,
        VARIANTS[variant],
        radius=7,
        published=PUBLISHED.get(variant, {}),
        title="ABPN: Anchor-based Plain Net for Mobile Image Super-Resolution",
        paper="Z. Du, J. Liu, J. Tang, G. Wu, CVPR 2021 Workshops, arXiv:2105.09750",
        official_code="github.com/NJU-Jet/SR_Mobile_Quantization (no licence stated)",
        licence="no licence stated: the authors' weights may not be passed on",
        checkpoints="none as a state dict; the authors' repository has a SavedModel and .tflite "
        "files (TFMODEL/)"
        if variant == "x3"
        else "none published",
    )


# Its pixel shuffle is TensorFlow's, so no array of a state dict has to be converted.
NETWORK = Network(abpn, VARIANTS, card, deploy=deploy, infer=infer_arguments)
