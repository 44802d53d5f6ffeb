"""Inception-v3: parallel windows of several sizes, large ones factorised into small ones.

C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna, CVPR 2016, arXiv:1512.00567. Names and
start are those of torchvision's `inception_v3`, without its auxiliary head, which a training from
random weights alone needs, and without its change of the input's normalisation: the card has the
one that the published weights were trained with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import keras
import numpy as np

from core.backbones.imagenet import cropped, imagenet_card
from core.backbones.widths import block_numbers
from core.compress.norm_folding import fold_norms
from core.layers.convolution import activate, batch_norm, convolution, torch_uniform
from core.model_card import ModelCard
from core.network import PROFILES, Network, check_arguments, without_classifier

# MACs of convolutions and the classifier at 299x299; top-1 in percent. Torchvision counts the
# auxiliary head's 3,326,696 parameters too.
VARIANTS = {"v3": {"parameters": 23_834_568, "macs": 5_713_216_096, "top-1": 77.294}}
SIDE, SMALLEST = 299, 75
EPSILON = 1e-3
CLASSIFIER = "fc"
# Of each grid the modules, with the channels behind their pooling, in the second within their 7x7.
MODULES: tuple[dict[str, int], ...] = (
    {"Mixed_5b": 32, "Mixed_5c": 64, "Mixed_5d": 64},
    {"Mixed_6b": 128, "Mixed_6c": 160, "Mixed_6d": 160, "Mixed_6e": 192},
    {"Mixed_7b": 192, "Mixed_7c": 192},
)
AUXILIARY = r"AuxLogits\..*"


def rectified(x, filters: int, kernel, name: str, **options):
    """Convolve, normalise and rectify: torchvision's `name.conv` and `name.bn`."""
    start = keras.initializers.RandomNormal(stddev=0.1)
    x = convolution(
        x, filters, kernel, f"{name}.conv", use_bias=False, initializer=start, **options
    )
    return activate(batch_norm(x, f"{name}.bn", epsilon=EPSILON), "relu", f"{name}.relu")


def branch(x, name: str, steps: Mapping[str, tuple]):
    """Convolve in a row: number in the branch's name → channels and window, strided ones last."""
    for number, (filters, kernel, *strides) in steps.items():
        options = {"strides": strides[0], "padding": "valid"} if strides else {}
        x = rectified(x, filters, kernel, f"{name}{number}", **options)
    return x


def pooled(x, filters: int, name: str):
    """Take means of 3x3, the zeros around the map counted among them, before a 1x1."""
    x = keras.layers.ZeroPadding2D(1, name=f"{name}.padding")(x)
    x = keras.layers.AveragePooling2D(3, strides=1, name=f"{name}.mean")(x)
    return rectified(x, filters, 1, f"{name}.branch_pool")


def largest(x, name: str):
    """Take the largest of each whole window of 3x3, at stride 2."""
    return keras.layers.MaxPooling2D(3, strides=2, name=name)(x)


def module_5(x, name: str, after_pooling: int):
    """A 1x1, a 5x5, two 3x3 in a row and a pooling side by side (Fig. 5 has a 3x3 for the 5x5)."""
    parts = [
        branch(x, f"{name}.branch1x1", {"": (64, 1)}),
        branch(x, f"{name}.branch5x5", {"_1": (48, 1), "_2": (64, 5)}),
        branch(x, f"{name}.branch3x3dbl", {"_1": (64, 1), "_2": (96, 3), "_3": (96, 3)}),
        pooled(x, after_pooling, name),
    ]
    return keras.layers.Concatenate(name=name)(parts)


def module_6(x, name: str, within: int):
    """A 1x1, a 7x7 and two of them as 1x7 and 7x1, and a pooling side by side (Fig. 6)."""
    wide, high = (1, 7), (7, 1)
    double = {"_1": (within, 1), "_2": (within, high), "_3": (within, wide), "_4": (within, high)}
    parts = [
        branch(x, f"{name}.branch1x1", {"": (192, 1)}),
        branch(
            x, f"{name}.branch7x7", {"_1": (within, 1), "_2": (within, wide), "_3": (192, high)}
        ),
        branch(x, f"{name}.branch7x7dbl", {**double, "_5": (192, wide)}),
        pooled(x, 192, name),
    ]
    return keras.layers.Concatenate(name=name)(parts)


def module_7(x, name: str, after_pooling: int):
    """A 1x1, a 3x3 and two of them that end in 1x3 beside 3x1, and a pooling (Fig. 7)."""
    single = branch(x, f"{name}.branch3x3", {"_1": (384, 1)})
    double = branch(x, f"{name}.branch3x3dbl", {"_1": (448, 1), "_2": (384, 3)})
    ends = [
        rectified(y, 384, kernel, f"{name}.{end}{letter}")
        for y, end in ((single, "branch3x3_2"), (double, "branch3x3dbl_3"))
        for kernel, letter in (((1, 3), "a"), ((3, 1), "b"))
    ]
    parts = [branch(x, f"{name}.branch1x1", {"": (320, 1)}), *ends]
    parts.append(pooled(x, after_pooling, name))
    return keras.layers.Concatenate(name=name)(parts)


def smaller(x, name: str, first: Mapping[str, tuple], second: str, steps: Mapping[str, tuple]):
    """Halve the grid by two strided branches and a pooling side by side (Fig. 10)."""
    parts = [
        branch(x, f"{name}.branch3x3", first),
        branch(x, f"{name}.{second}", steps),
        largest(x, f"{name}.maxpool"),
    ]
    return keras.layers.Concatenate(name=name)(parts)


def inceptionv3(
    variant: str = "v3",
    input_shape: tuple[int | None, int | None, int] = (SIDE, SIDE, 3),
    *,
    classes: int | None = 1000,
    depths: Sequence[int] | None = None,
    dropout: float = 0.5,
) -> keras.Model:
    """Return Inception-v3.

    Args:
        variant: One of `VARIANTS`.
        input_shape: (H, W, C), channels last; H and W at least 75, or None.
        classes: Classes to tell apart; None leaves the classifier out.
        depths: Modules of each grid, at most those of `MODULES`; None takes all.
        dropout: Share of the classifier's inputs that training leaves out.

    Returns:
        A model from normalised images (N, H, W, C) to logits (N, classes), or without classifier
        to its inputs (N, 2048). Its windows begin inside the map, so that no map has a stride's
        size and there is no pyramid.
    """
    check_arguments(VARIANTS, variant, input_shape, smallest=SMALLEST, classes=classes)
    image = keras.Input(input_shape, name="image")
    # The published code's first layers; Table 1 has others, of the same sizes.
    x = rectified(image, 32, 3, "Conv2d_1a_3x3", strides=2, padding="valid")
    x = rectified(x, 32, 3, "Conv2d_2a_3x3", padding="valid")
    x = largest(rectified(x, 64, 3, "Conv2d_2b_3x3"), "maxpool1")
    x = rectified(x, 80, 1, "Conv2d_3b_1x1")
    x = largest(rectified(x, 192, 3, "Conv2d_4a_3x3", padding="valid"), "maxpool2")
    numbers = block_numbers([len(modules) for modules in MODULES], depths)
    large, middle, small = (
        list(modules.items())[-len(those) :]
        for modules, those in zip(MODULES, numbers, strict=True)
    )
    for one in large:
        x = module_5(x, *one)
    double = {"_1": (64, 1), "_2": (96, 3), "_3": (96, 3, 2)}
    x = smaller(x, "Mixed_6a", {"": (384, 3, 2)}, "branch3x3dbl", double)
    for one in middle:
        x = module_6(x, *one)
    single = {"_1": (192, 1), "_2": (320, 3, 2)}
    seven = {"_1": (192, 1), "_2": (192, (1, 7)), "_3": (192, (7, 1)), "_4": (192, 3, 2)}
    x = smaller(x, "Mixed_7a", single, "branch7x7x3", seven)
    for one in small:
        x = module_7(x, *one)
    x = keras.layers.GlobalAveragePooling2D(name="avgpool")(x)
    if classes is not None:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
        x = keras.layers.Dense(
            classes,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.1),
            bias_initializer=torch_uniform(x.shape[-1]),
            name=CLASSIFIER,
        )(x)
    return keras.Model(image, x, name=f"inceptionv3_{variant}")


def infer_arguments(state: Mapping[str, np.ndarray]) -> dict:
    """Return variant and classes of a published state dict, as far as its names tell them."""
    found = {}
    if "Mixed_7c.branch3x3dbl_3b.conv.weight" in state:
        found["variant"] = "v3"
    if (head := state.get(f"{CLASSIFIER}.weight")) is not None:
        found["classes"] = head.shape[0]
    return found


def notes(state: Mapping[str, np.ndarray], file: str) -> list[str]:
    """Say that the auxiliary head, which only a training of its own needs, is left out."""
    if not any(name.startswith("AuxLogits.") for name in state):
        return []
    return [f"{file}: the auxiliary head (AuxLogits) is left out; it serves training alone."]


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    return imagenet_card(
        "inceptionv3",
        variant,
        VARIANTS[variant],
        side=SIDE,
        title="Rethinking the Inception Architecture for Computer Vision",
        paper="C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna, CVPR 2016, "
        "arXiv:1512.00567",
        official_code="github.com/pytorch/vision, torchvision.models.inception_v3",
        licence="BSD-3-Clause (torchvision)",
        resize=cropped(342, SIDE),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        checkpoints="torchvision, Inception_V3_Weights: inception_v3_google-0cc3c7bd.pth",
    )


NETWORK = Network(
    inceptionv3,
    VARIANTS,
    card,
    deploy=fold_norms,
    infer=infer_arguments,
    ignored=(*PROFILES, AUXILIARY),
    skipped=partial(without_classifier, name=CLASSIFIER),
    notes=notes,
    smallest=SMALLEST,
)
