"""MobileNetV2: inverted residuals with linear bottlenecks.

M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen, CVPR 2018, arXiv:1801.04381. Padding, start
and names are those of torchvision's `mobilenet_v2`, which published the PyTorch weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import keras
import numpy as np

from core.backbones.imagenet import cropped, imagenet_card
from core.backbones.widths import block_numbers, make_divisible
from core.compress.norm_folding import fold_norms
from core.layers.convolution import conv_norm, depthwise_norm, fan_out_normal, linear
from core.model_card import ModelCard
from core.network import Network, check_arguments, without_classifier

# MACs of convolutions and the classifier at 224x224; top-1 in percent, of the newer weights.
VARIANTS = {"x1_0": {"parameters": 3_504_872, "macs": 300_774_272, "top-1": 72.154}}
# Of each stage: expansion, channels, blocks, stride of the first (Table 2).
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
STEM, HEAD, DIVISOR = 32, 1280, 8
CLASSIFIER = "classifier.1"
FEATURES = {2: "features.1", 4: "features.3", 8: "features.6", 16: "features.13", 32: "features.17"}


def inverted_residual(
    x, filters: int, name: str, *, expansion: int, strides: int = 1, padding: str = "torch"
):
    """Expand by a 1x1, filter by a depthwise 3x3, project linearly; a shortcut where it fits.

    Args:
        x: Features (N, H, W, C).
        filters: Channels of the result.
        name: The published module's path.
        expansion: Channels within per input channel; 1 leaves the expansion out.
        strides: 1 or 2.
        padding: Of the depthwise convolution, as `core.layers.convolution` has it.
    """
    y, first = x, 0
    if expansion != 1:
        y = conv_norm(
            y,
            expansion * x.shape[-1],
            1,
            f"{name}.conv.0",
            activation="relu6",
            initializer=fan_out_normal(),
        )
        first = 1
    y = depthwise_norm(
        y,
        3,
        f"{name}.conv.{first}",
        strides=strides,
        activation="relu6",
        initializer=fan_out_normal(depthwise=True),
        padding=padding,
    )
    start = fan_out_normal()
    y = conv_norm(y, filters, 1, f"{name}.conv", first=first + 1, initializer=start)
    if strides > 1 or x.shape[-1] != filters:
        return keras.layers.Identity(name=name)(y)
    return keras.layers.Add(name=name)([x, y])


def mobilenetv2(
    variant: str = "x1_0",
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    *,
    classes: int | None = 1000,
    dropout: float = 0.2,
    depths: Sequence[int] | None = None,
) -> keras.Model:
    """Return MobileNetV2.

    Args:
        variant: One of `VARIANTS`, named by width.
        input_shape: (H, W, C), channels last; H and W may be None.
        classes: Classes to tell apart; None leaves the classifier out.
        dropout: Share of the classifier's inputs that training leaves out.
        depths: Blocks of each stage, at most those of `STAGES`; None takes all.

    Returns:
        A model from normalised images (N, H, W, C) to logits (N, classes), or without classifier
        to its inputs (N, 1280). `NETWORK.pyramid` gives feature maps.
    """
    check_arguments(VARIANTS, variant, input_shape, classes=classes)
    image = keras.Input(input_shape, name="image")
    start = fan_out_normal()
    x = conv_norm(
        image, STEM, 3, "features.0", strides=2, activation="relu6", initializer=start
    )  # fmt: skip
    before = 1  # blocks are numbered through, the stem is number 0
    numbers = block_numbers([repeats for _, _, repeats, _ in STAGES], depths)
    for (expansion, width, repeats, strides), stage in zip(STAGES, numbers, strict=True):
        for i in stage:
            x = inverted_residual(
                x,
                make_divisible(width, DIVISOR),
                f"features.{before + i}",
                expansion=expansion,
                strides=strides if i == stage[0] else 1,
            )
        before += repeats
    last = f"features.{before}"
    x = conv_norm(x, HEAD, 1, last, activation="relu6", initializer=fan_out_normal())
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    if classes is not None:
        x = keras.layers.Dropout(dropout, name="classifier.0")(x)
        x = linear(x, classes, CLASSIFIER, initializer=keras.initializers.RandomNormal(stddev=0.01))
    return keras.Model(image, x, name=f"mobilenetv2_{variant}")


def infer_arguments(state: Mapping[str, np.ndarray]) -> dict:
    """Return variant and classes of a published state dict, as far as its shapes tell them."""
    found = {}
    stem, head = state.get("features.0.0.weight"), state.get(f"{CLASSIFIER}.weight")
    if stem is not None and stem.shape[0] == STEM:
        found["variant"] = "x1_0"
    if head is not None:
        found["classes"] = head.shape[0]
    return found


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    return imagenet_card(
        "mobilenetv2",
        variant,
        VARIANTS[variant],
        title="MobileNetV2: Inverted Residuals and Linear Bottlenecks",
        paper="M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen, CVPR 2018, "
        "arXiv:1801.04381",
        official_code="github.com/pytorch/vision, torchvision.models.mobilenet_v2",
        licence="BSD-3-Clause (torchvision)",
        resize=cropped(232),
        checkpoints="torchvision, MobileNet_V2_Weights: mobilenet_v2-7ebf99e0.pth (V2), "
        "mobilenet_v2-b0353104.pth (V1)",
    )


NETWORK = Network(
    mobilenetv2,
    VARIANTS,
    card,
    deploy=fold_norms,
    infer=infer_arguments,
    skipped=partial(without_classifier, name=CLASSIFIER),
    features=FEATURES,
)
