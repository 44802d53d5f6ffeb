"""Readers of data sets: one per published layout, chosen by name or recognised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from core.data.index import Index
from core.errors import UserError, no_such, not_found
from core.files import refuse_special

_SHOWN = 8  # top-level entries named in an error


@dataclass(frozen=True)
class Reader:
    """A data set's layout.

    Attributes:
        name: The value of `--format`.
        summary: The data set in a line.
        recognises: Whether a path looks like this layout; quick, opens no image.
        read: Returns the index of a path, under an app's choices where it has some; raises
            `UserError` for what is wrong with the files.
        licence: Terms of the data as far as known, shown with the advice to check the source.
    """

    name: str
    summary: str
    recognises: Callable[[Path], bool]
    read: Callable[..., Index]
    licence: str = ""


def read_with(readers: Mapping[str, Reader], path: Path, format: str = "auto") -> Index:
    """Return the index of the data set at `path`, its licence among the notes.

    Args:
        readers: By name, the particular before the general: "auto" takes the first that
            recognises the path.
        path: Folder or file.
        format: A reader's name or "auto".

    Raises:
        UserError: When the path does not exist, the format is unknown, nothing recognises the
            path, or the reader refuses it.
    """
    if format != "auto" and format not in readers:
        raise no_such("data format", format, [*readers, "auto"])
    path = Path(path)
    if not path.exists():
        raise not_found(path, advice="check --data")
    refuse_special(path)
    likely = (one for one in readers.values() if one.recognises(path))
    reader = next(likely, None) if format == "auto" else readers[format]
    if reader is None:
        raise UserError(
            f"{path}: not recognised as a data set (found {_saw(path)}); pass --format, one "
            f"of {', '.join(readers)}."
        )
    index = reader.read(path)
    if not reader.licence:
        return index
    licence = f"Licence: {reader.licence}; check it at the source before use."
    return replace(index, notes=(*index.notes, licence))


def _saw(path: Path) -> str:
    if path.is_file():
        return f"a file, '{path.name}'"
    names = sorted(
        f"{entry.name}/" if entry.is_dir() else entry.name
        for entry in path.iterdir()
        if not entry.name.startswith(".")
    )
    if not names:
        return "an empty folder"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
