"""When a command is killed: at a moment of the clock, or before its n-th change of the disk."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.chmod", "os.truncate")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Changes:
    """Counts what a process does to the files below a folder, and may end it at one of them.

    Python raises an audit event before it creates, opens for writing, renames, links or removes a
    file, so every state of the folder between two such steps can be left behind on purpose.

    Args:
        folder: Only changes below it count.
        tally: A file outside it to which a byte is added at each change.
        last: The process kills itself instead of making the change of this number (from 1); 0
            lets it live.
    """

    def __init__(self, folder: Path, tally: Path, last: int = 0):
        self._folder, self._tally, self._last = str(folder.resolve()), tally, last
        self._seen, self._inside = 0, False

    def watch(self) -> None:
        """Begin, in the process to be watched; it cannot be undone."""
        self._tally.write_bytes(b"")
        sys.addaudithook(self._hook)

    def count(self) -> int:
        """Return how many changes were seen, from any process."""
        return self._tally.stat().st_size if self._tally.exists() else 0

    def _hook(self, event: str, arguments: tuple) -> None:
        if self._inside:
            return
        if event == "open":
            path, _, flags = arguments
            if not isinstance(flags, int) or not flags & _WRITING:
                return
        elif event in _CHANGES:
            path = arguments[0]
        else:
            return
        if not isinstance(path, str | os.PathLike) or not self._below(os.fspath(path)):
            return
        self._inside = True
        self._seen += 1
        with open(self._tally, "ab") as stream:
            stream.write(b".")
        self._inside = False
        if self._seen == self._last:
            os.killpg(0, signal.SIGKILL)

    def _below(self, path: str) -> bool:
        return os.path.abspath(path).startswith(self._folder)
