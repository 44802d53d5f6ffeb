"""GhostNetV2: cheap operations with long-range attention, a classifier for phones.

Y. Tang, K. Han, J. Guo, C. Xu, C. Xu, Y. Wang, NeurIPS 2022, arXiv:2211.12905.
Official code: github.com/huawei-noah/Efficient-AI-Backbones, ghostnetv2_pytorch. timm's copies
of the weights (ghostnetv2_100/130/160.in1k) have the same names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from core.backbones.widths import block_numbers, make_divisible
from core.compress.norm_folding import fold_norms
from core.layers.convolution import (
    activate,
    batch_norm,
    conv_norm,
    convolution,
    depthwise,
    depthwise_norm,
    linear,
)
from core.layers.resize import NearestResize
from core.layers.squeeze_excitation import squeeze_excitation
from core.model_card import ModelCard
from core.network import Network, check_arguments, without_classifier

# MACs of convolutions and the classifier at 224x224; top-1 in percent, single crop.
VARIANTS = {
    "100": {"width": 1.0, "parameters": 6_156_908, "macs": 167_048_288, "top-1": 75.3},
    "130": {"width": 1.3, "parameters": 8_960_404, "macs": 269_322_976, "top-1": 76.9},
    "160": {"width": 1.6, "parameters": 12_392_698, "macs": 398_607_224, "top-1": 77.8},
}
# Of each block at width 1.0: kernel, expanded channels, channels, stride, squeeze and excitation.
STAGES = (
    ((3, 16, 16, 1, False),),
    ((3, 48, 24, 2, False),),
    ((3, 72, 24, 1, False),),
    ((5, 72, 40, 2, True),),
    ((5, 120, 40, 1, True),),
    ((3, 240, 80, 2, False),),
    (
        (3, 200, 80, 1, False),
        (3, 184, 80, 1, False),
        (3, 184, 80, 1, False),
        (3, 480, 112, 1, True),
        (3, 672, 112, 1, True),
    ),
    ((5, 672, 160, 2, True),),
    (
        (5, 960, 160, 1, False),
        (5, 960, 160, 1, True),
        (5, 960, 160, 1, False),
        (5, 960, 160, 1, True),
    ),
)
STEM, LAST, HEAD, DIVISOR = 16, 960, 1280, 4
PLAIN_STAGES = 2  # the blocks before have no attention
FEATURES = {4: "blocks.2.0", 8: "blocks.4.0", 16: "blocks.6.4", 32: "blocks.8.3"}
SMALLEST = 33  # a map of one pixel cannot be halved for the attention


def ghost_module(x, filters: int, name: str, *, activation: str | None, attention: bool = False):
    """Half of the channels by a 1x1 convolution, the others cheaply from these (Fig. 3).

    Args:
        x: Features (N, H, W, C).
        filters: Channels of the result; even.
        name: The published module's path.
        activation: "relu" or None.
        attention: Whether the result is weighted by `attention_gate`.
    """
    primary = conv_norm(x, filters // 2, 1, f"{name}.primary_conv", activation=activation)
    cheap = depthwise_norm(primary, 3, f"{name}.cheap_operation", activation=activation)
    path = f"{name}.concat" if attention else name
    y = keras.layers.Concatenate(name=path)([primary, cheap])
    if not attention:
        return y
    gate = NearestResize(name=f"{name}.gate.resized")([attention_gate(x, filters, name), y])
    return keras.layers.Multiply(name=name)([y, gate])


def attention_gate(x, filters: int, name: str):
    """Decoupled fully connected attention, DFC, at half the resolution (Sec. 3.3).

    The paper has two fully connected layers along the axes; the official code these depthwise
    convolutions. Its sigmoid stands before the enlargement, which is the same and a quarter of it.
    """
    path = f"{name}.short_conv"
    x = keras.layers.AveragePooling2D(2, name=f"{name}.pool")(x)
    x = conv_norm(x, filters, 1, path)
    x = depthwise_norm(x, (1, 5), path, first=2)
    x = depthwise_norm(x, (5, 1), path, first=4)
    return activate(x, "sigmoid", f"{name}.gate")


def ghost_bottleneck(
    x,
    expanded: int,
    filters: int,
    name: str,
    *,
    kernel: int = 3,
    strides: int = 1,
    excited: bool = False,
    attention: bool = True,
):
    """Expand and project by ghost modules beside a shortcut (Fig. 4).

    Args:
        x: Features (N, H, W, C).
        expanded, filters: Channels within and of the result; even.
        name: The published module's path.
        kernel: Side of the window where the block shrinks its input or changes its width.
        strides: 1 or 2.
        excited: Whether it has squeeze and excitation.
        attention: Whether the expansion has the attention.
    """
    y = ghost_module(x, expanded, f"{name}.ghost1", activation="relu", attention=attention)
    if strides > 1:
        y = depthwise(y, kernel, f"{name}.conv_dw", strides=strides, use_bias=False)
        y = batch_norm(y, f"{name}.bn_dw")
    if excited:
        reduced = make_divisible(expanded / 4, DIVISOR)
        y = squeeze_excitation(y, reduced, f"{name}.se", gate="hard_sigmoid")
    y = ghost_module(y, filters, f"{name}.ghost2", activation=None)
    if strides > 1 or x.shape[-1] != filters:
        x = depthwise_norm(x, kernel, f"{name}.shortcut", strides=strides)
        x = conv_norm(x, filters, 1, f"{name}.shortcut", first=2)
    return keras.layers.Add(name=name)([y, x])


def ghostnetv2(
    variant: str = "100",
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    *,
    classes: int | None = 1000,
    dropout: float = 0.2,
    depths: Sequence[int] | None = None,
) -> keras.Model:
    """Return GhostNetV2.

    Args:
        variant: One of `VARIANTS`, named by width.
        input_shape: (H, W, C), channels last; H and W are at least 33, or None.
        classes: Classes to tell apart; None leaves the classifier out.
        dropout: Share of the classifier's inputs that training leaves out.
        depths: Blocks of each stage, at most those of `STAGES`; None takes all.

    Returns:
        A model from normalised images (N, H, W, C) to logits (N, classes), or without classifier
        to its inputs (N, 1280), which are behind a ReLU. `NETWORK.pyramid` gives feature maps.
    """
    check_arguments(VARIANTS, variant, input_shape, smallest=SMALLEST, classes=classes)

    def scaled(channels: int) -> int:
        return make_divisible(channels * VARIANTS[variant]["width"], DIVISOR)

    image = keras.Input(input_shape, name="image")
    x = convolution(image, scaled(STEM), 3, "conv_stem", strides=2, use_bias=False)
    x = activate(batch_norm(x, "bn1"), "relu", "stem")
    numbers = block_numbers([len(stage) for stage in STAGES], depths)
    for i, (stage, blocks) in enumerate(zip(STAGES, numbers, strict=True)):
        for j in blocks:
            kernel, expanded, filters, strides, excited = stage[j]
            x = ghost_bottleneck(
                x,
                scaled(expanded),
                scaled(filters),
                f"blocks.{i}.{j}",
                kernel=kernel,
                strides=strides,
                excited=excited,
                attention=i >= PLAIN_STAGES,
            )
    last = f"blocks.{len(STAGES)}.0"
    x = convolution(x, scaled(LAST), 1, f"{last}.conv", use_bias=False)
    x = activate(batch_norm(x, f"{last}.bn1"), "relu", last)
    x = keras.layers.GlobalAveragePooling2D(keepdims=True, name="global_pool")(x)
    x = activate(convolution(x, HEAD, 1, "conv_head"), "relu", "act2")
    x = keras.layers.Flatten(name="flatten")(x)
    if classes is not None:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
        x = linear(x, classes, "classifier")
    return keras.Model(image, x, name=f"ghostnetv2_{variant}")


def infer_arguments(state: Mapping[str, np.ndarray]) -> dict:
    """Return variant and classes of a published state dict, as far as its shapes tell them."""
    found = {}
    stem, head = state.get("conv_stem.weight"), state.get("classifier.weight")
    for variant, table in VARIANTS.items():
        if stem is not None and stem.shape[0] == make_divisible(STEM * table["width"], DIVISOR):
            found["variant"] = variant
    if head is not None:
        found["classes"] = head.shape[0]
    return found


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    table = VARIANTS[variant]
    return ModelCard(
        network="ghostnetv2",
        variant=variant,
        app="backbone",
        title="GhostNetV2: Enhance Cheap Operation with Long-Range Attention",
        paper="Y. Tang, K. Han, J. Guo, C. Xu, C. Xu, Y. Wang, NeurIPS 2022, arXiv:2211.12905",
        official_code="github.com/huawei-noah/Efficient-AI-Backbones, ghostnetv2_pytorch",
        licence="that folder states none (its neighbours: Apache-2.0); timm's copies: Apache-2.0",
        input_size=(224, 224),
        resize="shorter side to 256, bicubic as Pillow does it; the middle 224x224",
        output="logits of ImageNet's 1000 classes, in the order of the WordNet ids",
        published={
            "parameters": table["parameters"],
            "GMACs at 224x224": round(table["macs"] / 1e9, 4),
            "top-1 ImageNet": table["top-1"],
        },
        checkpoints="ck_ghostnetv2_10/13/16.pth.tar, releases of the official repository; "
        "huggingface.co/timm/ghostnetv2_100.in1k and its sisters",
    )


NETWORK = Network(
    ghostnetv2,
    VARIANTS,
    card,
    deploy=fold_norms,
    infer=infer_arguments,
    skipped=without_classifier,
    features=FEATURES,
    smallest=SMALLEST,
)
