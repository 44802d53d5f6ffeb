"""Bar charts as inline SVG: a histogram of weights, and a bar for each layer of a network."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from core.export.report_chart import ticks
from core.export.report_markup import Html, number, tag

WIDTH, HEIGHT, WIDE = 360, 200, 1000
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 20, 34
HIGHEST = 80.0  # dB; what is above comes from layers that hardly change
CUT = 2.5  # a bar that is so many times higher than all others is cut off, its value beside it


def histogram(title: str, counts: Sequence[int]) -> Html:
    """Return a figure of the share of weights by size, from −m to m, m the largest magnitude.

    Args:
        title: Above the chart.
        counts: An odd number of equal bins; the middle one holds zero.
    """
    total = sum(counts) or 1
    shares = [100.0 * count / total for count in counts]
    highest, second = sorted(shares, reverse=True)[:2]
    cut = second > 0 and highest > CUT * second
    marks = ticks(0.0, second * 1.3 if cut else highest or 1.0, 5)
    frame = _Frame(WIDTH, marks)
    parts = frame.lines("%")
    step = frame.width / len(shares)
    for position, share in enumerate(shares):
        left = LEFT + position * step
        parts.append(_bar(left, frame.y(share), step - 0.6, frame.floor, 0, None))
        if cut and share == highest:
            middle = left + step / 2
            parts += [
                _text(middle + step, TOP + 8, f"{number(share, 3)} %", "start"),
                _line(left - 2, TOP + 14, left + step + 1, TOP + 10, "axis"),
            ]
    for share, label in ((0.0, "−1"), (0.5, "0"), (1.0, "1")):
        parts.append(_text(LEFT + share * frame.width, HEIGHT - BOTTOM + 16, label, "middle"))
    parts.append(_text(WIDTH - RIGHT, HEIGHT - 3, "weight / largest of its kernel", "end"))
    drawn = _svg(f"{title}: share of the weights by size", WIDTH, parts)
    return tag("figure", tag("figcaption", title), drawn, class_="plot")


def layer_bars(
    title: str,
    names: Sequence[str],
    bars: Sequence[float],
    dots: Sequence[float],
    marked: Collection[int],
) -> Html:
    """Return a figure with a bar and a dot for each layer, in decibels, and a legend.

    Args:
        title: Above the chart.
        names: Of the layers, shown when one points at a bar.
        bars: What has gathered up to a layer; infinite ones, without noise, are left out.
        dots: The layer's own.
        marked: Positions that stand out, numbered by their order.
    """
    finite = [min(value, HIGHEST) for value in (*bars, *dots) if math.isfinite(value)]
    marks = ticks(min([0.0, *finite]), max([1.0, *finite]), 6)
    frame = _Frame(WIDE, marks)
    parts = frame.lines("dB")
    step = frame.width / max(1, len(bars))
    base = frame.y(0.0)
    for position, (name, bar, dot) in enumerate(zip(names, bars, dots, strict=True)):
        left, is_marked = LEFT + position * step, position in marked
        said = f"{name}: {_decibels(bar)}, own {_decibels(dot)}"
        gap = min(1.0, step / 4)
        if math.isfinite(bar):
            colour = 1 if is_marked else 0
            parts.append(_bar(left, frame.y(bar), step - gap, base, colour, said))
        if math.isfinite(dot) and dot <= marks[-1]:
            radius = 3.0 if is_marked else max(0.8, min(2.5, step / 3))
            parts.append(_dot(left + (step - gap) / 2, frame.y(dot), radius))
    for rank, position in enumerate(marked, start=1):
        middle = LEFT + (position + 0.5) * step
        height = frame.y(max(v for v in (bars[position], dots[position], 0.0) if math.isfinite(v)))
        parts.append(_text(middle, max(TOP + 4, height - 7), str(rank), "middle"))
    parts.append(_text(WIDE - RIGHT, HEIGHT - 3, f"{len(bars)} layers in order", "end"))
    drawn = tag(
        "div",
        _svg(title, WIDE, parts, style="max-width: none; min-width: 760px"),
        class_="scroll",
        tabindex="0",
    )
    legend = [
        _legend("gathered up to the layer", 0),
        _legend("the same, of the layers named below", 1),
        tag("span", tag("i", class_="swatch line2"), "the layer's own"),
    ]
    return tag(
        "figure",
        tag("figcaption", title),
        drawn,
        tag("div", *legend, class_="legend"),
        class_="plot",
    )


class _Frame:
    """Axes of a chart: where a value stands."""

    def __init__(self, width: int, marks: Sequence[float]):
        self.right, self.marks = width - RIGHT, marks
        self.width, self.floor = width - LEFT - RIGHT, HEIGHT - BOTTOM

    def y(self, value: float) -> float:
        """Return the height of a value; what is above the highest mark stands on it."""
        low, high = self.marks[0], self.marks[-1]
        share = (min(value, high) - low) / (high - low)
        return round(self.floor - share * (self.floor - TOP), 1)

    def lines(self, unit: str) -> list[Html]:
        """Return the grid with the labels of the marks, the highest with its unit."""
        parts = []
        for mark in self.marks:
            y, last = self.y(mark), mark == self.marks[-1]
            parts.append(_line(LEFT, y, self.right, y, "axis" if not mark else "grid"))
            label = f"{mark:g}".replace("-", "−") + (f" {unit}" if last else "")
            parts.append(_text(LEFT - 6, y + 3.5, label, "end"))
        return parts


def _bar(left: float, top: float, width: float, base: float, line: int, said: str | None) -> Html:
    top, base = min(top, base), max(top, base)
    return tag(
        "rect",
        tag("title", said) if said else None,
        x=round(left, 2),
        y=round(top, 1),
        width=round(max(width, 0.5), 2),
        height=round(base - top, 1),
        style=f"fill: var(--line{line}); opacity: {0.75 if not line else 1}",
    )


def _dot(x: float, y: float, radius: float) -> Html:
    return tag("circle", cx=round(x, 1), cy=y, r=round(radius, 1), style="fill: var(--line2)")


def _legend(name: str, line: int) -> Html:
    return tag("span", tag("i", class_=f"swatch line{line}"), name)


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Html:
    return tag("line", x1=round(x1, 1), y1=y1, x2=round(x2, 1), y2=y2, class_=kind)


def _text(x: float, y: float, content: str, anchor: str) -> Html:
    return tag("text", content, x=round(x, 1), y=round(y, 1), text_anchor=anchor)


def _svg(title: str, width: int, parts: Sequence[Html], style: str | None = None) -> Html:
    return tag(
        "svg",
        tag("title", title),
        *parts,
        viewBox=f"0 0 {width} {HEIGHT}",
        role="img",
        class_="chart",
        style=style,
    )


def _decibels(value: float) -> str:
    return f"{value:.1f} dB".replace("-", "−") if math.isfinite(value) else "no noise"
