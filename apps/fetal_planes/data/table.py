"""A table of pictures as spreadsheets save it: any separator, blanks around any name."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError, near_miss
from core.files import refuse_special

SEPARATORS = ";,\t"
LONGEST = 2**26  # bytes of a table that is read
_HEADER = 2**16  # bytes that hold any header
_FLAGS = {"1": "train", "1.0": "train", "0": "test", "0.0": "test"}


@dataclass(frozen=True)
class Row:
    """A line of a table, its cells without blanks around them.

    Attributes:
        line: Its number in the file, from 1.
        cells: By column.
    """

    line: int
    cells: Mapping[str, str]


def header_of(path: Path) -> tuple[str, ...]:
    """Return the columns of a table, of its first bytes; none of what is no text."""
    if not path.is_file():  # a pipe would be waited for
        return ()
    try:
        with path.open("rb") as file:
            text = file.read(_HEADER).decode("utf-8-sig", errors="replace")
    except OSError:
        return ()
    first = text.partition("\n")[0]
    return _columns(first)


def read_rows(path: Path, columns: Sequence[str], *, needed: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of a table.

    Args:
        path: A CSV file with commas, semicolons or tabulators.
        columns: Those to return, as they are called in the published file; blanks around a name
            and its case do not matter, and a column that is missing gives empty cells.
        needed: Those of them that must be there and filled.

    Raises:
        UserError: When the file is no such table, or a cell that is needed is empty.
    """
    refuse_special(path)
    text = _text(path)
    found = _columns(text.partition("\n")[0])
    lacking = next((name for name in needed if name.casefold() not in map(str.casefold, found)), "")
    if lacking:
        shown = ", ".join(filter(None, found)) or "none"
        raise UserError(
            f"{path}: has no column '{lacking}' (found {shown}); use the table of the download."
        )
    by_name = {name.casefold(): name for name in columns}
    names = [by_name.get(name.casefold(), "") for name in found]
    reader = csv.reader(io.StringIO(text), delimiter=_separator(text.partition("\n")[0]))
    try:
        for number, cells in enumerate(reader):
            if not number or not any(cell.strip() for cell in cells):
                continue
            stripped = zip(names, (cell.strip() for cell in cells), strict=False)
            row = dict.fromkeys(columns, "") | {name: cell for name, cell in stripped if name}
            empty = next((name for name in needed if not row[name]), "")
            if empty:
                raise UserError(
                    f"{path}, line {reader.line_num}: '{empty}' is empty; fill it in or take the "
                    "line out."
                )
            yield Row(reader.line_num, row)
    except csv.Error as error:
        raise UserError(
            f"{path}, line {reader.line_num}: cannot be read as CSV ({error}); save the table anew."
        ) from error


def split_of(path: Path, row: Row, column: str = "Train") -> str:
    """Return "train" or "test" of a flag 1 or 0."""
    value = row.cells[column]
    if value not in _FLAGS:
        raise UserError(
            f"{path}, line {row.line}: {column} is '{value}'; it must be 1 (train) or 0 (test)."
        )
    return _FLAGS[value]


def label_of(path: Path, row: Row, known: Sequence[str], column: str = "Plane") -> int:
    """Return the number of a row's class."""
    value = row.cells[column]
    if value not in known:
        hint = near_miss(value, known)
        listed = "" if hint.startswith(" Known") else f" Known: {', '.join(known)}."
        raise UserError(f"{path}, line {row.line}: {column} is '{value}'.{hint}{listed}")
    return known.index(value)


def without_repeats(path: Path, rows: Sequence[Row], key: str) -> tuple[list[Row], list[str]]:
    """Return the rows without those that say the same again, and a note on how many there were.

    Raises:
        UserError: When two rows of a picture differ.
    """
    kept: dict[str, Row] = {}
    repeated = 0
    for row in rows:
        first = kept.setdefault(row.cells[key], row)
        if first is row:
            continue
        if first.cells != row.cells:
            differing = next(name for name in row.cells if first.cells[name] != row.cells[name])
            raise UserError(
                f"{path}, line {row.line}: '{row.cells[key]}' is in line {first.line} too, with "
                f"{differing} '{first.cells[differing]}' there and '{row.cells[differing]}' here; "
                "keep one of them."
            )
        repeated += 1
    notes = (
        [f"{repeated} line(s) of {path.name} repeat another and count once."] if repeated else []
    )
    return list(kept.values()), notes


def refuse_missing(path: Path, missing: Sequence[str], folder: str) -> None:
    """Refuse a table whose pictures are not all there: its splits would be other ones."""
    if missing:
        shown = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
        raise UserError(
            f"{path}: {len(missing)} of its pictures are not in {folder} ({shown}); unpack the "
            "download again, or take their lines out."
        )


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; check the path.") from error
    if len(content) > LONGEST:
        raise UserError(f"{path}: has more than {LONGEST >> 20} MB; use the table of the download.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    if b"\0" in content:
        raise UserError(
            f"{path}: is no plain text (a spreadsheet or UTF-16); save it as CSV in UTF-8."
        )
    return content.decode("cp1252", errors="replace")


def _separator(header: str) -> str:
    counts = Counter({one: header.count(one) for one in SEPARATORS})
    return counts.most_common(1)[0][0]


def _columns(header: str) -> tuple[str, ...]:
    """Return the names of a first line; none where it is no line of a table."""
    try:
        cells = next(csv.reader([header.rstrip("\r")], delimiter=_separator(header)), [])
    except csv.Error:
        return ()
    return tuple(cell.strip() for cell in cells)
