"""Blocks of the EfficientNets: expand, filter every channel, weigh the channels, project.

M. Tan, Q. V. Le, EfficientNet, ICML 2019, arXiv:1905.11946; the fused block: EfficientNetV2, ICML
2021, arXiv:2104.00298.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from core.backbones.widths import block_numbers
from core.checkpoints.keras_files import torch_form
from core.layers.convolution import (
    BATCH_NORM,
    activate,
    batch_norm,
    convolution,
    depthwise,
    fan_out_normal,
    linear,
)
from core.layers.squeeze_excitation import squeeze_excitation

Names = tuple[str, str, str]  # of a convolution, its normalisation, its activation
DROPPED = 0.2  # stochastic depth of the last block, growing linearly from 0
# Layers that Keras's networks begin with; the model card normalises.
KERAS_INPUTS = (r"(rescaling|normalization)(_\d+)?\..*",)


@dataclass(frozen=True)
class Style:
    """In what networks of one architecture differ, by who published them.

    Attributes:
        padding: "torch" (an even side is padded alike on both ends) or "same" (more at its end).
        epsilon, momentum: Of the batch normalisations, as Keras counts them.
        activation: By its Keras name.
        channelwise: Whether the start of depthwise kernels counts one output, as TensorFlow does,
            or all channels, as PyTorch does.
    """

    padding: str = "torch"
    epsilon: float = BATCH_NORM["epsilon"]
    momentum: float = BATCH_NORM["momentum"]
    activation: str = "silu"
    channelwise: bool = False

    def start(self) -> keras.initializers.Initializer:
        """Return the start of a kernel, a new one for each."""
        if self.channelwise:
            return keras.initializers.VarianceScaling(2.0, "fan_out", "truncated_normal")
        return fan_out_normal()

    def convolve(self, x, filters: int, kernel: int, names: Names, *, strides=1, active=True):
        """Convolve, normalise, activate."""
        x = convolution(
            x,
            filters,
            kernel,
            names[0],
            strides=strides,
            padding=self.padding,
            use_bias=False,
            initializer=self.start(),
        )
        return self._finish(x, names, self.activation if active else None)

    def filter(self, x, kernel: int, names: Names, *, strides=1):
        """Convolve every channel by itself, normalise, activate."""
        start = self.start() if self.channelwise else fan_out_normal(depthwise=True)
        x = depthwise(
            x,
            kernel,
            names[0],
            strides=strides,
            padding=self.padding,
            use_bias=False,
            initializer=start,
        )
        return self._finish(x, names, self.activation)

    def _finish(self, x, names: Names, activation: str | None):
        x = batch_norm(x, names[1], epsilon=self.epsilon, momentum=self.momentum)
        return activate(x, activation, names[2])


@dataclass(frozen=True)
class BlockNames:
    """What a block's layers are called; where there is none of a kind, the names are not used."""

    expand: Names
    filter: Names
    project: Names
    squeeze: str = ""
    squeezes: tuple[str, str] = ("fc1", "fc2")


def mbconv(
    x,
    filters: int,
    name: str,
    names: BlockNames,
    *,
    style: Style,
    expansion: int,
    kernel: int,
    strides: int = 1,
    squeezed: int | None = None,
    fused: bool = False,
    dropped: float = 0.0,
):
    """Return the block's result; a shortcut where it fits.

    Args:
        x: Features (N, H, W, C).
        filters: Channels of the result.
        name: The published block's path, and of its last layer here.
        names: Of the layers within.
        style: What depends on the publisher.
        expansion: Channels within per input channel; 1 leaves the expansion out.
        kernel: Side of the window.
        strides: 1 or 2.
        squeezed: Channels within squeeze and excitation; None leaves it out.
        fused: Whether one convolution expands and filters; then without expansion it is the block.
        dropped: Share of the samples whose block, without its shortcut, training leaves out.
    """
    y, expanded = x, expansion * x.shape[-1]
    if fused:
        width = filters if expansion == 1 else expanded
        y = style.convolve(y, width, kernel, names.expand, strides=strides)
    else:
        if expansion > 1:
            y = style.convolve(y, expanded, 1, names.expand)
        y = style.filter(y, kernel, names.filter, strides=strides)
    if squeezed:
        y = squeeze_excitation(
            y,
            squeezed,
            names.squeeze,
            activation=style.activation,
            names=names.squeezes,
            start=style.start,
        )
    if not fused or expansion > 1:
        y = style.convolve(y, filters, 1, names.project, active=False)
    if strides > 1 or x.shape[-1] != filters:
        return keras.layers.Identity(name=name)(y)
    if dropped:
        shape = (None, 1, 1, 1)
        y = keras.layers.Dropout(dropped, noise_shape=shape, name=f"{name}.stochastic_depth")(y)
    return keras.layers.Add(name=name)([x, y])


@dataclass(frozen=True)
class Stage:
    """A row of the paper's table of the architecture; the stride is the first block's."""

    expansion: int
    filters: int
    repeats: int
    strides: int
    kernel: int = 3
    fused: bool = False
    excited: bool = True


def mbconv_stages(
    x,
    stages: Sequence[Stage],
    depths: Sequence[int] | None,
    named: Callable[[int, int], tuple[str, BlockNames]],
    style: Style,
):
    """Return the last stage's result.

    Args:
        x: Features (N, H, W, C).
        stages: The table.
        depths: Blocks of each stage where they are fewer; None takes all.
        named: Returns the name of a block, and those of its layers, of the numbers of its stage and
            in it, both from 0.
        style: What depends on the publisher.
    """
    numbers = block_numbers([stage.repeats for stage in stages], depths)
    done, total = 0, sum(map(len, numbers))
    for number, (stage, blocks) in enumerate(zip(stages, numbers, strict=True)):
        for i in blocks:
            name, names = named(number, i)
            x = mbconv(
                x,
                stage.filters,
                name,
                names,
                style=style,
                expansion=stage.expansion,
                kernel=stage.kernel,
                strides=stage.strides if i == blocks[0] else 1,
                squeezed=x.shape[-1] // 4 if stage.excited else None,
                fused=stage.fused,
                dropped=DROPPED * done / total,
            )
            done += 1
    return x


def classify(x, classes: int | None, dropout: float, name: str):
    """Return logits of maps' means, or the means themselves where `classes` is None."""
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    if classes is None:
        return x
    x = keras.layers.Dropout(dropout, name=f"{name}.dropout")(x)
    start = keras.initializers.VarianceScaling(1 / 3, "fan_out", "uniform")  # 1 / sqrt(classes)
    return linear(x, classes, name, initializer=start)


def keras_state(
    state: Mapping[str, np.ndarray],
    stages: Sequence[Stage],
    named: Callable[[int, int], tuple[str, BlockNames]],
    ends: Mapping[str, Names],
    classifier: str,
) -> dict[str, np.ndarray]:
    """Return weights of Keras Applications by our names, in PyTorch's layouts.

    Args:
        state: Arrays as `core.checkpoints.read` gives them; others than Keras's stay as they are.
        stages, named: As of `mbconv_stages`.
        ends: Those of "stem" and "top".
        classifier: Keras's `predictions`.
    """
    found, depthwise = {"predictions": classifier}, set()
    for prefix, (conv, norm, _) in ends.items():
        found |= {f"{prefix}_conv": conv, f"{prefix}_bn": norm}
    blocks = [(n, i) for n, stage in enumerate(stages) for i in range(stage.repeats)]
    for number, i in blocks:
        block, (_, names) = f"block{number + 1}{'abcdefgh'[i]}", named(number, i)
        layers = {
            "expand_conv": names.expand[0],
            "expand_bn": names.expand[1],
            "dwconv": names.filter[0],
            "dwconv2": names.filter[0],
            "bn": names.filter[1],
            "project_conv": names.project[0],
            "project_bn": names.project[1],
            "se_reduce": f"{names.squeeze}.{names.squeezes[0]}",
            "se_expand": f"{names.squeeze}.{names.squeezes[1]}",
        }
        found |= {f"{block}_{layer}": name for layer, name in layers.items()}
        depthwise |= {f"{block}_dwconv", f"{block}_dwconv2"}
    return torch_form(state, found, depthwise)
