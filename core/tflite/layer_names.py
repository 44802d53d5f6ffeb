"""Which Keras layer an operator of a .tflite file was made from."""

from __future__ import annotations

import re
from collections.abc import Iterable

from core.tflite.graph import Operator, Tensor

# Operators with a kernel: position of the input that holds it, and its axis of output channels.
WEIGHTED = {
    "BATCH_MATMUL": (1, -1),
    "CONV_2D": (1, 0),
    "CONV_3D": (1, -1),
    "DEPTHWISE_CONV_2D": (1, -1),
    "FULLY_CONNECTED": (1, 0),
    "TRANSPOSE_CONV": (1, 0),
}
UNPACKING = ("DEQUANTIZE", "DENSIFY")  # what stands between a stored kernel and its operator

Stored = dict[tuple[int, int], Tensor]


def stored_constants(listed: Iterable[Operator]) -> Stored:
    """Return (subgraph, tensor) → the constant that is unpacked into that tensor."""
    stored: Stored = {}
    for operator in listed:
        if operator.name in UNPACKING and operator.inputs[0] is not None:
            source = operator.inputs[0]
            source = stored.get((operator.subgraph, source.index), source)
            if source.constant:
                stored[operator.subgraph, operator.outputs[0].index] = source
    return stored


def layer_of(
    operator: Operator, stored: Stored | None = None, known: set[str] | None = None
) -> str:
    """Return the Keras layer an operator was made from, or "" where no name tells.

    The converter names a tensor by the scopes it grew from, "model_1/block_1/conv_1/convolution",
    and joins the names of what it fused by ";", the first computation last. Keras numbers each
    scope by its call, so one "_<n>" is no part of the layer's name.

    Args:
        operator: Of `core.tflite.graph.operators`.
        stored: What `DEQUANTIZE` and `DENSIFY` unpack, (subgraph, tensor) → constant.
        known: Names of the model's layers, where they are known.
    """
    inputs = [
        t if t is None else (stored or {}).get((operator.subgraph, t.index), t)
        for t in operator.inputs
    ]
    constants = [t for t in inputs if t is not None and t.constant]
    kernel = [t for t in constants if t is inputs[WEIGHTED.get(operator.name, (0, 0))[0]]]
    for tensor in (*kernel, *operator.outputs, *constants):
        for name in reversed(tensor.name.split(";")):
            scopes = name.split("/")[:-1]
            layer = _by_scopes(scopes) if known is None else _by_names(scopes, known)
            if layer:
                return re.sub(r"\.range(_\d+)?$", "", layer)  # of a quantizer behind the layer
    return ""


def _by_scopes(scopes: list[str]) -> str:
    """Return the numbered scopes below the model's."""
    parts = [re.sub(r"_\d+$", "", scope) for scope in scopes[1:] if re.search(r"_\d+$", scope)]
    return "/".join(parts)


def _by_names(scopes: list[str], known: set[str]) -> str:
    """Return the deepest scope that is a layer."""
    for scope in reversed(scopes):
        for name in (re.sub(r"_\d+$", "", scope), scope):
            if name in known:
                return name
    return ""
