"""EfficientNet-B0: depth, width and resolution scaled together, from a searched network.

M. Tan, Q. V. Le, ICML 2019, arXiv:1905.11946. The variants are one architecture with the padding,
the normalisation and the start of who published the weights: `b0` is torchvision's, `b0_tf` the
authors' TensorFlow network, which Keras Applications has. Names are torchvision's; Keras's weights
are renamed as they are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np

from core.backbones.imagenet import cropped, imagenet_card
from core.backbones.mbconv import (
    KERAS_INPUTS,
    BlockNames,
    Stage,
    Style,
    classify,
    keras_state,
    mbconv_stages,
)
from core.compress.norm_folding import fold_norms
from core.model_card import ModelCard
from core.network import PROFILES, Network, check_arguments, without_classifier

PARAMETERS, MACS = 5_288_548, 385_814_752  # MACs of convolutions and the classifier at 224x224
# What depends on the publisher; top-1 in percent, single crop.
VARIANTS: dict[str, dict[str, Any]] = {
    "b0": {
        "style": Style(),
        "top-1": 77.692,
        "code": "github.com/pytorch/vision, torchvision.models.efficientnet_b0",
        "licence": "BSD-3-Clause (torchvision)",
        "checkpoints": "torchvision, EfficientNet_B0_Weights: "
        "efficientnet_b0_rwightman-7f5810bc.pth",
    },
    "b0_tf": {
        "style": Style(padding="same", epsilon=1e-3, momentum=0.99, channelwise=True),
        "top-1": 77.1,
        "code": "github.com/tensorflow/tpu, models/official/efficientnet; keras.applications",
        "licence": "Apache-2.0",
        "checkpoints": "Keras Applications: storage.googleapis.com/keras-applications/"
        "efficientnetb0.h5",
    },
}
# Expansion, channels, blocks, stride of the first (Table 1).
STAGES = (
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 40, 2, 2, kernel=5),
    Stage(6, 80, 3, 2),
    Stage(6, 112, 3, 1, kernel=5),
    Stage(6, 192, 4, 2, kernel=5),
    Stage(6, 320, 1, 1),
)
STEM, HEAD = 32, 1280
CLASSIFIER = "classifier.1"
FEATURES = {
    2: "features.1.0",
    4: "features.2.1",
    8: "features.3.1",
    16: "features.5.2",
    32: "features.7.0",
}


def sequence(path: str) -> tuple[str, str, str]:
    """Return the names in an nn.Sequential of convolution, normalisation and activation."""
    return f"{path}.0", f"{path}.1", f"{path}.2"


def block_names(stage: int, number: int) -> tuple[str, BlockNames]:
    """Return torchvision's names of a block, both numbers from 0, and of its layers."""
    path = f"features.{stage + 1}.{number}"
    first = 0 if STAGES[stage].expansion > 1 else -1  # the expansion is not there
    expand, filtering, squeeze, project = (f"{path}.block.{first + i}" for i in range(4))
    names = BlockNames(sequence(expand), sequence(filtering), sequence(project), squeeze)
    return path, names


def efficientnet(
    variant: str = "b0",
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    *,
    classes: int | None = 1000,
    dropout: float = 0.2,
    depths: Sequence[int] | None = None,
) -> keras.Model:
    """Return EfficientNet-B0.

    Args:
        variant: One of `VARIANTS`, named by size and publisher.
        input_shape: (H, W, C), channels last; H and W may be None.
        classes: Classes to tell apart; None leaves the classifier out.
        dropout: Share of the classifier's inputs that training leaves out.
        depths: Blocks of each stage, at most those of `STAGES`; None takes all.

    Returns:
        A model from normalised images (N, H, W, C) to logits (N, classes), or without classifier
        to its inputs (N, 1280). `NETWORK.pyramid` gives feature maps.
    """
    check_arguments(VARIANTS, variant, input_shape, classes=classes)
    style = VARIANTS[variant]["style"]
    image = keras.Input(input_shape, name="image")
    x = style.convolve(image, STEM, 3, sequence("features.0"), strides=2)
    x = mbconv_stages(x, STAGES, depths, block_names, style)
    x = style.convolve(x, HEAD, 1, sequence(f"features.{len(STAGES) + 1}"))
    x = classify(x, classes, dropout, CLASSIFIER)
    return keras.Model(image, x, name=f"efficientnet_{variant}")


def from_keras(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a state dict of Keras's in the names and layouts of torchvision's."""
    last = f"features.{len(STAGES) + 1}"
    ends = {"stem": sequence("features.0"), "top": sequence(last)}
    return keras_state(state, STAGES, block_names, ends, CLASSIFIER)


def infer_arguments(state: Mapping[str, np.ndarray]) -> dict:
    """Return variant and classes of a published state dict, as far as its names tell them."""
    found = {}
    if "stem_conv.kernel" in state:
        found["variant"] = "b0_tf"
    elif "features.0.0.weight" in state:
        found["variant"] = "b0"
    head = state.get(f"{CLASSIFIER}.bias", state.get("predictions.bias"))
    if head is not None:
        found["classes"] = head.shape[0]
    return found


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    table = VARIANTS[variant]
    return imagenet_card(
        "efficientnet",
        variant,
        {"parameters": PARAMETERS, "macs": MACS, **table},
        title="EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
        paper="M. Tan, Q. V. Le, ICML 2019, arXiv:1905.11946",
        official_code=table["code"],
        licence=table["licence"],
        resize=cropped(256, method="bicubic"),
        checkpoints=table["checkpoints"],
    )


NETWORK = Network(
    efficientnet,
    VARIANTS,
    card,
    deploy=fold_norms,
    convert_state=from_keras,
    infer=infer_arguments,
    ignored=(*PROFILES, *KERAS_INPUTS),
    skipped=partial(without_classifier, name=CLASSIFIER),
    features=FEATURES,
)
