"""Atomic writing and safe output folders: nothing a user has is lost half-way.

A file is written beside its place, flushed to the disk and renamed; a reader sees the old file or
the new one, never half of it.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import math
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import NotWritten, UserError

Content = bytes | str | Callable[[Path], None]
_UNFINISHED = ".unfinished"  # marks the name of a temporary file
_PROBE = 1 << 16  # bytes that no full disk takes


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the disk errors of writing `path` into one sentence for the user."""
    try:
        yield
    except OSError as error:
        reason = {
            errno.ENOSPC: "the disk is full; free some space",
            errno.EDQUOT: "the disk quota is used up; free some space",
            errno.EFBIG: "the file would be larger than the system allows; choose another folder",
            errno.EROFS: "the file system is read-only; choose another output folder",
            errno.EACCES: "permission denied; choose a folder you may write to",
            errno.EPERM: "permission denied; choose a folder you may write to",
            errno.ENOTDIR: "a part of the path is a file, not a folder; choose another path",
        }.get(error.errno or 0)
        if reason is None:
            raise
        raise NotWritten(f"{path}: cannot be written: {reason}.") from error


def write_atomic(path: str | os.PathLike, content: Content) -> Path:
    """Write `path` as a whole or not at all, and return it.

    Args:
        path: The file; its folder is made when missing.
        content: Bytes, text (UTF-8), or a function that writes to the temporary path it is given
            (same suffix, same folder).

    Raises:
        NotWritten: When the disk is full, read-only or closed to the user.
    """
    path = Path(path)
    with _written_aside(path, content) as temporary:
        temporary.replace(path)
    return path


def write_described(
    path: str | os.PathLike, content: Content, sidecar: str | os.PathLike, description: Content
) -> tuple[Path, Path]:
    """Write a file and another that describes it, and return both paths.

    A full disk changes neither, and whenever the process is killed, a description that is found
    beside the file is the file's own.

    Raises:
        UserError: As `write_atomic`.
    """
    path, sidecar = Path(path), Path(sidecar)
    with _written_aside(path, content) as new, _written_aside(sidecar, description) as described:
        if path.exists():
            sidecar.unlink(missing_ok=True)
            new.replace(path)
            described.replace(sidecar)
        else:  # the file last: it is what says that all is done
            described.replace(sidecar)
            new.replace(path)
    return path, sidecar


@contextmanager
def _written_aside(path: Path, content: Content) -> Iterator[Path]:
    """Give the finished temporary file for `path`, to be renamed; it is gone if that fails."""
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = _temporary(path)
        try:
            _fill(temporary, content, handle)
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            yield temporary
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)


def _fill(temporary: Path, content: Content, handle: int) -> None:
    """Write a temporary file; a failure on a full disk becomes the `OSError` that says so."""
    if not callable(content):
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        return
    try:
        content(temporary)
    except Exception as error:
        if getattr(error, "errno", None) is None:  # NumPy, HDF5 and OpenCV do not pass it on
            os.pwrite(handle, bytes(_PROBE), os.fstat(handle).st_size)
        raise


def _temporary(path: Path) -> tuple[int, Path]:
    """Return a new file beside `path`, open and locked, and its name.

    The name is always the same, so that what a killed process left there is used up by the next
    one; only while another process holds it a random one is taken.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    usual = path.with_name(f".{path.stem}{_UNFINISHED}{path.suffix}")
    with contextlib.suppress(OSError, ImportError):
        import fcntl  # not on every system

        handle = os.open(usual, flags, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), os.stat(usual)):  # not renamed in the meantime
                os.ftruncate(handle, 0)
                return handle, usual
        except OSError:
            os.close(handle)
            raise
        os.close(handle)
    other = path.with_name(f".{secrets.token_hex(4)}{_UNFINISHED}{path.suffix}")
    return os.open(other, flags | os.O_EXCL, 0o666), other


def is_unfinished(path: Path) -> bool:
    """Return whether a file is what a killed process had not finished writing."""
    marked = path.stem.endswith(_UNFINISHED) or path.suffix == _UNFINISHED
    return path.name.startswith(".") and marked


def write_json(path: str | os.PathLike, value) -> Path:
    """Write `value` as indented JSON, atomically."""
    return write_atomic(path, json_text(value))


def json_text(value) -> str:
    """Return `value` as the suite prints and writes JSON: made `plain`, indented, a line's end."""
    return json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """Return a value as JSON knows it: NaN and infinity become null, NumPy numbers Python's.

    Paths become text, tuples and sets lists, dataclasses mappings.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy arrays and scalars
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def refuse_special(path: str | os.PathLike) -> None:
    """Raise a `UserError` for a pipe, socket or device: reading one may wait or go on for ever."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return  # whoever opens it says what is wrong
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UserError(f"{path}: is a pipe or a device, not a file; save its content as a file.")


def sha256(path: str | os.PathLike) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def claim_folder(path: str | os.PathLike, *, overwrite: bool = False) -> Path:
    """Return `path` as an empty-or-new output folder; refuse one that holds files.

    Empty folders in it, and files that a killed process had not finished, do not count. With
    `overwrite` the folder is accepted as it is: files are replaced one by one as the new ones are
    finished, never removed beforehand.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise UserError(f"{path}: is a file, not a folder; choose another --out.")
    if path.is_dir() and not overwrite and _holds_files(path):
        raise UserError(f"{path}: already holds files; choose another --out or pass --overwrite.")
    with explained(path):
        path.mkdir(parents=True, exist_ok=True)
        handle, probe = _temporary(path / "probe")
        os.close(handle)
        probe.unlink()
    return path


@contextmanager
def folder_aside(place: Path, name: str) -> Iterator[Path]:
    """Yield a new hidden folder to write in before what it holds is moved to where it belongs.

    Args:
        place: A folder on the same disk as the target.
        name: Told in the hidden name, should the process be killed.

    Whatever is still in it at the end is removed.
    """
    aside = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=place))
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def claim_file(path: str | os.PathLike, *, overwrite: bool = False, option: str = "--out") -> Path:
    """Return `path` as a file to write; refuse one that exists, unless `overwrite` is set.

    Args:
        path: The file; nothing is written yet.
        overwrite: Whether an earlier file may be replaced, once the new one is whole.
        option: What named it.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: is a folder, not a file; choose another {option}.")
    if path.exists() and not overwrite:
        raise UserError(f"{path}: exists; choose another {option} or pass --overwrite.")
    return path


def _holds_files(folder: Path) -> bool:
    """Return whether anything below a folder is more than what a killed process leaves."""
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if Path(place, name).is_symlink()]
        if links or not all(is_unfinished(Path(name)) for name in names):
            return True
    return False
