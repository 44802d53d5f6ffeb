"""VGG-19: small windows, many of them, and most of the parameters in its classifier.

K. Simonyan, A. Zisserman, ICLR 2015, arXiv:1409.1556, configuration E. Names and start are those of
torchvision's `vgg19`, the one without batch normalisation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from core.backbones.imagenet import cropped, imagenet_card
from core.backbones.widths import block_numbers
from core.layers.convolution import activate, convolution, fan_out_normal, linear
from core.layers.pooling import adaptive_mean
from core.model_card import ModelCard
from core.network import Network, check_arguments, without_classifier

# MACs of convolutions and the classifier at 224x224; top-1 in percent.
VARIANTS = {"19": {"parameters": 143_667_240, "macs": 19_632_062_464, "top-1": 72.376}}
STAGES = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # channels, convolutions (Table 1, E)
HIDDEN = 4096  # units of the classifier's two hidden layers
GRID = 7  # side of the map that the classifier reads, whatever the input's size
CLASSIFIER = ("classifier.0", "classifier.3", "classifier.6")
MULTIPLE = 32  # of the sides: pooling would drop the last of an odd number of rows
# The last features before each pooling, and those behind the last one.
FEATURES = {
    1: "features.3",
    2: "features.8",
    4: "features.17",
    8: "features.26",
    16: "features.35",
    32: "features.36",
}


def normal():
    """Return the start of the classifier's kernels; their biases are zero."""
    return keras.initializers.RandomNormal(stddev=0.01)


def vgg(
    variant: str = "19",
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    *,
    classes: int | None = 1000,
    depths: Sequence[int] | None = None,
    hidden: int = HIDDEN,
    dropout: float = 0.5,
) -> keras.Model:
    """Return VGG-19.

    The classifier's first layer, whose weights have positions, is the 7x7 convolution that the
    paper makes of it in Sec. 3.2: the published rows then need no other order.

    Args:
        variant: One of `VARIANTS`, named by layers with weights.
        input_shape: (H, W, C), channels last; H and W multiples of 32. They may be None without
            classifier.
        classes: Classes to tell apart; None leaves the classifier out.
        depths: Convolutions of each stage, at most those of `STAGES`; None takes all.
        hidden: Units of the classifier's hidden layers.
        dropout: Share of them that training leaves out.

    Returns:
        A model from normalised images (N, H, W, C) to logits (N, classes), or without classifier
        to the means of the last features (N, 512). `NETWORK.pyramid` gives feature maps.
    """
    check_arguments(VARIANTS, variant, input_shape, multiple=MULTIPLE, classes=classes)
    if classes is not None and None in input_shape[:2]:
        raise ValueError(
            "`input_shape` must have no None where there is a classifier, whose weights have "
            f"positions. Received: input_shape={tuple(input_shape)}"
        )
    image = x = keras.Input(input_shape, name="image")
    first = 0  # number of the stage's first convolution in the published `features`
    numbers = block_numbers([repeats for _, repeats in STAGES], depths)
    for (filters, repeats), blocks in zip(STAGES, numbers, strict=True):
        for i in blocks:
            name, own = f"features.{first + 2 * i}", f"features.{first + 2 * i + 1}"
            x = convolution(x, filters, 3, name, initializer=fan_out_normal())
            x = activate(x, "relu", own)
        first += 2 * repeats + 1
        x = keras.layers.MaxPooling2D(2, name=f"features.{first - 1}")(x)
    if classes is None:
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
        return keras.Model(image, x, name=f"vgg_{variant}")
    x = adaptive_mean(x, GRID, "avgpool")
    x = convolution(x, hidden, GRID, CLASSIFIER[0], initializer=normal(), padding="valid")
    x = activate(keras.layers.Flatten(name="flatten")(x), "relu", "classifier.1")
    x = keras.layers.Dropout(dropout, name="classifier.2")(x)
    x = activate(linear(x, hidden, CLASSIFIER[1], initializer=normal()), "relu", "classifier.4")
    x = keras.layers.Dropout(dropout, name="classifier.5")(x)
    x = linear(x, classes, CLASSIFIER[2], initializer=normal())
    return keras.Model(image, x, name=f"vgg_{variant}")


def with_positions(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a state dict whose classifier reads a map: (units, C * 49) as (units, C, 7, 7)."""
    name = f"{CLASSIFIER[0]}.weight"
    weight = state.get(name)
    if weight is None or weight.ndim != 2 or weight.shape[1] % GRID**2:
        return dict(state)
    return {**state, name: weight.reshape(len(weight), -1, GRID, GRID)}


def infer_arguments(state: Mapping[str, np.ndarray]) -> dict:
    """Return variant and classes of a published state dict, as far as its names tell them."""
    found = {}
    last = state.get("features.34.weight")
    if last is not None and last.ndim == 4 and "features.37.weight" not in state:
        found["variant"] = "19"
    if (head := state.get(f"{CLASSIFIER[-1]}.weight")) is not None:
        found["classes"] = head.shape[0]
    return found


def skipped(model: keras.Model) -> tuple[str, ...]:
    """Return patterns of the classifier's three layers for a model built without them."""
    return tuple(one for name in CLASSIFIER for one in without_classifier(model, name))


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    return imagenet_card(
        "vgg",
        variant,
        VARIANTS[variant],
        title="Very Deep Convolutional Networks for Large-Scale Image Recognition",
        paper="K. Simonyan, A. Zisserman, ICLR 2015, arXiv:1409.1556",
        official_code="github.com/pytorch/vision, torchvision.models.vgg19",
        licence="BSD-3-Clause (torchvision)",
        resize=cropped(256),
        size_multiple=MULTIPLE,
        checkpoints="torchvision, VGG19_Weights: vgg19-dcbb9e9d.pth",
    )


NETWORK = Network(
    vgg,
    VARIANTS,
    card,
    convert_state=with_positions,
    infer=infer_arguments,
    skipped=skipped,
    features=FEATURES,
    head=r"classifier\.\d",
    any_size=False,
)
