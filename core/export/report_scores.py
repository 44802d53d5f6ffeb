"""A report beyond its headline: tables and pictures of the Keras network's scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.export.report_markup import Html, join, number, section, table, tag, words
from core.export.report_pictures import Picture, figure, picture

if TYPE_CHECKING:
    from core.task import Scores, Task

MOST_ROWS = 60  # of a table; the page is read, `evaluate --json` is computed with


@dataclass(frozen=True)
class ScoreDetails:
    """What a domain says of its scores besides the summary.

    Attributes:
        tables: Name → rows, as in `core.task.Scores`.
        pictures: Encoded for the page.
    """

    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    pictures: Sequence[Picture] = ()


def score_details(task: Task, scores: Scores) -> ScoreDetails:
    """Return the tables and the encoded pictures of scores."""
    drawn = task.score_pictures(scores)
    return ScoreDetails(
        {name: rows for name, rows in scores.tables.items() if rows},
        [picture(words(name), image, drawn=True) for name, image in drawn.items()],
    )


def details_section(details: ScoreDetails | None) -> Html | None:
    """Return the section, or None where there is nothing to show."""
    if details is None or not (details.tables or details.pictures):
        return None
    figures = tag("div", join(map(figure, details.pictures), "\n"), class_="drawings")
    return section(
        "The scores in detail (Keras, float32)",
        figures if details.pictures else None,
        *(_table(name, rows) for name, rows in details.tables.items()),
    )


def _table(name: str, rows: Sequence[Mapping[str, Any]]) -> Html:
    """Return one table; the ends of an interval stand beside its value."""
    known = list(dict.fromkeys(key for row in rows for key in row))
    ends = {f"{key}_{end}" for key in known for end in ("low", "high")}
    columns = [key for key in known if key not in ends]
    cells = [[_cell(row, key) for key in columns] for row in rows[:MOST_ROWS]]
    text = sum(all(isinstance(row.get(key), str) for row in rows) for key in columns)
    left_out = len(rows) - MOST_ROWS
    said = f"{left_out} more rows; `evaluate --json` has all." if left_out > 0 else ""
    return join(
        (
            tag("h3", words(name)),
            table([words(key) for key in columns], cells, words=max(text, 1)),
            tag("p", said, class_="small") if said else "",
        )
    )


def _cell(row: Mapping[str, Any], key: str) -> Any:
    value = row.get(key)
    if value is None or isinstance(value, str):
        return value
    low, high = row.get(f"{key}_low"), row.get(f"{key}_high")
    if low is None or high is None:
        return number(value)
    return join((number(value), tag("small", f"{number(low)} – {number(high)}")))
