"""What the file of a run should compute, but for rounding: the run's network as a float32 file."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.export.convert import to_tflite
from core.export.unrounded import unrounded
from core.tflite.constants import real_values
from core.tflite.graph import operator_name, read_model, tensors, values
from core.tflite.layer_names import WEIGHTED
from core.tflite.packing import packed

INTEGER_KERNELS = ("dynamic", "weight_only", "int8", "int16x8")


def float_network(model: Any, precision: str) -> Any:
    """Return the float Keras model that a file computes if nothing but its kernels is rounded.

    Args:
        model: The run's deployable network (`core.export.deployable`).
        precision: Of the file.
    """
    from core.compress.integer import float_form
    from core.compress.quantize import is_quantized

    if not is_quantized(model):
        return model
    return float_form(model, rounded=precision in INTEGER_KERNELS)


def reference_file(network: Any) -> bytes:
    """Return the float32 file of a result of `float_network`, its constants unpacked.

    Raises:
        UserError: When the network cannot be converted.
    """
    open_size = None in network.inputs[0].shape[1:]
    return unrounded(to_tflite(network, "float32", open_size=open_size))


def with_rounded_kernels(content: bytes, precision: str) -> bytes:
    """Return a float file whose constants are rounded as those of a precision.

    Kernels get 8 bits with a scale per output channel, or every number 16 bits in float16. What
    this does to the outputs is what rounding alone does to them.
    """
    if precision == "float32":
        return content
    model = read_model(content)
    kinds = [operator_name(code)[0] for code in model.operatorCodes]
    for position, graph in enumerate(model.subgraphs):
        seen = tensors(model, position)
        chosen: dict[int, int | None] = {}
        if precision == "float16":
            chosen = dict.fromkeys(range(len(seen)))
        else:
            for operator in graph.operators or []:
                place, axis = WEIGHTED.get(kinds[operator.opcodeIndex], (None, 0))
                if place is not None:
                    chosen[values(operator.inputs)[place]] = axis
        for index, channels in chosen.items():
            if seen[index].constant and seen[index].dtype == "float32":
                array = _rounded(real_values(seen[index]), channels).astype(np.float32)
                buffer = type(model.buffers[0])()
                buffer.data = np.frombuffer(array.tobytes(), np.uint8)
                graph.tensors[index].buffer = len(model.buffers)
                model.buffers.append(buffer)
    return packed(model)


def _rounded(array: np.ndarray, axis: int | None) -> np.ndarray:
    if axis is None:
        return array.astype(np.float16)
    rest = tuple(a for a in range(array.ndim) if a != axis % array.ndim)
    step = np.abs(array).max(rest, keepdims=True) / 127.0
    step = np.where(step > 0, step, 1.0)
    return np.rint(array / step) * step
