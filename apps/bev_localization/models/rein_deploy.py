"""REIN for use: norms folded, and what turns its maps back made of operators with integer kernels.

In training one layer does that. A file of integers needs a range at every rounding, hence here a
1x1 convolution, whose constant kernel turns a map by 45 degrees, among operators that only move
values.
"""

from __future__ import annotations

import keras

from apps.bev_localization.models.bicubic import turning_matrix
from apps.bev_localization.models.rotation import LargestTurnedBack, quarter_turns
from core.compress.graph import Call, graph_of
from core.compress.norm_folding import fold_norms
from core.compress.rewriter import Rewriter


def deploy(model: keras.Model) -> keras.Model:
    """Return the network for use, with equal outputs; the model itself where it is that already."""
    if not any(isinstance(layer, LargestTurnedBack) for layer in model.layers):
        return model
    return fold_norms(_Deploying(graph_of(model)).rewrite())


class _Deploying(Rewriter):
    def emit(self, call: Call) -> None:
        layer = call.operation
        if not isinstance(layer, LargestTurnedBack):
            self.copy(call)
            return
        x = self.tensors[call.inputs[0]]
        self.tensors[call.outputs[0]] = largest_turned_back(x, layer.rotations, layer.name)


def largest_turned_back(x, rotations: int, name: str):
    """Return what `LargestTurnedBack` gives, by Keras's own layers and operations.

    Args:
        x: Maps (R · N, h, h, C) of all rotations.
        rotations: R.
        name: Of the last layer; that of the kernel, where there is one, begins so.
    """
    _, side, _, channels = x.shape
    maps = keras.ops.split(x, rotations, axis=0)
    turns = [quarter_turns(m, i) for i, m in enumerate(maps[:: rotations // 4])]
    if rotations == 8:
        odd = keras.layers.Concatenate(axis=0, name=f"{name}.odd")(maps[1::2])
        odd = keras.layers.Reshape((side * side, 1, channels), name=f"{name}.pixels")(odd)
        odd = keras.layers.Permute((3, 2, 1), name=f"{name}.pixels_last")(odd)
        turn = keras.layers.Conv2D(side * side, 1, use_bias=False, name=f"{name}.turn")
        turn.build((None, channels, 1, side * side))
        turn.kernel.assign(turning_matrix(side, -45.0).T[None, None])
        turn.trainable = False  # part of what the network is, no parameter
        odd = keras.layers.Permute((3, 2, 1), name=f"{name}.channels_last")(turn(odd))
        odd = keras.layers.Reshape((side, side, channels), name=f"{name}.map")(odd)
        turns += [quarter_turns(m, i) for i, m in enumerate(keras.ops.split(odd, 4, axis=0))]
    largest = keras.layers.Maximum(name=name)(turns)
    _name_operations(largest, x, name)
    return largest


def _name_operations(last, first, name: str) -> None:
    """Let the names of the operations between two tensors begin with a name.

    Keras numbers operations for each process anew, so that those of a model from a file may bear
    the numbers that new ones get.
    """
    waiting, seen = [last], set()
    while waiting:
        tensor = waiting.pop()
        operation, node, _ = tensor._keras_history
        if tensor is first or operation in seen:
            continue
        seen.add(operation)
        if not isinstance(operation, keras.layers.Layer):
            operation.name = f"{name}.{operation.name}"
        waiting += operation._inbound_nodes[node].input_tensors
