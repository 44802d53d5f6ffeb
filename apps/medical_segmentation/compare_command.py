"""`gossamer medseg compare`: networks side by side on the same test images, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.command_line import options as opt
from core.command_line.comparing import cost, parameters_of
from core.command_line.program import task_of
from core.command_line.quiet import load_tensorflow
from core.command_line.tables import csv_text, say, show_json, show_table, size
from core.command_line.use import change_decoding, load_engine, owning_run
from core.errors import UserError

if TYPE_CHECKING:
    from apps.medical_segmentation.bootstrap import Bootstrap
    from core.data.index import Index
    from core.engines import Engine
    from core.run_folder import RunFolder
    from core.task import Scores, Task

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
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw the table as a picture too.")
    ] = None,
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
    from core.command_line.progress import track
    from core.evaluate import evaluate
    from core.files import claim_file, write_atomic

    task = task_of(ctx)
    if plot is not None and plot.suffix.lower() != ".png":
        raise UserError(f"{plot}: must end in .png; choose another --plot.")
    for path, option in ((csv, "--csv"), (plot, "--plot")):
        if path is not None:
            claim_file(path, overwrite=overwrite, option=option)
    if len({source.resolve() for source in sources}) < len(sources):
        raise UserError("A run or file is named twice; name each once.")
    runs = [owning_run(source, task) for source in sources]
    whole = shared_data(task, sources, runs, data, format)
    split = split or whole.held_out()
    index = whole.split(split)
    load_tensorflow()
    engines = [load_engine(task, source) for source in sources]
    for engine in engines:
        change_decoding(task, engine, opt.parse_settings(settings))
    check_comparable(sources, engines)
    cases = [f"group {s.group}" if s.group else f"image {s.id}" for s in index.samples]
    drawn = Bootstrap(cases, rounds=rounds, seed=seed)
    found: list[Scores] = []
    with track(len(sources) * len(index), "evaluating") as advance:
        for engine in engines:
            found.append(evaluate(task, engine, index, advance=advance))
    rows = []
    counted: dict[Path, int] = {}
    with track(len(sources), "measuring") as advance:
        for source, run, engine, scores in zip(sources, runs, engines, found, strict=True):
            row: dict[str, Any] = {"source": str(source), "network": engine.card.network,
                                   "variant": engine.card.variant}  # fmt: skip
            row |= intervals(drawn, scores, found[0])
            row |= cost(source, run, engine, calls)
            row["parameters"] = None if run is None else parameters_of(task, run, engine, counted)
            rows.append({**row, "same_data": trained_on(run, whole)})
            advance(1)
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


def shared_data(
    task: Task,
    sources: Sequence[Path],
    runs: Sequence[RunFolder | None],
    data: str | None,
    format: str | None,
) -> Index:
    """Return the data that all are tested on: what was named, or what all runs were trained on.

    Raises:
        UserError: When nobody names the data, or the runs were not trained on the same, so that the
            test images of one may be training images of another.
    """
    if data is not None:
        return task.read(data, format or "auto")
    known = [(s, r) for s, r in zip(sources, runs, strict=True) if r is not None and r.config.data]
    if not known:
        raise UserError("Nothing to compare on: pass --data PATH (or --data sample).")
    (first, run), *others = known
    found = run.record.get("data", {}).get("fingerprint")
    for source, other in others:
        if other.record.get("data", {}).get("fingerprint") != found:
            raise UserError(
                f"{source}: was trained on other data than {first} ({other.config.data}, "
                f"{run.config.data}); pass --data PATH, a test set that neither has seen."
            )
    whole = task.read(run.config.data, format or run.config.format)
    if whole.fingerprint() != found:
        raise UserError(
            f"{whole.root}: is not the data {first} was trained on (files were added, removed or "
            "changed), so its test images may be others; restore it or pass --data PATH."
        )
    return whole


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


def trained_on(run: RunFolder | None, index: Index) -> bool | None:
    """Return whether a run was trained on these data; None where that is not known."""
    known = None if run is None else run.record.get("data", {}).get("fingerprint")
    return None if known is None else known == index.fingerprint()


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
    others = [row["source"] for row in rows if row["same_data"] is not True]
    if others:
        say(f"Not trained on these data, or not known to be: {', '.join(others)}.")


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
