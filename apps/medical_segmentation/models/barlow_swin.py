"""Barlow-Swin: a Swin-like encoder with a U-Net decoder, for encoders pre-trained without labels.

M. K. Haftlang, M. Malmir, F. Parand, U. Michelucci, S. El Ghazouali, "Barlow-Swin: Toward a novel
siamese-based segmentation architecture using Swin-Transformers", 2025, arXiv:2509.06885.
Official code: github.com/mkianih/Barlow-Swin (a notebook without a licence).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from core.backbones.widths import block_numbers
from core.layers.own_range import OwnRange
from core.layers.patches import LearnedPositions, SpaceToDepth, from_column_order, merge_patches
from core.layers.resize import NearestUpsampling
from core.layers.window_attention import window_attention
from core.model_card import ModelCard
from core.network import Network, check_arguments

VARIANTS: dict[str, dict[str, Any]] = {
    "base": {"width": 96, "depths": (2, 2, 2), "heads": 8, "decoder": (192, 128, 64, 32),
             "parameters": 7_001_683},
}  # fmt: skip
PATCH = 4
WINDOW = 4
SHIFT = 1  # the official code's; the Swin Transformer shifts by half a window
MLP_RATIO = 4
DROPOUT = 0.1
MULTIPLE = 64  # of a side, so that the last stage, at 1/16, is cut into whole windows


def swin_block(x, heads: int, shift: int, name: str):
    """Attend within windows, then treat every position by itself; both add to what they see."""
    width, window = x.shape[-1], WINDOW
    if min(x.shape[1:3]) <= window:  # one window sees all: there is nothing to shift
        window, shift = min(x.shape[1:3]), 0
    y = keras.layers.LayerNormalization(epsilon=1e-5, name=f"{name}.norm1")(x)
    y = window_attention(y, heads, f"{name}.attn", window=window, shift=shift)
    x = keras.layers.Add(name=f"{name}.attn.sum")([x, y])
    y = keras.layers.LayerNormalization(epsilon=1e-5, name=f"{name}.norm2")(x)
    y = keras.layers.Dense(MLP_RATIO * width, name=f"{name}.mlp.fc1")(y)
    y = keras.layers.Activation("gelu", name=f"{name}.mlp.act")(y)
    y = keras.layers.Dense(width, name=f"{name}.mlp.fc2")(y)
    return keras.layers.Add(name=name)([x, y])


def decoder_block(x, filters: int, name: str):
    """Two separable convolutions beside a 1x1 shortcut; nothing follows their sum."""
    shortcut = keras.layers.Conv2D(filters, 1, name=f"{name}.shortcut")(x)
    shortcut = keras.layers.BatchNormalization(name=f"{name}.bn_shortcut")(shortcut)
    for i in (1, 2):
        conv = f"{name}.conv{i}"
        x = keras.layers.DepthwiseConv2D(
            3, padding="same", use_bias=False, name=f"{conv}.depthwise"
        )(x)
        x = keras.layers.Conv2D(filters, 1, name=f"{conv}.pointwise")(x)
        x = keras.layers.BatchNormalization(name=f"{name}.bn{i}")(x)
        x = keras.layers.Activation("relu", name=f"{name}.relu{i}")(x)
    x = keras.layers.Dropout(DROPOUT, name=f"{name}.dropout")(x)
    return keras.layers.Add(name=name)([shortcut, x])


def barlow_swin(
    variant: str = "base",
    input_shape: tuple[int, int, int] = (512, 512, 3),
    *,
    classes: int = 1,
    depths: Sequence[int] | None = None,
) -> keras.Model:
    """Return Barlow-Swin.

    Args:
        variant: One of `VARIANTS`.
        input_shape: (H, W, channels), H and W multiples of 64. The size is part of the network,
            which learns a vector for every position.
        classes: Output channels: 1 for one foreground, else classes with background.
        depths: Blocks of each stage, at most the variant's; None takes all.

    Returns:
        A model from images (N, H, W, channels) in [0, 1] to logits (N, H, W, classes).
    """
    if None in input_shape:
        raise ValueError(
            "`input_shape` must have a height and a width, for the network learns their positions. "
            f"Received: input_shape={tuple(input_shape)}"
        )
    check_arguments(VARIANTS, variant, input_shape, multiple=MULTIPLE, classes=classes)
    table = VARIANTS[variant]
    image = keras.Input(input_shape, name="image")
    x = SpaceToDepth(PATCH, name="patch_embed.patches")(image)
    x = keras.layers.Dense(table["width"], name="patch_embed.proj")(x)
    x = LearnedPositions(name="patch_embed.pos")(x)

    skips = []
    for stage, blocks in enumerate(block_numbers(table["depths"], depths)):
        name = f"stages.{stage}"
        if stage:
            skips.append(x)
            x = merge_patches(x, 2 * x.shape[-1], f"{name}.merge")
        for block in blocks:
            x = swin_block(x, table["heads"], SHIFT * (block % 2), f"{name}.blocks.{block}")

    for i, filters in enumerate(table["decoder"]):
        x = NearestUpsampling(2, name=f"decoder.{i}.upsample")(x)
        if skips:
            skip = OwnRange(name=f"decoder.{i}.skip")(skips.pop())
            x = keras.layers.Concatenate(name=f"decoder.{i}.concat")([x, skip])
        x = decoder_block(x, filters, f"decoder.{i}")
    x = keras.layers.Conv2D(classes, 1, name="head")(x)
    logits = keras.layers.BatchNormalization(name="head_bn")(x)
    return keras.Model(image, logits, name=f"barlow_swin_{variant}")


def convert_state(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a published state dict whose merging matrices take patches in the order of rows."""
    return {
        name: from_column_order(value) if name.endswith(".merge.reduction.weight") else value
        for name, value in state.items()
    }


def infer_arguments(state: Mapping[str, np.ndarray]) -> dict:
    """Return size, channels and classes of a published state dict, as its shapes tell them."""
    found: dict = {}
    positions, patches = state.get("patch_embed.pos.weight"), state.get("patch_embed.proj.weight")
    if positions is not None:
        side = math.isqrt(len(positions))
        if side * side == len(positions):  # published networks take squares
            found["input_size"] = (PATCH * side, PATCH * side)
    if patches is not None and patches.ndim == 2:
        found["channels"] = patches.shape[1] // PATCH**2
    if "head.weight" in state:
        found["classes"] = len(state["head.weight"])
    return found


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    return ModelCard(
        network="barlow_swin",
        variant=variant,
        app="medseg",
        title="Barlow-Swin: Toward a Novel Siamese-based Segmentation Architecture using "
        "Swin-Transformers",
        paper="M. K. Haftlang et al., 2025, arXiv:2509.06885",
        official_code="github.com/mkianih/Barlow-Swin (no licence)",
        licence="reimplemented from the paper; weights follow the licence of their training data",
        input_size=(512, 512),
        size_multiple=MULTIPLE,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        labels=("foreground",),
        output="logits",
        decode={"threshold": 0.5, "protocol": "native"},
        # The official code trains 2352 fewer: it forgets its six tables of relative positions.
        published={"parameters": VARIANTS[variant]["parameters"], "Dice Retina": 82.6},
        checkpoints="none published",
    )


FEATURES = {4: "stages.0.blocks.1", 8: "stages.1.blocks.1", 16: "stages.2.blocks.1"}

NETWORK = Network(
    barlow_swin,
    VARIANTS,
    card,
    convert_state=convert_state,
    infer=infer_arguments,
    features=FEATURES,
    smallest=MULTIPLE,
    any_size=False,
)
