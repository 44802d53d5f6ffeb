"""The cross-domain table: networks by the data sets they are tested on."""

from __future__ import annotations

from typing import Annotated

import typer

from apps.person_reid import options as own
from core.command_line import options as opt
from core.command_line.program import task_of
from core.command_line.tables import csv_text, say, show_json, show_table
from core.command_line.use import change_decoding, load_engine, owning_run
from core.errors import UserError


def cross(
    ctx: typer.Context,
    sources: opt.Sources,
    data: Annotated[list[str], opt.DATA],
    format: opt.Format = None,
    rerank: own.Rerank = "off",
    csv: opt.Csv = None,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Test every network on every data set (--data A --data B): Rank-1 and mAP, in percent.

    A network that was trained on the data set it is tested on is marked *: all others tell how far
    it carries over.
    """
    from core.command_line.progress import track
    from core.evaluate import evaluate
    from core.files import claim_file, write_atomic

    task = task_of(ctx)
    if len(set(data)) < len(data):
        raise UserError("--data names a data set twice; name each once.")
    if csv is not None:
        claim_file(csv, overwrite=overwrite, option="--csv")
    runs = [owning_run(source, task) for source in sources]
    found = {}
    for name in data:
        whole = task.read(name, format or "auto")
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
                        "source": str(source),
                        "trained_on": trained_on.get("root", ""),
                        "data": name,
                        "same_data": trained_on.get("fingerprint") == fingerprint,
                        "rank_1": scores.summary["rank_1"],
                        "map": scores.summary["map"],
                        "protocol": scores.protocol,
                    }
                )
    if csv is not None:
        write_atomic(csv, csv_text(rows))
    if json:
        show_json({"results": rows, "rerank": rerank})
        return
    table = []
    for source in sources:
        cells = [row for row in rows if row["source"] == str(source)]
        table.append((source, *(_cell(row) for row in cells)))
    show_table(("network", *data), table, title="Rank-1 (mAP) in percent")
    if any(row["same_data"] for row in rows):
        say("*: trained on this data set; all other numbers are across domains.")
    for protocol in dict.fromkeys(row["protocol"] for row in rows):
        say(f"Protocol: {protocol}")
    if csv is not None:
        say(f"Saved: {csv}")


def _cell(row: dict) -> str:
    mark = "*" if row["same_data"] else ""
    return f"{100 * row['rank_1']:.1f} ({100 * row['map']:.1f}){mark}"
