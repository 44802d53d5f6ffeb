"""`gossamer medseg compare`: networks side by side on the same test images, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.command_line import options as opt
from core.command_line.comparing import Comparison, Plot, claim_tables, say_strangers
from core.command_line.program import task_of
from core.command_line.tables import csv_text, say, show_json, show_table, size
from core.command_line.use import change_decoding
from core.errors import UserError

if TYPE_CHECKING:
    from apps.medical_segmentation.bootstrap import Bootstrap
    from core.engines import Engine
    from core.task import Scores

METRICS = ("dice", "iou", "hd95")


def compare(
    ctx: typer.Context,
    sources: opt.Sources,
    data: opt.Data = None,
    format: opt.Format = None,
    split: opt.Split = None,
    settings: opt.Settings = None,
    rounds: Annotated[
        int, typer.Option(min=100, help="How often cases are drawn anew for the intervals.")
    ] = 2000,
    seed: Annotated[int, opt.SEED] = 0,
    calls: Annotated[int, opt.CALLS] = 50,
    csv: opt.Csv = None,
    plot: Plot = None,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Compare networks on the same test images: Dice, IoU and HD95 with 95 % intervals, and cost.

    The intervals are of the bootstrap over cases, the same draws for all networks. Without --data
    the runs must have been trained on the same data, whose test images are taken. Of a run, size,
    MACs and latency are those of its .tflite file, on one thread.
    """
    from apps.medical_segmentation.bootstrap import LEVEL, Bootstrap
    from apps.medical_segmentation.volumes.volume_task import holds_volumes
    from core.files import write_atomic

    task = task_of(ctx)
    claim_tables(csv, plot, overwrite=overwrite)
    comparison = Comparison(task, sources, data, format, split)
    whole, index, split = comparison.whole, comparison.index, comparison.split
    engines = comparison.engines()
    for engine in engines:
        change_decoding(task, engine, opt.parse_settings(settings))
    check_comparable(sources, engines)
    cases = [f"group {s.group}" if s.group else f"image {s.id}" for s in index.samples]
    drawn = Bootstrap(cases, rounds=rounds, seed=seed)
    found = comparison.scores(engines)
    measured = [intervals(drawn, scores, found[0]) for scores in found]
    rows = comparison.rows(engines, measured, calls)
    unit = "mm" if holds_volumes(index) else "pixels"
    said = (f"{len(index)} samples ({drawn.cases} cases) of {whole.root}, split {split}; "
            f"{LEVEL:.0%} intervals of {rounds} bootstraps over cases, seed {seed}")  # fmt: skip
    if csv is not None:
        write_atomic(csv, csv_text(rows))
    if plot is not None:
        draw(plot, rows, said, unit)
    if json:
        about = {"data": whole.root, "format": whole.format, "split": split, "samples": len(index),
                 "cases": drawn.cases, "level": LEVEL, "rounds": rounds, "seed": seed,
                 "protocol": found[0].protocol, "plot": plot}  # fmt: skip
        show_json({**about, "results": rows})
        return
    show(rows, said, unit)
    say(f"Protocol: {found[0].protocol}")
    for path in (csv, plot):
        if path is not None:
            say(f"Saved: {path}")


def check_comparable(sources: Sequence[Path], engines: Sequence[Engine]) -> None:
    """Raise a `UserError` when scores of the networks would not mean the same."""

    def differing(what: str, values: Sequence[Any], advice: str) -> None:
        for source, value in zip(sources, values, strict=True):
            if value != values[0]:
                raise UserError(
                    f"{source}: has {what} {value}, but {sources[0]} has {values[0]}; {advice}."
                )

    differing(
        "the protocol",
        [engine.card.decode.get("protocol", "native") for engine in engines],
        "pass --set protocol=NAME",
    )
    classes = [max(1, len(engine.card.labels)) for engine in engines]
    differing("classes:", classes, "compare networks of the same classes")


def intervals(drawn: Bootstrap, scores: Scores, first: Scores) -> dict[str, float | None]:
    """Return the means with their intervals, and how the Dice differs from the first network's."""
    columns = {name: [row[name] for row in scores.per_sample] for name in METRICS}
    pairs = zip(scores.per_sample, first.per_sample, strict=True)
    columns["dice_difference"] = [row["dice"] - other["dice"] for row, other in pairs]
    found: dict[str, float | None] = {}
    for name, values in columns.items():
        if name == "dice_difference" and scores is first:
            found |= {f"{name}{end}": None for end in ("", "_low", "_high")}
            continue
        interval = drawn.interval(values)
        found |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return found


def show(rows: Sequence[dict[str, Any]], title: str, unit: str) -> None:
    """Print the table; distances are in `unit`."""
    columns = ("network", "Dice", "Dice less the first's", "IoU", f"HD95, {unit}", "parameters",
               "MACs", "size", "ms")  # fmt: skip
    cells = [
        (r["source"], _cell(r, "dice", 3), _cell(r, "dice_difference", 3), _cell(r, "iou", 3),
         _cell(r, "hd95", 1), r["parameters"], r["macs"], size(r["file_bytes"]), r["median_ms"])
        for r in rows
    ]  # fmt: skip
    show_table(columns, cells, title=title)
    say_strangers(rows)


def draw(path: Path, rows: Sequence[dict[str, Any]], note: str, unit: str) -> None:
    """Write the picture of the table; distances are in `unit`."""
    from core.data.images import write_image
    from core.export.interval_plot import Panel, interval_plot

    def triples(*names: str, scale: float = 1.0) -> list[tuple[float, float, float]]:
        return [tuple(row[name] * scale for name in names) for row in rows]

    panels = [
        Panel(title, triples(name, f"{name}_low", f"{name}_high"), decimals)
        for title, name, decimals in (("Dice", "dice", 3), ("IoU", "iou", 3),
                                      (f"HD95, {unit}", "hd95", 1))
    ]  # fmt: skip
    panels.append(Panel("latency, ms (p10 to p90)", triples("median_ms", "p10_ms", "p90_ms"), 1))
    panels.append(Panel("size, MB", triples(*["file_bytes"] * 3, scale=1e-6), 2))
    write_image(path, interval_plot([row["source"] for row in rows], panels, note))


def _cell(row: dict[str, Any], name: str, decimals: int) -> str:
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    if value is None or math.isnan(value):
        return "–"
    sign = "+" if name == "dice_difference" else ""
    return f"{value:{sign}.{decimals}f} ({low:.{decimals}f} … {high:.{decimals}f})"
