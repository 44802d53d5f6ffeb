"""`gossamer lines compare`: detectors, and what other programs found, on the same pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.line_segments.opening import DETECTOR, is_predictions, open_detector
from core.command_line import options as opt
from core.command_line.comparing import Plot, claim_tables, cost, parameters_of, shared_data
from core.command_line.program import task_of
from core.command_line.tables import csv_text, say, show_json, show_table, size
from core.command_line.use import owning_run
from core.data.index import spread
from core.errors import UserError

if TYPE_CHECKING:
    from apps.line_segments.detections import Detections
    from core.data.index import Index, Sample
    from core.task import Scores, Task

METRICS = ("fh", "aph", "sap5", "sap10", "sap15", "msap")
COST = ("precision", "macs", "file_bytes", "median_ms", "p10_ms", "p90_ms")


@dataclass(frozen=True)
class _Found:
    """What one detector found on all pictures.

    Attributes:
        kind: "network", "classical" or "predictions".
        results: (sample, segments) of each picture.
        grouping_ms: Milliseconds without the network, the median over pictures; None where another
            program took them.
        cost: Of a network, what its file costs, and its parameters.
    """

    kind: str
    results: Sequence[tuple[Sample, Detections]]
    grouping_ms: float | None
    cost: dict[str, Any]


def compare(
    ctx: typer.Context,
    detectors: Annotated[
        list[str],
        typer.Argument(
            metavar=f"{DETECTOR}|PREDICTIONS...",
            help="Networks, classical detectors, and what other programs wrote.",
        ),
    ],
    data: opt.Data = None,
    format: opt.Format = None,
    split: opt.Split = None,
    samples: Annotated[int | None, opt.SAMPLES] = None,
    protocol: Annotated[
        str,
        typer.Option(
            metavar="hawp|lcnn|lcnn_merged",
            help="Whose drawing and thresholds F^H has; the last merges segments first (†).",
        ),
    ] = "hawp",
    calls: Annotated[int, opt.CALLS] = 50,
    settings: opt.Settings = None,
    csv: opt.Csv = None,
    plot: Plot = None,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Compare detectors on the same pictures: F^H, sAP, and what they cost.

    Detectors are runs, .tflite files, lsd and opencv. Segments that other programs found are read
    from their files: a folder of LSDNet's .txt or L-CNN's .npz files, a JSON list as HAWP writes
    it and detect too, LabelMe's .json files. Latency is that of the network's .tflite file on one
    thread; grouping, and all of a classical detector, is timed on the pictures.
    """
    from apps.line_segments.evaluation import case_of, line_scores, protocol_named
    from core.command_line.progress import track
    from core.files import write_atomic

    task = task_of(ctx)
    protocol_named(protocol)
    claim_tables(csv, plot, overwrite=overwrite)
    if len(set(detectors)) < len(detectors):
        raise UserError("A detector is named twice; name each once.")
    changes = opt.parse_settings(settings)
    sources = [Path(name) for name in detectors if not is_predictions(name)]
    known = [(source, owning_run(source, task)) for source in sources if source.exists()]
    whole = shared_data(task, [s for s, _ in known], [run for _, run in known], data, format)
    split = split or whole.held_out()
    index = spread(whole.split(split), samples)
    bare = [sample for sample in index.samples if not sample.targets]
    if bare:
        raise UserError(f"{bare[0].inputs[0]}: has no annotation to be scored with.")
    rows: list[dict[str, Any]] = []
    scored: dict[str, Scores] = {}
    with track(len(detectors) * len(index), "detecting") as advance:
        for name in detectors:
            if is_predictions(name):
                found = _read(Path(name), index)
                advance(len(index))
            else:
                found = _run(task, name, index, changes, calls, advance)
            truths = _truths(index)
            named = [(s.id, case_of(one, truths[s.id])) for s, one in found.results]
            scores = scored[name] = line_scores(named, protocol)
            rows.append(
                {
                    "source": name,
                    "kind": found.kind,
                    **{metric: scores.summary[metric] for metric in METRICS},
                    "best_threshold": scores.details.best_threshold,
                    "grouping_ms": found.grouping_ms,
                    **found.cost,
                }
            )
    if csv is not None:
        write_atomic(csv, csv_text(rows))
    if plot is not None:
        from apps.line_segments.curve_picture import curve_picture
        from core.data.images import write_image

        write_image(plot, curve_picture({name: one.details for name, one in scored.items()}))
    title = f"{len(index)} pictures of {whole.root}, split {split}"
    first = next(iter(scored.values()))
    if json:
        about = {"data": whole.root, "format": whole.format, "split": split, "samples": len(index),
                 "protocol": first.protocol, "plot": plot}  # fmt: skip
        show_json({**about, "results": rows})
        return
    show(rows, title)
    for text in dict.fromkeys(one.protocol for one in scored.values()):
        say(f"Protocol: {text}")
    for path in (csv, plot):
        if path is not None:
            say(f"Saved: {path}")


def show(rows: Sequence[dict[str, Any]], title: str) -> None:
    """Print the table."""
    columns = ("detector", "F^H", "at score", "AP^H", "sAP5", "sAP10", "sAP15", "network ms",
               "grouping ms", "parameters", "MACs", "size")  # fmt: skip
    cells = [
        (r["source"], r["fh"], r["best_threshold"], r["aph"], r["sap5"], r["sap10"], r["sap15"],
         r["median_ms"], r["grouping_ms"], r["parameters"], r["macs"], size(r["file_bytes"]))
        for r in rows
    ]  # fmt: skip
    show_table(columns, cells, title=title)


def _read(path: Path, index: Index) -> _Found:
    from apps.line_segments.predictions import read_predictions

    results, notes = read_predictions(path, index.samples)
    for note in notes:
        say(note, aside=True)
    return _Found("predictions", results, None, dict.fromkeys((*COST, "parameters")))


def _run(task: Task, name: str, index: Index, changes: dict, calls: int, advance) -> _Found:
    """Return what a detector finds; its network's cost is that of its .tflite file."""
    import numpy as np

    from apps.line_segments.detectors import NetworkDetector
    from core.data.images import read_image

    finds = open_detector(task, name, changes)
    results, times = [], []
    for sample in index.samples:
        timed = finds(read_image(sample.inputs[0]))
        results.append((sample, timed.found))
        times.append(timed.grouping_ms)
        advance(1)
    median = float(np.median(times))
    if not isinstance(finds, NetworkDetector):
        return _Found("classical", results, median, dict.fromkeys((*COST, "parameters")))
    source = Path(name)
    run = owning_run(source, task)
    spent = cost(source, run, finds.engine, calls)
    spent["parameters"] = None if run is None else parameters_of(task, run, finds.engine, {})
    return _Found("network", results, median, {key: spent[key] for key in (*COST, "parameters")})


def _truths(index: Index) -> dict[str, Any]:
    from apps.line_segments.data import read_truth

    return {sample.id: read_truth(sample).segments for sample in index.samples}
