"""Sample data that are generated when they are first asked for, and kept in the user's cache."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.errors import UserError


def generated(name: str, record: str, write: Callable[[Path], Any]) -> Path:
    """Return the folder of generated data, made now where it is not there.

    It stands in the user's cache (`XDG_CACHE_HOME`, else ~/.cache). Where that cannot be written,
    they are made in a temporary folder, each time that this is called.

    Args:
        name: Of the folder; the generator's version belongs to it.
        record: A file in it that is written last.
        write: Makes the data in a new folder, all or nothing.
    """
    place = _cache() / "gossamer" / name
    if not (place / record).is_file():
        try:
            write(place)
        except UserError:
            if (place / record).is_file():  # another process was quicker
                return place
            place = Path(tempfile.mkdtemp(prefix=f"{name}-"))
            write(place)
    return place


def _cache() -> Path:
    named = os.environ.get("XDG_CACHE_HOME", "")
    return Path(named) if os.path.isabs(named) else Path("~/.cache").expanduser()
