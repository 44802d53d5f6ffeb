"""What compression did: the values of kernels, sizes of files, and the noise of every layer.

Everything is read from the Keras model or from the finished .tflite file, never from what a
method was asked to do.
"""

from __future__ import annotations

import math
import os
import zipfile
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

from core.compress.noise import LayerNoise, layer_noise

__all__ = [
    "Change",
    "KernelFacts",
    "LayerNoise",
    "compare",
    "compressed_size",
    "float_operators_by_layer",
    "kernel_table",
    "layer_noise",
]

BINS = 41  # of a histogram; odd, so that zero has a bin of its own
KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")  # of Keras's layers

Source = str | os.PathLike | bytes


@dataclass(frozen=True)
class KernelFacts:
    """The values of one convolution's or dense layer's kernel.

    Attributes:
        name: The layer's.
        shape: As stored: Keras's or TFLite's layout.
        parameters: Values in it.
        zeros: How many are zero.
        unique: Different values; codes where a file holds integers.
        unique_per_channel: The most different values in one output channel: integer codes have a
            scale per channel, so k clusters of a kernel become k codes of each channel.
        histogram: Values by size, in `BINS` equal bins from −m to m, m the largest magnitude.
        low: The smallest value; with the scales of integer codes applied.
        high: The largest.
    """

    name: str
    shape: tuple[int, ...]
    parameters: int
    zeros: int
    unique: int
    unique_per_channel: int
    histogram: tuple[int, ...]
    low: float
    high: float

    @property
    def sparsity(self) -> float:
        """Share of zeros."""
        return self.zeros / self.parameters


@dataclass(frozen=True)
class Change:
    """One row of a table before/after; None where a value is not known.

    Attributes:
        name: What is counted.
        before: Of the model or file that was compressed.
        after: Of the result.
    """

    name: str
    before: int | None
    after: int | None

    @property
    def ratio(self) -> float | None:
        """After over before."""
        return self.after / self.before if self.before and self.after is not None else None


# --- kernels -------------------------------------------------------------------------------------


def kernel_table(model_or_file: Any) -> list[KernelFacts]:
    """Return the facts of every kernel, in the order of the layers.

    Args:
        model_or_file: A `keras.Model` (pruned or clustered ones after `strip`, since wrappers
            change the kernel as it is used), or a .tflite file's path or bytes. Kernels of a file
            may be float32, float16, integer or sparse; 1x1 kernels that only wire channels together
            (the sum of a grouped convolution) are no weights and left out.

    Raises:
        UserError: When the file is damaged or of another format.
    """
    is_file = isinstance(model_or_file, str | os.PathLike | bytes | bytearray | memoryview)
    if is_file:
        from core.tflite.constants import kernels

        found = ((k.layer, k.shape, k.matrix, k.scales) for k in kernels(model_or_file))
    else:
        found = _kernels_of_model(model_or_file)
    return [_facts(*kernel) for kernel in found if not _is_wiring(*kernel[1:3])]


def _facts(name: str, shape: tuple, matrix: np.ndarray, scales: np.ndarray | float) -> KernelFacts:
    """Return the facts of a kernel given as (values, output channels)."""
    ordered = np.sort(matrix, axis=0)
    per_channel = 1 + np.count_nonzero(np.diff(ordered, axis=0), axis=0)
    real = matrix.astype(np.float32) * scales
    finite = real[np.isfinite(real)]
    limit = float(np.abs(finite).max(initial=0.0)) or 1.0
    counts, _ = np.histogram(finite, bins=BINS, range=(-limit, limit))
    return KernelFacts(
        name=name,
        shape=tuple(shape),
        parameters=matrix.size,
        zeros=int(matrix.size - np.count_nonzero(real)),
        unique=len(np.unique(matrix)),
        unique_per_channel=int(per_channel.max()),
        histogram=tuple(counts.tolist()),
        low=float(finite.min(initial=math.inf)) if finite.size else math.nan,
        high=float(finite.max(initial=-math.inf)) if finite.size else math.nan,
    )


def _kernels_of_model(model):
    import keras

    seen = set()
    for layer in model._flatten_layers(include_self=False):
        own: dict[str, Any] = {name: getattr(layer, name, None) for name in KERNELS}
        own = {
            name: kernel
            for name, kernel in own.items()
            if isinstance(kernel, keras.Variable) and len(kernel.shape) > 1
        }
        for attribute, kernel in own.items():
            if id(kernel) in seen:
                continue
            seen.add(id(kernel))
            array, kind = keras.ops.convert_to_numpy(kernel), type(layer).__name__
            if attribute == "depthwise_kernel" or "Depthwise" in kind:
                matrix = array.reshape(*array.shape[:-2], -1)  # (h, w, c, m): channels c · m
            else:
                matrix = np.moveaxis(array, -2, -1) if "Transpose" in kind else array
            name = kernel.path.rpartition("/")[0]
            name = name if len(own) == 1 else f"{name}/{attribute}"
            yield name, array.shape, matrix.reshape(-1, matrix.shape[-1]), 1.0


def _is_wiring(shape: tuple, matrix: np.ndarray) -> bool:
    """Return whether a 1x1 kernel only adds up inputs, as many for each output, with one factor.

    With one input for each output (a pruned kernel may look like that), it must be diagonal.
    """
    inputs, outputs = matrix.shape
    if len(shape) != 4 or inputs < 2 or inputs not in (shape[-1], shape[-2]):
        return False
    used = matrix != 0
    terms = used.sum(axis=0)
    if not (used.sum(axis=1) == 1).all() or not (terms == inputs / outputs).all():
        return False
    if inputs == outputs:
        return bool(used.diagonal().all())
    return bool(np.allclose(matrix, used * (matrix.sum(axis=0) / terms), rtol=1e-3))


# --- names ---------------------------------------------------------------------------------------


def float_operators_by_layer(source: Source, model: Any = None) -> list[tuple[str, str]]:
    """Return (operator, Keras layer) of every operator of a file that computes in float.

    Args:
        source: The .tflite file's path or bytes.
        model: The Keras model it was made from: names of layers are then certain. Without it they
            are read from the scopes in the file, nested ones joined by "/".

    Returns:
        In execution order; where a file does not tell the layer (its last operator is often called
        "Identity"), the name of the tensor stands for it.

    Raises:
        UserError: When the file is damaged or of another format.
    """
    from core.tflite.graph import operators
    from core.tflite.inspect import float_operators
    from core.tflite.layer_names import layer_of, stored_constants

    stored = stored_constants(operators(source))
    known = None if model is None else {layer.name for layer in model._flatten_layers(False)}
    return [
        (operator.name, layer_of(operator, stored, known) or operator.outputs[0].name)
        for operator in float_operators(source)
    ]


# --- sizes ---------------------------------------------------------------------------------------


def compressed_size(source: Source) -> int:
    """Return the bytes of a zip archive (deflate, level 9) that holds nothing but the file."""
    from core.tflite.graph import read_bytes

    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as opened:
        opened.writestr(
            zipfile.ZipInfo("model.tflite"), read_bytes(source), zipfile.ZIP_DEFLATED, 9
        )
    return len(archive.getvalue())


def compare(before: Any, after: Any) -> list[Change]:
    """Return what a compression changed, a row each: parameters, zeros, different values, bytes.

    Args:
        before: A `keras.Model`, or a .tflite file's path or bytes; models have no bytes.
        after: The same of the result.
    """
    return [
        Change(name, first, second)
        for (name, first), (_, second) in zip(_counts(before), _counts(after), strict=True)
    ]


def _counts(model_or_file: Any) -> list[tuple[str, int | None]]:
    is_file = isinstance(model_or_file, str | os.PathLike | bytes)
    kernels = kernel_table(model_or_file)
    size = zipped = None
    if is_file:
        from core.tflite.graph import read_bytes

        data = read_bytes(model_or_file)
        size, zipped = len(data), compressed_size(data)
    return [
        ("kernel parameters", sum(k.parameters for k in kernels)),
        ("non-zero kernel parameters", sum(k.parameters - k.zeros for k in kernels)),
        ("most different values in a kernel", max((k.unique for k in kernels), default=0)),
        (
            "most different values in a channel",
            max((k.unique_per_channel for k in kernels), default=0),
        ),
        ("file bytes", size),
        ("zip bytes", zipped),
    ]


def most_values(model: Any) -> int:
    """Return the most different values that a clusterable kernel of a model holds.

    Depthwise kernels, which clustering leaves alone, do not count; of a quantized model the values
    before rounding do.
    """
    import keras

    from core.compress.graph import graph_of
    from core.compress.quantized_kernel import QuantizedKernel

    counts = [0]
    for call in graph_of(model).calls:
        layer = call.operation
        kernel = getattr(layer, "kernel", None)
        depthwise = isinstance(layer, keras.layers.DepthwiseConv1D | keras.layers.DepthwiseConv2D)
        if kernel is None or depthwise or getattr(layer, "fixed_kernel", False):
            continue
        values = layer._prepared() if isinstance(layer, QuantizedKernel) else kernel
        counts.append(np.unique(keras.ops.convert_to_numpy(values)).size)
    return max(counts)
