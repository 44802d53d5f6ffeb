"""The constants of a .tflite file as arrays: kernels by layer, sparse ones with their zeros."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from core.errors import UserError
from core.tflite.graph import MALFORMED, Tensor, label, operators, values
from core.tflite.layer_names import WEIGHTED, layer_of, stored_constants


@dataclass(frozen=True)
class Kernel:
    """The kernel of a convolution, dense layer or matrix product in a file.

    Attributes:
        layer: The Keras layer, or the tensor's name where no name tells.
        shape: In TFLite's layout.
        matrix: (values, output channels) as stored, the zero point taken off.
        scales: What the values are multiplied by, of the matrix's shape; 1 for floats.
    """

    layer: str
    shape: tuple[int, ...]
    matrix: np.ndarray
    scales: np.ndarray | float


def kernels(source: str | os.PathLike | bytes) -> Iterator[Kernel]:
    """Yield the kernels of a .tflite file, each once, in execution order.

    Raises:
        UserError: When the file is damaged or of another format.
    """
    listed = operators(source)
    stored = stored_constants(listed)
    seen = set()
    for operator in listed:
        if operator.name not in WEIGHTED:
            continue
        position, axis = WEIGHTED[operator.name]
        kernel = operator.operand(position)
        key = (operator.subgraph, kernel.index)
        kernel = stored.get(key, kernel)
        if key in seen or kernel.data is None or len(kernel.shape) < 2:
            continue
        seen.add(key)
        with told_with(source):
            array = values_of(kernel)
        scales: np.ndarray | float = 1.0
        if kernel.quantised:
            scale, zero = _affine(kernel)
            array = array.astype(np.int32) - zero
            scales = _by_channel(np.broadcast_to(scale, array.shape), axis)
        name = layer_of(operator, stored) or kernel.name
        yield Kernel(name, kernel.shape, _by_channel(array, axis), scales)


@contextmanager
def told_with(source: str | os.PathLike | bytes) -> Iterator[None]:
    """Name the file in front of what `values_of` says of its constants, which it knows alone."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{label(source)}: {error}") from error


def _by_channel(array: np.ndarray, axis: int) -> np.ndarray:
    """Return an array as (values, channels)."""
    return np.moveaxis(array, axis, -1).reshape(-1, array.shape[axis])


def real_values(tensor: Tensor) -> np.ndarray:
    """Return a constant as float32, the scales of integer codes applied.

    Raises:
        UserError: When the stored bytes do not fit shape and type.
        ValueError: When the tensor is no constant inside the flatbuffer.
    """
    array = values_of(tensor)
    if not tensor.scales:
        return array.astype(np.float32)
    scale, zero = _affine(tensor)
    return ((array.astype(np.int64) - zero) * scale).astype(np.float32)


def _affine(tensor: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return scales (float32) and zero points (int32) in a form that fits the tensor's shape."""
    form = [-1 if d == tensor.axis else 1 for d in range(len(tensor.shape))]
    scale = np.asarray(tensor.scales, np.float32)
    zero = np.asarray(tensor.zero_points or (0,), np.int32)
    return scale.reshape(form if scale.size > 1 else ()), zero.reshape(
        form if zero.size > 1 else ()
    )


def values_of(tensor: Tensor) -> np.ndarray:
    """Return a constant as an array of its shape: integer codes where it is quantised.

    Raises:
        UserError: When the stored bytes do not fit shape and type.
        ValueError: When the tensor is no constant inside the flatbuffer.
    """
    if tensor.data is None:
        raise ValueError(f"`tensor` must be a constant. Received: {tensor.name}")
    data = np.asarray(tensor.data, np.uint8)
    try:
        if tensor.dtype == "int4":  # two codes in a byte, the first in the lower half
            pairs = np.stack([data & 15, data >> 4], axis=-1).astype(np.int8).reshape(-1)
            stored = np.where(pairs > 7, pairs - 16, pairs)[: math.prod(tensor.shape)]
        else:
            stored = data.view(np.dtype(tensor.dtype))
        if tensor.sparsity is not None:
            return _with_zeros(stored, tensor)
        return stored.reshape(tensor.shape)
    except MALFORMED as error:
        raise UserError(
            f"{tensor.name}: its {len(data)} stored bytes do not fit {tensor.dtype} "
            f"{tensor.shape}; export or copy the file again."
        ) from error


def _with_zeros(stored: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Return a sparse constant in full.

    The file walks the dimensions of `traversalOrder`, blocks last; a dense one visits all its
    positions, a sparse one (CSR) those its index vector lists between two segments.
    """
    sparsity, rank = tensor.sparsity, len(tensor.shape)
    place = np.zeros(1, np.int64)  # of each entry so far, in the level's own numbering
    coordinates: list = []
    for level in sparsity.dimMetadata:
        if level.format == 0:
            count = np.full(len(place), level.denseSize)
            index = np.tile(np.arange(level.denseSize), len(place))
            following = np.repeat(place * level.denseSize, count) + index
        else:
            segments, indices = (
                np.asarray(v.values, np.int64) for v in (level.arraySegments, level.arrayIndices)
            )
            count = segments[place + 1] - segments[place]
            skipped = np.repeat(np.cumsum(count) - count, count)
            following = np.repeat(segments[place], count) + np.arange(count.sum()) - skipped
            index = indices[following]
        coordinates = [np.repeat(c, count) for c in coordinates] + [index]
        place = following
    by_dimension = dict(zip(values(sparsity.traversalOrder), coordinates, strict=True))
    full = [by_dimension[dimension] for dimension in range(rank)]
    for block, dimension in enumerate(values(sparsity.blockMap)):
        within = by_dimension[rank + block]
        side = sparsity.dimMetadata[values(sparsity.traversalOrder).index(rank + block)].denseSize
        full[dimension] = full[dimension] * side + within
    dense = np.zeros(tensor.shape, stored.dtype)
    dense[tuple(full)] = stored[place]
    return dense
