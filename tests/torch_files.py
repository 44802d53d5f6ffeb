"""Writers of PyTorch's file formats for tests, without PyTorch."""

import contextlib
import io
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
STORAGES = {"f4": "FloatStorage", "f2": "HalfStorage", "u2": "BFloat16Storage", "i8": "LongStorage"}


def _torch_modules() -> dict[str, types.ModuleType]:
    """Modules with PyTorch's names, so that the pickler accepts its classes and functions."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in STORAGES.values():
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2(*_):
        raise AssertionError("written, never called")

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = (
        "torch._utils",
        ("_rebuild_tensor_v2"),
    )
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    return {"torch": torch, "torch._utils": utils}


@contextlib.contextmanager
def torch_names():
    """PyTorch's names can be imported within."""
    with mock.patch.dict(sys.modules, _torch_modules()):
        yield


@dataclass
class _Storage:
    key: str
    kind: type
    count: int


class _Pickler(pickle.Pickler):
    """Pickles arrays as tensors; collects their storages by key."""

    def __init__(self, stream, legacy: bool):
        super().__init__(stream, protocol=2)
        self.legacy, self.storages = legacy, {}

    def reducer_override(self, value):
        if not isinstance(value, np.ndarray):
            return NotImplemented
        key = str(len(self.storages))
        kind = getattr(sys.modules["torch"], STORAGES[value.dtype.str[1:]])
        storage = _Storage(key, kind, value.size)
        self.storages[key] = np.ascontiguousarray(value).tobytes()
        stride = tuple(
            step // value.itemsize for step in np.empty(value.shape, value.dtype).strides
        )
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        return rebuild, (storage, 0, value.shape, stride, False, OrderedDict())

    def persistent_id(self, value):
        if not isinstance(value, _Storage):
            return None
        view = (None,) if self.legacy else ()
        return ("storage", value.kind, value.key, "cpu", value.count, *view)


def write_zip(path: Path, content) -> Path:
    """Write what `torch.save` writes today."""
    stream = io.BytesIO()
    pickler = _Pickler(stream, legacy=False)
    with torch_names():
        pickler.dump(content)
    return write_zip_pickle(path, stream.getvalue(), pickler.storages)


def write_zip_pickle(path: Path, data: bytes, storages=None, **entries: bytes) -> Path:
    """Write a zip checkpoint around a pickle that is given as bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        for key, raw in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", raw)
        for name, raw in {"version": b"3\n", **entries}.items():
            archive.writestr(f"archive/{name}", raw)
    return path


def write_legacy(path: Path, content) -> Path:
    """Write what `torch.save` wrote before version 1.6."""
    stream = io.BytesIO()
    pickler = _Pickler(stream, legacy=True)
    with torch_names():
        pickler.dump(content)
    return write_legacy_pickle(path, stream.getvalue(), pickler.storages)


def write_legacy_pickle(path: Path, data: bytes, storages=None) -> Path:
    """Write a legacy checkpoint around a pickle that is given as bytes."""
    storages = storages or {}
    facts = {"protocol_version": VERSION, "little_endian": True}
    parts = [pickle.dumps(value, 2) for value in (MAGIC, VERSION, facts)]
    parts += [data, pickle.dumps(list(storages), 2)]
    for raw in storages.values():
        parts += [(len(raw) // 4).to_bytes(8, "little"), raw]
    path.write_bytes(b"".join(parts))
    return path
