"""`gossamer modrec compare`: networks on the same frames, accuracy against SNR, and cost."""

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

if TYPE_CHECKING:
    from core.task import Scores

METRICS = ("average_accuracy", "high_snr_accuracy", "highest_accuracy", "highest_accuracy_snr")


def compare(
    ctx: typer.Context,
    sources: opt.Sources,
    data: opt.Data = None,
    format: opt.Format = None,
    split: opt.Split = None,
    calls: Annotated[int, opt.CALLS] = 200,
    csv: opt.Csv = None,
    plot: Plot = None,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Compare networks on the same test frames: accuracy against SNR, and cost.

    Without --data the runs must have been trained on the same data, whose test frames are taken. Of
    a run, size, MACs and latency are those of its .tflite file, for one frame on one thread.
    """
    from core.files import write_atomic

    task = task_of(ctx)
    claim_tables(csv, plot, overwrite=overwrite)
    comparison = Comparison(task, sources, data, format, split)
    whole, samples = comparison.whole, len(comparison.index)
    engines = comparison.engines()
    found = comparison.scores(engines)
    measured = [{name: scores.summary[name] for name in METRICS} for scores in found]
    rows = comparison.rows(engines, measured, calls)
    for row, scores in zip(rows, found, strict=True):
        row["by_snr"] = scores.tables["by_snr"]
    if csv is not None:
        write_atomic(csv, csv_text([_flat(row) for row in rows]))
    said = f"{samples:,} frames of {whole.root}, split {comparison.split}"
    if plot is not None:
        draw(plot, sources, found, said)
    if json:
        about = {"data": whole.root, "format": whole.format, "split": comparison.split,
                 "samples": samples, "protocol": found[0].protocol, "plot": plot}  # fmt: skip
        show_json({**about, "results": rows})
        return
    show(rows, said)
    say(f"Protocol: {found[0].protocol}")
    for path in (csv, plot):
        if path is not None:
            say(f"Saved: {path}")


def show(rows: Sequence[dict[str, Any]], title: str) -> None:
    """Print the table."""
    columns = ("network", "average", "labels from 0", "highest", "at label", "parameters", "MACs",
               "size", "ms")  # fmt: skip
    cells = [
        (r["source"], *(_share(r[name]) for name in METRICS[:3]), r["highest_accuracy_snr"],
         r["parameters"], r["macs"], size(r["file_bytes"]), r["median_ms"])
        for r in rows
    ]  # fmt: skip
    show_table(columns, cells, title=title)
    say_strangers(rows)


def draw(path: Path, sources: Sequence[Path], scores: Sequence[Scores], note: str) -> None:
    """Write the picture: a curve for each network, under its shortest name that is its own."""
    from apps.modulation_recognition.pictures import accuracy_picture
    from core.data.images import write_image

    short = [source.resolve().name for source in sources]
    names = [
        name if short.count(name) == 1 else str(source)
        for name, source in zip(short, sources, strict=True)
    ]
    curves = {name: one.details for name, one in zip(names, scores, strict=True)}
    write_image(path, accuracy_picture(curves, note=note))


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with a column for each SNR label in place of their table."""
    labels = {f"accuracy_snr_{one['snr']}": one["accuracy"] for one in row["by_snr"]}
    return {**{name: value for name, value in row.items() if name != "by_snr"}, **labels}


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1%}"
