"""SPAN: swift parameter-free attention network for image super-resolution.

C. Wan, H. Yu, Z. Li, Y. Chen, Y. Zou, Y. Liu, X. Yin, K. Zuo, CVPRW 2024, arXiv:2311.12770.
Official code: github.com/hongyuanyu/SPAN (Apache-2.0).
The challenge versions: github.com/Amazingren/NTIRE2024_ESR, NTIRE2025_ESR (MIT); the one of 26
channels is the base of DSCLoRA, arXiv:2504.11271, github.com/Yaozzz666/DSCF-SR (MIT).
"""

from __future__ import annotations

import re

import keras
import numpy as np

from apps.super_resolution.models.common import CHANNELS, pixel_card
from core.layers.clip import Clip
from core.layers.conv3xc import BRANCHES, Conv3XC, merge_branches, split_kernel
from core.layers.conv_lora import ConvLoRA
from core.layers.convolution import convolution
from core.layers.pixel_shuffle import DepthToSpace, state_from_torch_order
from core.model_card import ModelCard
from core.network import Network, check_arguments

# "width" channels in all blocks, "fused" after their concatenation; parameters of the merged form.
VARIANTS = {
    "x4": {"scale": 4, "blocks": 6, "width": 52, "fused": 52, "parameters": 498_208},
    "x2": {"scale": 2, "blocks": 6, "width": 52, "fused": 52, "parameters": 481_324},
    "s_x4": {"scale": 4, "blocks": 6, "width": 48, "fused": 48, "parameters": 426_288},
    "s_x2": {"scale": 2, "blocks": 6, "width": 48, "fused": 48, "parameters": 410_700},
    "ntire24_x4": {"scale": 4, "blocks": 6, "width": 28, "fused": 28, "parameters": 150_688},
    "ntire25_x4": {"scale": 4, "blocks": 6, "width": 28, "fused": 20, "parameters": 146_328},
    "tiny_x4": {"scale": 4, "blocks": 6, "width": 26, "fused": 26, "parameters": 130_828},
    "f_x4": {
        "scale": 4,
        "blocks": 5,
        "width": 32,
        "fused": 32,
        "enlarged": True,
        "parameters": 148_288,
    },
}
PUBLISHED = {
    "x4": {"PSNR-Y Set14": 28.66, "PSNR-Y Urban100": 26.18, "GMACs to 1280x720": 28.63},
    "s_x4": {"GMACs to 1280x720": 24.49},
    "ntire24_x4": {"PSNR-Y Set5 (measured)": 31.739, "GMACs at 256x256": 9.83},
    "ntire25_x4": {"PSNR-Y Set5 (measured)": 31.736, "GMACs at 256x256": 9.55},
    "tiny_x4": {"PSNR-Y Set5 (measured)": 31.739, "GMACs at 256x256": 8.54,
                "PSNR-Y Manga109": 29.56, "PSNR DIV2K_LSDIR_valid (DSCLoRA)": 26.92},
    "f_x4": {"PSNR-Y Set5 (measured)": 31.775, "GMACs at 256x256": 9.68},
}  # fmt: skip
MEAN = (0.4488, 0.4371, 0.4040)
RANGE = 255.0
# Ranks of `core.compress.low_rank_adaptation.adapt` in the official configuration of DSCLoRA, and
# the features whose affinities are compared.
ADAPTATION = {"block_*": 2, "conv_2.eval_conv": 8, "upsampler.0": 8}
FEATURES = (*(f"block_{k}" for k in range(1, 7)), "conv_2.eval_conv")


def conv3xc(x, filters: int, name: str, *, branches: bool):
    """Convolve by 3x3, in the training form or merged."""
    if branches:
        return Conv3XC(filters, name=name)(x)
    return convolution(x, filters, 3, f"{name}.eval_conv")


def attention_block(x, filters: int, name: str, *, branches: bool):
    """Swift parameter-free attention block, SPAB (Fig. 3): features weigh themselves.

    Returns:
        The block's output and its first activation, which the network's end uses of the last block.
    """
    first = conv3xc(x, filters, f"{name}.c1_r", branches=branches)
    first = keras.layers.Activation("silu", name=f"{name}.o1")(first)
    second = conv3xc(first, filters, f"{name}.c2_r", branches=branches)
    second = keras.layers.Activation("silu", name=f"{name}.o2")(second)
    third = conv3xc(second, filters, f"{name}.c3_r", branches=branches)
    if x.shape[-1] != filters:
        # SPAN-F's first block, whose input has another width, has no attention.
        return keras.layers.Identity(name=name)(third), first
    gate = keras.layers.Activation("sigmoid", name=f"{name}.sigmoid")(third)
    gate = keras.layers.Rescaling(1.0, -0.5, name=f"{name}.gate")(gate)
    total = keras.layers.Add(name=f"{name}.sum")([third, x])
    return keras.layers.Multiply(name=name)([total, gate]), first


def span(
    variant: str = "x4",
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    *,
    clip: bool = False,
    branches: bool = False,
    separate: bool = False,
) -> keras.Model:
    """Return SPAN.

    Args:
        variant: One of `VARIANTS`: "x4", "x2" (published), "s_*" (48 channels), "ntire24_x4" (28),
            "ntire25_x4" (28, fused to 20), "tiny_x4" (26, also DSCF), "f_x4" (SPAN-F).
        input_shape: (H, W, 3), channels last; H and W may be None.
        clip: Whether the output is limited to [0, 1].
        branches: Whether 3x3 convolutions have their training form (`Conv3XC`); `deploy` merges.
        separate: Whether each part of the concatenation has its own share of `conv_cat` (`deploy`),
            so that in integers they need not have one scale.

    Returns:
        A model from RGB (N, H, W, 3) in [0, 1] to RGB (N, scale·H, scale·W, 3) in [0, 1].
    """
    check_arguments(VARIANTS, variant, input_shape, channels=CHANNELS)
    table = VARIANTS[variant]
    width, scale = table["width"], table["scale"]
    image = x = keras.Input(input_shape, name="image")
    if table.get("enlarged"):
        enlarged = nearest_neighbour(image, scale)
    else:
        # Not folded into conv_1: the zero padding comes after the shift.
        offset = [-mean * RANGE for mean in MEAN]
        x = keras.layers.Rescaling(RANGE, offset, name="centred")(image)
        x = features = conv3xc(x, width, "conv_1", branches=branches)
    outputs = []
    for k in range(1, table["blocks"] + 1):
        x, first = attention_block(x, width, f"block_{k}", branches=branches)
        outputs.append(x)
    if table.get("enlarged"):
        joined = [enlarged, x, outputs[0]]
    else:
        # The official block returns its first convolution before the activation, which is in
        # place: what is concatenated is the activated one.
        joined = [features, conv3xc(x, width, "conv_2", branches=branches), outputs[0], first]
    x = fuse(joined, table["fused"], separate=separate)
    if table.get("enlarged"):
        x = conv3xc(x, CHANNELS * scale**2, "conv_2", branches=branches)
    else:
        x = convolution(x, CHANNELS * scale**2, 3, "upsampler.0")
    if clip:
        x = Clip(0, 1, name="clip")(x)
    x = DepthToSpace(scale, name="pixel_shuffle")(x)
    return keras.Model(image, x, name=f"span_{variant}")


def fuse(joined: list, filters: int, *, separate: bool):
    """Concatenate and convolve by 1x1, or convolve each part by itself and add up."""
    if not separate:
        return convolution(keras.layers.Concatenate(name="concat")(joined), filters, 1, "conv_cat")
    # A concatenation in integers has one scale, and the first part of a trained network reaches a
    # hundred times as far as the others (of SPAN-F: is pixels). It is added last: every partial
    # sum is rounded at the scale of its own range.
    shares = [
        convolution(part, filters, 1, f"conv_cat.{i}", use_bias=i == 0)
        for i, part in enumerate(joined)
    ]
    return keras.layers.Add(name="conv_cat")(shares[::-1])


def nearest_neighbour(image, scale: int):
    """Copy each pixel to the channels of its enlarged block (SPAN-F); trained like the rest."""
    layer = keras.layers.DepthwiseConv2D(
        3, depth_multiplier=scale**2, padding="same", use_bias=False, name="conv_near"
    )
    enlarged = layer(image)
    centre = np.zeros(layer.kernel.shape, np.float32)
    centre[1, 1] = 1.0
    layer.kernel.assign(centre)
    return enlarged


def convert_state(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a published state dict for the training form, channels in TensorFlow's order.

    `eval_conv` entries beside branches may be stale and are dropped; files that hold nothing else
    (the challenges') get branches that merge to exactly these.
    """
    branched = {}
    for name, array in state.items():
        path, found, leaf = name.rpartition(".eval_conv.")
        if not found:
            branched[name] = array
        elif leaf == "weight" and not _has_branches(state, path):
            parts = split_kernel(array, state[f"{path}.eval_conv.bias"], path)
            branched |= {f"{path}.{part}": value for part, value in parts.items()}
    return _in_tensorflow_order(branched)


def merged_state(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a published state dict for the merged form, channels in TensorFlow's order."""
    merged = {}
    for name, array in state.items():
        branch = re.fullmatch(r"(.*)\.(sk|conv\.[012])\.(weight|bias)", name)
        path = name.rpartition(".eval_conv.")[0]
        if not branch and not _has_branches(state, path):
            merged[name] = array
        elif branch and name.endswith(".sk.weight"):
            path = branch[1]
            parts = {f"{n}.{leaf}": state[f"{path}.{n}.{leaf}"]
                     for n in BRANCHES for leaf in ("weight", "bias")}  # fmt: skip
            kernel, bias = merge_branches(parts)
            merged |= {f"{path}.eval_conv.weight": kernel, f"{path}.eval_conv.bias": bias}
    return _in_tensorflow_order(merged)


def _has_branches(state: dict[str, np.ndarray], path: str) -> bool:
    names = (f"{path}.{n}.{leaf}" for n in BRANCHES for leaf in ("weight", "bias"))
    return all(name in state for name in names)


def _in_tensorflow_order(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Reorder the outputs of the last convolution, which of SPAN-F is conv_2."""
    last = r"upsampler\.0"
    if "conv_near.weight" in state:
        last = r"conv_2\.(sk|conv\.2|eval_conv)"
    return state_from_torch_order(state, rf"{last}\.(weight|bias)")


def infer_arguments(state: dict[str, np.ndarray]) -> dict:
    """Return the variant of a published state dict, as far as names and shapes tell it."""
    fusion = state.get("conv_cat.weight")
    if fusion is None or fusion.ndim != 4:
        return {}
    enlarged = "conv_near.weight" in state
    fused, joined = fusion.shape[:2]
    for variant, table in VARIANTS.items():
        outputs = CHANNELS * table["scale"] ** 2
        if enlarged != table.get("enlarged", False) or fused != table["fused"]:
            continue
        if enlarged and joined == outputs + 2 * table["width"]:
            return {"variant": variant}
        last = state.get("upsampler.0.weight")
        if joined == 4 * table["width"] and last is not None and last.shape[0] == outputs:
            return {"variant": variant}
    return {}


def merge(model: keras.Model, *, clip: bool = False, separate: bool = False) -> keras.Model:
    """Return the network with branches and low-rank updates merged: copies of equal effect.

    What low-rank adaptation starts from; unlike the deployable network, all of its outputs pass a
    gradient on.

    Args:
        model: A SPAN of any form.
        clip, separate: As of `span`.
    """
    from core.compress.low_rank_adaptation import merged

    model = merged(model)
    layers = {layer.name: layer for layer in model.layers if layer.weights}
    variant, separate = model.name.removeprefix("span_"), separate or "conv_cat" not in layers
    result = span(variant, model.input_shape[1:], clip=clip, separate=separate)
    start = 0
    for layer in sorted(result.layers, key=lambda layer: layer.name):  # shares in their order
        path = layer.name.removesuffix(".eval_conv")
        if not layer.weights:
            continue
        if layer.name in layers:
            layer.set_weights(layers[layer.name].get_weights())
        elif path in layers:
            layer.set_weights(layers[path].merged())
        else:  # a share of conv_cat
            kernel, bias = layers["conv_cat"].get_weights()
            end = start + layer.kernel.shape[2]
            layer.set_weights([kernel[:, :, start:end], *([] if start else [bias])])
            start = end
    return result


def deploy(model: keras.Model) -> keras.Model:
    """Return the deployable network: merged, fit for integers, the output within [0, 1]."""
    kinds = {type(layer) for layer in model.layers}
    names = {layer.name for layer in model.layers}
    if Clip in kinds and "conv_cat.0" in names and not kinds & {Conv3XC, ConvLoRA}:
        return model
    return merge(model, clip=True, separate=True)


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    challenge = {
        "ntire24_x4": "github.com/Amazingren/NTIRE2024_ESR",
        "ntire25_x4": "github.com/Amazingren/NTIRE2025_ESR",
        "tiny_x4": "github.com/Yaozzz666/DSCF-SR",
        "f_x4": "github.com/Amazingren/NTIRE2025_ESR",
    }
    code = challenge.get(variant)
    return pixel_card(
        "span",
        variant,
        VARIANTS[variant],
        radius=3 * VARIANTS[variant]["blocks"] + 3,
        published=PUBLISHED.get(variant, {}),
        title="Swift Parameter-free Attention Network for Efficient Super-Resolution",
        paper="C. Wan et al., CVPRW 2024, arXiv:2311.12770",
        official_code=f"{code} (MIT)" if code else "github.com/hongyuanyu/SPAN (Apache-2.0)",
        licence=f"{'MIT' if code else 'Apache-2.0'}; weights follow the licence of their "
        "training data",
        checkpoints=code or "linked at github.com/hongyuanyu/SPAN",
    )


NETWORK = Network(
    span,
    VARIANTS,
    card,
    training_options={"branches": True},
    deploy=deploy,
    convert_state=convert_state,
    infer=infer_arguments,
)
