"""Weights of a network in ONNX: its initialisers, by the names the exporter gave them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from core.checkpoints.pickled_values import Malformed, Unsupported
from core.errors import UserError
from core.files import refuse_special

SUFFIX = ".onnx"
_LARGEST = 2**31  # what one message of the format can hold
_MOST_SIDES = 32


def may_be_onnx(head: bytes) -> bool:
    """Return whether a file begins as exporters write them: version, then another field."""
    return head[:1] == b"\x08" and head[1:2] < b"\x20" and head[2:3] in b"\x12\x1a\x22\x2a\x3a\x42"


def read_onnx(path: Path) -> dict[str, np.ndarray]:
    """Return the initialisers of an ONNX file by name, in the file's order and layout.

    Nothing of the graph is run. Tensors may lie in files beside it, as large models have them, but
    nowhere else. bfloat16 and the types of 8 bits become float32, which NumPy lacks.

    Raises:
        UserError: When the package `onnx` is not installed.
        Malformed: When the file is no ONNX file, or contradicts itself.
        Unsupported: When a tensor is text.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        raise UserError(
            f"{path}: is an ONNX file, and reading it needs the 'onnx' extra: "
            "pip install 'gossamer-keras[onnx]'."
        ) from None
    if path.stat().st_size > _LARGEST:
        raise Unsupported("ONNX files of more than 2 GB keep their tensors in files beside them")
    try:
        graph = onnx.ModelProto.FromString(path.read_bytes()).graph
    except DecodeError as error:
        raise Malformed("it is no ONNX file, or cut short") from error
    if not graph.node and not graph.initializer:
        raise Malformed("it is no ONNX file: it holds no graph")
    if graph.sparse_initializer:
        raise Unsupported("it has sparse tensors; export it with dense ones")
    if not all(isinstance(tensor.name, str) for tensor in graph.initializer):
        raise Malformed("it has names that are no text")
    return {tensor.name: _array(tensor, path) for tensor in graph.initializer}


def _array(tensor: Any, path: Path) -> np.ndarray:
    """Return a tensor after its size was checked."""
    from onnx import TensorProto, helper, numpy_helper

    name, sides = tensor.name, tuple(tensor.dims)
    if tensor.data_type == TensorProto.STRING:
        raise Unsupported(f"'{name}' holds text, not numbers")
    if len(sides) > _MOST_SIDES or min(sides, default=0) < 0:
        raise Malformed(f"'{name}' claims the shape {sides[:_MOST_SIDES]}")
    try:
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except KeyError as error:
        raise Unsupported(f"'{name}' has a type that is unknown here") from error
    if tensor.data_location == TensorProto.EXTERNAL:
        nbytes = math.prod(sides) * dtype.itemsize
        return _plain(np.frombuffer(_beside(tensor, nbytes, path), dtype).reshape(sides))
    # Reshaping fails where the numbers that are there do not fill the shape.
    return _plain(numpy_helper.to_array(tensor))


def _beside(tensor: Any, nbytes: int, path: Path) -> bytes:
    """Return the bytes of a tensor that lies in another file of the folder."""
    said = {entry.key: entry.value for entry in tensor.external_data}
    folder = path.resolve().parent
    place = folder / said.get("location", "")
    resolved = place.resolve()
    if not said.get("location") or not resolved.is_relative_to(folder) or resolved == folder:
        raise Malformed(f"'{tensor.name}' lies outside of its folder")
    if not place.is_file():
        raise UserError(
            f"{path}: its tensors are in '{said['location']}', which is missing; download that "
            "file too and put it beside."
        )
    refuse_special(place)
    offset, length = int(said.get("offset", 0)), int(said.get("length", nbytes))
    if offset < 0 or length != nbytes or offset + length > place.stat().st_size:
        raise Malformed(f"'{tensor.name}' does not fit into '{said['location']}'")
    with place.open("rb") as stream:
        stream.seek(offset)
        return stream.read(length)


def _plain(array: np.ndarray) -> np.ndarray:
    """Return a fresh array of a type of NumPy's own."""
    own = array.dtype.kind in "biufc" and array.dtype.isbuiltin == 1
    return np.array(array if own else array.astype(np.float32))
