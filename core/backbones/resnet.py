"""ResNet-50: residual learning with bottlenecks.

K. He, X. Zhang, S. Ren, J. Sun, CVPR 2016, arXiv:1512.03385. Padding, start and names are those of
torchvision's `resnet50`, which published the PyTorch weights. As there, a bottleneck strides in its
3x3 ("v1.5"), where the paper, and `keras.applications`, stride in the 1x1 before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import keras
import numpy as np

from core.backbones.imagenet import cropped, imagenet_card
from core.backbones.widths import block_numbers
from core.compress.norm_folding import fold_norms
from core.layers.convolution import (
    activate,
    batch_norm,
    conv_norm,
    convolution,
    fan_out_normal,
    linear,
)
from core.layers.pooling import max_pool
from core.model_card import ModelCard
from core.network import Network, check_arguments, without_classifier

# MACs of convolutions and the classifier at 224x224; top-1 in percent, of the newer weights.
VARIANTS = {"50": {"parameters": 25_557_032, "macs": 4_089_184_256, "top-1": 80.858}}
# Of each stage: channels within a bottleneck, blocks, stride of the first (Table 1).
STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
STEM, EXPANSION = 64, 4
CLASSIFIER = "fc"
FEATURES = {2: "relu", 4: "layer1.2", 8: "layer2.3", 16: "layer3.5", 32: "layer4.2"}


def normalised(x, filters: int, kernel: int, name: str, number: int, **options):
    """Convolve and normalise: torchvision's `name.conv<number>` and `name.bn<number>`."""
    start = fan_out_normal()
    x = convolution(
        x, filters, kernel, f"{name}conv{number}", use_bias=False, initializer=start, **options
    )
    return batch_norm(x, f"{name}bn{number}")


def bottleneck(x, within: int, name: str, *, strides: int = 1):
    """Reduce by a 1x1, filter by a 3x3, expand by a 1x1, and add the input (Fig. 5).

    Args:
        x: Features (N, H, W, C).
        within: Channels between; the result has four times as many.
        name: The published module's path.
        strides: 1 or 2.
    """
    y = activate(normalised(x, within, 1, f"{name}.", 1), "relu", f"{name}.relu1")
    y = normalised(y, within, 3, f"{name}.", 2, strides=strides)
    y = activate(y, "relu", f"{name}.relu2")
    filters = EXPANSION * within
    y = normalised(y, filters, 1, f"{name}.", 3)
    if strides > 1 or x.shape[-1] != filters:
        start = fan_out_normal()
        x = conv_norm(x, filters, 1, f"{name}.downsample", strides=strides, initializer=start)
    return activate(keras.layers.Add(name=f"{name}.sum")([x, y]), "relu", name)


def resnet(
    variant: str = "50",
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    *,
    classes: int | None = 1000,
    depths: Sequence[int] | None = None,
) -> keras.Model:
    """Return ResNet-50.

    Args:
        variant: One of `VARIANTS`, named by layers.
        input_shape: (H, W, C), channels last; H and W may be None.
        classes: Classes to tell apart; None leaves the classifier out.
        depths: Blocks of each stage, at most those of `STAGES`; None takes all.

    Returns:
        A model from normalised images (N, H, W, C) to logits (N, classes), or without classifier
        to its inputs (N, 2048). `NETWORK.pyramid` gives feature maps.
    """
    check_arguments(VARIANTS, variant, input_shape, classes=classes)
    image = keras.Input(input_shape, name="image")
    x = activate(normalised(image, STEM, 7, "", 1, strides=2), "relu", "relu")
    x = max_pool(x, "maxpool")
    numbers = block_numbers([repeats for _, repeats, _ in STAGES], depths)
    for stage, ((within, _, strides), blocks) in enumerate(zip(STAGES, numbers, strict=True), 1):
        for i in blocks:
            first = i == blocks[0]
            x = bottleneck(x, within, f"layer{stage}.{i}", strides=strides if first else 1)
    x = keras.layers.GlobalAveragePooling2D(name="avgpool")(x)
    if classes is not None:
        x = linear(x, classes, CLASSIFIER)
    return keras.Model(image, x, name=f"resnet_{variant}")


def infer_arguments(state: Mapping[str, np.ndarray]) -> dict:
    """Return variant and classes of a published state dict, as far as its names tell them."""
    found = {}
    last, head = state.get("layer3.5.conv3.weight"), state.get(f"{CLASSIFIER}.weight")
    if last is not None and "layer3.6.conv3.weight" not in state:
        found["variant"] = "50"
    if head is not None:
        found["classes"] = head.shape[0]
    return found


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    return imagenet_card(
        "resnet",
        variant,
        VARIANTS[variant],
        title="Deep Residual Learning for Image Recognition",
        paper="K. He, X. Zhang, S. Ren, J. Sun, CVPR 2016, arXiv:1512.03385",
        official_code="github.com/pytorch/vision, torchvision.models.resnet50",
        licence="BSD-3-Clause (torchvision)",
        resize=cropped(232),
        checkpoints="torchvision, ResNet50_Weights: resnet50-11ad3fa6.pth (V2), "
        "resnet50-0676ba61.pth (V1)",
    )


NETWORK = Network(
    resnet,
    VARIANTS,
    card,
    deploy=fold_norms,
    infer=infer_arguments,
    skipped=partial(without_classifier, name=CLASSIFIER),
    features=FEATURES,
)
