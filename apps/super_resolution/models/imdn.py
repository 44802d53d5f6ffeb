"""IMDN: information multi-distillation networks for image super-resolution.

Z. Hui, X. Gao, Y. Yang, X. Wang, ACM MM 2019, arXiv:1909.11856.
Official code: github.com/Zheng222/IMDN (no licence stated).
IMDN+: Y. Li et al., NTIRE 2022 Challenge on Efficient Super-Resolution (CVPRW 2022), team 39,
github.com/ofsoundof/NTIRE2022_ESR (MIT).
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from apps.super_resolution.models.common import CHANNELS, clipped, pixel_card, variant_of_scale
from core.layers.clip import Clip
from core.layers.convolution import convolution
from core.layers.pixel_shuffle import DepthToSpace, state_from_torch_order
from core.model_card import ModelCard
from core.network import Network, check_arguments

# "distilled" channels leave a block after each of its convolutions, "remaining" ones go on to the
# next. "stride" is that of the encoder, "scale" that of the output against the input.
_IMDN = {
    "blocks": 6,
    "width": 64,
    "distilled": 16,
    "remaining": (48, 48, 48),
    "activation": "leaky_relu",
    "attention": True,
    "fusion": True,
    "names": {"block": "IMDB{}", "first": 1, "last": ("LR_conv", 3), "end": "upsampler.0"},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "x4": {**_IMDN, "scale": 4, "encoder": (("fea_conv", 1),), "parameters": 715_176},
    "x3": {**_IMDN, "scale": 3, "encoder": (("fea_conv", 1),), "parameters": 703_059},
    "x2": {**_IMDN, "scale": 2, "encoder": (("fea_conv", 1),), "parameters": 694_404},
    "as": {
        **_IMDN,
        "scale": 1,
        "encoder": (("fea_conv.0", 2), ("fea_conv.2", 2)),
        "parameters": 752_104,
    },
    "rtc": {
        "scale": 2,
        "blocks": 5,
        "width": 12,
        "distilled": 3,
        "remaining": (9, 9, 9),
        "activation": "leaky_relu",
        "encoder": (("model.0", 1),),
        "names": {
            "block": "model.1.sub.{}",
            "first": 0,
            "last": ("model.1.sub.5", 1),
            "end": "model.2",
        },
        "parameters": 20_190,
    },
    "rte": {
        "scale": 2,
        "blocks": 6,
        "width": 20,
        "distilled": 5,
        "remaining": (15, 15, 15, 10, 5),
        "activation": "relu",
        "use_bias": False,
        "encoder": (("fea_conv.0", 1), ("fea_conv.2", 2)),
        "names": {"block": "block{}", "first": 1, "last": ("LR_conv", 1), "end": "upsampler.0"},
        "peak": 255,
        "parameters": 89_748,
    },
    "plus": {
        "scale": 4,
        "blocks": 8,
        "width": 36,
        "distilled": 6,
        "remaining": (30, 24, 18, 12, 6),
        "activation": "silu",
        "encoder": (("FEM.0", 1),),
        "names": {
            "block": "FEM.1.sub.{}",
            "first": 0,
            "last": ("FEM.1.sub.8", 3),
            "end": "RM.0",
        },
        "parameters": 275_844,
    },
}
PUBLISHED = {
    "x4": {"PSNR-Y Set5": 32.21, "PSNR-Y Set14": 28.58, "PSNR-Y BSD100": 27.56,
           "PSNR-Y Urban100": 26.04, "PSNR-Y Manga109": 30.45, "SSIM-Y Set5": 0.8948},
    "x3": {"PSNR-Y Set5": 34.36, "PSNR-Y Set14": 30.32, "PSNR-Y BSD100": 29.09,
           "PSNR-Y Urban100": 28.17, "PSNR-Y Manga109": 33.61, "SSIM-Y Set5": 0.9270},
    "x2": {"PSNR-Y Set5": 38.00, "PSNR-Y Set14": 33.63, "PSNR-Y BSD100": 32.19,
           "PSNR-Y Urban100": 32.17, "PSNR-Y Manga109": 38.88, "SSIM-Y Set5": 0.9605},
    "plus": {"PSNR-Y Set5": 32.11, "PSNR-Y Set14": 28.63, "PSNR-Y BSD100": 27.58,
             "PSNR-Y Urban100": 26.10, "PSNR-Y Manga109": 30.55, "SSIM-Y Set5": 0.8934},
}  # fmt: skip
CHECKPOINTS = {
    "plus": "github.com/ofsoundof/NTIRE2022_ESR, model_zoo/ (team 39)",
}
SLOPE = 0.05
REDUCTION = 16


@keras.saving.register_keras_serializable("gossamer")
class SquareRoot(keras.layers.Layer):
    """sqrt(x) of values that are not negative; in training the gradient at zero stays finite."""

    def call(self, inputs, training=None):
        if training:
            inputs = keras.ops.maximum(inputs, 1e-12)
        return keras.ops.sqrt(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape


def activate(x, kind: str, name: str):
    """Apply "leaky_relu" (slope 0.05), "relu" or "silu"."""
    if kind == "leaky_relu":
        return keras.layers.LeakyReLU(SLOPE, name=name)(x)
    return keras.layers.Activation(kind, name=name)(x)


def contrast_attention(x, name: str):
    """Contrast-aware channel attention, CCA (Fig. 4): gate by each channel's mean + deviation."""
    channels = x.shape[-1]
    mean = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}.mean")(x)
    centred = keras.layers.Subtract(name=f"{name}.centred")([x, mean])
    square = keras.layers.Multiply(name=f"{name}.square")([centred, centred])
    variance = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}.variance")(square)
    contrast = keras.layers.Add(name=f"{name}.contrast")(
        [mean, SquareRoot(name=f"{name}.deviation")(variance)]
    )
    gate = convolution(contrast, channels // REDUCTION, 1, f"{name}.conv_du.0")
    gate = keras.layers.Activation("relu", name=f"{name}.conv_du.1")(gate)
    gate = convolution(gate, channels, 1, f"{name}.conv_du.2")
    gate = keras.layers.Activation("sigmoid", name=f"{name}.conv_du.3")(gate)
    return keras.layers.Multiply(name=name)([x, gate])


def distillation_block(x, table: dict, name: str):
    """Information multi-distillation block, IMDB (Fig. 3): keep a part of each step, fuse them.

    Two convolutions in place of one and a cut were measured: int8 files take as long, float
    files 10 to 40 % longer.

    Args:
        x: Features (N, H, W, width).
        table: The variant's row of `VARIANTS`.
        name: The published module's path.
    """
    inputs, kept = x, []
    distilled, kind, use_bias = table["distilled"], table["activation"], table.get("use_bias", True)
    for step, remaining in enumerate(table["remaining"], start=1):
        layer = f"{name}.c{step}"
        x = convolution(x, distilled + remaining, 3, layer, use_bias=use_bias)
        x = activate(x, kind, f"{layer}.activation")
        kept.append(x[..., :distilled])
        x = x[..., distilled:]
    last = len(kept) + 1
    x = convolution(x, distilled, 3, f"{name}.c{last}", use_bias=use_bias)
    if kind != "leaky_relu":  # the blocks with six steps also activate the last one
        x = activate(x, kind, f"{name}.c{last}.activation")
    x = keras.layers.Concatenate(name=f"{name}.concat")([*kept, x])
    if table.get("attention"):
        x = contrast_attention(x, f"{name}.cca")
    x = convolution(x, table["width"], 1, f"{name}.c{last + 1}", use_bias=use_bias)
    return keras.layers.Add(name=name)([x, inputs])


def imdn(
    variant: str = "x4",
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    *,
    clip: bool = False,
) -> keras.Model:
    """Return an information multi-distillation network.

    Args:
        variant: One of `VARIANTS`: "x2", "x3", "x4" (the paper's networks), "as" (restores a
            photograph at its size), "rtc" and "rte" (x2, real time), "plus" (x4, IMDN+).
        input_shape: (H, W, 3), channels last; H and W are None or multiples of the encoder's
            stride: 4 for "as", 2 for "rte", else 1.
        clip: Whether the output is limited to the pixels' range.

    Returns:
        A model from RGB (N, H, W, 3) to RGB (N, scale·H, scale·W, 3), in [0, 1], of "rte" in
        [0, 255].
    """
    stride = encoder_stride(VARIANTS[variant]) if variant in VARIANTS else 1
    check_arguments(VARIANTS, variant, input_shape, channels=CHANNELS, multiple=stride)
    table = VARIANTS[variant]
    names, width = table["names"], table["width"]
    image = x = keras.Input(input_shape, name="image")
    use_bias = table.get("use_bias", True)
    for i, (name, step) in enumerate(table["encoder"]):
        if i > 0:
            x = activate(x, table["activation"], "fea_conv.1")
        x = convolution(x, width, 3, name, strides=step, use_bias=use_bias or i == 0)
    features, outputs = x, []
    for i in range(names["first"], names["first"] + table["blocks"]):
        x = distillation_block(x, table, names["block"].format(i))
        outputs.append(x)
    if table.get("fusion"):
        x = keras.layers.Concatenate(name="c.concat")(outputs)
        x = activate(convolution(x, width, 1, "c.0"), table["activation"], "c")
    name, kernel = names["last"]
    x = convolution(x, width, kernel, name, use_bias=use_bias)
    x = keras.layers.Add(name="residual")([x, features])
    factor = table["scale"] * stride
    x = convolution(x, CHANNELS * factor**2, 3, names["end"])
    if clip:
        x = Clip(0, table.get("peak", 1), name="clip")(x)
    x = DepthToSpace(factor, name="pixel_shuffle")(x)
    return keras.Model(image, x, name=f"imdn_{variant}")


def encoder_stride(table: dict) -> int:
    """Return how many pixels of the input's side one feature stands for."""
    return math.prod(step for _, step in table["encoder"])


def convert_state(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a published state dict with the upsampler's channels in TensorFlow's order."""
    # A reader of checkpoints takes the common prefix `model.` off the names of "rtc".
    return state_from_torch_order(state, r"(upsampler\.0|(model\.)?2|RM\.0)\.(weight|bias)")


def infer_arguments(state: dict[str, np.ndarray]) -> dict:
    """Return the variant of a published state dict, as far as names and shapes tell it."""
    marks = {
        "as": ("IMDB1.c1.weight", "fea_conv.2.weight"),
        "rte": ("block1.c1.weight",),
        "rtc": ("model.1.sub.0.c5.weight",),
        "plus": ("FEM.1.sub.0.c7.weight",),
    }
    for variant, needed in marks.items():
        if all(name in state or name.removeprefix("model.") in state for name in needed):
            return {"variant": variant}
    if "fea_conv.weight" in state and "upsampler.0.weight" in state:
        return variant_of_scale(state, "upsampler.0.weight", VARIANTS)
    return {}


def deploy(model: keras.Model) -> keras.Model:
    """Return the deployable network: the same weights, the output limited to the pixels' range."""
    return clipped(model, imdn)


def receptive_radius(table: dict) -> int:
    """Return how many pixels of the input around one decide its result, attention left aside."""
    radius = stride = 1
    for _, step in table["encoder"][1:]:
        stride *= table["encoder"][0][1] * step if stride == 1 else step
        radius += stride
    convolutions = table["blocks"] * (len(table["remaining"]) + 1)
    convolutions += table["names"]["last"][1] // 2 + 1  # and that before the shuffle
    return radius + stride * convolutions


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    table = VARIANTS[variant]
    plus = variant == "plus"
    code = (
        "github.com/ofsoundof/NTIRE2022_ESR (MIT)"
        if plus
        else "github.com/Zheng222/IMDN (no licence stated)"
    )
    return pixel_card(
        "imdn",
        variant,
        table,
        radius=receptive_radius(table),
        published=PUBLISHED.get(variant, {}),
        size_multiple=encoder_stride(table),
        title="IMDN: Lightweight Image Super-Resolution with Information Multi-distillation "
        "Network",
        paper="Z. Hui, X. Gao, Y. Yang, X. Wang, ACM MM 2019, arXiv:1909.11856",
        official_code=code,
        licence="MIT" if plus else "no licence stated: the authors' weights may not be passed on",
        checkpoints=CHECKPOINTS.get(variant, "github.com/Zheng222/IMDN, checkpoints/"),
    )


NETWORK = Network(
    imdn, VARIANTS, card, deploy=deploy, convert_state=convert_state, infer=infer_arguments
)
