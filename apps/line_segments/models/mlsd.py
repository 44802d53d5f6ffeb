"""M-LSD: line segments by their centres, in real time on phones.

G. Gu, B. Ko, S. Go, S.-H. Lee, J. Lee, M. Shin, "Towards Light-weight and Real-time Line Segment
Detection", AAAI 2022, arXiv:2106.00186. Official code: github.com/navervision/mlsd (Apache-2.0):
the network in TensorFlow, TFLite files and checkpoints. Names are those of the PyTorch port that
loads these weights, github.com/lhwcv/mlsd_pytorch (Apache-2.0). Where the two differ this is the
official network as its TFLite files have it: the port enlarges features behind the convolution that
sets their channels, and with aligned corners.

The network says of every other pixel whether it is the centre of a segment, and where the two ends
of that lie; `apps.line_segments.mlsd_decoding` makes segments of these maps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from apps.line_segments.mlsd_decoding import SETTINGS
from core.backbones.mobilenetv2 import STAGES, STEM, inverted_residual
from core.checkpoints import load_torch_state, torch_state
from core.compress.norm_folding import fold_norms
from core.layers.convolution import conv_norm, convolution, fan_out_normal
from core.layers.resize import BilinearUpsampling
from core.model_card import ModelCard
from core.network import Network, check_arguments

# `stages`: how many of MobileNetV2's; `joins`: the blocks of the trunk that the decoder joins, one
# after the other, to the last one, and the channels of either; `first`: its first block's number;
# `macs`: of the kernels at 320x320, as the network is used.
VARIANTS: dict[str, dict[str, Any]] = {
    "tiny": {
        "parameters": 620_208, "macs": 1_637_222_400,
        "stages": 4, "joins": ((6, 64), (3, 32)), "first": 12,
    },
    "large": {
        "parameters": 1_533_680, "macs": 10_025_216_000,
        "stages": 5, "joins": ((10, 64), (6, 64), (3, 64), (1, 64)), "first": 15,
    },
}  # fmt: skip
# Wireframe, the paper's table, of inputs of 512 and of 320 pixels.
PUBLISHED = {
    "tiny": {"F^H Wireframe at 512x512": 77.2, "sAP10 Wireframe at 512x512": 58.0,
             "F^H Wireframe at 320x320": 76.8, "sAP10 Wireframe at 320x320": 51.3},
    "large": {"F^H Wireframe at 512x512": 80.0, "sAP10 Wireframe at 512x512": 62.1,
              "F^H Wireframe at 320x320": 78.7, "sAP10 Wireframe at 320x320": 55.5},
}  # fmt: skip
INPUT_SIZE = (320, 320)  # the files come for 320 and 512
STRIDES = {1: 2, 3: 4, 6: 8, 10: 16, 13: 16}  # of the trunk's blocks that end a stage
STRIDE = 16
WIDTH = 64  # channels of the decoder
DILATION = 5
MAPS = 16
CENTRE, DISPLACEMENT = slice(7, 8), slice(8, 12)  # the maps that segments are made of
ONES = 1.0 / 127.5 - 1.0  # what a fourth channel, of ones among pixels, is normalised to
TRUNK = "backbone.features"


def trunk(x, stages: int):
    """Return the outputs of MobileNetV2's blocks by number, up to a stage; 0 is the first layer."""
    x = conv_norm(
        x, STEM, 3, f"{TRUNK}.0", strides=2, padding="same", activation="relu6",
        initializer=fan_out_normal(),
    )  # fmt: skip
    outputs = [x]
    for expansion, width, repeats, strides in STAGES[:stages]:
        for i in range(repeats):
            # Zeros at the lower and right end only, as in Keras's own MobileNetV2.
            x = inverted_residual(
                x, width, f"{TRUNK}.{len(outputs)}", expansion=expansion,
                strides=strides if i == 0 else 1, padding="same",
            )  # fmt: skip
            outputs.append(x)
    return outputs


def joined(fine, coarse, filters: int, factor: int, name: str, *, enlarge_first: bool):
    """Block A: bring both to `filters` channels, the coarse one to the size of the fine; join."""

    def enlarged(x):
        return BilinearUpsampling(factor, name=f"{name}.upsample")(x) if factor > 1 else x

    fine = conv_norm(fine, filters, 1, f"{name}.conv2", use_bias=True, activation="relu")
    coarse = enlarged(coarse) if enlarge_first else coarse
    coarse = conv_norm(coarse, filters, 1, f"{name}.conv1", use_bias=True, activation="relu")
    coarse = coarse if enlarge_first else enlarged(coarse)
    return keras.layers.Concatenate(name=name)([fine, coarse])


def refined(x, name: str):
    """Block B: a 3x3 convolution with a shortcut, and one that sets the channels."""
    y = conv_norm(x, x.shape[-1], 3, f"{name}.conv1", use_bias=True, activation="relu")
    x = keras.layers.Add(name=f"{name}.sum")([y, x])
    return conv_norm(x, WIDTH, 3, f"{name}.conv2", use_bias=True, activation="relu")


def mlsd(
    variant: str = "tiny",
    input_shape: tuple[int | None, int | None, int] = (*INPUT_SIZE, 3),
    *,
    all_maps: bool = False,
    ones: bool = False,
    enlarge_first: bool = True,
) -> keras.Model:
    """Return M-LSD.

    Args:
        variant: One of `VARIANTS`.
        input_shape: (H, W, 3), channels last; H and W are multiples of 16 or None.
        all_maps: Whether to return all 16 maps, as they are trained and imported.
        ones: Whether the image gets a fourth channel, of ones among its pixels, as published. (An
            input of 4 channels has it already.) The official weights do not use it; `deploy` then
            leaves it out.
        enlarge_first: Whether the decoder enlarges features before the convolution that brings them
            to their channels, as the official network, or after it, as the port does.

    Returns:
        A model from RGB images (N, H, W, 3) in [-1, 1] to two maps of half the size: logits of
        segments' centres (N, H / 2, W / 2, 1), and displacements (N, H / 2, W / 2, 4) from there to
        both ends, dx and dy to the one and dx and dy to the other, in pixels of the map. With
        `all_maps` one tensor (N, H / 2, W / 2, 16), of which these are channels 7 and 8 to 11. The
        others guide the training: of parts of segments, of junctions and of lines in 0 to 6, 14 and
        15, in an order in which the official network and the port differ; length and angle in 12
        and 13, of the official network also in 14 and 15.
    """
    channels = 4 if ones and input_shape[-1] == 4 else 3
    check_arguments(VARIANTS, variant, input_shape, channels=channels, multiple=STRIDE)
    table = VARIANTS[variant]
    image = x = keras.Input(input_shape, name="image")
    if ones and input_shape[-1] == 3:
        x = keras.ops.pad(x, [[0, 0], [0, 0], [0, 0], [0, 1]], constant_values=ONES)
    features = trunk(x, table["stages"])

    last = len(features) - 1
    x, stride, number = features[last], STRIDES[last], table["first"]
    for tap, filters in table["joins"]:
        factor, stride = stride // STRIDES[tap], STRIDES[tap]
        x = joined(
            features[tap], x, filters, factor, f"block{number}", enlarge_first=enlarge_first
        )  # fmt: skip
        x = refined(x, f"block{number + 1}")
        number += 2
    name = f"block{number}"  # block C
    x = conv_norm(
        x, WIDTH, 3, f"{name}.conv1", use_bias=True, activation="relu", dilation=DILATION
    )  # fmt: skip
    x = conv_norm(x, WIDTH, 3, f"{name}.conv2", use_bias=True, activation="relu")

    def maps(count: int, part: str):
        found = convolution(x, count, 1, f"{name}.conv3{part}")
        return found if stride == 2 else BilinearUpsampling(2, name=f"maps{part}")(found)

    # Apart, because centres and displacements have ranges that no eight bits have in common.
    outputs = maps(MAPS, "") if all_maps else [maps(1, ".centre"), maps(4, ".displacement")]
    return keras.Model(image, outputs, name=f"mlsd_{variant}")


def deploy(model: keras.Model) -> keras.Model:
    """Return the network for use: the two maps, norms folded, and no channel that has no weight."""
    head = _head(model.name.removeprefix("mlsd_"))
    names = {layer.name for layer in model.layers}
    if f"{TRUNK}.0.1" not in names and head not in names:
        return model
    state = torch_state(model)
    for leaf in ("weight", "bias"):
        if f"{head}.{leaf}" in state:
            array = state.pop(f"{head}.{leaf}")
            state[f"{head}.centre.{leaf}"] = array[CENTRE]
            state[f"{head}.displacement.{leaf}"] = array[DISPLACEMENT]
    stem = f"{TRUNK}.0.0.weight"
    given = model.input_shape[-1] == 4
    ones = state[stem].shape[1] == 4 and (given or bool(state[stem][:, 3].any()))
    if not ones:
        state[stem] = state[stem][:, :3]
    used = mlsd(
        model.name.removeprefix("mlsd_"), model.input_shape[1:], ones=ones,
        enlarge_first=_enlarges_first(model),
    )  # fmt: skip
    load_torch_state(used, state)
    return fold_norms(used)


def infer_arguments(state: Mapping[str, np.ndarray]) -> dict:
    """Return the variant of a published state dict, as far as its names tell it."""
    found = [variant for variant in VARIANTS if f"{_head(variant)}.weight" in state]
    return {"variant": found[0]} if found else {}


def _enlarges_first(model: keras.Model) -> bool:
    """Return whether a network enlarges features before their convolution."""
    first = next(layer for layer in model.layers if layer.name.endswith(".upsample"))
    return ".conv1." not in first.input._keras_history.operation.name


def feature_layers(model: keras.Model) -> dict[int, str]:
    """Return the layers of the trunk that end its strides."""
    names = {layer.name for layer in model.layers}
    return {s: f"{TRUNK}.{block}" for block, s in STRIDES.items() if f"{TRUNK}.{block}" in names}


def _head(variant: str) -> str:
    """Return the name of the convolution that makes the maps."""
    table = VARIANTS[variant]
    return f"block{table['first'] + 2 * len(table['joins'])}.conv3"


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    table = VARIANTS[variant]
    return ModelCard(
        network="mlsd",
        variant=variant,
        app="lines",
        title="Towards Light-weight and Real-time Line Segment Detection",
        paper="G. Gu, B. Ko, S. Go, S.-H. Lee, J. Lee, M. Shin, AAAI 2022, arXiv:2106.00186",
        official_code="github.com/navervision/mlsd (Apache-2.0)",
        licence="architecture and published weights Apache-2.0",
        input_size=INPUT_SIZE,
        size_multiple=STRIDE,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        resize="area (OpenCV)",
        output="logits of centres at half the size; displacements to both ends, in its pixels",
        decode={**SETTINGS["official"], "protocol": "hawp"},
        published={
            "parameters": table["parameters"],
            "GMACs at 320x320": round(table["macs"] / 1e9, 3),
            **PUBLISHED[variant],
        },
        checkpoints="github.com/navervision/mlsd (TensorFlow, TFLite); for PyTorch "
        f"github.com/lhwcv/mlsd_pytorch, models/mlsd_{variant}_512_fp32.pth",
    )


NETWORK = Network(
    mlsd,
    VARIANTS,
    card,
    training_options={"all_maps": True, "ones": True},
    deploy=deploy,
    infer=infer_arguments,
    features=feature_layers,
    head=r"block\d+\.conv3(\..*)?",
)
