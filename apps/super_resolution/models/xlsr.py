"""XLSR: extremely lightweight super-resolution, robust to quantization, for mobile devices.

M. Ayazoglu, CVPR 2021 Workshops (Mobile AI), arXiv:2105.10288. The author published no code;
weights and module names are those of github.com/cxzhou95/XLSR (MIT).
"""

from __future__ import annotations

import math
import re

import keras
import numpy as np

from apps.super_resolution.models.common import (
    CHANNELS,
    clipped,
    pixel_card,
    scale_of,
    variant_of_scale,
)
from core.layers.clip import Clip
from core.layers.convolution import GroupedConv2D
from core.layers.pixel_shuffle import DepthToSpace, from_torch_order
from core.model_card import ModelCard
from core.network import Network, check_arguments

# The paper's network is x3; the others differ in the last convolution only.
VARIANTS = {
    "x3": {"scale": 3, "parameters": 21_947},
    "x2": {"scale": 2, "parameters": 17_612},
    "x4": {"scale": 4, "parameters": 28_016},
}
PUBLISHED = {
    "x3": {
        "PSNR-RGB DIV2K": 30.10,
        "PSNR-RGB DIV2K, int8": 29.82,
        "PSNR-RGB DIV2K, cxzhou95": 30.092,
        "PSNR-RGB DIV2K, int8, cxzhou95": 29.71,
    },
}
WIDTH, SKIP, GROUPS, BLOCKS = 32, 16, 4, 3


def convolution(
    x, filters: int, kernel: int, name: str, *, groups: int = 1, parts: int = 1, whole: bool = False
):
    """Convolve, initialised as the published network: variance 0.2 / fan out, bias 0.01.

    Args:
        x: Features (N, H, W, C).
        filters, kernel: Output channels and side of the window.
        name: The published module's path.
        groups: Groups of channels that do not mix.
        parts: How many convolutions of the published network this one stands for.
        whole: Whether a grouped convolution is one operator in a TFLite file (see `deploy`).
    """
    kind = GroupedConv2D if groups > 1 and not whole else keras.layers.Conv2D
    deviation = math.sqrt(0.2 / (kernel * kernel * filters // parts))
    return kind(
        filters,
        kernel,
        padding="same",
        groups=groups,
        kernel_initializer=keras.initializers.RandomNormal(stddev=deviation),
        bias_initializer=keras.initializers.Constant(0.01),
        name=name,
    )(x)


def xlsr(
    variant: str = "x3",
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    *,
    clip: bool = False,
    whole_groups: bool = False,
) -> keras.Model:
    """Return XLSR (Fig. 2 and 3).

    The four convolutions side by side at the start are one with four times the channels, and the
    four of a group block are one grouped convolution: the same products (see `convert_state`).

    Args:
        variant: One of `VARIANTS`.
        input_shape: (H, W, 3), channels last; H and W may be None.
        clip: Whether the output is limited to [0, 1], the paper's clipped ReLU. Training goes
            without it, because a pixel beyond the limits would get no gradient.
        whole_groups: Whether grouped convolutions are plain Keras ones, quick in TFLite, instead
            of `GroupedConv2D`, quick to train on the CPU; the weights are the same.

    Returns:
        A model from RGB in [0, 1] (N, H, W, 3) to RGB (N, scale·H, scale·W, 3).
    """
    check_arguments(VARIANTS, variant, input_shape, channels=CHANNELS)
    scale = VARIANTS[variant]["scale"]
    image = keras.Input(input_shape, name="image")
    x = convolution(image, WIDTH, 3, "conv0", parts=GROUPS)
    x = keras.layers.Activation("relu", name="conv0.relu")(x)
    x = convolution(x, WIDTH, 1, "conv2")
    for i in range(BLOCKS):
        name = f"Gblocks.{i}"
        x = convolution(
            x, WIDTH, 3, f"{name}.conv0", groups=GROUPS, parts=GROUPS, whole=whole_groups
        )
        x = keras.layers.Activation("relu", name=f"{name}.relu")(x)
        x = convolution(x, WIDTH, 1, f"{name}.conv1")
    skip = convolution(image, SKIP, 3, "conv1")
    x = keras.layers.Concatenate(name="concat")([x, skip])
    x = convolution(x, WIDTH, 1, "conv3.conv")
    x = keras.layers.Activation("relu", name="conv3.relu")(x)
    x = convolution(x, CHANNELS * scale**2, 3, "conv4")
    if clip:
        x = Clip(0, 1, name="clip")(x)
    x = DepthToSpace(scale, name="pixel_shuffle")(x)
    return keras.Model(image, x, name=f"xlsr_{variant}")


def convert_state(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a published state dict for this network.

    Convolutions side by side are joined (of older files, group blocks are already), the last
    one's channels are put in TensorFlow's order, and blue, green, red become red, green, blue: the
    published network is trained on images as OpenCV reads them.
    """
    part = re.compile(r"(conv0_|(Gblocks\.\d+\.conv0)\.conv2d_block\.)\d+(\.conv)?\.(weight|bias)")
    parts: dict[str, list[str]] = {}
    for name in sorted(state):  # the parts are numbered 0 to 3
        found = part.fullmatch(name)
        joined = f"{found[2] or 'conv0'}.{found[4]}" if found else name
        parts.setdefault(joined, []).append(name)
    converted = {
        name: np.concatenate([state[n] for n in names]) if names != [name] else state[name]
        for name, names in parts.items()
    }
    for name in ("conv0.weight", "conv1.weight"):
        if name in converted:
            converted[name] = converted[name][:, ::-1]
    for name in ("conv4.weight", "conv4.bias"):
        if name in converted:
            array = converted[name]
            ordered = from_torch_order(array, scale_of(array.shape[0]))
            colours = ordered.reshape(-1, CHANNELS, *array.shape[1:])[:, ::-1]
            converted[name] = colours.reshape(array.shape)
    return converted


def infer_arguments(state: dict[str, np.ndarray]) -> dict:
    """Return the variant of a published state dict, as far as its shapes tell it."""
    own = "Gblocks.0.conv1.weight" in state
    return variant_of_scale(state, "conv4.weight", VARIANTS) if own else {}


def deploy(model: keras.Model) -> keras.Model:
    """Return the deployable network: equal weights, the output limited to [0, 1].

    Each group block is one grouped CONV_2D, which XNNPACK computes three to four times as fast as
    what `GroupedConv2D` becomes (groups of 8 channels are not narrow).
    """
    return clipped(model, xlsr, whole_groups=True)


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    return pixel_card(
        "xlsr",
        variant,
        VARIANTS[variant],
        radius=5,
        published=PUBLISHED.get(variant, {}),
        title="XLSR: Extremely Lightweight Quantization Robust Real-Time Single-Image "
        "Super Resolution for Mobile Devices",
        paper="M. Ayazoglu, CVPR 2021 Workshops, arXiv:2105.10288",
        official_code="none; github.com/cxzhou95/XLSR (MIT) is another's PyTorch version",
        licence="architecture and weights of cxzhou95/XLSR: MIT",
        checkpoints="github.com/cxzhou95/XLSR, exp/OneCyclicLR/best.pt"
        if variant == "x3"
        else "none published",
    )


NETWORK = Network(
    xlsr, VARIANTS, card, deploy=deploy, convert_state=convert_state, infer=infer_arguments
)
