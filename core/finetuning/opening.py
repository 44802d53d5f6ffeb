"""A network that is opened to training step by step, from its head to its first layers.

Two-stepped transfer learning (M. Geng et al., arXiv:1611.05244; K. Zhou, T. Xiang,
arXiv:1910.10093) trains the new head first: the gradients of a random one would spoil what the
network learned before. Gradual unfreezing (J. Howard, S. Ruder, ACL 2018, arXiv:1801.06146) then
opens one stage after another.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import keras

from core.compress.graph import Graph, graph_of


@dataclass(frozen=True)
class Opening:
    """From which epoch on which layers are trained.

    Attributes:
        epoch: The first one, from 0.
        layers: Names of the layers that are trained from then on; None opens all.
    """

    epoch: int
    layers: frozenset[str] | None = None


class OpenedStepwise(keras.callbacks.Callback):
    """Trains some layers at first and others later, as an epoch's number tells.

    The optimiser counts its steps anew at every opening: its moments of the opened weights start
    from zero then.

    Args:
        network: The network, some of whose outputs are trained.
        openings: In the order of their epochs; the first one's is 0.
        adapting: Whether the normalisations of closed layers go on as in training, with the
            statistics of the batch, which also move the running ones: what PyTorch does with
            frozen parameters. Else they infer and keep their statistics, as Keras has it.
    """

    def __init__(
        self, network: keras.Model, openings: Sequence[Opening], *, adapting: bool = False
    ):
        super().__init__()
        if (
            not openings
            or openings[0].epoch
            or sorted(o.epoch for o in openings) != [o.epoch for o in openings]
        ):
            raise ValueError(
                f"`openings` must be ordered and begin with epoch 0. Received: {list(openings)}"
            )
        self.network, self.openings, self.adapting = network, list(openings), adapting
        self._now: Opening | None = None

    def on_epoch_begin(self, epoch: int, logs=None) -> None:
        now = [opening for opening in self.openings if opening.epoch <= epoch][-1]
        if now is self._now:
            return
        for layer in self.network.layers:
            self._set(layer, now.layers is None or layer.name in now.layers)
        if epoch and epoch == now.epoch:
            self.model.optimizer.iterations.assign(0)
        self._now = now
        self.model.make_train_function(force=True)  # traced for the weights that are open

    def on_train_end(self, logs=None) -> None:
        for layer in self.network.layers:
            self._set(layer, True)

    def _set(self, layer: keras.layers.Layer, opened: bool) -> None:
        if self.adapting and isinstance(layer, keras.layers.BatchNormalization):
            for weight in (layer.gamma, layer.beta):
                if weight is not None:
                    weight.trainable = opened
        else:
            layer.trainable = opened


def head_layers(model: keras.Model, pattern: str = "") -> frozenset[str]:
    """Return the names of a network's layers that are new to a task.

    Args:
        model: A functional network.
        pattern: A regular expression of their names; empty takes the last layer with weights.

    Raises:
        ValueError: When no layer with weights is meant.
    """
    weighty = [layer.name for layer in model.layers if layer.weights]
    found = [name for name in weighty if re.fullmatch(pattern, name)] if pattern else weighty[-1:]
    if not found:
        raise ValueError(f"`pattern` must match layers of {model.name}. Received: {pattern!r}")
    return frozenset(found)


def stagewise(
    model: keras.Model, head: Collection[str], ends: Mapping[int, str]
) -> list[frozenset[str]]:
    """Return the layers to train, first the head alone, then with one stage more at a time.

    Args:
        model: A functional network.
        head: Names of the head's layers.
        ends: Stride → the last layer of the stage of that stride (`core.network.Network.features`).

    Returns:
        Each set holds the one before; the last one holds all layers.
    """
    graph = graph_of(model)
    open_layers, found = frozenset(head), [frozenset(head)]
    behind = sorted(ends, reverse=True)[1:]  # what lies behind the end of stride 16 is opened first
    for stride in behind:
        before = _leading_to(graph, ends[stride])
        opened = frozenset(layer.name for layer in model.layers) - before
        if opened > open_layers:
            open_layers = opened | open_layers
            found.append(open_layers)
    return [*found, frozenset(layer.name for layer in model.layers)]


def without_norms(
    model: keras.Model, openings: Sequence[Opening], head: Collection[str]
) -> list[Opening]:
    """Return openings that leave out the batch normalisations before the head.

    Args:
        model: A functional network.
        openings: Of it.
        head: Names of the head's layers, whose own normalisations are trained.
    """
    norms = {
        layer.name
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization) and layer.name not in head
    }
    every = frozenset(layer.name for layer in model.layers)
    return [
        Opening(one.epoch, (every if one.layers is None else one.layers) - norms)
        for one in openings
    ]


def _leading_to(graph: Graph, name: str) -> set[str]:
    """Return the names of a layer and of all that it depends on."""
    needed: set[int] = set()
    leading: set[str] = set()
    for call in reversed(graph.calls):
        if call.operation.name == name or needed.intersection(call.outputs):
            needed.update(call.inputs)
            leading.add(call.operation.name)
    return leading
