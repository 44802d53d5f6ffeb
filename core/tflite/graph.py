"""The contents of a .tflite file as plain values, read without TensorFlow and without a runtime.

A file is checked before anything is taken from it, so a damaged one ends in one sentence.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from core.errors import UserError
from core.tflite.integrity import read_model, sound_model
from core.tflite.unpacking import (
    IDENTIFIER,
    MALFORMED,
    has_data,
    label,
    names,
    operator_name,
    read_bytes,
    text,
    values,
)

__all__ = [
    "IDENTIFIER",
    "MALFORMED",
    "Operator",
    "Tensor",
    "has_data",
    "label",
    "names",
    "operator_name",
    "operators",
    "read_bytes",
    "read_model",
    "sound_model",
    "tensors",
    "text",
    "values",
]


@dataclass(frozen=True)
class Tensor:
    """One tensor of a graph.

    Attributes:
        index: Position in its subgraph.
        name: As the converter wrote it.
        shape: Static shape; a dynamic dimension is stored as 1.
        dtype: "float32", "int8", "int32", ... in lower case.
        scales, zero_points: Quantisation, one per channel or one; empty when not quantised.
        axis: The channel axis of `scales`.
        constant: Whether the values are in the file.
        data: The stored bytes of a constant; see `core.tflite.constants`.
        sparsity: The schema's description of a constant stored without its zeros, or None.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    axis: int = 0
    constant: bool = False
    data: Any = field(default=None, repr=False, compare=False)
    sparsity: Any = field(default=None, repr=False, compare=False)

    @property
    def quantised(self) -> bool:
        return bool(self.scales) and self.dtype in ("int8", "uint8", "int16", "int4", "int2")


@dataclass(frozen=True)
class Operator:
    """One operator of a graph.

    Attributes:
        index: Position in its subgraph.
        subgraph: The subgraph (0 is the main one).
        name: Builtin name ("CONV_2D") or the custom operator's own name.
        inputs, outputs: Tensors; an omitted optional input is None.
        custom: Not a builtin operator; includes `flex`.
        flex: A TensorFlow operator that needs the Flex delegate.
        options: Builtin options under the schema's names (`strideW`, `alpha`, ...).
    """

    index: int
    subgraph: int
    name: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    custom: bool = False
    flex: bool = False
    options: dict = field(default_factory=dict)

    def operand(self, position: int) -> Tensor:
        """Return an input that must be there; `core.tflite.integrity` refuses files without it."""
        tensor = self.inputs[position]
        if tensor is None:
            raise ValueError(f"`position` must be of an input. Received: {position} of {self.name}")
        return tensor


def operators(source: str | os.PathLike | bytes) -> list[Operator]:
    """Return every operator of a .tflite file in execution order, the main graph first.

    Raises:
        UserError: When the file is missing, of another format or damaged.
    """
    model = sound_model(source)
    try:
        return list(_operators(model))
    except MALFORMED as error:
        raise UserError(
            f"{label(source)}: is damaged (an operator names something that is not in the file); "
            "export or copy it again."
        ) from error


def tensors(model, subgraph: int = 0) -> list[Tensor]:
    """Return the tensors of a graph of a `ModelT`, in the order of their numbers."""
    return [_tensor(model, i, t) for i, t in enumerate(model.subgraphs[subgraph].tensors or [])]


def _operators(model):
    for position, graph in enumerate(model.subgraphs):
        known = tensors(model, position)
        for index, operator in enumerate(graph.operators or []):
            name, custom = operator_name(model.operatorCodes[operator.opcodeIndex])
            options = operator.builtinOptions or operator.builtinOptions2
            yield Operator(
                index=index,
                subgraph=position,
                name=name,
                inputs=tuple(None if i < 0 else known[i] for i in values(operator.inputs)),
                outputs=tuple(known[i] for i in values(operator.outputs)),
                custom=custom,
                flex=custom and name.startswith("Flex"),
                options=dict(vars(options)) if options is not None else {},
            )


def _tensor(model, index: int, tensor) -> Tensor:
    quantization = tensor.quantization
    return Tensor(
        index=index,
        name=text(tensor.name),
        shape=tuple(values(tensor.shape)),
        dtype=names("TensorType")[tensor.type].lower(),
        scales=tuple(values(quantization.scale)) if quantization else (),
        zero_points=tuple(values(quantization.zeroPoint)) if quantization else (),
        axis=quantization.quantizedDimension if quantization else 0,
        constant=has_data(model.buffers[tensor.buffer]),
        data=model.buffers[tensor.buffer].data,
        sparsity=tensor.sparsity,
    )
