"""One function that reads any published checkpoint: `read`."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from core.checkpoints import onnx_files, torch_files
from core.checkpoints.archives import DAMAGE, read_archive, refuse_unfolding
from core.checkpoints.keras_files import MAGIC, read_hdf5
from core.checkpoints.pickled_values import Leaf, Malformed, Refused, Unsupported
from core.checkpoints.state import find_state, plain_names
from core.documents import parse_json
from core.errors import UserError, near_miss
from core.files import refuse_special

SUFFIXES = (".pth", ".pt", ".tar", ".bin", ".ckpt", ".safetensors", ".npz", ".h5", ".onnx")

# First bytes of files that are often taken for checkpoints, and what to say of them.
_OTHERS = (
    (
        b"version https://git-lfs",
        "is a git-lfs pointer, not the file; fetch it with 'git lfs pull'",
    ),
    (b"\x89PNG", "is a PNG image, not a checkpoint"),
    (b"\xff\xd8\xff", "is a JPEG image, not a checkpoint"),
    (b"\x1f\x8b", "is a gzip archive; unpack it and give the checkpoint inside"),
    (b"%PDF", "is a PDF document, not a checkpoint"),
    (b"<", "is a web page, not a checkpoint; download the file itself"),
)

_SAFETENSORS_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "u1",
    "C64": "<c8",
}


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Return a published checkpoint's tensors by name, without running anything from the file.

    Reads PyTorch files of both formats (.pth, .pt, .tar, .bin, .ckpt), plain pickles of NumPy
    arrays, .safetensors, .npz, the initialisers of .onnx, and Keras's weights by layer (.h5), those
    by Keras's names and in its layout; the content decides, not the suffix. Wrappers such as
    `state_dict` are opened and prefixes such as `module.` removed by the rules of
    `core.checkpoints.state`.

    Args:
        path: The file.

    Returns:
        Fresh arrays in the file's order and layout, with the file's types: float16 stays float16,
        bfloat16 becomes float32 (NumPy has none), bool stays bool.

    Raises:
        UserError: When the file is missing, damaged, not a checkpoint, asks to run code, or holds
            no tensors.
    """
    path = Path(path)
    head = _head(path)
    with damage_explained(path, "Ask its publisher for a state dict or a .safetensors file."):
        state = _read(path, head)
    if not state:
        raise UserError(f"{path}: holds no tensors; give a checkpoint with the network's weights.")
    return plain_names(state)


@contextmanager
def damage_explained(path: Path, advice: str) -> Iterator[None]:
    """Turn what is wrong with a file while it is read into one sentence for the user.

    Args:
        path: The file.
        advice: A sentence for one that asks to run code.
    """
    try:
        yield
    except Refused as refused:
        raise UserError(
            f"{path}: asks to run '{refused.name}' while loading; such a file is not read. {advice}"
        ) from None
    except Unsupported as error:
        raise UserError(f"{path}: cannot be read: {error}.") from error
    except Malformed as error:
        raise UserError(f"{path}: cannot be read: {error}; download or copy it again.") from error
    except DAMAGE as error:
        raise UserError(f"{path}: is cut short or damaged; download or copy it again.") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}.") from error


def _head(path: Path) -> bytes:
    """Return the first bytes of a file, or say why there are none."""
    refuse_special(path)
    try:
        if path.is_dir():
            raise UserError(f"{path}: is a folder; give the checkpoint file.")
        if not path.exists():
            siblings = path.parent.iterdir() if path.parent.is_dir() else ()
            known = sorted(file.name for file in siblings if file.suffix in SUFFIXES)[:10]
            raise UserError(f"{path}: no such file.{near_miss(path.name, known)}")
        with path.open("rb") as stream:
            head = stream.read(512)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}.") from error
    if not head:
        raise UserError(f"{path}: is empty (0 bytes); download or copy it again.")
    return head


def _read(path: Path, head: bytes) -> dict[str, np.ndarray]:
    if head[:2] == b"PK":
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if torch_files.is_torch_zip(names):
            return _arrays(path, torch_files.read_zip(path))
        if any(name.endswith(".npy") for name in names):
            return read_archive(path)
        raise UserError(
            f"{path}: is a zip archive without a checkpoint; unpack it and give the file inside."
        )
    if head[:1] == b"\x80" and head[1:2] <= b"\x05":
        return _arrays(path, torch_files.read_stream(path))
    if head[8:9] == b"{":
        return _read_safetensors(path)
    if head.startswith(MAGIC):
        return read_hdf5(path)
    for start, sentence in _OTHERS:
        if head.lstrip().startswith(start):
            raise UserError(f"{path}: {sentence}.")
    if head[257:262] == b"ustar":
        raise UserError(f"{path}: is a tar archive; unpack it and give the checkpoint inside.")
    if onnx_files.may_be_onnx(head) or path.suffix.lower() == onnx_files.SUFFIX:
        return onnx_files.read_onnx(path)
    raise UserError(
        f"{path}: is not a checkpoint; expected a file of PyTorch, .safetensors or .npz."
    )


def _arrays(path: Path, content: Any) -> dict[str, np.ndarray]:
    """Read the network's arrays out of a checkpoint's content."""
    leaves: dict[str, Leaf] = find_state(content)
    refuse_unfolding(sum(leaf.nbytes or 0 for leaf in leaves.values()), path)
    return {name: leaf.array() for name, leaf in leaves.items()}


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    size = path.stat().st_size
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        if length > size - 8:
            raise Malformed("its header is cut short")
        header = parse_json(stream.read(length))
    start = 8 + length
    content = np.memmap(path, np.uint8, "r") if size > start else np.empty(size, np.uint8)
    header.pop("__metadata__", None)
    if sum(max(0, e["data_offsets"][1] - e["data_offsets"][0]) for e in header.values()) > size:
        raise Malformed("its tensors overlap")
    return {name: _safetensor(content[start:], name, entry) for name, entry in header.items()}


def _safetensor(data: np.ndarray, name: str, entry: dict) -> np.ndarray:
    """Return one tensor; `data` is what follows the header."""
    kind, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if kind not in _SAFETENSORS_DTYPES:
        raise Unsupported(f"'{name}' has type {kind}, which NumPy lacks; save it as F32")
    if not all(type(n) is int and n >= 0 for n in (*shape, begin, end)) or end > len(data):
        raise Malformed(f"tensor '{name}' lies outside of it")
    flat = np.frombuffer(data[begin:end], _SAFETENSORS_DTYPES[kind]).reshape(shape)
    if kind == "BF16":
        return (flat.astype(np.uint32) << 16).view(np.float32)
    return flat != 0 if kind == "BOOL" else flat.copy()
