"""Squeeze and excitation: weight every channel by a gate that sees all channels' means.

J. Hu, L. Shen, G. Sun, CVPR 2018, arXiv:1709.01507.
"""

from __future__ import annotations

from collections.abc import Callable

import keras

from core.layers.convolution import activate, convolution


def squeeze_excitation(
    x,
    reduced: int,
    name: str,
    *,
    gate: str = "sigmoid",
    activation: str = "relu",
    names: tuple[str, str] = ("conv_reduce", "conv_expand"),
    start: Callable[[], keras.initializers.Initializer | None] = lambda: None,
):
    """Return the weighted features; the two layers of the gate are 1x1 convolutions with bias.

    Args:
        x: Features (N, H, W, C).
        reduced: Channels between the two layers.
        name: The published module's path.
        gate: The last activation: "sigmoid" or "hard_sigmoid", relu6(x + 3) / 6.
        activation: Between the two layers.
        names: The two layers' names below it.
        start: Returns the initialiser of a layer, as `convolution` takes it.
    """
    squeeze, excite = (f"{name}.{leaf}" for leaf in names)
    weights = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}.pool")(x)
    weights = convolution(weights, reduced, 1, squeeze, initializer=start())
    weights = activate(weights, activation, f"{squeeze}.{activation}")
    weights = convolution(weights, x.shape[-1], 1, excite, initializer=start())
    weights = activate(weights, gate, f"{excite}.{gate}")
    return keras.layers.Multiply(name=name)([x, weights])
