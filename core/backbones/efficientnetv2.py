"""EfficientNetV2-B0: EfficientNet with fused blocks where maps are large.

M. Tan, Q. V. Le, ICML 2021, arXiv:2104.00298. Padding and constants are TensorFlow's, as in the
authors' network and in Keras Applications; names are those of the weights in PyTorch's form, timm's
tf_efficientnetv2_b0. Keras's weights are renamed as they are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
from core.network import CLASSIFIER, PROFILES, Network, check_arguments, without_classifier

# MACs of convolutions and the classifier at 224x224; top-1 in percent, single crop.
VARIANTS = {"b0": {"parameters": 7_139_704, "macs": 718_086_176, "top-1": 78.7}}
# Expansion, channels, blocks, stride of the first.
STAGES = (
    Stage(1, 16, 1, 1, fused=True, excited=False),
    Stage(4, 32, 2, 2, fused=True, excited=False),
    Stage(4, 48, 2, 2, fused=True, excited=False),
    Stage(4, 96, 3, 2),
    Stage(6, 112, 5, 1),
    Stage(6, 192, 8, 2),
)
STEM, HEAD = 32, 1280
STYLE = Style("same", epsilon=1e-3, momentum=0.9, channelwise=True)
STEM_NAMES = ("conv_stem", "bn1", "stem")
HEAD_NAMES = ("conv_head", "bn2", "head")
FEATURES = {2: "blocks.0.0", 4: "blocks.1.1", 8: "blocks.2.1", 16: "blocks.4.4", 32: "blocks.5.7"}


def block_names(stage: int, number: int) -> tuple[str, BlockNames]:
    """Return timm's names of a block, both numbers from 0, and of its layers."""
    path, table = f"blocks.{stage}.{number}", STAGES[stage]

    def numbered(conv: str, number: int) -> tuple[str, str, str]:
        return f"{path}.{conv}", f"{path}.bn{number}", f"{path}.act{number}"

    if table.fused and table.expansion == 1:  # one convolution, which Keras calls the projection
        whole = numbered("conv", 1)
        return path, BlockNames(whole, whole, whole)
    if table.fused:
        expand = numbered("conv_exp", 1)
        return path, BlockNames(expand, expand, numbered("conv_pwl", 2))
    return path, BlockNames(
        numbered("conv_pw", 1),
        numbered("conv_dw", 2),
        numbered("conv_pwl", 3),
        f"{path}.se",
        ("conv_reduce", "conv_expand"),
    )


def efficientnetv2(
    variant: str = "b0",
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    *,
    classes: int | None = 1000,
    dropout: float = 0.2,
    depths: Sequence[int] | None = None,
) -> keras.Model:
    """Return EfficientNetV2.

    Args:
        variant: One of `VARIANTS`.
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
    x = STYLE.convolve(image, STEM, 3, STEM_NAMES, strides=2)
    x = mbconv_stages(x, STAGES, depths, block_names, STYLE)
    x = STYLE.convolve(x, HEAD, 1, HEAD_NAMES)
    x = classify(x, classes, dropout, CLASSIFIER)
    return keras.Model(image, x, name=f"efficientnetv2_{variant}")


def from_keras(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a state dict of Keras's in the names and layouts of timm's."""
    ends = {"stem": STEM_NAMES, "top": HEAD_NAMES}
    return keras_state(state, STAGES, block_names, ends, CLASSIFIER)


def infer_arguments(state: Mapping[str, np.ndarray]) -> dict:
    """Return variant and classes of a published state dict, as far as its shapes tell them."""
    found = {}
    state = from_keras(state)
    last, head = state.get("blocks.5.7.conv_pwl.weight"), state.get(f"{CLASSIFIER}.bias")
    if last is not None and last.shape[0] == STAGES[-1].filters:
        found["variant"] = "b0"
    if head is not None:
        found["classes"] = head.shape[0]
    return found


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    return imagenet_card(
        "efficientnetv2",
        variant,
        VARIANTS[variant],
        title="EfficientNetV2: Smaller Models and Faster Training",
        paper="M. Tan, Q. V. Le, ICML 2021, arXiv:2104.00298",
        official_code="github.com/google/automl, efficientnetv2; keras.applications",
        licence="Apache-2.0",
        resize=cropped(256, method="bicubic"),
        checkpoints="Keras Applications: storage.googleapis.com/tensorflow/keras-applications/"
        "efficientnet_v2/efficientnetv2-b0.h5; huggingface.co/timm/tf_efficientnetv2_b0.in1k",
    )


NETWORK = Network(
    efficientnetv2,
    VARIANTS,
    card,
    deploy=fold_norms,
    convert_state=from_keras,
    infer=infer_arguments,
    ignored=(*PROFILES, *KERAS_INPUTS),
    skipped=without_classifier,
    features=FEATURES,
)
