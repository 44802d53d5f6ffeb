"""The cross-domain table: networks by the data sets they are tested on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from core.command_line import options as opt
from core.command_line.program import task_of
from core.command_line.tables import csv_text, say, show_json, show_table
from core.command_line.use import change_decoding, check_source, load_engine, owning_run
from core.errors import UserError


def cross(
    ctx: typer.Context,
    sources: Annotated[
        list[Path], typer.Argument(metavar="RUN|FILE.tflite...", help="Networks to compare.")
    ],
    data: Annotated[
        list[str], typer.Option(metavar="PATH|sample", help="A data set; give it several times.")
    ],
    format: opt.Format = "auto",
    rerank: Annotated[
        str, typer.Option(metavar="off|library|authors", help="k-reciprocal re-ranking.")
    ] = "off",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Also write the table there.")
    ] = None,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Test every network on every data set: Rank-1 and mAP in percent, each by its own distance.

    A network that was trained on the data set it is tested on is marked *: all others tell how far
    it carries over.
    """
    from core.command_line.progress import track
    from core.evaluate import evaluate
    from core.files import write_atomic

    task = task_of(ctx)
    if len(set(data)) < len(data):
        raise UserError("--data names a data set twice; name each once.")
    if out is not None and out.exists() and not overwrite:
        raise UserError(f"{out}: exists; pass --overwrite to replace it, or choose another --out.")
    for source in sources:
        check_source(source)
    runs = [owning_run(source, task) for source in sources]
    found = {}
    for name in data:
        whole = task.read(name, format)
        found[name] = whole.fingerprint(), whole.split(whole.held_out())
    rows = []
    total = len(sources) * sum(len(index) for _, index in found.values())
    with track(total, "evaluating") as advance:
        for source, run in zip(sources, runs, strict=True):
            engine = load_engine(task, source)
            change_decoding(task, engine, {"rerank": rerank})
            trained_on = {} if run is None else run.record.get("data", {})
            for name, (fingerprint, index) in found.items():
                scores = evaluate(task, engine, index, advance=advance)
                rows.append(
                    {
                        "network": str(source),
                        "trained on": trained_on.get("root", ""),
                        "tested on": name,
                        "same": trained_on.get("fingerprint") == fingerprint,
                        "rank-1": scores.summary["rank-1"],
                        "mAP": scores.summary["mAP"],
                        "protocol": scores.protocol,
                    }
                )
    if out is not None:
        write_atomic(out, csv_text(rows))
    if json:
        show_json({"results": rows, "rerank": rerank})
        return
    table = []
    for source in sources:
        cells = [row for row in rows if row["network"] == str(source)]
        table.append((source, *(_cell(row) for row in cells)))
    show_table(("network", *data), table, title="Rank-1 (mAP) in percent")
    if any(row["same"] for row in rows):
        say("*: trained on this data set; all other numbers are across domains.")
    for protocol in dict.fromkeys(row["protocol"] for row in rows):
        say(f"Protocol: {protocol}")
    if out is not None:
        say(f"Saved: {out}")


def _cell(row: dict) -> str:
    mark = "*" if row["same"] else ""
    return f"{100 * row['rank-1']:.1f} ({100 * row['mAP']:.1f}){mark}"
