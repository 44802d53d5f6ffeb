"""The rows of a training's history, and which of them tells of the weights that were kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

# Of a network's outputs beside those it is to keep, on samples held out, in dB.
SIGNAL_TO_NOISE = "signal_to_noise"
# 0 in rows of epochs whose network was not yet as compressed as it shall be, and so no candidate.
SETTLED = "settled"

Row = Mapping[str, float]


def decisive(measured: Iterable[str], headline: str, mode: str) -> tuple[str, str]:
    """Return which validation metric chooses the weights, and whether "max" or "min" is best.

    Args:
        measured: Names of what is measured, without `val_`.
        headline: The task's own, which decides unless the training only keeps another network's
            outputs.
        mode: Of the headline.
    """
    return (SIGNAL_TO_NOISE, "max") if SIGNAL_TO_NOISE in set(measured) else (headline, mode)


def decided_by(rows: Sequence[Row], headline: str, mode: str) -> tuple[str, str]:
    """Return `decisive` of what rows of history.csv measured."""
    names = {name.removeprefix("val_") for row in rows for name in row if name.startswith("val_")}
    return decisive(names, headline, mode)


def best_row(rows: Sequence[Row], headline: str, mode: str) -> Row | None:
    """Return the first of the rows that are best by what decides; None where nothing was measured.

    The start, epoch 0, is the best only if no epoch is as good.

    Args:
        rows: Of history.csv; validation metrics have `val_` before their names.
        headline: The task's main metric.
        mode: "max" or "min".
    """
    name, mode = decided_by(rows, headline, mode)
    measured = [
        row
        for row in rows
        if row.get(SETTLED, 1) and not math.isnan(row.get(f"val_{name}", math.nan))
    ]
    measured.sort(key=lambda row: row["epoch"] == 0)
    if not measured:
        return None
    return (max if mode == "max" else min)(measured, key=lambda row: row[f"val_{name}"])


def epochs(rows: Sequence[Row]) -> int:
    """Return how many epochs were trained; a row of epoch 0 is of the start."""
    return sum(row.get("epoch", 1) > 0 for row in rows)
