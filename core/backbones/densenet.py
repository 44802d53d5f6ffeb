"""DenseNet-121: every layer sees the features of all before it.

G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger, CVPR 2017, arXiv:1608.06993. Names and start
are those of torchvision's `densenet121`; its published file, which is older than PyTorch's rule
that names hold no dots, loads as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial

import keras
import numpy as np

from core.backbones.imagenet import cropped, imagenet_card
from core.backbones.widths import block_numbers
from core.compress.norm_folding import fold_norms
from core.layers.convolution import activate, batch_norm, convolution, linear
from core.layers.pooling import max_pool
from core.model_card import ModelCard
from core.network import Network, check_arguments, without_classifier

# MACs of convolutions and the classifier at 224x224; top-1 in percent.
VARIANTS = {"121": {"parameters": 7_978_856, "macs": 2_834_161_664, "top-1": 74.434}}
REPEATS = (6, 12, 24, 16)  # layers of each dense block (Table 1)
GROWTH, STEM, WITHIN = 32, 64, 4  # channels a layer adds, of the stem; of its 1x1, times the growth
CLASSIFIER = "classifier"
MULTIPLE = 32  # of the sides: pooling would drop the last of an odd number of rows
# Features that nothing is added to any more, normalised.
FEATURES = {
    2: "features.relu0",
    4: "features.transition1.relu",
    8: "features.transition2.relu",
    16: "features.transition3.relu",
    32: "features.relu5",
}
_DOTTED = re.compile(r"(.*denselayer\d+\.(?:norm|conv))\.(\d\..*)")


def convolved(x, filters: int, kernel: int, name: str, *, strides: int = 1):
    """Convolve without bias, started by kaiming_normal_ of the fan in."""
    start = keras.initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")
    return convolution(x, filters, kernel, name, strides=strides, use_bias=False, initializer=start)


def rectified(x, name: str, number: int | str = ""):
    """Normalise and rectify: torchvision's `name.norm<number>` and `name.relu<number>`."""
    return activate(batch_norm(x, f"{name}.norm{number}"), "relu", f"{name}.relu{number}")


def dense_layer(x, name: str):
    """Add `GROWTH` channels: normalise and rectify before a 1x1, and again before a 3x3 (Sec. 3).

    Args:
        x: Features (N, H, W, C).
        name: The published module's path.

    Returns:
        Features (N, H, W, C + 32), the new ones last.
    """
    y = convolved(rectified(x, name, 1), WITHIN * GROWTH, 1, f"{name}.conv1")
    y = convolved(rectified(y, name, 2), GROWTH, 3, f"{name}.conv2")
    return keras.layers.Concatenate(name=name)([x, y])


def transition(x, name: str):
    """Halve channels by a 1x1, and sides by a mean of 2x2."""
    x = convolved(rectified(x, name), x.shape[-1] // 2, 1, f"{name}.conv")
    return keras.layers.AveragePooling2D(2, name=f"{name}.pool")(x)


def densenet(
    variant: str = "121",
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    *,
    classes: int | None = 1000,
    depths: Sequence[int] | None = None,
) -> keras.Model:
    """Return DenseNet-121.

    Args:
        variant: One of `VARIANTS`, named by layers.
        input_shape: (H, W, C), channels last; H and W multiples of 32 or None.
        classes: Classes to tell apart; None leaves the classifier out.
        depths: Layers of each dense block, at most those of `REPEATS`; None takes all.

    Returns:
        A model from normalised images (N, H, W, C) to logits (N, classes), or without classifier
        to its inputs (N, 1024). `NETWORK.pyramid` gives feature maps.
    """
    check_arguments(VARIANTS, variant, input_shape, classes=classes, multiple=MULTIPLE)
    image = keras.Input(input_shape, name="image")
    x = convolved(image, STEM, 7, "features.conv0", strides=2)
    x = max_pool(rectified(x, "features", 0), "features.pool0")
    for block, layers in enumerate(block_numbers(REPEATS, depths), 1):
        for i in layers:
            x = dense_layer(x, f"features.denseblock{block}.denselayer{i + 1}")
        if block < len(REPEATS):
            x = transition(x, f"features.transition{block}")
    x = rectified(x, "features", 5)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    if classes is not None:
        x = linear(x, classes, CLASSIFIER)
    return keras.Model(image, x, name=f"densenet_{variant}")


def published_names(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a state dict by today's names: "norm.1" of the published file is "norm1"."""
    return {_DOTTED.sub(r"\1\2", name): array for name, array in state.items()}


def infer_arguments(state: Mapping[str, np.ndarray]) -> dict:
    """Return variant and classes of a state dict, as far as its names tell them."""
    found, own = {}, published_names(state)
    last, more = (f"features.denseblock3.denselayer{n}.conv2.weight" for n in (24, 25))
    if last in own and more not in own:
        found["variant"] = "121"
    if (head := own.get(f"{CLASSIFIER}.weight")) is not None:
        found["classes"] = head.shape[0]
    return found


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    return imagenet_card(
        "densenet",
        variant,
        VARIANTS[variant],
        title="Densely Connected Convolutional Networks",
        paper="G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger, CVPR 2017, arXiv:1608.06993",
        official_code="github.com/pytorch/vision, torchvision.models.densenet121",
        licence="BSD-3-Clause (torchvision)",
        resize=cropped(256),
        size_multiple=MULTIPLE,
        checkpoints="torchvision, DenseNet121_Weights: densenet121-a639ec97.pth",
    )


NETWORK = Network(
    densenet,
    VARIANTS,
    card,
    deploy=fold_norms,
    convert_state=published_names,
    infer=infer_arguments,
    skipped=partial(without_classifier, name=CLASSIFIER),
    features=FEATURES,
)
