"""MK-UNet: multi-kernel lightweight CNN for medical image segmentation.

M. M. Rahman, R. Marculescu, ICCV 2025 Workshops (CVAMD), arXiv:2509.18493.
Official code: github.com/SLDGroup/MK-UNet (BSD-3-Clause).
"""

from __future__ import annotations

import math
import re
from typing import Any

import keras
import numpy as np

from core.layers.convolution import conv_norm, convolution, depthwise_norm
from core.layers.resize import BilinearUpsampling
from core.model_card import ModelCard
from core.network import Network, check_arguments

VARIANTS: dict[str, dict[str, Any]] = {
    "base": {"channels": (16, 32, 64, 96, 160), "parameters": 315_566},
    "t": {"channels": (4, 8, 16, 24, 32), "parameters": 27_384},
    "s": {"channels": (8, 16, 32, 48, 80), "parameters": 93_050},
    "m": {"channels": (32, 64, 128, 192, 320), "parameters": 1_150_166},
    "l": {"channels": (64, 128, 256, 384, 512), "parameters": 3_758_118},
}
PUBLISHED = {
    "base": {"GFLOPs at 256x256": 0.314, "Dice ClinicDB": 93.48, "Dice ColonDB": 90.01,
             "Dice BUSI": 78.04, "mean Dice of six sets": 89.75},
    "t": {"GFLOPs at 256x256": 0.062, "Dice ClinicDB": 91.26, "Dice ColonDB": 85.03,
          "Dice BUSI": 75.64, "Dice DSB18": 92.38, "Dice EM": 94.69,
          "mean Dice of six sets": 87.87},
    "s": {"mean Dice of six sets": 89.10},
    "m": {"GFLOPs at 256x256": 0.951, "Dice ClinicDB": 93.67},
    "l": {"GFLOPs at 256x256": 3.19, "Dice ClinicDB": 93.85, "Dice ColonDB": 91.82},
}  # fmt: skip
KERNELS = (1, 3, 5)
EXPANSION = 2
# The paper names one reduction ratio, 16; the official code uses these, from the bottleneck up.
ATTENTION_RATIOS = (16, 16, 16, 8, 4)
STRIDE = 32


def normal() -> keras.initializers.Initializer:
    """Return a fresh initialiser: a shared one would start all layers of a shape alike."""
    return keras.initializers.RandomNormal(stddev=0.02)


def multi_kernel_block(x, filters: int, name: str):
    """Multi-kernel inverted residual, MKIR (Fig. 2b): expand, three depthwise kernels, project.

    The published channel shuffle before the projection is folded into the order of `pconv2`'s
    input channels (see `shuffle_order`), so that no transpose remains in the graph.
    """
    inputs = x
    expanded = EXPANSION * x.shape[-1]
    x = conv_norm(x, expanded, 1, f"{name}.pconv1", activation="relu6", initializer=normal())
    branches = [
        depthwise_norm(
            x,
            kernel,
            f"{name}.multi_scale_dwconv.dwconvs.{i}",
            activation="relu6",
            initializer=normal(),
        )
        for i, kernel in enumerate(KERNELS)
    ]
    x = branches[0]
    for i, branch in enumerate(branches[1:], start=1):
        x = keras.layers.Add(name=f"{name}.multi_scale_dwconv.sum{i}")([x, branch])
    x = conv_norm(x, filters, 1, f"{name}.pconv2", initializer=normal())
    if inputs.shape[-1] != filters:
        inputs = keras.layers.Conv2D(
            filters, 1, use_bias=False, kernel_initializer=normal(), name=f"{name}.conv1x1"
        )(inputs)
    return keras.layers.Add(name=name)([inputs, x])


def channel_attention(x, ratio: int, name: str):
    """Squeeze by average and by maximum through one shared bottleneck (Sec. 3.2)."""
    channels = x.shape[-1]
    squeeze = keras.layers.Conv2D(
        channels // min(ratio, channels),
        1,
        use_bias=False,
        kernel_initializer=normal(),
        name=f"{name}.fc1",
    )
    excite = keras.layers.Conv2D(
        channels, 1, use_bias=False, kernel_initializer=normal(), name=f"{name}.fc2"
    )
    pooled = {
        "avg": keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}.avg_pool")(x),
        "max": keras.layers.GlobalMaxPooling2D(keepdims=True, name=f"{name}.max_pool")(x),
    }
    gates = [
        excite(keras.layers.Activation("relu", name=f"{name}.activation_{kind}")(squeeze(tensor)))
        for kind, tensor in pooled.items()
    ]
    gate = keras.layers.Add(name=f"{name}.sum")(gates)
    gate = keras.layers.Activation("sigmoid", name=name)(gate)
    return keras.layers.Multiply(name=f"{name}.scale")([x, gate])


def spatial_attention(x, conv, name: str):
    """Weight every position by a gate from the channels' mean and maximum (Sec. 3.2)."""
    mean = keras.ops.mean(x, axis=-1, keepdims=True)
    peak = keras.ops.max(x, axis=-1, keepdims=True)
    gate = conv(keras.layers.Concatenate(name=f"{name}.concat")([mean, peak]))
    gate = keras.layers.Activation("sigmoid", name=name)(gate)
    return keras.layers.Multiply(name=f"{name}.scale")([x, gate])


def attention_gate(signal, skip, name: str):
    """Grouped attention gate, GAG (Fig. 2d): the decoder's signal selects from the skip."""
    width = skip.shape[-1] // 2
    options = {"groups": width, "use_bias": True}
    joined = keras.layers.Add(name=f"{name}.sum")(
        [
            conv_norm(signal, width, 3, f"{name}.W_g", initializer=normal(), **options),
            conv_norm(skip, width, 3, f"{name}.W_x", initializer=normal(), **options),
        ]
    )
    joined = keras.layers.Activation("relu", name=f"{name}.activation")(joined)
    gate = conv_norm(
        joined, 1, 1, f"{name}.psi", use_bias=True, activation="sigmoid", initializer=normal()
    )
    return keras.layers.Multiply(name=name)([skip, gate])


def mk_unet(
    variant: str = "base",
    input_shape: tuple[int | None, int | None, int] = (256, 256, 3),
    *,
    classes: int = 1,
    auxiliary_heads: bool = False,
) -> keras.Model:
    """Return MK-UNet.

    Args:
        variant: One of `VARIANTS`.
        input_shape: (H, W, channels), channels last; H and W are multiples of 32 or None. A
            1-channel image is repeated to three channels inside, as in the official code.
        classes: Output channels: 1 for one foreground, else classes with background.
        auxiliary_heads: Also return the heads of stages 4, 3 and 2, which the official forward
            drops and multi-class supervision trains.

    Returns:
        A model from normalised images (N, H, W, channels) to logits (N, H, W, classes), or with
        `auxiliary_heads` to the list [out4, out3, out2, out1] of such logits.
    """
    check_arguments(VARIANTS, variant, input_shape, multiple=STRIDE, classes=classes)
    widths = VARIANTS[variant]["channels"]
    image = keras.Input(input_shape, name="image")
    x = image
    if input_shape[-1] == 1:
        x = keras.layers.Concatenate(name="gray_to_rgb")([x, x, x])

    skips = []
    for i, width in enumerate(widths, start=1):
        x = multi_kernel_block(x, width, f"encoder{i}.0")
        x = keras.layers.MaxPooling2D(2, name=f"encoder{i}.pool")(x)
        skips.append(x)

    gate_conv = keras.layers.Conv2D(
        1, 7, padding="same", use_bias=False, kernel_initializer=normal(), name="SA.conv"
    )
    heads = []
    decoder_widths = (*reversed(widths[:-1]), widths[0])
    for k, (width, ratio) in enumerate(zip(decoder_widths, ATTENTION_RATIOS, strict=True), start=1):
        x = channel_attention(x, ratio, f"CA{k}")
        x = spatial_attention(x, gate_conv, f"SA.{k}")
        x = multi_kernel_block(x, width, f"decoder{k}.0")
        x = BilinearUpsampling(2, name=f"decoder{k}.upsample")(x)
        x = keras.layers.Activation("relu", name=f"decoder{k}.relu")(x)
        if auxiliary_heads and 2 <= k <= 4:
            factor = 2 ** (5 - k)
            logits = convolution(x, classes, 1, f"out{k - 1}")
            heads.append(BilinearUpsampling(factor, name=f"out{k - 1}.upsample")(logits))
        if k <= 4:
            skip = attention_gate(x, skips[4 - k], f"AG{k}")
            x = keras.layers.Add(name=f"decoder{k}.skip")([x, skip])
    logits = convolution(x, classes, 1, "out4")
    outputs = [logits, *reversed(heads)] if auxiliary_heads else logits
    return keras.Model(image, outputs, name=f"mk_unet_{variant}")


def shuffle_order(channels: int, filters: int) -> np.ndarray:
    """Return which channel the published shuffle before `pconv2` puts in each place.

    The shuffle has gcd(channels, filters) groups: place i·g + j takes channel j·(channels/g) + i.
    """
    groups = math.gcd(channels, filters)
    return np.arange(channels).reshape(groups, channels // groups).T.ravel()


def fold_shuffles(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a published state dict with each channel shuffle folded into its `pconv2`."""
    folded = dict(state)
    for name, weight in state.items():
        if re.fullmatch(r"(en|de)coder\d\.0\.pconv2\.0\.weight", name) and weight.ndim == 4:
            order = shuffle_order(weight.shape[1], weight.shape[0])
            folded[name] = np.empty_like(weight)
            folded[name][:, order] = weight
    return folded


def infer_arguments(state: dict[str, np.ndarray]) -> dict:
    """Return variant and classes of a published state dict, as far as its shapes tell them."""
    found = {}
    widths = tuple(
        state[name].shape[0]
        for name in (f"encoder{i}.0.pconv2.0.weight" for i in range(1, 6))
        if name in state
    )
    for variant, table in VARIANTS.items():
        if table["channels"] == widths:
            found["variant"] = variant
    if "out4.weight" in state:
        found["classes"] = state["out4.weight"].shape[0]
    return found


def deploy(model: keras.Model) -> keras.Model:
    """Return the deployable network: the same weights, without auxiliary heads."""
    if len(model.outputs) == 1:
        return model
    return keras.Model(model.input, model.outputs[0], name=model.name)


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    return ModelCard(
        network="mk_unet",
        variant=variant,
        app="medseg",
        title="MK-UNet: Multi-kernel Lightweight CNN for Medical Image Segmentation",
        paper="M. M. Rahman, R. Marculescu, ICCV 2025 Workshops, arXiv:2509.18493",
        official_code="github.com/SLDGroup/MK-UNet (BSD-3-Clause)",
        licence="architecture BSD-3-Clause; weights follow the licence of their training data",
        input_size=(256, 256),
        size_multiple=STRIDE,
        labels=("foreground",),
        output="logits",
        decode={"threshold": 0.5, "protocol": "native"},
        published={"parameters": VARIANTS[variant]["parameters"], **PUBLISHED[variant]},
        checkpoints="none published (SLDGroup/MK-UNet issue 3)",
    )


FEATURES = {2**i: f"encoder{i}.pool" for i in range(1, 6)}

NETWORK = Network(
    mk_unet,
    VARIANTS,
    card,
    training_options={"auxiliary_heads": True},
    deploy=deploy,
    convert_state=fold_shuffles,
    infer=infer_arguments,
    features=FEATURES,
)
