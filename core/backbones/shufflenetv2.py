"""ShuffleNetV2: channel split and shuffle, by guidelines for what devices compute quickly.

N. Ma, X. Zhang, H.-T. Zheng, J. Sun, ECCV 2018, arXiv:1807.11164. Padding, start and names are
those of torchvision's `shufflenet_v2_x*`, which published the PyTorch weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np

from core.backbones.imagenet import cropped, imagenet_card
from core.backbones.widths import block_numbers
from core.compress.norm_folding import fold_norms
from core.layers.channel_shuffle import ChannelShuffle
from core.layers.convolution import conv_norm, depthwise_norm, linear
from core.layers.pooling import max_pool
from core.model_card import ModelCard
from core.network import Network, check_arguments, without_classifier

# Channels of the three stages and of conv5; MACs of convolutions and the classifier at 224x224;
# top-1 in percent; the shorter side before the middle is cut out; torchvision's file.
VARIANTS: dict[str, dict[str, Any]] = {
    "x1_0": {
        "widths": (116, 232, 464, 1024),
        "parameters": 2_278_604,
        "macs": 144_907_992,
        "top-1": 69.362,
        "side": 256,
        "file": "shufflenetv2_x1-5666bf0f80.pth",
    },
    "x0_5": {
        "widths": (48, 96, 192, 1024),
        "parameters": 1_366_792,
        "macs": 40_476_448,
        "top-1": 60.552,
        "side": 256,
        "file": "shufflenetv2_x0.5-f707e7126e.pth",
    },
    "x1_5": {
        "widths": (176, 352, 704, 1024),
        "parameters": 3_503_624,
        "macs": 295_759_392,
        "top-1": 72.996,
        "side": 232,
        "file": "shufflenetv2_x1_5-3c479a10.pth",
    },
    "x2_0": {
        "widths": (244, 488, 976, 2048),
        "parameters": 7_393_996,
        "macs": 583_253_464,
        "top-1": 76.230,
        "side": 232,
        "file": "shufflenetv2_x2_0-8be3c8ee.pth",
    },
}
STEM = 24
REPEATS = (4, 8, 4)
CLASSIFIER = "fc"
FEATURES = {2: "conv1.2", 4: "maxpool", 8: "stage2.3", 16: "stage3.7", 32: "stage4.3"}


def shuffle_unit(x, filters: int, name: str, *, strides: int = 1):
    """Filter one half of the channels, or all of them twice, join and exchange (Fig. 3c, d).

    Args:
        x: Features (N, H, W, C); C = filters at stride 1.
        filters: Channels of the result, even.
        name: The published module's path.
        strides: 1 splits the channels, 2 halves the sides.
    """
    half = filters // 2
    if strides == 1:
        kept, y = keras.ops.split(x, 2, axis=-1)
    else:
        kept = depthwise_norm(x, 3, f"{name}.branch1", strides=strides)
        kept = conv_norm(kept, half, 1, f"{name}.branch1", first=2, activation="relu")
        y = x
    y = conv_norm(y, half, 1, f"{name}.branch2", activation="relu")
    y = depthwise_norm(y, 3, f"{name}.branch2", first=3, strides=strides)
    y = conv_norm(y, half, 1, f"{name}.branch2", first=5, activation="relu")
    y = keras.layers.Concatenate(name=f"{name}.concat")([kept, y])
    return ChannelShuffle(2, name=name)(y)


def shufflenetv2(
    variant: str = "x1_0",
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    *,
    classes: int | None = 1000,
    depths: Sequence[int] | None = None,
) -> keras.Model:
    """Return ShuffleNetV2.

    Args:
        variant: One of `VARIANTS`, named by width.
        input_shape: (H, W, C), channels last; H and W may be None.
        classes: Classes to tell apart; None leaves the classifier out.
        depths: Units of each stage, at most those of `REPEATS`; None takes all.

    Returns:
        A model from normalised images (N, H, W, C) to logits (N, classes), or without classifier
        to its inputs (N, 1024) or, of x2_0, (N, 2048). `NETWORK.pyramid` gives feature maps.
    """
    check_arguments(VARIANTS, variant, input_shape, classes=classes)
    *widths, last = VARIANTS[variant]["widths"]
    image = keras.Input(input_shape, name="image")
    x = conv_norm(image, STEM, 3, "conv1", strides=2, activation="relu")
    x = max_pool(x, "maxpool")
    stages = zip(widths, block_numbers(REPEATS, depths), strict=True)
    for number, (width, stage) in enumerate(stages, start=2):
        for i in stage:
            strides = 2 if i == stage[0] else 1
            x = shuffle_unit(x, width, f"stage{number}.{i}", strides=strides)
    x = conv_norm(x, last, 1, "conv5", activation="relu")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    if classes is not None:
        x = linear(x, classes, CLASSIFIER)
    return keras.Model(image, x, name=f"shufflenetv2_{variant}")


def infer_arguments(state: Mapping[str, np.ndarray]) -> dict:
    """Return variant and classes of a published state dict, as far as its shapes tell them."""
    found = {}
    first, head = state.get("stage2.0.branch2.0.weight"), state.get(f"{CLASSIFIER}.weight")
    for variant, table in VARIANTS.items():
        if first is not None and 2 * first.shape[0] == table["widths"][0]:
            found["variant"] = variant
    if head is not None:
        found["classes"] = head.shape[0]
    return found


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    table = VARIANTS[variant]
    return imagenet_card(
        "shufflenetv2",
        variant,
        table,
        title="ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design",
        paper="N. Ma, X. Zhang, H.-T. Zheng, J. Sun, ECCV 2018, arXiv:1807.11164",
        official_code=f"github.com/pytorch/vision, torchvision.models.shufflenet_v2_{variant}",
        licence="BSD-3-Clause (torchvision)",
        resize=cropped(table["side"]),
        checkpoints=f"torchvision, ShuffleNet_V2_{variant.upper()}_Weights: {table['file']}",
    )


NETWORK = Network(
    shufflenetv2,
    VARIANTS,
    card,
    deploy=fold_norms,
    infer=infer_arguments,
    skipped=partial(without_classifier, name=CLASSIFIER),
    features=FEATURES,
)
