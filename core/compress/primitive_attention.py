"""Attention and what belongs to it in primitive operators: projections, tables, masks.

Rules of `core.compress.primitives`, called with its rewriter and a call.
"""

from __future__ import annotations

import math

import keras
import numpy as np

from core.compress.graph import Call
from core.compress.primitive_layers import MaskSum, Table
from core.compress.simulated_operators import MatMul
from core.errors import UserError


def attention(rewriter, call: Call) -> None:
    """Multi-head attention: projections, scores, softmax, sum, projection."""
    layer = call.operation
    tensors = [rewriter.tensors[value] for value in call.inputs]
    kwargs = {k: v for k, v in call.node.arguments.kwargs.items() if v is not None}
    masked = [k for k in kwargs if "mask" in k and kwargs[k] is not False]
    several = len(call.outputs) != 1 or len(layer._attention_axes) != 1
    if masked or several:
        raise UserError(
            f"{layer.name} (MultiHeadAttention): masks, several attention axes and returned "
            "scores have no integer form; leave it in float "
            f"(exceptions={{'{layer.name}': 'float'}})."
        )
    query, value, key = (tensors * 3)[:3] if len(tensors) == 1 else (*tensors, tensors[-1])[:3]
    name = layer.name
    scale = 1.0 / math.sqrt(layer.key_dim)

    def heads(x, dense, part, factor=1.0):
        bias = None if dense.bias is None else np.asarray(dense.bias) * factor
        kernel = np.asarray(dense.kernel) * np.float32(factor)
        y = rewriter.projected(x, kernel, bias, 1, f"{name}.{part}")
        return keras.layers.Permute((2, 1, 3), name=rewriter.name(f"{name}.{part}.heads"))(y)

    q = heads(query, layer._query_dense, "query", scale)
    k, v = heads(key, layer._key_dense, "key"), heads(value, layer._value_dense, "value")
    k = keras.layers.Permute((1, 3, 2), name=rewriter.name(f"{name}.key.transposed"))(k)
    scores = MatMul(name=rewriter.name(f"{name}.scores"))([q, k])
    weights = keras.layers.Activation("softmax", name=rewriter.name(f"{name}.softmax"))(scores)
    if layer.dropout:
        weights = keras.layers.Dropout(layer.dropout, name=rewriter.name(f"{name}.dropout"))(
            weights
        )
    y = MatMul(name=rewriter.name(f"{name}.sum"))([weights, v])
    y = keras.layers.Permute((2, 1, 3), name=rewriter.name(f"{name}.joined"))(y)
    dense = layer._output_dense
    rewriter.set(call, rewriter.projected(y, np.asarray(dense.kernel), dense.bias, 2, name))


def channel_split(rewriter, call: Call) -> Call | None:
    """Return and mark as done the split of a Dense's outputs, if nothing else reads them."""
    layer, user = call.operation, rewriter.graph.sole_user(call.outputs[0])
    if user is None or type(user.operation).__name__ != "Split":
        return None
    last = len(rewriter.graph.shapes[call.outputs[0]]) - 1
    exception = rewriter.scheme.exception(user.operation)
    if user.operation.axis not in (-1, last) or exception or rewriter.graph.uses[id(layer)] > 1:
        return None
    return rewriter.follower(call.outputs[0], type(user.operation))


def split_dense(rewriter, call: Call, split: Call) -> None:
    """A Dense whose outputs are split becomes one for each part, with a range of its own.

    Queries, keys and values differ in size, and codes of one range would be coarse for the least.
    """
    layer, x, start = call.operation, rewriter.input(call), 0
    kernel = np.asarray(layer.kernel)
    for number, value in enumerate(split.outputs):
        end = start + rewriter.graph.shapes[value][-1]
        bias = np.asarray(layer.bias)[start:end] if layer.use_bias else None
        part = rewriter.dense(x, kernel[:, start:end], bias, f"{layer.name}.{number}")
        rewriter.tensors[value], start = part, end


def table_sum(rewriter, call: Call) -> None:
    """A layer that adds what it has learned of positions adds a constant."""
    layer, x = call.operation, rewriter.input(call)
    table = constant(rewriter, x, np.asarray(layer.values()), f"{layer.name}.table")
    rewriter.set(call, keras.layers.Add(name=rewriter.name(layer.name))([x, table]))


def shift_mask(rewriter, call: Call) -> None:
    """A mask of windows adds a constant that differs by window, not by head."""
    layer, x = call.operation, rewriter.input(call)
    heads, tokens = x.shape[1:3]
    mask = layer.values()
    mask = mask.reshape(len(mask), 1, tokens * tokens)
    x = keras.ops.reshape(x, (-1, len(mask), heads, tokens * tokens))
    table = constant(rewriter, x, mask, f"{layer.name}.table", trainable=False)
    y = MaskSum(name=rewriter.name(layer.name))([x, table])
    rewriter.set(call, keras.ops.reshape(y, (-1, heads, tokens, tokens)))


def constant(rewriter, x, values: np.ndarray, name: str, *, trainable: bool = True):
    """Return values (shape without batch) as a tensor of the graph that x is part of."""
    layer = Table(values.shape, trainable=trainable, name=rewriter.name(name))
    layer.build(x.shape)
    layer.value.assign(values)
    return layer(x)
