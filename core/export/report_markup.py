"""HTML from Python values, safe by construction, and the forms numbers take on a page.

Text becomes markup only through `tag`, which escapes whatever is not `Html` already: a label or a
sample id named `<script>` is shown, not run.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

MISSING = "–"
_VOID = ("img", "meta", "br")
_LONG = 110  # characters; a fact that is longer takes the whole width
_CLOSE = "\n"  # between block elements, so that the file can be read and compared


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def tag(name: str, /, *children: Any, **attributes: Any) -> Html:
    """Return an element.

    Args:
        name: Of the element.
        children: `Html` is taken as it is, None is left out, anything else is escaped text.
        attributes: Values are escaped; None leaves the attribute out. A trailing underscore is
            dropped (`class_`), inner ones become hyphens.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(children)}</{name}>")


def join(children: Iterable[Any], between: str = "") -> Html:
    """Return the children one after the other; see `tag` for what is escaped."""
    parts = (c if isinstance(c, Html) else html.escape(str(c)) for c in children if c is not None)
    return Html(between.join(parts))


def section(title: str, *children: Any) -> Html:
    """Return a section of the page under a heading; None among the children is left out."""
    return tag("section", tag("h2", title), join(children, "\n"))


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    words: int = 1,
    strong: int | None = None,
) -> Html:
    """Return a table that scrolls sideways where the screen is narrow.

    Args:
        columns: Headings.
        rows: Cells, escaped as by `tag`; None is shown as "–".
        words: The first so many columns hold words and are set to the left, the others numbers.
        strong: Position of the column that matters most.
    """

    def kind(position: int) -> str | None:
        names = ["" if position < words else "n", "strong" if position == strong else ""]
        return " ".join(filter(None, names)) or None

    head = [tag("th", name, scope="col", class_=kind(i)) for i, name in enumerate(columns)]
    body = [
        tag(
            "tr",
            *(
                tag("td", MISSING if cell is None else cell, class_=kind(i))
                for i, cell in enumerate(row)
            ),
        )
        for row in rows
    ]
    content = (tag("thead", tag("tr", *head)), tag("tbody", join(body, _CLOSE)))
    return tag("div", tag("table", *content), class_="scroll", tabindex="0")


def facts(pairs: Iterable[tuple[str, Any]]) -> Html:
    """Return a list of names and values; None and empty values are shown as "–"."""
    items = [
        tag(
            "div",
            tag("dt", name),
            tag("dd", MISSING if value in (None, "", ()) else value),
            class_="wide" if isinstance(value, str) and len(value) > _LONG else None,
        )
        for name, value in pairs
    ]
    return tag("dl", join(items, _CLOSE), class_="facts")


def chips(words: Iterable[str]) -> Html | None:
    """Return words as a row of small boxes, or None when there are none."""
    made = [tag("span", word, class_="chip") for word in words]
    return tag("span", *made, class_="chips") if made else None


def number(value: Any, digits: int = 4) -> str:
    """Return a number with `digits` significant digits and thousands, "–" for None and NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value and not 1e-3 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.{max(0, digits - 2)}e}".split("e")
        return _minus(f"{mantissa}e{int(exponent)}")
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    return _minus(f"{value:,.{max(0, digits - whole)}f}")


def size(count: int | None) -> str:
    """Return a number of bytes in words: "1.31 MB" (of 10^6 bytes)."""
    return _scaled(count, ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")), "B")


def amount(count: int | None) -> str:
    """Return a large count in words: "62.4 M"."""
    return _scaled(count, ((10**9, "G"), (10**6, "M"), (10**3, "k")), "")


def milliseconds(value: float | None) -> str:
    """Return a time with three significant digits: "4.12 ms"."""
    return MISSING if value is None else f"{number(float(value), 3)} ms"


def change(value: float) -> str:
    """Return a difference in words: "−0.0012 against Keras"."""
    if not value or math.isnan(value):
        return "equal to Keras" if not value else MISSING
    if abs(value) < 5e-5:
        return "within 0.0001 of Keras"
    return f"{_minus(f'{value:+.4f}')} against Keras"


def words(name: str) -> str:
    """Return a field's or column's name as words: "dice_pooled" is "dice pooled"."""
    return re.sub(r"[_\s]+", " ", name).strip()


def _scaled(count: int | None, units: Sequence[tuple[int, str]], smallest: str) -> str:
    if count is None:
        return MISSING
    for factor, unit in units:
        if count >= factor:
            value = count / factor
            return f"{value:.{max(0, 3 - len(str(int(value))))}f} {unit}"
    return f"{count} {smallest}".strip()


def _minus(shown: str) -> str:
    return shown.replace("-", "−") if shown.startswith("-") else shown
