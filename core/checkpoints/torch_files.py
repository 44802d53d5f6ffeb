"""The files of `torch.save`, read with NumPy alone and without running anything.

Two containers are in use. Since PyTorch 1.6 a file is an uncompressed zip archive: the pickled
object in `<root>/data.pkl`, the numbers of every storage in `<root>/data/<key>`. Before, it was one
stream: a magic number, a version, facts about the system, the object, the list of storage keys, and
then each storage with its element count. A tensor is a window (offset, sizes, strides, in elements)
into a storage. The file is mapped, not read: only tensors that are asked for are copied.

float16 stays float16; bfloat16, which NumPy lacks, becomes float32 (the same values).
"""

from __future__ import annotations

import io
import mmap
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.checkpoints.pickled_values import Leaf, Malformed, Name, Refused, Unsupported
from core.checkpoints.pickles import Interpreter

_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001
_BIG_ENDIAN = "it was written on a big-endian machine; save it again on a little-endian one"

# What is stored for each element; bfloat16 is read as its 16 bits, bool as a byte.
_DTYPES = {
    "Float": "<f4",
    "Double": "<f8",
    "Half": "<f2",
    "BFloat16": "<u2",
    "Long": "<i8",
    "Int": "<i4",
    "Short": "<i2",
    "Char": "i1",
    "Byte": "u1",
    "Bool": "u1",
    "ComplexFloat": "<c8",
    "ComplexDouble": "<c16",
    "UInt16": "<u2",
    "UInt32": "<u4",
    "UInt64": "<u8",
}
_UNTYPED = "Untyped"
_KIND_BY_DTYPE = {
    "float32": "Float",
    "float64": "Double",
    "float16": "Half",
    "bfloat16": "BFloat16",
    "int64": "Long",
    "int32": "Int",
    "int16": "Short",
    "int8": "Char",
    "uint8": "Byte",
    "bool": "Bool",
    "complex64": "ComplexFloat",
    "complex128": "ComplexDouble",
    "uint16": "UInt16",
    "uint32": "UInt32",
    "uint64": "UInt64",
}


@dataclass(eq=False, slots=True)
class _Storage:
    """A flat array in the file: `count` elements of a kind, from `start` in storage `key`."""

    kind: str
    key: str
    count: int
    start: int
    data: Callable[[str], memoryview]


class _Tensor(Leaf):
    """A window into a storage."""

    def __init__(self, storage: Any, offset: Any, size: Any, stride: Any, kind: str | None = None):
        if not isinstance(storage, _Storage):
            raise Malformed("a tensor without a storage")
        numbers = (offset, *size, *stride)
        if len(size) != len(stride) or not all(type(n) is int and n >= 0 for n in numbers):
            raise Malformed("a tensor with an impossible shape")
        self.kind = kind or (storage.kind if storage.kind != _UNTYPED else "Byte")
        self.storage, self.offset, self.size, self.stride = storage, offset, size, stride
        self.nbytes = np.dtype(_DTYPES[self.kind]).itemsize
        for length in size:
            self.nbytes *= length

    def array(self) -> np.ndarray:
        dtype = np.dtype(_DTYPES[self.kind])
        item = np.dtype(_DTYPES.get(self.storage.kind, "u1")).itemsize
        first = self.storage.start * item
        raw = self.storage.data(self.storage.key)[first : first + self.storage.count * item]
        if len(raw) != self.storage.count * item:
            raise Malformed(f"storage {self.storage.key} is smaller than its tensors")
        flat = np.frombuffer(raw[: len(raw) // dtype.itemsize * dtype.itemsize], dtype)
        if self.nbytes:
            last = self.offset + sum(
                (n - 1) * s for n, s in zip(self.size, self.stride, strict=True)
            )
            if last >= len(flat):
                raise Malformed("a tensor that reaches beyond its storage")
            strides = [step * dtype.itemsize for step in self.stride]
            view = np.lib.stride_tricks.as_strided(flat[self.offset :], self.size, strides)
        else:
            view = np.empty(self.size, dtype)
        if self.kind == "BFloat16":
            return (view.astype(np.uint32) << 16).view(np.float32)
        if self.kind == "Bool":
            return view != 0
        return np.array(view, order="C")


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_) -> _Tensor:
    return _Tensor(storage, offset, size, stride)


def _rebuild_tensor_v3(
    storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *_
) -> _Tensor:
    kind = _KIND_BY_DTYPE.get(dtype.dotted.removeprefix("torch."))
    if kind is None:
        raise Unsupported(f"it has {dtype.dotted} tensors, which NumPy lacks; save float32 ones")
    return _Tensor(storage, offset, size, stride, kind)


def _first(value: Any, *_) -> Any:
    return value


def _nothing(*_) -> None:
    return None


def _rebuild_from_type(function: Any, kind: Any, arguments: Any, *_) -> Any:
    """Rebuild a tensor that carries attributes of its own (they are dropped)."""
    if function.dotted not in _REBUILD:
        raise Refused(function.dotted)
    return _REBUILD[function.dotted](*arguments)


_REBUILD: dict[str, Callable] = {
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor_v3,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
    "torch.nn.parameter.Parameter": _first,
    "torch.Size": _first,
    "torch.device": _nothing,
    "torch.serialization._get_layout": _nothing,
    # TorchScript archives mark their lists.
    "torch.jit._pickle.build_boollist": _first,
    "torch.jit._pickle.build_doublelist": _first,
    "torch.jit._pickle.build_intlist": _first,
    "torch.jit._pickle.build_tensorlist": _first,
    "torch.jit._pickle.restore_type_tag": _first,
}


def _interpreter(stream: Any, persistent: Callable[[Any], Any] | None = None) -> Interpreter:
    """Return an interpreter that knows how PyTorch describes tensors."""
    return Interpreter(stream, calls=_REBUILD, persistent=persistent)


def _storage(reference: Any, data: Callable[[str], memoryview]) -> _Storage:
    """Return the storage a persistent id names: (_, class, key, location, count[, view])."""
    _, kind, key, _, count, *rest = reference
    module, _, name = kind.dotted.rpartition(".")
    kind = name.removesuffix("Storage")
    if module.partition(".")[0] != "torch" or kind not in (*_DTYPES, _UNTYPED):
        raise Unsupported(
            f"it has tensors of {module}.{name}, which NumPy lacks; save float32 ones"
        )
    start = 0
    if rest and rest[0] is not None:
        _, start, count = rest[0]
    if not all(type(n) is int and n >= 0 for n in (start, count)) or not isinstance(key, str):
        raise Malformed("a storage of impossible size")
    return _Storage(kind, key, count, start, data)


def is_torch_zip(names: list[str]) -> bool:
    """Whether the entries of a zip archive are those of `torch.save`."""
    return any(name.count("/") <= 1 and name.split("/")[-1] == "data.pkl" for name in names)


def read_zip(path: Path) -> Any:
    """Return the object of a zip checkpoint; its arrays are `Leaf`s, not yet read.

    Raises:
        Refused: When the file asks to call a function.
        Malformed, zipfile.BadZipFile, or another ordinary error: When it is damaged.
    """
    content = memoryview(_map(path))
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: info for info in archive.infolist()}
    if sum(info.compress_size for info in entries.values()) > len(content):
        raise Malformed("its entries overlap")
    pickles = [name for name in entries if is_torch_zip([name])]
    if len(pickles) != 1:
        raise Malformed("it holds more than one data.pkl")
    root = pickles[0].removesuffix("data.pkl")
    checked: dict[str, memoryview] = {}

    def entry(name: str) -> memoryview:
        if name not in checked:
            if name not in entries:
                raise Malformed(f"{name} is missing")
            checked[name] = _stored(content, entries[name])
        return checked[name]

    def persistent(reference: Any) -> _Storage:
        if not isinstance(reference, tuple) or reference[0] != "storage":
            raise Malformed("an unknown kind of reference")
        return _storage(reference, lambda key: entry(f"{root}data/{key}"))

    if f"{root}byteorder" in entries and bytes(entry(f"{root}byteorder")) != b"little":
        raise Unsupported(_BIG_ENDIAN)
    return _interpreter(io.BytesIO(entry(pickles[0])), persistent).run()


def _stored(content: memoryview, info: zipfile.ZipInfo) -> memoryview:
    """Return an entry's bytes within the mapped file; the checksum must hold."""
    header = info.header_offset
    magic = bytes(content[max(header, 0) : header + 4])
    if not 0 <= header <= len(content) - 30 or magic != b"PK\x03\x04":
        raise Malformed(f"entry {info.filename} is not where it should be")
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        raise Malformed(f"entry {info.filename} is compressed")
    start = header + 30 + sum(struct.unpack("<HH", content[header + 26 : header + 30]))
    data = content[start : start + info.file_size]
    if len(data) != info.file_size:
        raise Malformed(f"entry {info.filename} is cut short")
    # PyTorch writes 0 where checksums were switched off (torch.serialization.set_crc32_options).
    if info.CRC and zlib.crc32(data) != info.CRC:
        raise Malformed(f"the checksum of {info.filename} does not match")
    return data


def read_stream(path: Path) -> Any:
    """Return the object of a legacy checkpoint, or of a plain pickle of NumPy arrays.

    Raises:
        Refused: When the file asks to call a function.
        Malformed, or another ordinary error: When it is damaged.
    """
    stream = _map(path)
    content = memoryview(stream)
    first = _interpreter(stream).run()
    if first != _MAGIC:
        return first
    if _interpreter(stream).run() != _LEGACY_VERSION:
        raise Malformed("it is of an unknown version")
    if _interpreter(stream).run().get("little_endian") is not True:
        raise Unsupported(_BIG_ENDIAN)

    items: dict[str, int] = {}
    places: dict[str, memoryview] = {}

    def persistent(reference: Any) -> Any:
        if not isinstance(reference, tuple) or reference[0] not in ("storage", "module"):
            raise Malformed("an unknown kind of reference")
        if reference[0] == "module":  # a class with its source text: only the name matters
            return reference[1] if isinstance(reference[1], Name) else Name("module")
        storage = _storage(reference, lambda key: places[key])
        items[storage.key] = np.dtype(_DTYPES.get(storage.kind, "u1")).itemsize
        return storage

    found = _interpreter(stream, persistent).run()
    position = None
    for key in _interpreter(stream).run():
        position = stream.tell() if position is None else position
        (count,) = struct.unpack("<q", content[position : position + 8])
        end = position + 8 + count * items[key]
        if count < 0 or end > len(content):
            raise Malformed("its numbers end early")
        places[key] = content[position + 8 : end]
        position = end
    return found


def _map(path: Path) -> mmap.mmap:
    """Map a file that is not empty; the mapping ends with its last view."""
    with path.open("rb") as stream:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
