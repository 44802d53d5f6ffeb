"""LSDNet: a small network that replaces the gradient of LSD, the line segment detector.

L. Teplyakov, L. Erlygin, E. Shvets, "LSDNet: Trainable Modification of LSD Algorithm for Real-Time
Line Segment Detection", IEEE Access 10 (2022), arXiv:2209.04642. Official code:
github.com/iitpvisionlab/LSDNet (BSD-3-Clause): the network in ONNX and the grouping, no training.

The network says of every pixel whether it lies on a line segment and in which direction that runs;
`apps.line_segments.grouping` makes segments of the two maps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from core.checkpoints.keras_files import torch_form
from core.compress.norm_folding import fold_norms
from core.errors import UserError
from core.layers.convolution import activate, batch_norm, convolution, depthwise
from core.layers.resize import BilinearUpsampling
from core.model_card import ModelCard
from core.network import PROFILES, Network, check_arguments

PUBLISHED_WIDTHS, NARROW_WIDTHS = (16, 32, 64, 128), (8, 16, 32, 64)
# What variants differ in. `widths`: channels at 1, 1/2, 1/4 and 1/8 of the size.
PLAIN: dict[str, Any] = {
    "widths": PUBLISHED_WIDTHS, "norm": True, "doubled": False, "separable": False, "half": False,
}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "base": {"parameters": 500_322, "macs": 4_340_957_184},
    "published": {"parameters": 498_882, "macs": 4_340_957_184, "norm": False},
    "doubled": {"parameters": 500_355, "macs": 4_343_611_392, "doubled": True},
    "doubled_narrow": {"parameters": 125_763, "macs": 1_096_851_456, "doubled": True,
                       "widths": NARROW_WIDTHS},
    "doubled_separable": {"parameters": 66_787, "macs": 632_779_776, "doubled": True,
                          "separable": True},
    "doubled_half": {"parameters": 477_123, "macs": 2_426_609_664, "doubled": True, "half": True},
}  # fmt: skip
# The table of the official repository, at 288x288.
PUBLISHED = {"F^H Wireframe": 77.5, "F^H York": 64.6}
INPUT_SIZE = (288, 288)
STRIDE = 8
# Keras's own constants; the published weights have the normalisation folded in and cannot say.
BATCH_NORM: dict[str, Any] = {"epsilon": 1e-3, "momentum": 0.99}
UNITS = 13  # convolutions with a normalisation; one more makes the maps
HEAD = f"conv2d_{UNITS}"


def traits(variant: str) -> dict[str, Any]:
    """Return what a variant is, by the names of `PLAIN`."""
    return {name: VARIANTS[variant].get(name, usual) for name, usual in PLAIN.items()}


def numbered(kind: str, number: int) -> str:
    """Return the name Keras gives the layer of a kind: "conv2d", "conv2d_1", …"""
    return f"{kind}_{number}" if number else kind


def unit(x, filters: int, number: int, *, norm: bool = True, separable: bool = False):
    """Convolve 3x3 with bias, normalise, activate; `separable` splits the convolution in two."""
    name, norm_name = numbered("conv2d", number), numbered("batch_normalization", number)
    kernel = 3
    if separable:
        x = depthwise(
            x, 3, f"{name}.depthwise", use_bias=False, initializer=keras.initializers.HeNormal()
        )
        x = batch_norm(x, f"{norm_name}.depthwise", **BATCH_NORM)
        x = activate(x, "relu", f"{numbered('activation', number)}.depthwise")
        kernel = 1
    x = convolution(x, filters, kernel, name, initializer=keras.initializers.HeNormal())
    if norm:
        x = batch_norm(x, norm_name, **BATCH_NORM)
    return activate(x, "relu", numbered("activation", number))


def lsdnet(
    variant: str = "base",
    input_shape: tuple[int | None, int | None, int] = (*INPUT_SIZE, 3),
) -> keras.Model:
    """Return LSDNet.

    Args:
        variant: One of `VARIANTS`: `published` as the official file has it (no normalisation left),
            `base` the same with its normalisations, for training; `doubled` has two channels for
            the direction, in which nothing wraps; `doubled_narrow` half the channels,
            `doubled_separable` depthwise-separable units behind the first, and `doubled_half`
            decides at half the size and enlarges.
        input_shape: (H, W, 3), channels last; H and W are multiples of 8 or None.

    Returns:
        A model from RGB images (N, H, W, 3) in [0, 1] to maps of the same size. Channel 0 is the
        heat, how sure it is that a pixel lies on a segment, in (0, 1). The direction θ, measured in
        the network's own input with x to the right and y down, is channel 1 as θ / π in (0, 1), or
        with `doubled` channels 1 and 2 as (cos 2θ, sin 2θ), each in (-1, 1), of any length.
        `apps.line_segments.grouping.group` takes either.
    """
    check_arguments(VARIANTS, variant, input_shape, channels=3, multiple=STRIDE)
    trait = traits(variant)
    full, half, quarter, eighth = trait["widths"]
    options = {"norm": trait["norm"], "separable": trait["separable"]}

    def pool(x, number: int):
        return keras.layers.MaxPooling2D(2, name=numbered("max_pooling2d", number))(x)

    def enlarge(x, number: int):
        return BilinearUpsampling(2, name=numbered("up_sampling2d", number))(x)

    def join(tensors, number: int):
        return keras.layers.Concatenate(name=numbered("concatenate", number))(tensors)

    image = keras.Input(input_shape, name="image")
    at_full = unit(image, full, 0, norm=options["norm"])
    x = unit(pool(at_full, 0), half, 1, **options)
    at_half = unit(x, half, 2, **options)
    x = unit(pool(at_half, 1), quarter, 3, **options)
    at_quarter = unit(x, quarter, 4, **options)
    x = unit(pool(at_quarter, 2), eighth, 5, **options)
    x = unit(x, eighth, 6, **options)

    x = unit(join([at_quarter, enlarge(x, 0)], 0), quarter, 7, **options)
    x = unit(x, quarter, 8, **options)
    x = unit(join([at_half, enlarge(x, 1)], 1), half, 9, **options)
    x = unit(x, half, 10, **options)
    if not trait["half"]:
        # The other way round than the joins before, as published.
        x = unit(join([enlarge(x, 2), at_full], 2), half, 11, **options)
        x = unit(x, half, 12, **options)
    maps = heads(x, doubled=trait["doubled"], enlarged=trait["half"])
    return keras.Model(image, maps, name=f"lsdnet_{variant}")


def heads(x, *, doubled: bool, enlarged: bool):
    """Return the maps (N, H, W, 2 or 3) of the last features, at their size or at twice that."""

    def logits(filters: int, name: str):
        maps = convolution(x, filters, 1, name, initializer=keras.initializers.GlorotUniform())
        return BilinearUpsampling(2, name=f"{name}.enlarged")(maps) if enlarged else maps

    if not doubled:
        return activate(logits(2, HEAD), "sigmoid", "maps")
    heat = activate(logits(1, f"{HEAD}.heat"), "sigmoid", "heat")
    direction = activate(logits(2, f"{HEAD}.direction"), "tanh", "direction")
    return keras.layers.Concatenate(name="maps")([heat, direction])


# --- import ---------------------------------------------------------------------------------------

# Names of the tensors in the published ONNX file; k of "conv2d_k" is left out for 0.
_IN_ONNX = re.compile(
    r"(?:.*/)?(?P<layer>conv2d(?:_\d+)?)/"
    r"(?:BiasAdd_(?P<folded>weights|bias)_fused_bn"
    r"|(?P<own>Conv2D|BiasAdd)/ReadVariableOp(?::0)?)"
)
_LEAVES = {"weights": "weight", "bias": "bias", "Conv2D": "weight", "BiasAdd": "bias"}
# What the converter to ONNX leaves among the weights.
CONSTANTS = (r"const_.*",)


def layers_of(kind: str) -> list[str]:
    """Return the names of the published layers of a kind that has weights."""
    return [numbered(kind, k) for k in range(UNITS + 1)]


def from_keras(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return Keras's arrays of any variant in PyTorch's names and layouts, others as they are."""
    depthwise_layers = [f"{name}.depthwise" for name in layers_of("conv2d")]
    layers = {
        *depthwise_layers,
        *layers_of("conv2d"),
        *layers_of("batch_normalization"),
        *(f"{name}.depthwise" for name in layers_of("batch_normalization")),
        f"{HEAD}.heat",
        f"{HEAD}.direction",
    }
    return torch_form(state, {name: name for name in layers}, depthwise_layers)


def convert_state(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return weights by the names of this network's layers, in PyTorch's layouts.

    Args:
        state: Of the published ONNX file, of Keras by layer, or by the names that are returned
            ("conv2d_1.weight", "batch_normalization_1.running_var").

    Raises:
        UserError: When nothing in it is LSDNet's.
    """
    found = {}
    for name, array in from_keras(state).items():
        in_onnx = _IN_ONNX.fullmatch(name)
        if in_onnx:
            name = f"{in_onnx['layer']}.{_LEAVES[in_onnx['folded'] or in_onnx['own']]}"
        found[name] = array
    if not any(name.split(".")[0] in layers_of("conv2d") for name in found):
        shown = f", but '{next(iter(found))}' and so on" if found else ""
        raise UserError(
            f"The checkpoint is not LSDNet's: it holds no tensors of layers conv2d to {HEAD}"
            f"{shown}; give the published model.onnx, or weights that were saved from this network."
        )
    return found


def infer_arguments(state: Mapping[str, np.ndarray]) -> dict:
    """Return the variant of a state, as far as its names and shapes tell it."""
    arrays = convert_state(state)
    first = arrays.get("conv2d.bias")
    if first is None:
        return {}
    told = {
        "widths": NARROW_WIDTHS if len(first) == NARROW_WIDTHS[0] else PUBLISHED_WIDTHS,
        "norm": "batch_normalization.weight" in arrays,
        "doubled": f"{HEAD}.direction.weight" in arrays,
        "separable": "conv2d_1.depthwise.weight" in arrays,
        "half": "conv2d_11.weight" not in arrays,
    }
    fitting = [variant for variant in VARIANTS if traits(variant) == told]
    return {"variant": fitting[0]} if fitting else {}


# --- the card -------------------------------------------------------------------------------------


def card(variant: str) -> ModelCard:
    """Return the model card with the published settings."""
    table = VARIANTS[variant]
    published = {
        "parameters": table["parameters"],
        "GMACs at 288x288": round(table["macs"] / 1e9, 3),
        **(PUBLISHED if variant == "published" else {}),
    }
    return ModelCard(
        network="lsdnet",
        variant=variant,
        app="lines",
        title="LSDNet: Trainable Modification of LSD Algorithm for Real-Time Line Segment "
        "Detection",
        paper="L. Teplyakov, L. Erlygin, E. Shvets, IEEE Access 10 (2022), arXiv:2209.04642",
        official_code="github.com/iitpvisionlab/LSDNet (BSD-3-Clause)",
        licence="architecture and published weights BSD-3-Clause",
        input_size=INPUT_SIZE,
        size_multiple=STRIDE,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        output="heat, cos 2θ, sin 2θ" if traits(variant)["doubled"] else "heat, θ / π",
        decode={"mode": "refined", "score": 0.7, "heat": 0.4, "shortest": 4.0, "protocol": "hawp"},
        published=published,
        checkpoints="github.com/iitpvisionlab/LSDNet, lsd/models_onnx/model.onnx"
        if variant == "published"
        else "none published",
    )


NETWORK = Network(
    lsdnet,
    VARIANTS,
    card,
    deploy=fold_norms,
    convert_state=convert_state,
    infer=infer_arguments,
    ignored=(*PROFILES, *CONSTANTS),
    features={1: "activation", 2: "activation_2", 4: "activation_4", 8: "activation_6"},
    head=rf"{HEAD}(\..*)?",
)
