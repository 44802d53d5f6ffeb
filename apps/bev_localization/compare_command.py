"""`gossamer bev compare`: networks and peers on the same scans, places, poses and cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.command_line import options as opt
from core.command_line.comparing import claim_tables, cost, parameters_of, shared_data
from core.command_line.program import task_of
from core.command_line.tables import csv_text, say, show_json, show_table, size
from core.command_line.use import change_decoding, load_engine, owning_run
from core.errors import UserError, no_such

if TYPE_CHECKING:
    from core.data.index import Index
    from core.engines import Engine
    from core.task import Scores, Task

SCAN_CONTEXT = "scan-context"
METRICS = ("recall_1", "recall_5", "recall_20", "recall_taken", "average_precision", "max_f1",
           "pose_success", "pose_median_metres", "pose_median_degrees")  # fmt: skip
COST = ("precision", "macs", "file_bytes", "median_ms", "p10_ms", "p90_ms")
DECODING = (
    "protocol",
    "database",
    "candidates",
    "center_cells",
)  # what of a card says how it is scored
NETVLAD, MEAN = "netvlad", "mean"


def compare(
    ctx: typer.Context,
    methods: Annotated[
        list[str],
        typer.Argument(
            metavar=f"RUN|FILE.tflite|{SCAN_CONTEXT}...", help="Networks, and the peer by its name."
        ),
    ],
    data: opt.Data = None,
    format: opt.Format = None,
    split: opt.Split = None,
    mean_pooled: Annotated[
        bool,
        typer.Option(help="Every network again with the mean of its local features for NetVLAD."),
    ] = False,
    calls: Annotated[int, opt.CALLS] = 20,
    settings: opt.Settings = None,
    csv: opt.Csv = None,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Compare networks, and Scan Context, on the same scans: places found, poses, and cost.

    Places and poses are counted as evaluate counts them. Scan Context (IROS 2018) reads the points,
    not the image, and tells no position; of its candidates the 25 with the nearest ring keys are
    compared. Latency is that of a network's .tflite file on one thread.
    """
    from apps.bev_localization.peers.scan_context_scores import scan_context_scores
    from apps.bev_localization.places import check_protocol
    from core.command_line.progress import track
    from core.files import write_atomic

    task = task_of(ctx)
    claim_tables(csv, None, overwrite=overwrite)
    if len(set(methods)) < len(methods):
        raise UserError("A network is named twice; name each once.")
    changes = opt.parse_settings(settings)
    if SCAN_CONTEXT in methods:
        for name in changes:
            if name not in DECODING:
                raise no_such("key", name, DECODING, where="--set")
        check_protocol(changes.get("protocol", "auto"))
    files = [Path(name) for name in methods if name != SCAN_CONTEXT]
    runs = {file: owning_run(file, task) for file in files}
    whole = shared_data(task, files, list(runs.values()), data, format)
    split = split or whole.held_out()
    index = whole.split(split)
    rows: list[dict[str, Any]] = []
    protocols: list[str] = []
    rounds = len(methods) + len(files) * mean_pooled
    with track(rounds * len(index), "looking up") as advance:
        for name in methods:
            if name == SCAN_CONTEXT:
                scores = scan_context_scores(index.samples, changes, advance)
                rows.append(_row(name, SCAN_CONTEXT, scores, dict.fromkeys((*COST, "parameters"))))
                protocols.append(scores.protocol)
                continue
            run = runs[Path(name)]
            engine = load_engine(task, Path(name))
            change_decoding(task, engine, changes)
            spent = cost(Path(name), run, engine, calls)
            spent["parameters"] = None if run is None else parameters_of(task, run, engine, {})
            for pooling in (NETVLAD, *((MEAN,) if mean_pooled else ())):
                scores = _by_network(task, engine, pooling, index, advance)
                rows.append(_row(name, pooling, scores, spent))
                protocols.append(scores.protocol)
    if csv is not None:
        write_atomic(csv, csv_text(rows))
    if json:
        about = {"data": whole.root, "format": whole.format, "split": split,
                 "samples": len(index), "protocol": protocols[0]}  # fmt: skip
        show_json({**about, "results": rows})
        return
    show(rows, f"{len(index)} scans of {whole.root}, split {split}")
    for text in dict.fromkeys(protocols):
        say(text)
    if csv is not None:
        say(f"Saved: {csv}")


def show(rows: Sequence[dict[str, Any]], title: str) -> None:
    """Print the table."""
    columns = ("network", "descriptor", "recall@1", "recall@5", "recall@20", "taken", "AP",
               "poses", "median m", "median °", "MACs", "size", "ms")  # fmt: skip
    cells = [
        (r["source"], r["descriptor"],
         *(r[name] for name in METRICS if name != "max_f1"),
         r["macs"], size(r["file_bytes"]), r["median_ms"])
        for r in rows
    ]  # fmt: skip
    show_table(columns, cells, title=title)


def _row(source: str, descriptor: str, scores: Scores, spent: dict[str, Any]) -> dict[str, Any]:
    measured = {name: scores.summary.get(name) for name in METRICS}
    costs = {name: spent[name] for name in (*COST, "parameters")}
    return {"source": source, "descriptor": descriptor, **measured, **costs}


def _by_network(task: Task, engine: Engine, pooling: str, index: Index, advance) -> Scores:
    from apps.bev_localization.peers.mean_pooled import MeanPooled
    from core.evaluate import evaluate

    asked = MeanPooled(engine) if pooling == MEAN else engine
    return evaluate(task, asked, index, advance=advance)
