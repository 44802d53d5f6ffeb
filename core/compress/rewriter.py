"""The frame of every graph rewrite: a new functional model, emitted call by call."""

from __future__ import annotations

import keras

from core.compress.graph import Call, Graph


class Rewriter:
    """Emits a new model from a graph; a subclass decides in `emit` what becomes of each call.

    Attributes:
        graph: The old model.
        tensors: Old value → new tensor.
    """

    def __init__(self, graph: Graph):
        self.graph = graph
        self.tensors: dict[int, keras.KerasTensor] = {}
        self._made: dict[object, keras.layers.Layer] = {}
        self._names: dict[str, int] = {}
        self._done: set[int] = set()

    def rewrite(self) -> keras.Model:
        """Return the new model: same inputs, same order of outputs, same name."""
        graph, inputs = self.graph, []
        for value, name in zip(graph.inputs, graph.input_names, strict=True):
            inputs.append(keras.Input(graph.shapes[value][1:], name=name))
            self.emit_input(value, inputs[-1], name)
        for call in graph.calls:
            if id(call) not in self._done:
                self.emit(call)
        outputs = [self.tensors[value] for value in graph.outputs]
        return keras.Model(
            inputs if len(inputs) > 1 else inputs[0],
            outputs if len(outputs) > 1 else outputs[0],
            name=graph.name,
        )

    def emit_input(self, value: int, tensor, name: str) -> None:
        """Record an input of the new model."""
        self.tensors[value] = tensor

    def emit(self, call: Call) -> None:
        """Emit one call; as it is by default."""
        self.copy(call)

    def copy(self, call: Call) -> list:
        """Emit a call as it is, on a copy of its layer with the same weights."""
        outputs = call.replay(self.twin(call.operation), [self.tensors[v] for v in call.inputs])
        self.tensors.update(zip(call.outputs, outputs, strict=True))
        return outputs

    def twin(self, operation):
        """Return a copy of a layer, so that the new model shares nothing with the old one."""
        if not isinstance(operation, keras.layers.Layer):
            return operation

        def make():
            config = {**operation.get_config(), "name": self.name(operation.name)}
            copy = type(operation).from_config(config)
            if operation.weights:
                copy.build(layer_input_shape(operation))
                copy.set_weights(operation.get_weights())
            return copy

        return self.once(operation, make)

    def once(self, key, make):
        """Return what `make` returned the first time it was asked for by an operation or key."""
        key = id(key) if isinstance(key, keras.Operation) else key
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def follower(self, value: int, kind) -> Call | None:
        """Return and mark as done the sole user of a value if it is of a kind and used once."""
        user = self.graph.sole_user(value)
        if user is None or not isinstance(user.operation, kind):
            return None
        if self.graph.uses[id(user.operation)] != 1:
            return None
        self._done.add(id(user))
        return user

    def name(self, name: str) -> str:
        """Return a name no other layer of the new model has."""
        count = self._names[name] = self._names.get(name, 0) + 1
        return name if count == 1 else f"{name}_{count}"


def layer_input_shape(layer):
    """Return the shape a layer was first called with (a list of shapes for several tensors)."""
    shapes = [tuple(tensor.shape) for tensor in layer._inbound_nodes[0].input_tensors]
    return shapes if len(shapes) > 1 else shapes[0]
