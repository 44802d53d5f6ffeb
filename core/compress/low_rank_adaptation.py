"""Adapt a trained network by low-rank updates of its convolutions, at no cost when it is used.

X. Chai et al., "Distillation-Supervised Convolutional Low-Rank Adaptation for Efficient Image
Super-Resolution", CVPRW 2025, arXiv:2504.11271: `adapt` a deployable network, train it (under a
teacher: `core.compress.distill`), and take the `merged` one, whose layers are those from before.
Quantization comes after merging.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping

import keras

from core.compress.freezing import trained
from core.compress.graph import Call, graph_of
from core.compress.quantize import is_quantized
from core.compress.rewriter import Rewriter, layer_input_shape
from core.errors import UserError, near_miss
from core.layers.conv_lora import ConvLoRA
from core.layers.convolution import GroupedConv2D

Ranks = Mapping[str, int | tuple[int, float]]


def adapt(model: keras.Model, ranks: Ranks) -> keras.Model:
    """Return the network with chosen convolutions adaptable and everything else frozen.

    The outputs are those of `model` until A and B are trained. To go on after a first training,
    use `next_round`.

    Args:
        model: A functional float model; it is not changed. Networks with branches that are merged
            for use are deployed first.
        ranks: Layer name, or pattern with * and ?, → rank r, with alpha = 2·r, or (r, alpha). The
            first entry that fits a layer counts.

    Raises:
        UserError: When the model is subclassed, quantized or adapted already, or when an entry
            fits no convolution.
    """
    if is_adapted(model):
        raise UserError(f"{model.name}: is adapted already; merge it first, or start a next round.")
    if is_quantized(model):
        raise UserError(f"{model.name}: is quantized; adapt the float network, then quantize it.")
    graph = graph_of(model)
    rewritten = _Adapting(graph, _chosen(graph, ranks)).rewrite()
    for layer in rewritten.layers:
        layer.trainable = isinstance(layer, ConvLoRA)
    return rewritten


def merged(model: keras.Model) -> keras.Model:
    """Return the network with plain convolutions and equal outputs, all of it trainable.

    A model that is not adapted is returned as it is.
    """
    if not is_adapted(model):
        return model
    rewritten = _Merging(graph_of(model)).rewrite()
    for layer in rewritten.layers:
        layer.trainable = True
    return rewritten


def is_adapted(model: keras.Model) -> bool:
    """Return whether a model holds low-rank updates."""
    return any(isinstance(layer, ConvLoRA) for layer in model.layers)


def next_round(model: keras.Model) -> None:
    """Merge every update of an adapted model in place and start new ones; the outputs stay.

    One update has a low rank; the sum of several rounds need not. The released DSCLoRA weights
    differ from their base by more than one round can reach.

    Raises:
        UserError: When the model is not adapted.
    """
    if not is_adapted(model):
        raise UserError(f"{model.name}: has no low-rank updates to merge; adapt it first.")
    for layer in model.layers:
        if isinstance(layer, ConvLoRA):
            layer.merge()


class Rounds(keras.callbacks.Callback):
    """Start a new round after every so many epochs; for an adapted model or its `Distiller`.

    Args:
        epochs: Epochs of one round.
    """

    def __init__(self, epochs: int):
        super().__init__()
        if epochs < 1:
            raise ValueError(f"`epochs` must be a positive integer. Received: epochs={epochs}")
        self.epochs = epochs

    def on_epoch_begin(self, epoch: int, logs=None) -> None:
        if epoch and epoch % self.epochs == 0:
            next_round(trained(self.model))


class _Adapting(Rewriter):
    def __init__(self, graph, chosen: dict[int, tuple[int, float]]):
        super().__init__(graph)
        self.chosen = chosen

    def twin(self, operation):
        if id(operation) not in self.chosen:
            return super().twin(operation)
        rank, alpha = self.chosen[id(operation)]

        def make():
            config = {**operation.get_config(), "name": self.name(operation.name)}
            layer = ConvLoRA.from_config({**config, "low_rank": rank, "alpha": alpha})
            layer.build(layer_input_shape(operation))
            layer.base_kernel.assign(operation.kernel)
            if operation.use_bias:
                layer.bias.assign(operation.bias)
            return layer

        return self.once(operation, make)


class _Merging(Rewriter):
    def twin(self, operation):
        if not isinstance(operation, ConvLoRA):
            return super().twin(operation)

        def make():
            config = {**operation.get_config(), "name": self.name(operation.name)}
            config = {k: v for k, v in config.items() if k not in ("low_rank", "alpha")}
            kind = GroupedConv2D if operation.groups > 1 else keras.layers.Conv2D
            layer = kind.from_config(config)
            layer.build(layer_input_shape(operation))
            layer.kernel.assign(operation.kernel)
            if operation.use_bias:
                layer.bias.assign(operation.bias)
            return layer

        return self.once(operation, make)


def _chosen(graph, ranks: Ranks) -> dict[int, tuple[int, float]]:
    """Return rank and alpha by the identity of each layer to adapt."""
    if not ranks:
        raise ValueError("`ranks` must name at least one layer. Received: ranks={}")
    layers = {call.operation.name: call.operation for call in graph.calls if _is_layer(call)}
    convolutions = [name for name, x in layers.items() if isinstance(x, keras.layers.Conv2D)]
    chosen: dict[int, tuple[int, float]] = {}
    for pattern, value in ranks.items():
        rank, alpha = value if isinstance(value, tuple | list) else (value, 2.0 * value)
        if rank < 1 or alpha <= 0:
            raise ValueError(f"`ranks` must hold positive numbers. Received: {pattern!r}: {value}")
        names = fnmatch.filter(convolutions, pattern)
        if not names and pattern in layers:
            raise UserError(
                f"{pattern} ({type(layers[pattern]).__name__}): is no plain convolution, so it has "
                "no low-rank update; deploy the network first, or leave the layer out."
            )
        if not names:
            raise UserError(
                f"{graph.name}: no convolution is called '{pattern}'."
                f"{near_miss(pattern, convolutions)}"
            )
        for name in names:
            chosen.setdefault(id(layers[name]), (int(rank), float(alpha)))
    return chosen


def _is_layer(call: Call) -> bool:
    return isinstance(call.operation, keras.layers.Layer)
