"""What lies on the disk when a target opens it: files, folders, links and pipes by path."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path


class Special(Enum):
    """What a path may be besides a file."""

    FOLDER = "folder"
    PIPE = "pipe"


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


Entry = bytes | Special | Link


@dataclass(frozen=True)
class Case:
    """One input of a target.

    Attributes:
        entries: Relative path → content. Parents are made; what cannot be made (a file inside a
            file) is left out.
        opened: The path that is handed to the target, "." for the folder itself.
    """

    entries: Mapping[str, Entry]
    opened: str = "."

    @classmethod
    def file(cls, name: str, content: bytes) -> Case:
        """Return the case of a single file."""
        return cls({name: content}, name)

    def size(self) -> int:
        """Return the bytes of all files and the lengths of all names."""
        contents = (value for value in self.entries.values() if isinstance(value, bytes))
        return sum(map(len, contents)) + sum(map(len, self.entries))

    def with_entries(self, entries: Mapping[str, Entry]) -> Case:
        """Return the case with other entries."""
        return replace(self, entries=dict(entries))

    def files(self) -> list[str]:
        """Return the paths of the files."""
        return [name for name, value in self.entries.items() if isinstance(value, bytes)]


def write_case(case: Case, folder: Path) -> Path:
    """Write a case into a folder, which is made, and return the path that is opened."""
    folder.mkdir(parents=True)
    made = {str(folder)}
    for name, value in case.entries.items():
        path = f"{folder}/{name}"
        # A name that the file system refuses, or that needs a file to be a folder, is left out.
        with contextlib.suppress(OSError, ValueError):
            parent = os.path.dirname(path)
            if parent not in made:
                os.makedirs(parent, exist_ok=True)
                made.add(parent)
            if isinstance(value, bytes):
                with open(path, "wb") as stream:
                    stream.write(value)
            elif isinstance(value, Link):
                os.symlink(value.target, path)
            elif value is Special.FOLDER:
                os.makedirs(path, exist_ok=True)
            else:
                os.mkfifo(path)
    return folder if case.opened == "." else folder / case.opened


def read_case(folder: Path, opened: str = ".") -> Case:
    """Return the case that a folder holds."""
    entries: dict[str, Entry] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            entries[path.relative_to(folder).as_posix()] = path.read_bytes()
    return Case(entries, opened)


def listing(folder: Path) -> tuple:
    """Return names, kinds and sizes of all that lies in a folder, to see whether it changed."""
    found = []
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            about = os.lstat(os.path.join(parent, name))
            kind = about.st_mode >> 12
            found.append((parent, name, kind, about.st_size if kind == 0o10 else 0))
    return tuple(found)


def words(case: Case) -> Iterable[str]:
    """Return the names by which a sentence may call something of a case."""
    for name in (*case.entries, case.opened):
        yield from (part for part in name.split("/") if part not in ("", "."))
