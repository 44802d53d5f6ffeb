"""ClST-style network: a hierarchical convolutional transformer for frames of I/Q samples.

After D. Hou, L. Li, W. Lin, J. Liang, Z. Han, "ClST: A Convolutional Transformer Framework for
Automatic Modulation Recognition by Knowledge Distillation", IEEE Transactions on Wireless
Communications 23(7), 2024, DOI 10.1109/TWC.2023.3347537, arXiv:2312.17446.

Theirs are the stages with convolutions between them, the convolutional projection for attention and
the attention over positions and channels side by side. Neither code nor tables are public: widths,
depths, windows, heads and the formula of the attention over channels are this suite's, so this is
not their network and none of their numbers belong to it.

"small" begins with convolutions at the full rate, and what its stages begin with is normalised over
the batch and rectified: the layer norm of "base" takes from every token its magnitude, which tells
amplitude modulations apart, so that it learns more slowly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from apps.modulation_recognition.models.frames import (
    CLASSES,
    LENGTH,
    Shape,
    as_row,
    frame_input,
    style_card,
)
from core.compress.norm_folding import fold_norms
from core.layers.convolution import conv_norm, convolution, depthwise_norm, linear
from core.layers.squeeze_excitation import squeeze_excitation
from core.layers.window_attention import small_normal
from core.model_card import ModelCard
from core.network import Network

# `channel_branch`: how channels attend, to each other ("transpose") or by a gate that sees their
# means ("se"). `stem`: convolutions before the stages. "small" is what learns on a CPU.
VARIANTS: dict[str, dict[str, Any]] = {
    "base": {"channel_branch": "transpose", "widths": (64, 128, 256), "blocks": (1, 2, 4),
             "stem": (), "drop_path": 0.1, "parameters": 3_753_675},
    "se": {"channel_branch": "se", "widths": (64, 128, 256), "blocks": (1, 2, 4),
           "stem": (), "drop_path": 0.1, "parameters": 3_904_859},
    "small": {"channel_branch": "transpose", "widths": (32, 64, 128), "blocks": (1, 1, 2),
              "stem": (32, 32), "drop_path": 0.0, "parameters": 512_011},
}  # fmt: skip
# Of each stage: the window of its embedding, and heads.
WINDOWS, HEADS = (7, 3, 3), (1, 2, 4)
STEM_WINDOW, STRIDE, PROJECTION, MLP_RATIO, REDUCTION = 7, 2, 3, 4, 4
SMALLEST = 16  # so that the last stage has several tokens


def projected(x, name: str, *, strides: int = 1):
    """Convolve every channel along time, normalise, mix the channels: (N, 1, T / strides, C)."""
    y = depthwise_norm(x, (1, PROJECTION), name, strides=strides, padding="same")
    return linear(y, x.shape[-1], f"{name}.2", initializer=small_normal())


def in_heads(x, heads: int, order: tuple[int, int, int], name: str):
    """Return (N, 1, T, C) as (N, T, heads, C / heads), its axes then put into an order."""
    x = keras.layers.Reshape((-1, heads, x.shape[-1] // heads), name=f"{name}.heads")(x)
    return keras.layers.Permute(order, name=f"{name}.ordered")(x)


def spatial_attention(q, k, v, heads: int, name: str):
    """Return softmax(q kᵀ / sqrt(d)) v over the tokens of every head: (N, 1, T, C)."""
    ops, channels = keras.ops, q.shape[-1]
    q = ops.multiply(in_heads(q, heads, (2, 1, 3), f"{name}.q"), (channels // heads) ** -0.5)
    k = in_heads(k, heads, (2, 3, 1), f"{name}.k")
    v = in_heads(v, heads, (2, 1, 3), f"{name}.v")
    weights = keras.layers.Activation("softmax", name=f"{name}.softmax")(ops.matmul(q, k))
    y = keras.layers.Permute((2, 1, 3), name=f"{name}.joined")(ops.matmul(weights, v))
    return keras.layers.Reshape((1, -1, channels), name=name)(y)


def channel_attention(q, k, v, heads: int, name: str):
    """Return softmax(qᵀ k / T) vᵀ over the channels of every head: (N, 1, T, C)."""
    ops, (tokens, channels) = keras.ops, q.shape[2:]
    q = ops.multiply(in_heads(q, heads, (2, 3, 1), f"{name}.q"), 1 / tokens)
    k = in_heads(k, heads, (2, 1, 3), f"{name}.k")
    v = in_heads(v, heads, (2, 3, 1), f"{name}.v")
    weights = keras.layers.Activation("softmax", name=f"{name}.softmax")(ops.matmul(q, k))
    y = keras.layers.Reshape((1, channels, -1), name=f"{name}.joined")(ops.matmul(weights, v))
    return keras.layers.Permute((1, 3, 2), name=name)(y)


def parallel_attention(x, heads: int, branch: str, name: str):
    """Attend to positions and to channels side by side, add, and project.

    Args:
        x: Tokens (N, 1, T, C).
        heads: They share the channels.
        branch: Of `VARIANTS`: the attention over channels.
        name: Of the block.
    """
    q = projected(x, f"{name}.q")
    if branch == "se":
        k, v = (projected(x, f"{name}.{part}", strides=STRIDE) for part in "kv")
        channels = squeeze_excitation(x, x.shape[-1] // REDUCTION, f"{name}.channel")
    else:  # every token for the channels, every other one for the positions
        k, v = (projected(x, f"{name}.{part}") for part in "kv")
        channels = channel_attention(q, k, v, heads, f"{name}.channel")
        k, v = (part[:, :, ::STRIDE] for part in (k, v))
    positions = spatial_attention(q, k, v, heads, f"{name}.spatial")
    y = keras.layers.Add(name=f"{name}.branches")([positions, channels])
    return linear(y, x.shape[-1], f"{name}.proj", initializer=small_normal())


def added(x, y, drop_path: float, name: str):
    """Return x + y, where training leaves y out for some samples (stochastic depth)."""
    if drop_path:
        drop = keras.layers.Dropout(
            drop_path, noise_shape=(None, 1, 1, 1), name=f"{name}.drop_path"
        )
        y = drop(y)
    return keras.layers.Add(name=name)([x, y])


def block(x, heads: int, branch: str, drop_path: float, name: str):
    """x + attention(norm(x)), then x + perceptron(norm(x)); tokens (N, 1, T, C)."""
    y = token_norm(x, f"{name}.norm1")
    y = parallel_attention(y, heads, branch, f"{name}.attn")
    x = added(x, y, drop_path, f"{name}.attn.sum")
    width = x.shape[-1]
    y = token_norm(x, f"{name}.norm2")
    y = linear(y, MLP_RATIO * width, f"{name}.mlp.fc1", initializer=small_normal())
    y = keras.layers.Activation("gelu", name=f"{name}.mlp.act")(y)
    y = linear(y, width, f"{name}.mlp.fc2", initializer=small_normal())
    return added(x, y, drop_path, name)


def token_norm(x, name: str):
    """Normalise every token over its channels."""
    return keras.layers.LayerNormalization(epsilon=1e-5, name=name)(x)


def clst(
    variant: str = "base",
    input_shape: Shape = (LENGTH, 2),
    *,
    classes: int = len(CLASSES),
    depths: Sequence[int] | None = None,
) -> keras.Model:
    """Return the ClST-style network.

    Args:
        variant: One of `VARIANTS`.
        input_shape: (length, 2), at least 16 samples; the length must be known.
        classes: Classes to tell apart.
        depths: Blocks of each stage; None takes the variant's.

    Returns:
        A model from frames (N, length, 2) of mean magnitude 1 to logits (N, classes).
    """
    fixed = "attention over channels divides by the number of tokens"
    frame = frame_input(VARIANTS, variant, input_shape, classes, smallest=SMALLEST, fixed=fixed)
    table = VARIANTS[variant]
    blocks = table["blocks"] if depths is None else depths
    how = table["channel_branch"], table["drop_path"]
    rectified: dict[str, Any] = {"activation": "relu", "padding": "same"}
    x = as_row(frame)
    for number, width in enumerate(table["stem"]):
        x = conv_norm(x, width, (1, STEM_WINDOW), f"stem.{number}", **rectified)
    for number, width in enumerate(table["widths"]):
        name, window = f"stages.{number}", (1, WINDOWS[number])
        if table["stem"]:
            x = conv_norm(x, width, window, f"{name}.embed", strides=STRIDE, **rectified)
        else:
            x = convolution(x, width, window, f"{name}.embed.0", strides=STRIDE, padding="same")
            x = token_norm(x, f"{name}.embed.1")
        for i in range(blocks[number]):
            x = block(x, HEADS[number], *how, f"{name}.blocks.{i}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    logits = linear(x, classes, "classifier", initializer=small_normal())
    return keras.Model(frame, logits, name=f"clst_{variant}")


def infer_arguments(state: Mapping[str, np.ndarray]) -> dict:
    """Return variant and classes of a state dict of this network."""
    first, last = state.get("stages.0.embed.0.weight"), state.get("classifier.bias")
    if first is None or last is None:
        return {}
    gated = any(".attn.channel.conv_reduce." in name for name in state)
    asked = (len(first), "se" if gated else "transpose", "stem.0.0.weight" in state)
    known = {
        (t["widths"][0], t["channel_branch"], bool(t["stem"])): name for name, t in VARIANTS.items()
    }
    return {"variant": known[asked], "classes": len(last)} if asked in known else {}


def card(variant: str) -> ModelCard:
    """Return the model card."""
    return style_card("clst", "ClST-style network", variant, VARIANTS[variant]["parameters"])


NETWORK = Network(
    clst,
    VARIANTS,
    card,
    deploy=fold_norms,
    infer=infer_arguments,
    smallest=SMALLEST,
    any_size=False,
)
