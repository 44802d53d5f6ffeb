"""Checkpoints of other programs, in every form that is read."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.reliability.fuzzing.cases import Case
from benchmarks.reliability.fuzzing.picture_seeds import ROOT
from benchmarks.reliability.fuzzing.target import Outcome, Target

_CHECKPOINTS = ROOT / "tests" / "data" / "checkpoints"  # written by PyTorch
_STATE = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(4, 3, 2, 1),
    "conv.bias": np.float32([1, -2, 3, 0.5]),
    "norm.num_batches_tracked": np.array(3),
    "norm.mask": np.array([True, False]),
    "head.empty": np.zeros((0, 2), np.float16),
}


def targets() -> list[Target]:
    """Return the targets of this module."""
    return [
        Target(f"checkpoint-{name}", summary, seeds, _read_checkpoint, _import_checkpoints)
        for name, summary, seeds in _CHECKPOINT_KINDS
    ]


def _files(*names: str) -> list[Case]:
    return [Case.file("checkpoint.pth", (_CHECKPOINTS / name).read_bytes()) for name in names]


def _pickles() -> list[Case]:
    found = []
    for protocol in (0, 2, 3, 4, 5):
        content = {"model": _STATE, "author": "me", "epoch": 3, "sizes": [(1, 2), {"a": 1.5}]}
        found.append(pickle.dumps(content, protocol))
    big = {"conv.bias": np.float32([1, 2]).astype(">f4"), "fortran": np.eye(2, 3).T}
    found.append(pickle.dumps(big, 4))
    # Protocols 0 and 1 do not say what they are; they are refused by their first byte.
    return [Case.file("checkpoint.pkl", content) for content in found if content[:1] == b"\x80"]


def _safetensors() -> list[Case]:
    import safetensors.numpy

    plain = safetensors.numpy.save(_STATE, metadata={"format": "pt"})
    header = json.dumps({"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    brain = len(header).to_bytes(8, "little") + header + b"\xc0\x3f\x00\xc0"
    return [Case.file("checkpoint.safetensors", content) for content in (plain, brain)]


def _archives() -> list[Case]:
    found = [(_CHECKPOINTS / "kinds.npz").read_bytes()]
    for save in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        save(stream, **_STATE)
        found.append(stream.getvalue())
    return [Case.file("checkpoint.npz", content) for content in found]


def _keras_files() -> list[Case]:
    """Return weights as Keras 3 and Keras 2 name them."""
    import h5py

    found = []
    for ending in ("", ":0"):
        stream = io.BytesIO()
        with h5py.File(stream, "w") as file:
            group = file.create_group("model_weights") if not ending else file
            group.attrs["layer_names"] = [b"conv", b"norm"]
            for layer in ("conv", "norm"):
                own = [name for name in _STATE if name.startswith(f"{layer}.")]
                names = [f"{name.replace('.', '/')}{ending}" for name in own]
                inner = group.create_group(layer)
                inner.attrs["weight_names"] = [name.encode() for name in names]
                for name, key in zip(names, own, strict=True):
                    inner[name] = _STATE[key]
        found.append(Case.file("checkpoint.h5", stream.getvalue()))
    return found


def _onnx_files() -> list[Case]:
    """Return ONNX files that hold their tensors, also as BF16, and one that names another file."""
    import onnx
    from onnx import helper, numpy_helper

    beside = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[2, 3])
    beside.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": "weights.data", "offset": 4, "length": 24}.items():
        beside.external_data.add(key=key, value=str(value))
    within = [numpy_helper.from_array(array, name) for name, array in _STATE.items()]
    brain = helper.make_tensor("b", onnx.TensorProto.BFLOAT16, [3], [1.0, -2.5, 0.125])
    value = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1]) for n in "xy"]
    node, found = helper.make_node("Identity", ["x"], ["y"]), []
    for tensors in ([*within, brain], [beside]):
        graph = helper.make_graph([node], "g", value[:1], value[1:], tensors)
        content = helper.make_model(graph).SerializeToString()
        found.append(
            Case({"checkpoint.onnx": content, "weights.data": bytes(range(40))}, "checkpoint.onnx")
        )
    return found


_CHECKPOINT_KINDS: tuple[tuple[str, str, Callable[[], list[Case]]], ...] = (
    ("zip", "PyTorch's zip format", lambda: _files("kinds_zip.pth", "small_net_zip.pth")),
    (
        "legacy",
        "PyTorch's older format",
        lambda: _files("kinds_legacy.pth", "small_net_legacy.pth"),
    ),
    ("module", "a whole pickled module", lambda: _files("small_net_module.pth")),
    ("pickle", "plain pickles of arrays", _pickles),
    ("safetensors", ".safetensors", _safetensors),
    ("npz", "NumPy archives", _archives),
    ("keras", "Keras's weights by layer (.h5)", _keras_files),
    ("onnx", "initialisers of ONNX files, inside or beside", _onnx_files),
)


def _import_checkpoints() -> None:
    import h5py
    import onnx

    import core.checkpoints.reading  # noqa: F401

    del h5py, onnx


def _read_checkpoint(path: Path) -> Outcome:
    from core.checkpoints import read

    read(path)
    return []
