"""What networks for frames of I/Q samples have in common: input, card, and Keras's checkpoints.

A frame is float32 (N, length, 2), in-phase and quadrature, whose magnitudes sum to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import keras
import numpy as np

from apps.modulation_recognition.signals.parameters import CLASSES
from apps.modulation_recognition.signals.parameters import FRAME as LENGTH
from core.checkpoints.keras_files import torch_form
from core.model_card import ModelCard
from core.network import PROFILES, Network, check_arguments

CHANNELS = 2
FIXED = "every sample has weights in the first dense layer"
BENCHMARK = "github.com/Richardzhangxx/AMR-Benchmark (no licence), Keras"

Shape = tuple[int | None, int]


def check_frame(
    variants: Mapping[str, Any],
    variant: str,
    input_shape: Shape,
    classes: int,
    *,
    smallest: int = 1,
    fixed: str = "",
) -> None:
    """Raise a `ValueError` for arguments that no network of frames can be built with.

    Args:
        variants, variant, classes: As of `core.network.check_arguments`.
        input_shape: (length, 2); the length may be None.
        smallest: Least length.
        fixed: Why the length must be known, where it must.
    """
    check_arguments(
        variants,
        variant,
        input_shape,
        channels=CHANNELS,
        smallest=smallest,
        classes=classes,
        sides=("length",),
    )
    if fixed and input_shape[0] is None:
        raise ValueError(
            f"`input_shape` must have a length, for {fixed}. "
            f"Received: input_shape={tuple(input_shape)}"
        )


def frame_input(
    variants: Mapping[str, Any], variant: str, input_shape: Shape, classes: int, **checked
):
    """Return the input of a network whose arguments `check_frame` finds right."""
    check_frame(variants, variant, input_shape, classes, **checked)
    return keras.Input(input_shape, name="frame")


def as_image(frame):
    """Return a frame (N, length, 2) as the image (N, 2, length, 1): in-phase above quadrature."""
    rows = keras.layers.Permute((2, 1), name="rows")(frame)
    return keras.layers.Reshape((CHANNELS, -1, 1), name="image")(rows)


def as_row(frame):
    """Return a frame (N, length, 2) as the image (N, 1, length, 2), which has integer kernels."""
    return keras.layers.Reshape((1, -1, CHANNELS), name="row")(frame)


def hidden(x, units: int, name: str, *, initializer: str = "glorot_uniform"):
    """Return the outputs of a dense layer on all that there is of a frame, rectified."""
    x = keras.layers.Flatten(name="flatten")(x)
    return keras.layers.Dense(units, "relu", kernel_initializer=initializer, name=name)(x)


def frame_card(network: str, variant: str, parameters: int, *, gain: float = 1.0, **fields):
    """Return the card of a network of frames of 128 samples.

    Args:
        network, variant: Catalog name and variant.
        parameters: Trainable ones, with eleven classes.
        gain: What frames are multiplied by; published networks take them as they are.
        **fields: Further ones of the card, which they replace.
    """
    given: dict[str, Any] = {
        "licence": "reimplemented from the paper; weights follow the licence of their training "
        "data (RadioML: CC BY-NC-SA 4.0)",
        "labels": CLASSES,
        "output": "logits",
        "published": {"parameters": parameters},
        "checkpoints": "none published",
        **fields,
    }
    return ModelCard(
        network=network,
        variant=variant,
        app="modrec",
        input_size=(LENGTH,),
        channels=CHANNELS,
        color_order="",
        full_scale=1.0,
        mean=(0.0,) * CHANNELS,
        std=(1.0 / gain,) * CHANNELS,
        **given,
    )


def style_card(network: str, called: str, variant: str, parameters: int) -> ModelCard:
    """Return the card of a network in the style of the ClST paper; its frames have mean size 1.

    Args:
        network, variant: Catalog name and variant.
        called: The network's short name.
        parameters: Trainable ones, with eleven classes.
    """
    return frame_card(
        network,
        variant,
        parameters,
        gain=LENGTH,  # undoes what makes the magnitudes of 128 samples sum to 1
        title=f"{called}, after ClST: A Convolutional Transformer Framework for Automatic "
        "Modulation Recognition by Knowledge Distillation (not the authors' layers)",
        paper="D. Hou, L. Li, W. Lin, J. Liang, Z. Han, IEEE Transactions on Wireless "
        "Communications 2024, arXiv:2312.17446",
        official_code="none",
    )


def keras_state(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a state dict by Keras's names in PyTorch's; recurrent layers keep Keras's form."""
    layers = {name.removesuffix(".kernel") for name in state if name.endswith(".kernel")}
    plain = [layer for layer in layers if f"{layer}.recurrent_kernel" not in state]
    return torch_form(state, {layer: layer for layer in plain}, ())


def told_arguments(
    state: Mapping[str, np.ndarray],
    *,
    first: str,
    kernel: tuple[int, ...],
    last: str,
    dense: str = "",
    length: Callable[[int], int] = lambda inputs: inputs,
) -> dict:
    """Return variant, size and classes of a published state dict, as its shapes tell them.

    Args:
        state: Arrays by Keras's or PyTorch's names.
        first: The layer that a network is known by.
        kernel: Its kernel's shape in PyTorch's layout.
        last: The layer that gives the logits.
        dense: The first layer with a weight for every sample, where there is one.
        length: Returns the frame's length for that layer's number of inputs.
    """
    state = keras_state(state)
    known = state.get(f"{first}.weight")
    if known is None or known.shape != kernel:
        return {}
    found: dict[str, Any] = {"variant": "base"}
    if f"{dense}.weight" in state:
        found["input_size"] = (length(state[f"{dense}.weight"].shape[1]),)
    if f"{last}.bias" in state:
        found["classes"] = len(state[f"{last}.bias"])
    return found


def frame_network(build, variants: Mapping[str, Mapping], card, told: Mapping[str, Any], **own):
    """Return the `Network` of a builder; published checkpoints are Keras's.

    Args:
        build, variants, card: As of `Network`.
        told: Arguments of `told_arguments`.
        **own: Further arguments of `Network`.
    """
    return Network(
        build,
        variants,
        card,
        convert_state=keras_state,
        infer=partial(told_arguments, **told),
        ignored=(*PROFILES, r"optimizer.*"),
        **own,
    )
