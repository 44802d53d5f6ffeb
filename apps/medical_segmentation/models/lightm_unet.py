"""LightM-UNet: a U-Net whose encoder is made of Mamba layers, for images and for volumes.

W. Liao, Y. Zhu, X. Wang, C. Pan, Y. Wang, L. Ma, "LightM-UNet: Mamba Assists in Lightweight UNet
for Medical Image Segmentation", 2024, arXiv:2403.05246.
Official code: github.com/MrBlankness/LightM-UNet (Apache-2.0). It is followed where the figures of
the paper differ: Mamba's own block, channels that change before the pooling, norms in the decoder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np

from core.layers.convolution import depthwise, linear
from core.layers.group_norm import GroupNorm
from core.layers.mamba import mamba
from core.layers.resize import BilinearUpsampling
from core.layers.scale import LearnedScale
from core.layers.volumes import DepthwiseConv3D, TrilinearUpsampling, VolumePooling
from core.model_card import ModelCard
from core.network import Network, check_arguments

# The width is that of the first stage, the depths are blocks a stage. The released code builds the
# networks of width 32 (MrBlankness/LightM-UNet#30, #36: 5.01 million parameters there too).
VARIANTS: dict[str, dict[str, Any]] = {
    "2d": {"size": (512, 512), "width": 32, "depths": (1, 2, 2, 4), "parameters": 5_011_765},
    "2d_16": {"size": (512, 512), "width": 16, "depths": (1, 2, 2, 4), "parameters": 1_342_965},
    "2d_16_shallow": {"size": (512, 512), "width": 16, "depths": (1, 2, 2, 2),
                      "parameters": 808_945},
    "2d_8": {"size": (512, 512), "width": 8, "depths": (1, 2, 2, 4), "parameters": 380_821},
    "3d": {"size": (128, 128, 128), "width": 32, "depths": (1, 2, 2, 4), "parameters": 5_015_766},
    "3d_16": {"size": (128, 128, 128), "width": 16, "depths": (1, 2, 2, 4),
              "parameters": 1_344_966},
    "3d_8": {"size": (128, 128, 128), "width": 8, "depths": (1, 2, 2, 4), "parameters": 381_822},
}  # fmt: skip
PUBLISHED = {
    "2d": {"M parameters in the paper": 1.09, "GMACs at 512x512": 47.8,
           "Dice Montgomery & Shenzhen": 96.17},
    "3d": {"M parameters in the paper": 1, "GMACs at 128x128x128": 154.5, "Dice LiTS": 84.6},
}  # fmt: skip
GROUPS = 8
MULTIPLE = 8


def norm_relu(x, norm: str, name: str):
    """Normalise in groups, then rectify."""
    x = GroupNorm(groups=GROUPS, epsilon=1e-5, name=norm)(x)
    return keras.layers.Activation("relu", name=name)(x)


def mamba_layer(x, filters: int, name: str):
    """Residual vision Mamba layer, RVM (Fig. 3): one norm, used before and behind the sum."""
    norm = keras.layers.LayerNormalization(epsilon=1e-5, name=f"{name}.norm")
    branch = mamba(norm(x), f"{name}.mamba")
    skip = LearnedScale("skip_scale", name=name)(x)
    x = norm(keras.layers.Add(name=f"{name}.sum")([branch, skip]))
    return linear(x, filters, f"{name}.proj")


def encoder_block(x, block: str, name: str):
    """Two Mamba layers, each behind a norm, beside the identity."""
    y = x
    for i in (1, 2):
        y = norm_relu(y, f"{block}.norm{i}", f"{block}.relu{i}")
        y = mamba_layer(y, x.shape[-1], f"{block}.conv{i}")
    return keras.layers.Add(name=name)([y, x])


def separable(x, filters: int, name: str, *, kernel: int = 3, use_bias: bool = False):
    """Convolve each channel by itself, then mix the channels."""
    if len(x.shape) == 5:
        x = DepthwiseConv3D(kernel, use_bias=use_bias, name=f"{name}.0.conv")(x)
    else:
        x = depthwise(x, kernel, f"{name}.0.conv", use_bias=use_bias)
    return linear(x, filters, f"{name}.1.conv", use_bias=use_bias)


def decoder_block(x, name: str):
    """A separable convolution with a scaled skip, behind a norm and before one."""
    y = norm_relu(x, f"{name}.norm1", f"{name}.relu1")
    y = separable(y, x.shape[-1], f"{name}.conv")
    skip = LearnedScale("skip_scale", name=name)(x)
    y = keras.layers.Add(name=f"{name}.sum")([y, skip])
    return norm_relu(y, f"{name}.norm2", f"{name}.relu2")


def lightm_unet(
    variant: str = "2d",
    input_shape: tuple[int | None, ...] | None = None,
    *,
    classes: int | None = None,
    depths: Sequence[int] | None = None,
) -> keras.Model:
    """Return LightM-UNet: light in parameters, not in memory or time.

    The released network, "2d" and "3d", has 5.01 million parameters, not the paper's 1.09 million:
    the paper's count leaves out the Mamba blocks. The other variants are narrower.

    Args:
        variant: One of `VARIANTS`.
        input_shape: (H, W, channels), or of volumes (D, H, W, channels); all sides are multiples
            of 8 or None. None is the published size: RGB images, volumes of one channel.
        classes: Output channels: the classes with background, or 1 for one foreground. None is
            the published number: lungs 2, liver and tumour 3.
        depths: Blocks of each of the four stages; None takes the variant's.

    Returns:
        A model from normalised inputs (N, …, channels) to logits (N, …, classes).
    """
    published = card(variant if variant in VARIANTS else "2d")  # `check_arguments` refuses others
    volumes = len(published.input_size) == 3
    sides = ("D", "H", "W") if volumes else ("H", "W")
    input_shape = published.input_shape if input_shape is None else input_shape
    classes = len(published.labels) if classes is None else classes
    check_arguments(VARIANTS, variant, input_shape, multiple=MULTIPLE, classes=classes, sides=sides)
    table = VARIANTS[variant]
    depths = table["depths"] if depths is None else tuple(depths)
    if len(depths) != len(table["depths"]) or min(depths) < 1:
        raise ValueError(f"`depths` must be four positive integers. Received: depths={depths}")
    pool = VolumePooling if volumes else partial(keras.layers.MaxPooling2D, 2)
    upsample = TrilinearUpsampling if volumes else BilinearUpsampling
    inputs = keras.Input(input_shape, name="volume" if volumes else "image")

    x = separable(inputs, table["width"], "convInit")
    skips = []
    for stage, depth in enumerate(depths):
        name, width = f"down_layers.{stage}", table["width"] * 2**stage
        if stage:
            x = mamba_layer(x, width, f"{name}.0.0")
            x = pool(name=f"{name}.0.1")(x)
        for block in range(1, depth + 1):
            end = name if block == depth else f"{name}.{block}"
            x = encoder_block(x, f"{name}.{block}", end)
        skips.append(x)

    x = skips.pop()
    for i, skip in enumerate(reversed(skips)):
        x = linear(x, skip.shape[-1], f"up_samples.{i}.0.conv", use_bias=False)
        x = upsample(name=f"up_samples.{i}.1")(x)
        x = keras.layers.Add(name=f"up_samples.{i}.sum")([x, skip])
        x = decoder_block(x, f"up_layers.{i}.0")
    x = norm_relu(x, "conv_final.0", "conv_final.1")
    logits = separable(x, classes, "conv_final.2", kernel=1, use_bias=True)
    return keras.Model(inputs, logits, name=f"lightm_unet_{variant}")


def infer_arguments(state: Mapping[str, np.ndarray]) -> dict:
    """Return variant, channels and classes of a published state dict, as its shapes tell them."""
    found: dict = {}
    stem, head = state.get("convInit.0.conv.weight"), state.get("conv_final.2.1.conv.weight")
    if stem is not None:
        sides, found["channels"] = stem.ndim - 2, stem.shape[0]
        width = len(state.get("convInit.1.conv.weight", ()))
        blocks = re.findall(r"down_layers\.([0-3])\.\d\.norm1\.weight", " ".join(state))
        depths = tuple(blocks.count(str(stage)) for stage in range(4))
        for variant, table in VARIANTS.items():
            described = (len(table["size"]), table["width"], table["depths"])
            if described == (sides, width, depths):
                found["variant"] = variant
    if head is not None:
        found["classes"] = head.shape[0]
    return found


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings.

    Volumes come as grey levels of a window of intensities, `decode["window"]`, and at a spacing,
    `decode["spacing"]` (see `volumes.intensity` and `volumes.resample`).
    """
    size = VARIANTS[variant]["size"]
    kind: dict[str, Any]
    labels: tuple[str, ...]
    decode: dict[str, Any] = {"protocol": "native"}
    if len(size) == 3:
        # Published: Hounsfield units clipped at 0.5 and 99.5 % of the data set's foreground, less
        # its mean, by its deviation (nnU-Net). A window is the same straight line between its two
        # ends, in 256 levels and with round numbers: what a device is to do fits in the card.
        kind = {"channels": 1, "color_order": "", "mean": (0.5,), "std": (0.25,)}
        labels = ("background", "liver", "tumour")
        decode |= {"window": "abdomen", "spacing": 0}
    else:
        # Published: each image by its own mean and deviation, which no file could hold.
        kind = {"mean": (0.5,) * 3, "std": (0.25,) * 3}
        labels = ("background", "lungs")
    return ModelCard(
        network="lightm_unet",
        variant=variant,
        app="medseg",
        title="LightM-UNet: Mamba Assists in Lightweight UNet for Medical Image Segmentation",
        paper="W. Liao et al., 2024, arXiv:2403.05246",
        official_code="github.com/MrBlankness/LightM-UNet (Apache-2.0)",
        licence="architecture Apache-2.0; weights follow the licence of their training data",
        input_size=size,
        size_multiple=MULTIPLE,
        labels=labels,
        output="logits",
        decode=decode,
        published={"parameters": VARIANTS[variant]["parameters"], **PUBLISHED.get(variant, {})},
        checkpoints="none published",
        **kind,
    )


NETWORK = Network(
    build=lightm_unet,
    variants=VARIANTS,
    card=card,
    infer=infer_arguments,
    features={2**stage: f"down_layers.{stage}" for stage in range(4)},
    smallest=MULTIPLE,
    # The ends of the Mamba layers, of the encoder's blocks and poolings, of the decoder's blocks.
    kept=r"down_layers\.\d(\.\d(\.1|\.conv1\.proj)?)?|up_layers\.\d\.0\.relu2",
)
