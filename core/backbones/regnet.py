"""RegNetX-32GF: widths and depths that a linear rule gives, and bottlenecks of wide groups.

I. Radosavovic, R. P. Kosaraju, R. Girshick, K. He, P. Dollár, "Designing Network Design Spaces",
CVPR 2020, arXiv:2003.13678. Names and start are those of torchvision's `regnet_x_32gf`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import keras
import numpy as np

from core.backbones.imagenet import cropped, imagenet_card
from core.backbones.widths import block_numbers
from core.compress.norm_folding import fold_norms
from core.layers.convolution import activate, conv_norm, fan_out_normal, linear
from core.model_card import ModelCard
from core.network import Network, check_arguments, without_classifier

# MACs of convolutions and the classifier at 224x224; top-1 in percent, of the newer weights.
VARIANTS = {"x_32gf": {"parameters": 107_811_560, "macs": 31_735_929_792, "top-1": 83.014}}
STAGES = ((336, 2), (672, 7), (1344, 13), (2520, 1))  # channels and blocks (Table 2)
STEM, GROUP = 32, 168  # channels of the stem, and of each group
CLASSIFIER = "fc"
FEATURES = {
    2: "stem.2",
    4: "trunk_output.block1.block1-1",
    8: "trunk_output.block2.block2-6",
    16: "trunk_output.block3.block3-12",
    32: "trunk_output.block4.block4-0",
}


def normalised(x, filters: int, kernel: int, name: str, **options):
    """Convolve and normalise, and activate where `options` say so."""
    return conv_norm(x, filters, kernel, name, initializer=fan_out_normal(), **options)


def block(x, filters: int, name: str, *, strides: int = 1):
    """Convolve by a 1x1, by a 3x3 in groups, and by a 1x1, and add the input (Fig. 4, X block).

    Args:
        x: Features (N, H, W, C).
        filters: Channels within, and of the result.
        name: The published module's path.
        strides: 1 or 2.
    """
    y = normalised(x, filters, 1, f"{name}.f.a", activation="relu")
    groups = filters // GROUP
    y = normalised(y, filters, 3, f"{name}.f.b", strides=strides, groups=groups, activation="relu")
    y = normalised(y, filters, 1, f"{name}.f.c")
    if strides > 1 or x.shape[-1] != filters:
        x = normalised(x, filters, 1, f"{name}.proj", strides=strides)
    return activate(keras.layers.Add(name=f"{name}.sum")([x, y]), "relu", name)


def regnet(
    variant: str = "x_32gf",
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    *,
    classes: int | None = 1000,
    depths: Sequence[int] | None = None,
) -> keras.Model:
    """Return RegNetX-32GF.

    Args:
        variant: One of `VARIANTS`, named by the multiplications in an image.
        input_shape: (H, W, C), channels last; H and W may be None.
        classes: Classes to tell apart; None leaves the classifier out.
        depths: Blocks of each stage, at most those of `STAGES`; None takes all.

    Returns:
        A model from normalised images (N, H, W, C) to logits (N, classes), or without classifier
        to its inputs (N, 2520). `NETWORK.pyramid` gives feature maps.
    """
    check_arguments(VARIANTS, variant, input_shape, classes=classes)
    image = keras.Input(input_shape, name="image")
    x = normalised(image, STEM, 3, "stem", strides=2, activation="relu")
    numbers = block_numbers([repeats for _, repeats in STAGES], depths)
    for stage, ((filters, _), blocks) in enumerate(zip(STAGES, numbers, strict=True), 1):
        name = f"trunk_output.block{stage}.block{stage}"
        for i in blocks:
            x = block(x, filters, f"{name}-{i}", strides=2 if i == blocks[0] else 1)
    x = keras.layers.GlobalAveragePooling2D(name="avgpool")(x)
    if classes is not None:
        start = keras.initializers.RandomNormal(stddev=0.01)
        x = linear(x, classes, CLASSIFIER, initializer=start)
    return keras.Model(image, x, name=f"regnet_{variant}")


def infer_arguments(state: Mapping[str, np.ndarray]) -> dict:
    """Return variant and classes of a published state dict, as far as its names tell them."""
    found: dict = {}
    last, more = (f"trunk_output.block3.block3-{i}.f.b.0.weight" for i in (12, 13))
    kernel, head = state.get(last), state.get(f"{CLASSIFIER}.weight")
    if kernel is not None and more not in state and kernel.shape[:2] == (STAGES[2][0], GROUP):
        found["variant"] = "x_32gf"
    if head is not None:
        found["classes"] = head.shape[0]
    return found


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    return imagenet_card(
        "regnet",
        variant,
        VARIANTS[variant],
        title="Designing Network Design Spaces",
        paper="I. Radosavovic, R. P. Kosaraju, R. Girshick, K. He, P. Dollár, CVPR 2020, "
        "arXiv:2003.13678",
        official_code="github.com/pytorch/vision, torchvision.models.regnet_x_32gf",
        licence="BSD-3-Clause (torchvision)",
        resize=cropped(232),
        checkpoints="torchvision, RegNet_X_32GF_Weights: regnet_x_32gf-6eb8fdc6.pth (V2), "
        "regnet_x_32gf-9d47f8d0.pth (V1)",
    )


NETWORK = Network(
    regnet,
    VARIANTS,
    card,
    deploy=fold_norms,
    infer=infer_arguments,
    skipped=partial(without_classifier, name=CLASSIFIER),
    features=FEATURES,
)
