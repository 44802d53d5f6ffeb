"""Looking for the folders of a published layout, whatever their spelling; no file is opened."""

from __future__ import annotations

import functools
import os
import re
import time
from pathlib import Path

from core.data.images import is_visible, natural_key

SPLIT_FOLDERS = {
    **{"train": "train", "training": "train", "trainset": "train"},
    **{"val": "val", "valid": "val", "validation": "val", "valset": "val"},
    **{"test": "test", "testing": "test", "testset": "test"},
}
_AT_REST_NS = 2 * 10**9  # a folder changed this long ago: no clock is too coarse to tell


def plain(name: str) -> str:
    """Return a folder name as it is compared: lower case, without spaces, '_' and '-'."""
    return re.sub(r"[\s_-]+", "", name).lower()


def folders(path: Path) -> list[Path]:
    """Return the visible folders of a folder in natural order; none for a file."""
    if not path.is_dir():
        return []
    changed = path.stat().st_mtime_ns
    at_rest = time.time_ns() - changed > _AT_REST_NS
    names = (_folder_names if at_rest else _folder_names.__wrapped__)(path.absolute(), changed)
    return [path / name for name in names]


@functools.lru_cache(maxsize=4096)
def _folder_names(path: Path, changed: int) -> tuple[str, ...]:
    """List a folder. Remembered, as every reader asks again for folders of thousands of files."""
    with os.scandir(path) as entries:
        names = [one.name for one in entries if one.is_dir() and is_visible(one.name)]
    return tuple(sorted(names, key=natural_key))


def subfolder(path: Path, *names: str) -> Path | None:
    """Return the folder in `path` called like one of `names`, the earlier name first."""
    found = {plain(folder.name): folder for folder in reversed(folders(path))}
    return next((found[plain(name)] for name in names if plain(name) in found), None)
