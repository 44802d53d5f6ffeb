"""What lies in folders: files by their suffix, folders whatever their spelling; nothing is opened.

Hidden files and folders and what archivers leave behind (`__MACOSX`) are never seen.
"""

from __future__ import annotations

import functools
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from core.errors import UserError, not_found

SPLIT_FOLDERS = {
    **{"train": "train", "training": "train", "trainset": "train"},
    **{"val": "val", "valid": "val", "validation": "val", "valset": "val"},
    **{"test": "test", "testing": "test", "testset": "test"},
}
_LONGEST = 1000  # digits of a number; Python reads no more than 4300
_AT_REST_NS = 2 * 10**9  # a folder changed this long ago: no clock is too coarse to tell


def find_files(
    folder: str | os.PathLike, kind: str, suffixes: Sequence[str], *, recursive: bool = False
) -> list[Path]:
    """Return the files of a folder by their suffix, in natural order (2.png before 10.png).

    Args:
        folder: Where to look.
        kind: What the files are, in the singular: "image".
        suffixes: Their endings in lower case, with the dot; any spelling of them is found.
        recursive: Whether folders inside are looked through too; a link back up is not followed.

    Raises:
        UserError: When the folder does not exist or holds no such file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        reason = "is a file, not a folder" if folder.exists() else "no such folder"
        raise UserError(f"{folder}: {reason}; pass a folder of {kind}s.")
    found, seen = [], set()
    for parent, inside, files in os.walk(folder, followlinks=True):
        if recursive:
            real = os.path.realpath(parent)
            if real in seen:  # a link back up
                inside.clear()
                continue
            seen.add(real)
        inside[:] = [name for name in inside if is_visible(name)] if recursive else []
        found += [
            os.path.join(parent, name)
            for name in files
            if is_visible(name) and name.lower().endswith(tuple(suffixes))
        ]
    if not found:
        known = ", ".join(suffix.removeprefix(".") for suffix in suffixes if suffix)
        raise UserError(
            f"{folder}: holds no {kind} files{f' ({known})' if known else ''}; check the path."
        )
    return [Path(name) for name in sorted(found, key=natural_key)]


def first_names(folder: Path, suffixes: Sequence[str], most: int) -> Iterator[str]:
    """Yield the names of the first files found in a folder, in any order: a look at a huge one."""
    with os.scandir(folder) as entries:
        names = (entry.name for entry in entries)
        found = (n for n in names if is_visible(n) and n.lower().endswith(tuple(suffixes)))
        yield from islice(found, most)


def holds_file(folder: Path, suffixes: Sequence[str]) -> bool:
    """Return whether a file with one of these endings lies anywhere below; the first ends it."""
    seen = set()
    for parent, inside, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        inside[:] = [] if real in seen else filter(is_visible, inside)
        seen.add(real)
        if any(is_visible(name) and name.lower().endswith(tuple(suffixes)) for name in files):
            return True
    return False


def named_files(
    inputs: Iterable[str | os.PathLike], kind: str, suffixes: Sequence[str]
) -> list[tuple[Path, Path]]:
    """Return (input, file) for the files and folders a user names; folders are looked through.

    A file that is named itself is taken whatever its suffix.

    Raises:
        UserError: When an input does not exist or a folder holds no such file.
    """
    found = []
    for path in map(Path, inputs):
        if not path.exists():
            raise not_found(path)
        inside = find_files(path, kind, suffixes, recursive=True) if path.is_dir() else [path]
        found += [(path, file) for file in inside]
    return found


def is_visible(name: str) -> bool:
    """Return whether a file or folder name is neither hidden nor an archiver's leftover."""
    return not name.startswith(".") and name != "__MACOSX"


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return the sort key that puts `2.png` before `10.png`."""
    return [
        (0, int(part), "") if part.isdecimal() and len(part) < _LONGEST else (1, 0, part)
        for part in re.split(r"(\d+)", name)
    ]


def plain(name: str) -> str:
    """Return a folder name as it is compared: lower case, without spaces, '_' and '-'."""
    return re.sub(r"[\s_-]+", "", name).lower()


def folders(path: Path) -> list[Path]:
    """Return the visible folders of a folder in natural order; none for a file."""
    if not os.path.isdir(path):  # whose name may be too long to ask for
        return []
    changed = path.stat().st_mtime_ns
    at_rest = time.time_ns() - changed > _AT_REST_NS
    names = (_folder_names if at_rest else _folder_names.__wrapped__)(path.absolute(), changed)
    return [path / name for name in names]


@functools.lru_cache(maxsize=4096)
def _folder_names(path: Path, changed: int) -> tuple[str, ...]:
    """List a folder. Remembered, as every reader asks again for folders of thousands of files."""
    with os.scandir(path) as entries:
        names = [one.name for one in entries if is_visible(one.name) and _leads_to_folder(one)]
    return tuple(sorted(names, key=natural_key))


def _leads_to_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def split_folders(path: Path) -> dict[str, Path]:
    """Return the folders of a folder that are called as splits are, by the split's name.

    Raises:
        UserError: When two folders are the same split.
    """
    found: dict[str, Path] = {}
    for folder in folders(path):
        split = SPLIT_FOLDERS.get(plain(folder.name))
        if split and split in found:
            raise UserError(
                f"{path}: '{found[split].name}' and '{folder.name}' are both the {split} split; "
                "keep one."
            )
        if split:
            found[split] = folder
    return found


def subfolder(path: Path, *names: str) -> Path | None:
    """Return the folder in `path` called like one of `names`, the earlier name first."""
    found = {plain(folder.name): folder for folder in reversed(folders(path))}
    return next((found[plain(name)] for name in names if plain(name) in found), None)
