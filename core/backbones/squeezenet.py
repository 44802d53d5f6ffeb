"""SqueezeNet 1.1: AlexNet's accuracy with fifty times fewer parameters.

F. N. Iandola, S. Han, M. W. Moskewicz, K. Ashraf, W. J. Dally, K. Keutzer, 2016, arXiv:1602.07360;
version 1.1 (github.com/forresti/SqueezeNet) needs 2.4 times less arithmetic. Padding, start and
names are those of torchvision's `squeezenet1_1`, which published the PyTorch weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import keras
import numpy as np

from core.backbones.imagenet import OUTPUT, cropped, imagenet_card
from core.layers.convolution import activate, convolution
from core.layers.pooling import max_pool
from core.model_card import ModelCard
from core.network import Network, check_arguments, without_classifier

# MACs of convolutions at 224x224; top-1 in percent.
VARIANTS = {"1_1": {"parameters": 1_235_496, "macs": 349_151_936, "top-1": 58.178}}
STEM = 64
# Of each stage the fire modules: squeezed channels, and channels of each of the two expansions.
STAGES = (
    ((16, 64), (16, 64)),
    ((32, 128), (32, 128)),
    ((48, 192), (48, 192), (64, 256), (64, 256)),
)
CLASSIFIER = "classifier.1"
SMALLEST = 17  # the last pooling needs a map of two pixels


def rectified(x, filters: int, kernel: int, name: str, **options):
    """Convolve with torchvision's start and rectify."""
    start = keras.initializers.HeUniform()
    x = convolution(x, filters, kernel, name, initializer=start, **options)
    return activate(x, "relu", f"{name}_activation")


def fire(x, squeezed: int, expanded: int, name: str):
    """Squeeze by a 1x1, expand by a 1x1 and a 3x3 side by side (Fig. 1).

    Args:
        x: Features (N, H, W, C).
        squeezed, expanded: Channels between, and of each of the two expansions.
        name: The published module's path.
    """
    x = rectified(x, squeezed, 1, f"{name}.squeeze")
    sides = (rectified(x, expanded, side, f"{name}.expand{side}x{side}") for side in (1, 3))
    return keras.layers.Concatenate(name=name)(list(sides))


def squeezenet(
    variant: str = "1_1",
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    *,
    classes: int | None = 1000,
    dropout: float = 0.5,
) -> keras.Model:
    """Return SqueezeNet.

    Args:
        variant: One of `VARIANTS`, the version.
        input_shape: (H, W, C), channels last; H and W are at least 17, or None.
        classes: Classes to tell apart; None leaves the classifier out.
        dropout: Share of the classifier's inputs that training leaves out.

    Returns:
        A model from normalised images (N, H, W, C) to logits (N, classes), which are means of
        rectified maps and so never negative, as published; or without classifier to the means of
        the last features (N, 512).
    """
    check_arguments(VARIANTS, variant, input_shape, smallest=SMALLEST, classes=classes)
    image = keras.Input(input_shape, name="image")
    x = rectified(image, STEM, 3, "features.0", strides=2, padding="valid")
    number = 2  # of the published `features`
    for stage in STAGES:
        x = max_pool(x, f"features.{number}", ceil=True)
        for i, (squeezed, expanded) in enumerate(stage, start=number + 1):
            x = fire(x, squeezed, expanded, f"features.{i}")
        number += len(stage) + 1
    if classes is not None:
        x = keras.layers.Dropout(dropout, name="classifier.0")(x)
        start = keras.initializers.RandomNormal(stddev=0.01)
        x = convolution(x, classes, 1, CLASSIFIER, initializer=start)
        x = activate(x, "relu", "classifier.2")
    x = keras.layers.GlobalAveragePooling2D(name="classifier.3")(x)
    return keras.Model(image, x, name=f"squeezenet_{variant}")


def infer_arguments(state: Mapping[str, np.ndarray]) -> dict:
    """Return variant and classes of a published state dict, as far as its shapes tell them."""
    found = {}
    stem, head = state.get("features.0.weight"), state.get(f"{CLASSIFIER}.weight")
    if stem is not None and stem.shape[0] == STEM:  # version 1.0 has 96
        found["variant"] = "1_1"
    if head is not None:
        found["classes"] = head.shape[0]
    return found


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    return imagenet_card(
        "squeezenet",
        variant,
        VARIANTS[variant],
        title="SqueezeNet: AlexNet-level accuracy with 50x fewer parameters",
        paper="F. N. Iandola, S. Han, M. W. Moskewicz, K. Ashraf, W. J. Dally, K. Keutzer, 2016, "
        "arXiv:1602.07360",
        official_code="github.com/pytorch/vision, torchvision.models.squeezenet1_1",
        licence="BSD-3-Clause (torchvision)",
        resize=cropped(256),
        output=f"{OUTPUT}, none negative",
        checkpoints="torchvision, SqueezeNet1_1_Weights: squeezenet1_1-b8a52dc0.pth",
    )


NETWORK = Network(
    squeezenet,
    VARIANTS,
    card,
    infer=infer_arguments,
    skipped=partial(without_classifier, name=CLASSIFIER),
    smallest=SMALLEST,
)
