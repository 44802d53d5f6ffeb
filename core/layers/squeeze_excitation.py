"""Squeeze and excitation: weight every channel by a gate that sees all channels' means.

J. Hu, L. Shen, G. Sun, CVPR 2018, arXiv:1709.01507.
"""

from __future__ import annotations

import keras

from core.layers.convolution import activate, convolution


def squeeze_excitation(
    x,
    reduced: int,
    name: str,
    *,
    gate: str = "sigmoid",
    names: tuple[str, str] = ("conv_reduce", "conv_expand"),
):
    """Return the weighted features; the two layers of the gate are 1x1 convolutions with bias.

    Args:
        x: Features (N, H, W, C).
        reduced: Channels between the two layers, behind which a ReLU stands.
        name: The published module's path.
        gate: The last activation: "sigmoid" or "hard_sigmoid", relu6(x + 3) / 6.
        names: The two layers' names below it.
    """
    squeeze, excite = (f"{name}.{leaf}" for leaf in names)
    weights = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}.pool")(x)
    weights = activate(convolution(weights, reduced, 1, squeeze), "relu", f"{squeeze}.relu")
    weights = convolution(weights, x.shape[-1], 1, excite)
    weights = activate(weights, gate, f"{excite}.{gate}")
    return keras.layers.Multiply(name=name)([x, weights])
