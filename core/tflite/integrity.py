"""Whether a .tflite file is sound enough to be handed to the LiteRT interpreter.

The interpreter verifies the flatbuffer's structure itself, but not its meaning: files with one
changed byte (a stride of 0, a tensor written twice, a missing scale) ended the process inside
`allocate_tensors`. `check_file` finds these first. What remains: a changed weight, bias, name or
zero point is a valid file that computes something else; the sha256 in the model card tells it.
"""

from __future__ import annotations

import math
import os
from functools import lru_cache

from core.errors import UserError
from core.tflite.operator_forms import misfit
from core.tflite.unpacking import (
    MALFORMED,
    has_data,
    label,
    names,
    operator_name,
    read_bytes,
    text,
    unpacked,
    values,
)

# Bits of one element; strings, resources and variants have no fixed size.
_BITS = {
    "FLOAT16": 16, "BFLOAT16": 16, "FLOAT32": 32, "FLOAT64": 64, "COMPLEX64": 64, "COMPLEX128": 128,
    "INT2": 2, "INT4": 4, "UINT4": 4, "INT8": 8, "UINT8": 8, "BOOL": 8, "INT16": 16, "UINT16": 16,
    "INT32": 32, "UINT32": 32, "INT64": 64, "UINT64": 64,
    "FLOAT8_E4M3FN": 8, "FLOAT8_E5M2": 8,
}  # fmt: skip
_LARGEST = 2**31  # bytes of one tensor; more can only come from a damaged shape
_SMALLEST = 2.0**-126  # the smallest normal float32
_POSITIVE_OPTIONS = (
    "strideW", "strideH", "strideD", "dilationWFactor", "dilationHFactor", "dilationDFactor",
    "filterWidth", "filterHeight", "blockSize",
)  # fmt: skip


class _Damaged(Exception):
    """What is wrong, as the middle of a sentence."""


def read_model(source: str | os.PathLike | bytes):
    """Return the unpacked `ModelT` of a sound .tflite file.

    Checked are the identifier, every offset and vector length, all indices (buffers, tensors,
    operator codes), the size of constants against shape and type, the order of operators (every
    tensor is written once, before it is read), scales and zero points, the options a kernel divides
    by, and scales at which a kernel is known to end the process. A changed input size is not
    seen: it is a valid, perhaps very slow network.

    Args:
        source: Path or the file's bytes.

    Raises:
        UserError: When the file is missing, empty, of another format, truncated or damaged, with
            one sentence on the first thing that is wrong.
    """
    data, name = read_bytes(source), label(source)
    model = unpacked(data, name)
    try:
        _bring_in_constants(model, data)
        _check_model(model)
    except _Damaged as error:
        raise UserError(f"{name}: is damaged: {error}; export or copy it again.") from error
    except MALFORMED as error:
        raise UserError(f"{name}: is damaged or incomplete; export or copy it again.") from error
    return model


def sound_model(source: str | os.PathLike | bytes):
    """Return what `read_model` does, but shared between callers, who must not change it.

    A verification asks for the same file dozens of times, and unpacking is slow.
    """
    try:
        return _remembered(read_bytes(source))
    except UserError:
        return read_model(source)  # which says the same with the file's name


_remembered = lru_cache(maxsize=4)(read_model)


def check_file(source: str | os.PathLike | bytes) -> None:
    """Raise a `UserError` unless a file is sound (see `read_model`)."""
    sound_model(source)


def _require(condition, problem: str) -> None:
    if not condition:
        raise _Damaged(problem)


def _bring_in_constants(model, data: bytes) -> None:
    """Take constants that a file keeps behind its flatbuffer into the model."""
    for buffer in model.buffers or []:
        if buffer.offset > 1:
            _require(buffer.offset + buffer.size <= len(data), "constants are cut off")
            buffer.data = memoryview(data)[buffer.offset : buffer.offset + buffer.size]
            buffer.offset = buffer.size = 0


def _check_model(model) -> None:
    _require(model.subgraphs, "it holds no graph")
    _require(model.buffers, "it holds no buffers")
    _require(model.version == 3, f"its schema version is {model.version}, not 3")
    for entry in model.metadata or []:
        _require(entry.buffer < len(model.buffers), "metadata names a missing buffer")
    for graph in model.subgraphs:
        _check_graph(model, graph)
    for signature in model.signatureDefs or []:
        _require(signature.subgraphIndex < len(model.subgraphs), "a signature names no graph")
        count = len(model.subgraphs[signature.subgraphIndex].tensors or [])
        for entry in (*(signature.inputs or []), *(signature.outputs or [])):
            _require(entry.tensorIndex < count, "a signature names a missing tensor")


def _check_graph(model, graph) -> None:
    tensors = graph.tensors or []
    for tensor in tensors:
        _check_tensor(model, tensor)
    known = set()
    for index, tensor in enumerate(tensors):
        stored = has_data(model.buffers[tensor.buffer])
        _require(not (stored and tensor.isVariable), f"variable '{text(tensor.name)}' holds values")
        if stored or tensor.isVariable or 0 in values(tensor.shape) or tensor.externalBuffer:
            known.add(index)
    constants = set(known)
    for index in values(graph.inputs):
        _require(0 <= index < len(tensors), "a graph input names a missing tensor")
        _require(index not in constants or tensors[index].isVariable, "a graph input is constant")
        known.add(index)
    for number, operator in enumerate(graph.operators or []):
        _check_operator(model, tensors, number, operator, known)
    for index in values(graph.outputs):
        _require(0 <= index < len(tensors), "a graph output names a missing tensor")
        _require(index in known, f"output '{text(tensors[index].name)}' is never computed")


def _check_tensor(model, tensor) -> None:
    name = text(tensor.name)
    _require("\ufffd" not in name, f"tensor '{name}' has a name that is not text")
    _require(tensor.buffer < len(model.buffers), f"tensor '{name}' names a missing buffer")
    kind = names("TensorType").get(tensor.type, "")
    _require(kind, f"tensor '{name}' has the unknown type {tensor.type}")
    shape = values(tensor.shape)
    _require(all(side >= 0 for side in shape), f"tensor '{name}' has the shape {shape}")
    signature = values(tensor.shapeSignature)
    _require(
        not signature or len(signature) == len(shape), f"tensor '{name}' has two different ranks"
    )
    if kind in _BITS:
        needed = (math.prod(shape) * _BITS[kind] + 7) // 8
        _require(needed <= _LARGEST, f"tensor '{name}' has the impossible shape {shape}")
        buffer = model.buffers[tensor.buffer]
        if buffer.data is not None and len(buffer.data) and tensor.sparsity is None:
            _require(
                len(buffer.data) == needed,
                f"constant '{name}' holds {len(buffer.data)} bytes where its shape needs {needed}",
            )
    _check_quantisation(tensor, name, kind, shape, has_data(model.buffers[tensor.buffer]))


def _check_quantisation(tensor, name: str, kind: str, shape: list[int], constant: bool) -> None:
    quantization = tensor.quantization
    if quantization is None:
        return
    scales, zeros = values(quantization.scale), values(quantization.zeroPoint)
    if quantization.detailsType == 0:
        _require(len(zeros) == len(scales), f"tensor '{name}' has scales without zero points")
    # A channel of weights may be all zeros with scale 0, and so may what the converter calibrated
    # to 16 bits (dead units); an 8-bit activation's scale must be normal.
    lowest = 0.0 if constant or kind == "INT16" else _SMALLEST
    _require(
        all(math.isfinite(scale) and scale >= lowest for scale in scales),
        f"tensor '{name}' has a scale that is not a positive number",
    )
    bits = _BITS.get(kind, 32)
    if bits <= 16 and kind.startswith(("INT", "UINT")):
        low = 0 if kind.startswith("UINT") else -(2 ** (bits - 1))
        _require(
            all(low <= zero < low + 2**bits for zero in zeros),
            f"tensor '{name}' has a zero point outside its type",
        )
    if len(scales) > 1:
        axis = quantization.quantizedDimension
        _require(
            0 <= axis < len(shape) and shape[axis] == len(scales),
            f"tensor '{name}' has {len(scales)} scales for the shape {shape}",
        )


def _check_operator(model, tensors, number: int, operator, known: set[int]) -> None:
    _require(
        operator.opcodeIndex < len(model.operatorCodes or []), f"operator #{number} has no kind"
    )
    name, custom = operator_name(model.operatorCodes[operator.opcodeIndex])
    title = f"{name} #{number}"
    inputs, outputs = values(operator.inputs), values(operator.outputs)
    for index in inputs:
        _require(-1 <= index < len(tensors), f"{title} reads a missing tensor")
        _require(index < 0 or index in known, f"{title} reads a tensor before it is computed")
    for index in outputs:
        _require(0 <= index < len(tensors), f"{title} writes a missing tensor")
        _require(index not in known, f"{title} writes a tensor that already has its values")
        known.add(index)
    if custom:
        return
    wrong = misfit(
        name,
        [len(values(tensors[index].shape)) if index >= 0 else None for index in inputs],
        [len(values(tensors[index].shape)) for index in outputs],
        type(operator.builtinOptions).__name__.removesuffix("T"),
    )
    _require(not wrong, f"{title} {wrong}")
    operands = [tensors[index] for index in (*inputs, *outputs) if index >= 0]
    if name != "CAST":
        for tensor in operands:
            if names("TensorType")[tensor.type] == "INT8":
                scales = tensor.quantization and values(tensor.quantization.scale)
                _require(
                    scales or _blockwise(tensor), f"'{text(tensor.name)}' is int8 without a scale"
                )
    options = operator.builtinOptions
    for option in _POSITIVE_OPTIONS:
        value = getattr(options, option, 1)
        _require(1 <= value < 2**20, f"{title} has {option} = {value}")
    _check_abort(title, name, [tensors[i] for i in inputs if i >= 0], tensors, outputs, model)


def _blockwise(tensor) -> bool:
    return tensor.quantization is not None and tensor.quantization.detailsType != 0


def _check_abort(title: str, name: str, inputs, tensors, outputs, model) -> None:
    """Refuse the scales at which a kernel calls abort() or XNNPACK crashes (ai-edge-litert 2.3)."""
    if name not in ("ADD", "SUB", "SQUARED_DIFFERENCE", "BATCH_MATMUL") or len(outputs) != 1:
        return
    involved = [*inputs, tensors[outputs[0]]]
    kinds = {names("TensorType")[tensor.type] for tensor in involved}
    if not kinds <= {"INT8", "UINT8"} or len(inputs) != 2:
        return
    first, second, output = (values(tensor.quantization.scale)[0] for tensor in involved)
    _require(
        min(first, second, output) > 0, f"{title} has a scale of 0, which the kernels cannot use"
    )
    largest = max(first, second)
    if name == "BATCH_MATMUL":
        constant = has_data(model.buffers[inputs[1].buffer])
        symmetric = not any(values(inputs[1].quantization.zeroPoint))
        product = first * max(values(inputs[1].quantization.scale))
        sound = not (constant and symmetric) or _SMALLEST <= product <= 255.0 * output
    elif name == "SQUARED_DIFFERENCE":
        ratio = 4.0 * largest * largest / (2.0**14 * output)
        sound = ratio < 1.0 and min(first, second) / largest > 2.0**-31
    else:
        ratio = 2.0 * largest / (2.0**20 * output)
        sound = ratio < 1.0 and min(first, second) / largest > 2.0**-31
    _require(
        sound,
        f"the scales of {title} (inputs {first:.4g} and {second:.4g}, output {output:.4g}) "
        "are further apart than its kernel can compute",
    )
