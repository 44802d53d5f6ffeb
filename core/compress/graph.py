"""A functional Keras model as a flat list of calls, nested models opened up.

Graph rewrites (quantization, folding) need to see which call feeds which; Keras keeps that in its
nodes, one level per nested model. Here every value has a number and every call lists its values.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import keras

from core.errors import UserError


@dataclass(frozen=True)
class Call:
    """One use of an operation.

    Attributes:
        operation: The Keras layer or operation.
        node: The Keras node, which knows the non-tensor arguments.
        inputs, outputs: Numbers of the values.
    """

    operation: Any
    node: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def replay(self, operation, tensors: list) -> list:
        """Call `operation` with this call's arguments, its tensors replaced; return the outputs."""
        mapping = {id(old): new for old, new in zip(self.node.input_tensors, tensors, strict=True)}
        args, kwargs = self.node.arguments.fill_in(mapping)
        return keras.tree.flatten(operation(*args, **kwargs))


@dataclass
class Graph:
    """The calls of a model in an order in which they can be computed.

    Attributes:
        name: The model's name.
        shapes: Value → shape with batch axis.
        inputs, outputs: The model's values.
        input_names: Names of the model's input layers.
        calls: All calls.
        users: Value → the calls that read it.
        uses: Operation's id → number of its calls.
    """

    name: str
    inputs: list[int] = field(default_factory=list)
    input_names: list[str] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    shapes: dict[int, tuple] = field(default_factory=dict)
    users: dict[int, list[Call]] = field(default_factory=lambda: defaultdict(list))
    uses: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    def sole_user(self, value: int) -> Call | None:
        """Return the only call that reads a value, or None if there are more or it is an output."""
        users = self.users[value]
        if value in self.outputs or any(user is not users[0] for user in users) or not users:
            return None
        return users[0]


def graph_of(model) -> Graph:
    """Return the graph of a functional (or Sequential) Keras model.

    Raises:
        UserError: When the model is subclassed, so that its graph is unknown.
    """
    functional = _functional(model)
    if functional is None:
        raise UserError(
            f"{model.name}: is a subclassed model, whose graph cannot be rewritten; build it with "
            "the functional API."
        )
    graph = Graph(model.name)
    bindings: dict[int, int] = {}
    for tensor in functional.inputs:
        bindings[id(tensor)] = _new_value(graph, tensor)
        graph.inputs.append(bindings[id(tensor)])
        graph.input_names.append(tensor.name)
    graph.outputs = _walk(functional, bindings, graph)
    for call in graph.calls:
        graph.uses[id(call.operation)] += 1
        for value in call.inputs:
            graph.users[value].append(call)
    return graph


def _walk(functional, bindings: dict[int, int], graph: Graph) -> list[int]:
    """Append the calls of a functional model; return the numbers of its outputs."""
    for depth in sorted(functional._nodes_by_depth, reverse=True):
        for node in functional._nodes_by_depth[depth]:
            if node.is_input or node.operation is None:
                continue
            inputs = tuple(bindings[id(tensor)] for tensor in node.input_tensors)
            inner = _functional(node.operation)
            if inner is not None:
                outputs = _walk(inner, dict(zip(map(id, inner.inputs), inputs, strict=True)), graph)
            else:
                outputs = [_new_value(graph, tensor) for tensor in node.outputs]
                graph.calls.append(Call(node.operation, node, inputs, tuple(outputs)))
            bindings.update(zip(map(id, node.outputs), outputs, strict=True))
    return [bindings[id(tensor)] for tensor in functional.outputs]


def _functional(operation):
    if isinstance(operation, keras.Sequential):
        return operation._functional
    return operation if hasattr(operation, "_nodes_by_depth") else None


def _new_value(graph: Graph, tensor) -> int:
    number = len(graph.shapes)
    graph.shapes[number] = tuple(tensor.shape)
    return number
