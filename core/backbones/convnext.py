"""ConvNeXt-Base: a convolutional network with the measures of a vision transformer.

Z. Liu, H. Mao, C.-Y. Wu, C. Feichtenhofer, T. Darrell, S. Xie, "A ConvNet for the 2020s", CVPR
2022, arXiv:2201.03545. Names and start are those of torchvision's `convnext_base`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import keras
import numpy as np

from core.backbones.imagenet import cropped, imagenet_card
from core.backbones.widths import block_numbers
from core.layers.convolution import activate, convolution, depthwise, linear
from core.layers.scale import LayerScale
from core.model_card import ModelCard
from core.network import Network, check_arguments, without_classifier

# MACs of convolutions and linear layers at 224x224; top-1 in percent.
VARIANTS = {"base": {"parameters": 88_591_464, "macs": 15_354_729_472, "top-1": 84.062}}
STAGES = ((128, 3), (256, 3), (512, 27), (1024, 3))  # channels and blocks (Sec. 3)
PATCH, HALVING = 4, 2  # sides of the windows, side by side, of the stem and between stages
KERNEL, EXPANSION, EPSILON = 7, 4, 1e-6
DROPPED = 0.5  # stochastic depth of the last block, growing linearly from 0 (Table 5)
CLASSIFIER = "classifier.2"
MULTIPLE = 32  # of the sides: what is left of a window would be dropped
FEATURES = {
    4: "features.1.2.sum",
    8: "features.3.2.sum",
    16: "features.5.26.sum",
    32: "features.7.2.sum",
}


def normal() -> keras.initializers.Initializer:
    """Return the start of a kernel: PyTorch's trunc_normal_, which cuts off at 2, not at 2 std."""
    return keras.initializers.RandomNormal(stddev=0.02)


def channel_norm(x, name: str):
    """Normalise every position over its channels."""
    return keras.layers.LayerNormalization(epsilon=EPSILON, name=name)(x)


def patches(x, filters: int, side: int, name: str):
    """Convolve windows that lie side by side, each once."""
    return convolution(x, filters, side, name, strides=side, padding="valid", initializer=normal())


def block(x, name: str, *, dropped: float = 0.0):
    """Filter every channel by 7x7, normalise, treat every position by itself, scale (Fig. 4).

    Args:
        x: Features (N, H, W, C).
        name: The published module's path.
        dropped: Share of the samples whose block, without its shortcut, training leaves out.

    Returns:
        Features (N, H, W, C), the block's added to `x`.
    """
    width = x.shape[-1]
    y = depthwise(x, KERNEL, f"{name}.block.0", initializer=normal())
    y = channel_norm(y, f"{name}.block.2")
    y = linear(y, EXPANSION * width, f"{name}.block.3", initializer=normal())
    y = activate(y, "gelu", f"{name}.block.4")
    y = linear(y, width, f"{name}.block.5", initializer=normal())
    y = LayerScale(name=name)(y)
    if dropped:
        shape = (None, 1, 1, 1)
        y = keras.layers.Dropout(dropped, noise_shape=shape, name=f"{name}.stochastic_depth")(y)
    return keras.layers.Add(name=f"{name}.sum")([x, y])


def convnext(
    variant: str = "base",
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    *,
    classes: int | None = 1000,
    depths: Sequence[int] | None = None,
) -> keras.Model:
    """Return ConvNeXt-Base.

    Args:
        variant: One of `VARIANTS`.
        input_shape: (H, W, C), channels last; H and W multiples of 32 or None.
        classes: Classes to tell apart; None leaves the classifier out.
        depths: Blocks of each stage, at most those of `STAGES`; None takes all.

    Returns:
        A model from normalised images (N, H, W, C) to logits (N, classes), or without classifier
        to its inputs (N, 1024), which are normalised. `NETWORK.pyramid` gives feature maps.
    """
    check_arguments(VARIANTS, variant, input_shape, classes=classes, multiple=MULTIPLE)
    image = keras.Input(input_shape, name="image")
    numbers = block_numbers([repeats for _, repeats in STAGES], depths)
    x, done, last = image, 0, sum(map(len, numbers)) - 1
    for stage, ((width, _), blocks) in enumerate(zip(STAGES, numbers, strict=True)):
        name = f"features.{2 * stage}"
        if stage == 0:
            x = channel_norm(patches(x, width, PATCH, f"{name}.0"), f"{name}.1")
        else:
            x = patches(channel_norm(x, f"{name}.0"), width, HALVING, f"{name}.1")
        for i in blocks:
            x = block(x, f"features.{2 * stage + 1}.{i}", dropped=DROPPED * done / last)
            done += 1
    x = keras.layers.GlobalAveragePooling2D(name="avgpool")(x)
    x = channel_norm(x, "classifier.0")
    if classes is not None:
        x = linear(x, classes, CLASSIFIER, initializer=normal())
    return keras.Model(image, x, name=f"convnext_{variant}")


def infer_arguments(state: Mapping[str, np.ndarray]) -> dict:
    """Return variant and classes of a published state dict, as far as its names tell them."""
    found: dict = {}
    last, head = state.get("features.5.26.layer_scale"), state.get(f"{CLASSIFIER}.weight")
    if last is not None and last.size == STAGES[2][0] and "features.5.27.layer_scale" not in state:
        found["variant"] = "base"
    if head is not None:
        found["classes"] = head.shape[0]
    return found


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    return imagenet_card(
        "convnext",
        variant,
        VARIANTS[variant],
        title="A ConvNet for the 2020s",
        paper="Z. Liu, H. Mao, C.-Y. Wu, C. Feichtenhofer, T. Darrell, S. Xie, CVPR 2022, "
        "arXiv:2201.03545",
        official_code="github.com/pytorch/vision, torchvision.models.convnext_base",
        licence="BSD-3-Clause (torchvision)",
        resize=cropped(232),
        size_multiple=MULTIPLE,
        checkpoints="torchvision, ConvNeXt_Base_Weights: convnext_base-6075fbad.pth",
    )


NETWORK = Network(
    convnext,
    VARIANTS,
    card,
    infer=infer_arguments,
    skipped=partial(without_classifier, name=CLASSIFIER),
    features=FEATURES,
)
