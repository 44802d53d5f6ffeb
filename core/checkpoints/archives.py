"""Reading .npz archives of numbers and text: nothing unpickled, no memory beyond the file's due."""

from __future__ import annotations

import errno
import os
import struct
import sys
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from core.checkpoints.pickled_values import Malformed, Unsupported
from core.files import refuse_special

# Deflate shrinks at most 1032 times: what claims more is made to fill the memory.
_MOST_DEFLATED = 1032
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}

# What damaged content can raise in the standard library and in NumPy.
DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_archive(path: str | os.PathLike, *, text: bool = False) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file by name, in the file's order.

    Args:
        path: The file.
        text: Whether arrays of text are read too; otherwise they are `Unsupported`.

    Returns:
        Fresh arrays in the byte order of this machine.

    Raises:
        Unsupported: When an array holds anything but numbers (or text).
        Malformed, or another error of `DAMAGE`: When the file is damaged.
        OSError: When it cannot be read.
        UserError: For a pipe or device.
    """
    refuse_special(path)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            refuse_unfolding(sum(info.file_size for info in entries), Path(path))
            if any(info.file_size > _MOST_DEFLATED * info.compress_size + 64 for info in entries):
                raise Malformed("an entry claims an impossible size")
            return {
                info.filename.removesuffix(".npy"): _array(archive, info, text) for info in entries
            }
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise Malformed("an entry lies before its beginning") from error


def refuse_unfolding(nbytes: int, path: Path) -> None:
    """Raise `Malformed` where a file would unfold to far more than it is.

    Repeated (expanded) and shared storages unfold, and zeros are compressed well; nothing honest
    unfolds this far.
    """
    if nbytes > max(2**28, 16 * path.stat().st_size):
        raise Malformed("its tensors are far larger than the file")


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, text: bool) -> np.ndarray:
    with archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in _HEADERS:
            raise Malformed(f"'{info.filename}' is of an unknown version")
        shape, fortran, dtype = _HEADERS[version](stream)
        if dtype.kind not in ("biufcU" if text else "biufc"):
            raise Unsupported(
                f"'{info.filename}' holds {dtype} values, not numbers; save it without them"
            )
        if min(shape, default=0) < 0:
            raise Malformed(f"'{info.filename}' claims a negative size")
        raw = stream.read()
    if dtype.itemsize == 0:
        return np.zeros(shape, dtype)
    flat = np.frombuffer(raw, dtype)
    array = flat.reshape(shape, order="F" if fortran else "C").astype(dtype.newbyteorder("="))
    if dtype.kind == "U":
        codes = array.reshape(-1).view(np.uint32)
        if (codes > sys.maxunicode).any() or ((codes >= 0xD800) & (codes < 0xE000)).any():
            raise Malformed(f"'{info.filename}' holds text that is none")
    return array
