"""The float file behind a file: the same operators on real numbers, nothing rounded on the way.

What differs between a file and this form of it is what rounding and clipping of activations do;
what differs between this form and the Keras model is what the file's kernels and operators do. So
the two kinds of mistakes can be told apart, by one runtime and without the network's source.
"""

from __future__ import annotations

import os

import numpy as np

from core.tflite.constants import real_values
from core.tflite.graph import names, operator_name, read_model, tensors, values
from core.tflite.packing import packed

# Operators that only change how numbers are stored.
STORAGE = ("QUANTIZE", "DEQUANTIZE", "DENSIFY")


def unrounded(source: str | os.PathLike | bytes) -> bytes:
    """Return a float32 file of the operators of a file and the values of its constants.

    Args:
        source: Path or bytes of a .tflite file of any precision. A float32 file stays as it is,
            but for what unpacks its constants.

    Returns:
        A file without a model card. Tensors keep their numbers and names; those that are stored in
        another way only are the tensor they are made from.

    Raises:
        UserError: When the file is missing, of another format or damaged.
    """
    model = read_model(source)
    kinds = [operator_name(code)[0] for code in model.operatorCodes]
    for position, graph in enumerate(model.subgraphs):
        _make_float(model, position)
        same: dict[int, int] = {}
        kept = []
        for operator in graph.operators or []:
            operator.inputs = [same.get(index, index) for index in values(operator.inputs)]
            if kinds[operator.opcodeIndex] in STORAGE:
                same[values(operator.outputs)[0]] = operator.inputs[0]
            else:
                kept.append(operator)
        graph.operators = kept
        graph.outputs = [same.get(index, index) for index in values(graph.outputs)]
        for signature in model.signatureDefs or []:
            if signature.subgraphIndex == position:
                for entry in signature.outputs or []:
                    entry.tensorIndex = same.get(entry.tensorIndex, entry.tensorIndex)
    return packed(model)


def _make_float(model, position: int) -> None:
    """Turn every tensor that holds rounded real numbers into a float32 tensor."""
    from ai_edge_litert import schema_py_generated as schema

    float32 = next(value for value, name in names("TensorType").items() if name == "FLOAT32")
    stored = model.subgraphs[position].tensors or []
    for tensor, seen in zip(stored, tensors(model, position), strict=True):
        if not (seen.scales or seen.dtype == "float16" or seen.sparsity is not None):
            continue
        if seen.data is not None and len(seen.data):
            # Constants of different scales may share their bytes, so each gets its own.
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(real_values(seen).tobytes(), np.uint8)
            tensor.buffer = len(model.buffers)
            model.buffers.append(buffer)
        tensor.type, tensor.quantization, tensor.sparsity = float32, None, None
