"""The bytes of a .tflite file as the schema's objects, every offset checked before it is followed.

The schema is the one LiteRT ships (`ai_edge_litert.schema_py_generated`, 0.2 s to import; the same
schema inside TensorFlow costs the import of TensorFlow). Whether the objects make sense is
`core.tflite.integrity`'s question; `core.tflite.graph` asks both.
"""

from __future__ import annotations

import os
import struct
from functools import cache
from pathlib import Path

from core.errors import UserError
from core.files import refuse_special

IDENTIFIER = b"TFL3"
MALFORMED = (struct.error, ValueError, IndexError, KeyError, TypeError, AttributeError)

# Offset fields of the schema's tables that lead to further tables: slot -> (shape, table). "bytes"
# and "words" are vectors of 1 and 4 byte scalars. Scalars need no check, reading them is bounded.
_LAYOUT: dict[str, dict[int, tuple[str, str]]] = {
    "Model": {
        1: ("tables", "OperatorCode"),
        2: ("tables", "SubGraph"),
        3: ("bytes", ""),
        4: ("tables", "Buffer"),
        5: ("words", ""),
        6: ("tables", "Metadata"),
        7: ("tables", "Signature"),
    },
    "OperatorCode": {1: ("bytes", "")},
    "SubGraph": {
        0: ("tables", "Tensor"),
        1: ("words", ""),
        2: ("words", ""),
        3: ("tables", "Operator"),
        4: ("bytes", ""),
    },
    "Tensor": {
        0: ("words", ""),
        3: ("bytes", ""),
        4: ("table", "Quantization"),
        6: ("table", "Options"),
        7: ("words", ""),
    },
    "Quantization": {
        0: ("words", ""),
        1: ("words", ""),
        2: ("words", ""),
        3: ("longs", ""),
        5: ("table", "Options"),
    },
    "Operator": {
        1: ("words", ""),
        2: ("words", ""),
        4: ("table", "Options"),
        5: ("bytes", ""),
        7: ("bytes", ""),
        8: ("words", ""),
        12: ("table", "Options"),
    },
    "Options": {},
    "Buffer": {0: ("bytes", "")},
    "Metadata": {0: ("bytes", "")},
    "Signature": {0: ("tables", "Named"), 1: ("tables", "Named"), 2: ("bytes", "")},
    "Named": {0: ("bytes", "")},
}
_WIDTH = {"bytes": 1, "words": 4, "tables": 4, "longs": 8}


@cache
def names(enumeration: str) -> dict[int, str]:
    """Return value -> name of one of the schema's enumerations."""
    from ai_edge_litert import schema_py_generated as schema

    members = vars(getattr(schema, enumeration))
    return {value: name for name, value in members.items() if isinstance(value, int)}


def label(source) -> str:
    """Return how a file is called in messages."""
    return "the model" if isinstance(source, bytes | bytearray | memoryview) else str(source)


def read_bytes(source: str | os.PathLike | bytes) -> bytes:
    """Return the bytes of a path (or the bytes themselves); raise a `UserError` when unreadable."""
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    path = Path(source)
    refuse_special(path)
    if path.is_dir():
        raise UserError(f"{path}: is a folder, not a .tflite file; name the file inside it.")
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path}: does not exist; check the path.") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}.") from error


def unpacked(data: bytes, name: str):
    """Return the `ModelT` of a .tflite file, whose objects may still contradict each other.

    Args:
        data: The file.
        name: How it is called in messages.

    Raises:
        UserError: When the file is empty, of another format, truncated or damaged.
    """
    if not data:
        raise UserError(f"{name}: is empty (0 bytes); export or copy it again.")
    if data[4:8] != IDENTIFIER:
        raise UserError(f"{name}: is not a TensorFlow Lite file ({_looks_like(data)}).")
    from ai_edge_litert import schema_py_generated as schema

    try:
        _check_offsets(data)
        model = schema.ModelT.InitFromPackedBuf(data)
    except MALFORMED as error:
        raise UserError(
            f"{name}: is damaged or cut off (its structure does not fit its {len(data)} bytes); "
            "export or copy it again."
        ) from error
    return model


def operator_name(code) -> tuple[str, bool]:
    """Return (name, custom) of an `OperatorCodeT`."""
    # Old files have the code in the deprecated byte field, new files in both up to 127.
    builtin = names("BuiltinOperator")[max(code.builtinCode, code.deprecatedBuiltinCode)]
    if builtin == "CUSTOM":
        return text(code.customCode) or "CUSTOM", True
    return builtin, False


def text(value) -> str:
    """Return a schema string, which is bytes or None, as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else (value or "")


def values(vector) -> list:
    """Return a schema vector, which is None when absent, as Python numbers."""
    return [] if vector is None else [v.item() if hasattr(v, "item") else v for v in vector]


def has_data(buffer) -> bool:
    """Return whether a `BufferT` holds values, in the flatbuffer or behind it (large files)."""
    return (buffer.data is not None and len(buffer.data) > 0) or buffer.offset > 1


def _looks_like(data: bytes) -> str:
    if data.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer: fetch the real file with `git lfs pull`"
    if data.startswith(b"PK"):
        return "it is a ZIP archive, as .keras files are: export it first"
    if data.startswith(b"\x89HDF"):
        return "it is an HDF5 file: export it first"
    return f"bytes 4 to 8 are {data[4:8]!r}, not {IDENTIFIER!r}: choose a .tflite file"


def _check_offsets(data: bytes) -> None:
    """Walk tables and vectors; raise a `ValueError` where an offset leaves the file."""
    size = len(data)
    # Tables are not shared in a sound file, so more visits than words means a loop of offsets.
    budget = size // 4
    pending = [(struct.unpack_from("<I", data, 0)[0], "Model")]
    while pending:
        position, table = pending.pop()
        budget -= 1
        if budget < 0 or not 4 <= position <= size - 4:
            raise ValueError("table outside the file")
        vtable = position - struct.unpack_from("<i", data, position)[0]
        if not 0 <= vtable <= size - 4:
            raise ValueError("vtable outside the file")
        vtable_size, table_size = struct.unpack_from("<HH", data, vtable)
        if vtable_size < 4 or vtable + vtable_size > size or position + table_size > size:
            raise ValueError("table larger than the file")
        for slot, (kind, target) in _LAYOUT[table].items():
            entry = 4 + 2 * slot
            if entry + 2 > vtable_size:
                continue
            offset = struct.unpack_from("<H", data, vtable + entry)[0]
            if offset == 0:
                continue
            if offset + 4 > table_size:
                raise ValueError("field outside its table")
            field_position = position + offset
            start = field_position + struct.unpack_from("<I", data, field_position)[0]
            if kind == "table":
                pending.append((start, target))
                continue
            length = struct.unpack_from("<I", data, start)[0]
            if start + 4 + length * _WIDTH[kind] > size:
                raise ValueError("vector longer than the file")
            if kind == "tables":
                if length > budget:
                    raise ValueError("more tables than the file can hold")
                for element in range(start + 4, start + 4 + 4 * length, 4):
                    pending.append((element + struct.unpack_from("<I", data, element)[0], target))
