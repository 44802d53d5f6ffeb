"""Atomic writing and safe output folders: nothing a user has is lost half-way.

A file is written beside its place, flushed to the disk and renamed; a reader sees the old file or
the new one, never half of it.
"""

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import UserError


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the disk errors of writing `path` into one sentence for the user."""
    try:
        yield
    except OSError as error:
        reason = {
            errno.ENOSPC: "the disk is full; free some space",
            errno.EDQUOT: "the disk quota is used up; free some space",
            errno.EROFS: "the file system is read-only; choose another output folder",
            errno.EACCES: "permission denied; choose a folder you may write to",
            errno.EPERM: "permission denied; choose a folder you may write to",
            errno.ENOTDIR: "a part of the path is a file, not a folder; choose another path",
        }.get(error.errno)
        if reason is None:
            raise
        raise UserError(f"{path}: cannot be written: {reason}.") from error


def write_atomic(path: str | os.PathLike, content: bytes | str | Callable[[Path], None]) -> Path:
    """Write `path` as a whole or not at all, and return it.

    Args:
        path: The file; its folder is made when missing.
        content: Bytes, text (UTF-8), or a function that writes to the temporary path it is given
            (same suffix, same folder).

    Raises:
        UserError: When the disk is full, read-only or closed to the user.
    """
    path = Path(path)
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent
        )
        os.close(handle)
        temporary = Path(name)
        try:
            if callable(content):
                content(temporary)
            else:
                temporary.write_bytes(content.encode() if isinstance(content, str) else content)
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return path


def write_json(path: str | os.PathLike, value) -> Path:
    """Write `value` as indented JSON, atomically."""
    return write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def sha256(path: str | os.PathLike) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def claim_folder(path: str | os.PathLike, *, overwrite: bool = False) -> Path:
    """Return `path` as an empty-or-new output folder; refuse one that holds files.

    With `overwrite` the folder is accepted as it is: files are replaced one by one as the new ones
    are finished, never removed beforehand.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise UserError(f"{path}: is a file, not a folder; choose another --out.")
    if path.is_dir() and not overwrite and any(path.iterdir()):
        raise UserError(f"{path}: already holds files; choose another --out or pass --overwrite.")
    with explained(path):
        path.mkdir(parents=True, exist_ok=True)
        handle, probe = tempfile.mkstemp(prefix=".probe.", dir=path)
        os.close(handle)
        os.unlink(probe)
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
