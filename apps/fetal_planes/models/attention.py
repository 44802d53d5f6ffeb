"""What refines the features of a backbone before they are pooled: five kinds of attention.

Each takes features (N, H, W, C) and gives a vector (N, C). Which of them A. Sivasubramanian et al.
(arXiv:2410.17396) use is not published.
"""

from __future__ import annotations

from collections.abc import Callable

import keras

from core.compress.primitive_layers import InverseRoot
from core.layers.convolution import activate, batch_norm, convolution, linear
from core.layers.squeeze_excitation import squeeze_excitation

REDUCTION = 16  # of channels within the channel gates
GATE = (64, 16)  # channels within the spatial gate
HEADS, KEY = 4, 64
GATE_MAP = "gate.map"  # the layer whose output is a heat map


def spatial_gate(x):
    """Return the mean of the features weighted by a map, A = σ(conv ReLU(conv ReLU(conv BN x))).

    mean(x · A) / mean(A), so that a map that is small everywhere weakens nothing. The division is
    two products with 1 / sqrt(mean(A)), for which there are integer kernels.
    """
    gate = batch_norm(x, "gate.norm", epsilon=1e-3, momentum=0.99)
    for number, width in enumerate(GATE):
        gate = convolution(gate, width, 1, f"gate.{2 * number}")
        gate = activate(gate, "relu", f"gate.{2 * number + 1}")
    gate = convolution(gate, 1, 1, f"gate.{2 * len(GATE)}")
    gate = activate(gate, "sigmoid", GATE_MAP)
    pooled = pool(keras.layers.Multiply(name="gate.gated")([x, gate]))
    area = keras.layers.GlobalAveragePooling2D(name="gate.area")(gate)
    inverse = InverseRoot(name="gate.inverse")(area)
    for number in (1, 2):
        pooled = keras.layers.Multiply(name=f"gate.normal.{number}")([pooled, inverse])
    return pooled


def squeezed(x):
    """Return the mean of the features, their channels weighted by squeeze and excitation."""
    return pool(squeeze_excitation(x, x.shape[-1] // REDUCTION, "se"))


def cbam(x):
    """Return the mean of the features, weighted by channel, then by place.

    S. Woo et al., CBAM, ECCV 2018, arXiv:1807.06521; one perceptron sees means and largest values.
    """
    channels = x.shape[-1]
    layers = (
        keras.layers.Dense(channels // REDUCTION, activation="relu", name="cbam.channel.0"),
        keras.layers.Dense(channels, name="cbam.channel.2"),
    )
    seen = []
    for kind in (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D):
        name = "mean" if kind is keras.layers.GlobalAveragePooling2D else "largest"
        values = kind(keepdims=True, name=f"cbam.channel.{name}")(x)
        for layer in layers:
            values = layer(values)
        seen.append(values)
    gate = keras.layers.Add(name="cbam.channel.sum")(seen)
    gate = activate(gate, "sigmoid", "cbam.channel.gate")
    x = keras.layers.Multiply(name="cbam.channel")([x, gate])
    places = [keras.ops.mean(x, axis=-1, keepdims=True), keras.ops.max(x, axis=-1, keepdims=True)]
    gate = keras.layers.Concatenate(name="cbam.spatial.both")(places)
    gate = convolution(gate, 1, 7, "cbam.spatial.0")
    gate = activate(gate, "sigmoid", "cbam.spatial.map")
    return pool(keras.layers.Multiply(name="cbam.spatial")([x, gate]))


def self_attention(x):
    """Return the mean over places of LayerNorm(x + attention of every place with all others)."""
    tokens = keras.layers.Reshape((-1, x.shape[-1]), name="mhsa.tokens")(x)
    parts = []
    for part in ("query", "key", "value"):
        values = linear(tokens, HEADS * KEY, f"mhsa.{part}")
        values = keras.layers.Reshape((-1, HEADS, KEY), name=f"mhsa.{part}.heads")(values)
        axes = (2, 3, 1) if part == "key" else (2, 1, 3)
        parts.append(keras.layers.Permute(axes, name=f"mhsa.{part}.by_head")(values))
    query, key, value = parts
    scores = keras.ops.matmul(keras.ops.multiply(query, KEY**-0.5), key)
    weights = keras.layers.Activation("softmax", name="mhsa.softmax")(scores)
    found = keras.layers.Permute((2, 1, 3), name="mhsa.joined")(keras.ops.matmul(weights, value))
    found = keras.layers.Reshape((-1, HEADS * KEY), name="mhsa.flat")(found)
    found = linear(found, x.shape[-1], "mhsa.proj")
    total = keras.layers.Add(name="mhsa.sum")([tokens, found])
    normal = keras.layers.LayerNormalization(epsilon=1e-5, name="mhsa.norm")(total)
    return keras.layers.GlobalAveragePooling1D(name="pool")(normal)


def pool(x):
    """Return the mean over places."""
    return keras.layers.GlobalAveragePooling2D(name="pool")(x)


# By the name in a variant's; the first is the default.
ATTENTIONS: dict[str, Callable] = {
    "spatial-gate": spatial_gate,
    "se": squeezed,
    "cbam": cbam,
    "mhsa": self_attention,
    "none": pool,
}
# How the names of an attention's layers begin.
PREFIXES = {"spatial-gate": "gate.", "se": "se.", "cbam": "cbam.", "mhsa": "mhsa."}
