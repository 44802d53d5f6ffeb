"""What a finished .tflite file holds: operators, kernels, arithmetic, and who computes it.

Reading needs neither TensorFlow nor the runtime; only `xnnpack_share` starts the interpreter.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Sequence

from core.errors import CheckFailed
from core.tflite.graph import Operator, Tensor, label, operators, read_bytes
from core.tflite.integrity import check_file
from core.tflite.layer_names import layer_of
from core.tflite.limits import Requantisation, requantisation

__all__ = [
    "Operator",
    "Requantisation",
    "Tensor",
    "check_file",
    "float_operators",
    "foreign_operators",
    "is_int8",
    "mac_count",
    "operators",
    "output_steps",
    "requantisation",
    "xnnpack_share",
]

Source = str | os.PathLike | bytes
FLOATS = ("float16", "bfloat16", "float32", "float64")


def foreign_operators(source: Source) -> list[Operator]:
    """Return the operators that plain LiteRT does not have: custom and Flex ones."""
    return [operator for operator in operators(source) if operator.custom]


def float_operators(source: Source, apart_from: Collection[str] = ()) -> list[Operator]:
    """Return the operators that compute in floating point; a full-int8 file has none.

    QUANTIZE and DEQUANTIZE, the borders between the two, are not counted, so an int8 file with
    float input and output gives an empty list too.

    Args:
        source: The file.
        apart_from: Layers that stay in float on purpose; their operators do not count either.
    """
    meant = set(apart_from)
    return [
        operator
        for operator in operators(source)
        if operator.name not in ("QUANTIZE", "DEQUANTIZE")
        and any(t is not None and t.dtype in FLOATS for t in (*operator.inputs, *operator.outputs))
        and not (meant and layer_of(operator, known=meant))
    ]


def is_int8(source: Source) -> bool:
    """Return whether the operators that multiply (convolutions, dense, matmul) all run in int8."""
    heavy = [operator for operator in operators(source) if operator.name in _MACS]
    return bool(heavy) and all(o.outputs[0].dtype in ("int8", "uint8") for o in heavy)


def output_steps(source: Source, outputs: Sequence[int]) -> list[float | None]:
    """Return the distance of neighbouring values of each output of an int8 file.

    Args:
        source: The file.
        outputs: The tensors' numbers, as the interpreter's output details give them.

    Returns:
        A scale per output; None where it is not computed in integers.
    """
    found: dict[int, float] = {}
    for operator in operators(source):
        for tensor in operator.outputs:
            if tensor.scales:
                found[tensor.index] = tensor.scales[0]
        if operator.name == "DEQUANTIZE" and operator.operand(0).scales:
            found[operator.outputs[0].index] = operator.operand(0).scales[0]
    return [found.get(index) for index in outputs]


def mac_count(source: Source) -> int:
    """Return the multiply-accumulates of one run of the main graph, from the static shapes.

    Counted are CONV_2D, DEPTHWISE_CONV_2D, CONV_3D, FULLY_CONNECTED, TRANSPOSE_CONV (every
    product, also those cropped away) and BATCH_MATMUL; element-wise work and biases are not.
    """
    return sum(
        _MACS[operator.name](operator)
        for operator in operators(source)
        if operator.subgraph == 0 and operator.name in _MACS
    )


def xnnpack_share(source: Source) -> tuple[int, int]:
    """Return (operators XNNPACK took, operators) of the main graph under LiteRT's default delegate.

    Raises:
        UserError: When the file is damaged or of another format.
        CheckFailed: When the runtime refuses the file; the sentence names the operators at fault.
    """
    from ai_edge_litert.interpreter import Interpreter

    check_file(source)
    try:
        interpreter = Interpreter(model_content=read_bytes(source), num_threads=1)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise CheckFailed(refusal(source, error)) from error
    # After delegation the original nodes are still listed, and each delegated part is one more
    # node named DELEGATE that takes the part's inputs and outputs: what lies between was taken.
    nodes = interpreter._get_ops_details()
    parts = [node for node in nodes if node["op_name"] == "DELEGATE"]
    originals = [node for node in nodes if node["op_name"] != "DELEGATE"]
    maker = {int(tensor): node for node in originals for tensor in node["outputs"]}
    taken: set[int] = set()
    for part in parts:
        borders = {int(tensor) for tensor in part["inputs"]}
        pending = [int(tensor) for tensor in part["outputs"]]
        while pending:
            tensor = pending.pop()
            node = maker.get(tensor)
            if tensor in borders or node is None or node["index"] in taken:
                continue
            taken.add(node["index"])
            pending += [int(i) for i in node["inputs"] if i >= 0]
    return len(taken), len(originals)


def refusal(source: Source, error: Exception) -> str:
    """Return one sentence on why the runtime refused a file, naming the operators at fault."""
    guilty = [str(entry) for entry in requantisation(source) if entry.fatal]
    foreign = sorted({operator.name for operator in foreign_operators(source)})
    if guilty:
        more = f" and {len(guilty) - 3} more" if len(guilty) > 3 else ""
        reason = "ratios of scales that XNNPACK does not compute: " + "; ".join(guilty[:3]) + more
    elif foreign:
        reason = f"operators that are not builtin: {', '.join(foreign)}"
    else:
        reason = " ".join(str(error).split()) or type(error).__name__
    return f"{label(source)}: the LiteRT runtime refuses the file because of {reason}."


def _convolution(operator: Operator) -> int:
    return math.prod(operator.outputs[0].shape) * math.prod(operator.operand(1).shape[1:])


def _depthwise(operator: Operator) -> int:
    return math.prod(operator.outputs[0].shape) * math.prod(operator.operand(1).shape[1:3])


def _convolution_3d(operator: Operator) -> int:
    return math.prod(operator.outputs[0].shape) * math.prod(operator.operand(1).shape[:4])


def _transposed(operator: Operator) -> int:
    return math.prod(operator.operand(2).shape) * math.prod(operator.operand(1).shape[:3])


def _matmul(operator: Operator) -> int:
    left = operator.operand(0).shape
    depth = left[-2] if operator.options.get("adjX") else left[-1]
    return math.prod(operator.outputs[0].shape) * depth


_MACS = {
    "BATCH_MATMUL": _matmul,
    "CONV_2D": _convolution,
    "CONV_3D": _convolution_3d,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _convolution,
    "TRANSPOSE_CONV": _transposed,
}
