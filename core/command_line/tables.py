"""What the commands print: tables and sentences for people, JSON for programs.

Results go to standard output, everything else (progress, notes beside JSON, errors) to standard
error, so that `--json` can be piped. Nothing is coloured when it does not go to a terminal.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from core.files import json_text, plain

_PIPE_WIDTH = 200  # columns of a table that does not go to a terminal


def say(text: str = "", *, aside: bool = False) -> None:
    """Print a line; `aside` sends it to standard error (what is not a result under `--json`)."""
    print(text, file=sys.stderr if aside else sys.stdout, flush=True)


def complain(text: str, label: str = "Error") -> None:
    """Print a sentence about a mistake on standard error, after its label."""
    coloured = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    title = f"\x1b[1;31m{label}:\x1b[0m" if coloured else f"{label}:"
    print(f"{title} {text}", file=sys.stderr, flush=True)


def show_json(value: Any) -> None:
    """Print a value as one JSON document (see `core.files.json_text`)."""
    print(json_text(value), end="", flush=True)


def show_table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str | None = None
) -> None:
    """Print a table; columns that hold only numbers are set to the right.

    Args:
        columns: Headings.
        rows: Cells by row; numbers are formatted by `text`, None and NaN become "–".
        title: A line above.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    terminal = sys.stdout.isatty()
    console = Console(
        file=sys.stdout,
        width=None if terminal else _PIPE_WIDTH,
        markup=False,
        emoji=False,
        highlight=False,
    )
    table = Table(box=SIMPLE_HEAD)
    for number, heading in enumerate(columns):
        numeric = all(row[number] is None or _is_number(row[number]) for row in rows)
        table.add_column(heading, justify="right" if rows and numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(text(cell) for cell in row))
    with console.capture() as rendered:
        console.print(table)
    lines = [line.rstrip() for line in rendered.get().splitlines()]
    body = "\n".join(lines).strip("\n")
    print(f"{title}\n{body}" if title else body, flush=True)


def show_records(records: Sequence[Mapping[str, Any]], *, title: str | None = None) -> None:
    """Print rows that are dictionaries of the same keys as a table.

    Args:
        records: At least one. `x_low` and `x_high` beside `x` are the ends of its 95 % interval,
            which becomes a single column.
        title: A line above.
    """
    ends = {name for name in records[0] if f"{name}_low" in records[0]}
    hidden = {f"{name}_{end}" for name in ends for end in ("low", "high")}
    columns: list[str] = []
    rows: list[list[Any]] = [[] for _ in records]
    for name in records[0]:
        if name in hidden:
            continue
        columns += [name.replace("_", " "), "95%"] if name in ends else [name.replace("_", " ")]
        for row, record in zip(rows, records, strict=True):
            row.append(record[name])
            if name in ends:
                row.append(_interval(record[f"{name}_low"], record[f"{name}_high"]))
    show_table(columns, rows, title=title)


def text(value: Any) -> str:
    """Return a cell: numbers with four significant digits and thousands, unknown ones as "–"."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return ", ".join(text(item) for item in value)
    if not _is_number(value):
        return str(value)
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, int):
        return f"{value:,}"
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3g}"
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    return f"{value:,.{max(0, 4 - whole)}f}"


def size(count: int | None) -> str:
    """Return a number of bytes in words: "1.31 MB" (of 10^6 bytes)."""
    if count is None:
        return "–"
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} B"


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV with a heading; columns in the order they first occur, gaps empty."""
    import csv
    import io

    columns = list(dict.fromkeys(name for row in rows for name in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        cells = {name: plain(value) for name, value in row.items()}
        writer.writerow(
            {n: " ".join(map(str, c)) if isinstance(c, list) else c for n, c in cells.items()}
        )
    return stream.getvalue()


def _interval(low: float | None, high: float | None) -> str | None:
    return None if low is None or high is None else f"{low:.3f}–{high:.3f}"


def _is_number(value: Any) -> bool:
    if isinstance(value, bool | str | bytes):
        return False
    return isinstance(value, int | float) or (hasattr(value, "item") and not value.shape)
