"""Line charts as inline SVG: axes with round ticks, curves with gaps, one marked epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from core.export.report_markup import Html, number, tag

WIDTH, HEIGHT = 360, 230
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 20, 34
MAX_LINES = 5
_LARGEST = 1e100  # of a value that is drawn: round numbers around larger ones overflow

Points = Sequence[tuple[float, float]]


def training_charts(
    history: Sequence[Mapping[str, float]], headline: str, *, best_epoch: int | None
) -> list[Html]:
    """Return the charts of a training: loss, validation metrics, learning rate.

    Args:
        history: Rows of history.csv.
        headline: Name of the metric that chose the best epoch; its curve comes first.
        best_epoch: The epoch to mark; None marks none.
    """
    names = list(dict.fromkeys(name for row in history for name in row))
    curves = {name: _points(history, name) for name in names}
    curves = {name: points for name, points in curves.items() if points}
    losses = [n for n in curves if "loss" in n]
    groups = (
        ("Loss", [n for n in ("loss", *losses) if n in losses]),
        ("Validation", _comparable(curves, f"val_{headline}")),
        ("Learning rate", [n for n in ("learning_rate",) if n in curves]),
    )
    made = []
    for title, chosen in groups:
        shown = {name: curves[name] for name in list(dict.fromkeys(chosen))[:MAX_LINES]}
        if shown:
            labels = {n: n.removeprefix("val_").replace("_", " ") for n in shown}
            if title == "Loss":
                labels = {n: n.replace("_", " ") for n in shown}
            made.append(chart(title, {labels[n]: p for n, p in shown.items()}, mark=best_epoch))
    return made


def chart(title: str, curves: Mapping[str, Points], *, mark: float | None = None) -> Html:
    """Return a figure with a line for each curve and a legend.

    Args:
        title: Above the chart.
        curves: (x, y) by name, x rising; the first is drawn strongest.
        mark: An x to mark with a line, and a dot where the first curve has a point there.
    """
    xs = [x for points in curves.values() for x, _ in points]
    ys = [y for points in curves.values() for _, y in points]
    x_ticks = _epoch_ticks(min(xs), max(xs))
    y_ticks = ticks(min(ys), max(ys))
    x_low, x_high = min(xs), max(max(xs), min(xs) + 1)
    y_low, y_high = y_ticks[0], y_ticks[-1]

    def place(x: float, y: float) -> tuple[float, float]:
        right = LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        down = HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)
        return round(right, 1), round(down, 1)

    parts = []
    for y in y_ticks:
        _, down = place(x_low, y)
        parts.append(_line(LEFT, down, WIDTH - RIGHT, down, "grid"))
        parts.append(_text(LEFT - 7, down + 3.5, _tick(y, y_ticks), "end"))
    for x in x_ticks:
        right, _ = place(x, y_low)
        parts.append(_line(right, HEIGHT - BOTTOM, right, HEIGHT - BOTTOM + 4, "axis"))
        parts.append(_text(right, HEIGHT - BOTTOM + 16, number(int(x)), "middle"))
    parts.append(_line(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, "axis"))
    parts.append(_text(WIDTH - RIGHT, HEIGHT - 3, "epoch", "end"))
    if mark is not None and x_low <= mark <= x_high:
        right, _ = place(mark, y_low)
        parts.append(_line(right, TOP - 4, right, HEIGHT - BOTTOM, "mark"))
        anchor = "start" if right < WIDTH / 3 else "end" if right > WIDTH * 2 / 3 else "middle"
        parts.append(_text(right, TOP - 9, f"best: epoch {int(mark)}", anchor))
    for position, points in reversed(list(enumerate(curves.values()))):
        spots = [place(x, y) for x, y in points]
        if len(spots) == 1:
            parts.append(_dot(*spots[0], f"line{position}"))
        else:
            path = " ".join(f"{x},{y}" for x, y in spots)
            parts.append(tag("polyline", points=path, class_=f"curve line{position}"))
        parts += [_dot(*place(x, y), "line0") for x, y in points if not position and x == mark]
    drawn = tag(
        "svg",
        tag("title", f"{title} by epoch"),
        *parts,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        class_="chart",
    )
    legend = [
        tag("span", tag("i", class_=f"swatch line{position}"), name)
        for position, name in enumerate(curves)
    ]
    named = len(curves) > 1 or title.lower() not in curves
    return tag(
        "figure",
        tag("figcaption", title),
        drawn,
        tag("div", *legend, class_="legend") if named else None,
        class_="plot",
    )


def ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Return about `count` round numbers, 1, 2 or 5 times a power of ten apart, around a range."""
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-12):
        spread = abs(high) / 2 or 1.0
        low, high = low - spread, high + spread
    rough = (high - low) / max(1, count - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{n * step:.12g}") for n in range(first, last + 1)]


def _epoch_ticks(low: float, high: float) -> list[float]:
    if high - low <= 6:
        return [float(n) for n in range(int(low), int(high) + 1)]
    return [low, *(t for t in ticks(low, high, 6) if low + (high - low) / 12 < t <= high)]


def _points(history: Sequence[Mapping[str, float]], name: str) -> list[tuple[float, float]]:
    """Return (epoch, value) where a column has a value that can be drawn."""
    found = ((float(row.get("epoch", n + 1)), row.get(name)) for n, row in enumerate(history))
    return [(x, float(y)) for x, y in found if y is not None and abs(y) < _LARGEST]


def _comparable(curves: Mapping[str, Points], headline: str) -> list[str]:
    """Return the validation metrics to draw: the headline and those on the same scale, 0 to 1."""

    def is_share(name: str) -> bool:
        return all(0 <= y <= 1 for _, y in curves[name])

    others = [n for n in curves if n.startswith("val_") and "loss" not in n and n != headline]
    if headline not in curves:
        return [n for n in others if is_share(n)]
    return [headline, *(n for n in others if is_share(headline) and is_share(n))]


def _tick(value: float, among: Sequence[float]) -> str:
    """Return a tick's label, with as many decimals as the distance of ticks needs."""
    largest = max(abs(t) for t in among)
    if value == 0:
        return "0"
    if largest < 1e-2 or largest >= 1e5:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}".replace("-", "−")
    decimals = max(0, -math.floor(math.log10(among[1] - among[0]) + 1e-9))
    return f"{value:,.{decimals}f}".replace("-", "−")


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Html:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def _text(x: float, y: float, content: str, anchor: str) -> Html:
    return tag("text", content, x=round(x, 1), y=round(y, 1), text_anchor=anchor)


def _dot(x: float, y: float, kind: str) -> Html:
    return tag("circle", cx=x, cy=y, r=3.5, class_=f"dot {kind}")
