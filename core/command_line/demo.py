"""The whole way on the built-in sample data, in minutes: train, export, verify, compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.command_line import options as opt
from core.command_line.program import task_of, when_stopped
from core.command_line.quiet import load_litert, load_tensorflow
from core.command_line.tables import say, show_json, show_table, size
from core.errors import CheckFailed

if TYPE_CHECKING:
    from core.export.verify import Verification
    from core.run_folder import RunFolder
    from core.task import Task

_MARK = "demo.json"  # tells a folder the demo may replace
_PRECISIONS = ("float32", "int8")
_CALLS = 30  # of a timing


def demo(
    ctx: typer.Context,
    out: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Run folder to write. (default: runs/<app>/demo)"),
    ] = None,
    epochs: opt.Epochs = None,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Walk the whole way on the sample data: train, export, verify, benchmark, report.

    An earlier demo in the same folder is replaced.
    """
    from core.files import claim_folder, write_json

    task = task_of(ctx)
    out = out or Path("runs") / task.name / "demo"
    if (out / _MARK).is_file():
        say(f"Replacing the earlier demo in {out}.", aside=json)
        overwrite = True
    claim_folder(out, overwrite=overwrite)
    write_json(out / _MARK, {"app": task.name})
    when_stopped(ctx, "run the demo again to start it anew.")

    load_tensorflow()
    load_litert()
    run = _train(task, out, epochs, aside=json)
    say("2/4 Exporting and verifying …", aside=json)
    found, failed = _export(task, run, aside=json)
    say("3/4 Measuring …", aside=json)
    rows = _rows(task, run, found)
    say("4/4 Writing the report …", aside=json)
    from core.export.report import write_report

    split = task.read(run.config.data, run.config.format).held_out()
    page = write_report(task, run, data=run.config.data, format=run.config.format, split=split)
    protocol = next(iter(found.values()))[1].protocol
    result = {
        "run": run.path,
        "epochs": len(run.history()),
        "headline": task.headline,
        "protocol": protocol,
        "results": rows,
        "passed": not failed,
        "report": page,
    }
    write_json(out / _MARK, {"app": task.name, **result})
    if json:
        show_json(result)
    else:
        columns = ("network", task.headline, "size", "threads", "ms")
        table = [
            (
                row["name"],
                row["value"],
                size(row["file_bytes"]),
                row["threads"] or "all",
                row["median_ms"],
            )
            for row in rows
        ]
        show_table(columns, table, title=f"{run.card.network} {run.card.variant} on the test data")
        if protocol:
            say(f"Protocol: {protocol}")
        say(f"Report: {page}")
    if failed:
        raise CheckFailed("; ".join(failed))


def _train(task: Task, out: Path, epochs: int | None, *, aside: bool) -> RunFolder:
    from core.command_line import choices
    from core.command_line.progress import TrainingProgress
    from core.config import TrainConfig
    from core.training import fit

    flags = {**task.demo, "data": "sample", **({} if epochs is None else {"epochs": epochs})}
    values = choices.merge(task, {}, flags)
    index = task.read("sample", values.get("format", "auto"))
    values = choices.complete(values, flags, index, task)
    values["variant"] = task.network(values["network"]).check_variant(values.get("variant"))
    config = TrainConfig.from_dict(values)
    say(
        f"1/4 Training {config.network} {config.variant} for {config.epochs} epochs on the sample "
        f"data ({index.describe_splits()}) …",
        aside=aside,
    )
    return fit.train(
        task, config, out, index=index, overwrite=True, progress=TrainingProgress(task.headline)
    )


def _export(
    task: Task, run: RunFolder, *, aside: bool
) -> tuple[dict[str, tuple[Path, Verification]], list[str]]:
    """Return file and verification by precision, and a sentence for each that missed a bound."""
    from core.export.exporting import export
    from core.export.verify import verify

    data, format = run.config.data, run.config.format
    split = task.read(data, format).held_out()
    found, failed = {}, []
    for precision in _PRECISIONS:
        made = export(task, run, precision, data=data, format=format, overwrite=True)
        for note in made.notes:
            say(f"    {precision}: {note}", aside=aside)
        checked = verify(task, made.path, run=run, data=data, format=format, split=split)
        missed = [row.check for row in checked.rows if row.ok is False]
        checks = sum(row.ok is not None for row in checked.rows)
        say(f"    {made.path.name}: {checks - len(missed)} of {checks} checks hold", aside=aside)
        if missed:
            failed.append(f"{made.path}: does not hold: {', '.join(missed)}")
        found[precision] = made.path, checked
    return found, failed


def _rows(
    task: Task, run: RunFolder, found: dict[str, tuple[Path, Verification]]
) -> list[dict[str, Any]]:
    """Return metric, size, threads and latency of the Keras network and of each file."""
    from core.command_line.ship import benchmark_jobs

    scores = next(iter(found.values()))[1].metrics.get("keras", {})
    sources = [("Keras", run.path, run.file("model.keras"), scores)]
    for precision, (path, checked) in found.items():
        sources.append((f"TFLite {precision}", path, path, checked.metrics.get("file", {})))
    rows = []
    for name, source, file, scores in sources:
        _, measure = benchmark_jobs(task, [source], (1,), _CALLS)[0]
        timing = measure()[0]
        rows.append(
            {
                "name": name,
                "value": scores.get(task.headline),
                "file_bytes": file.stat().st_size,
                "threads": timing.threads,
                "median_ms": timing.median_ms,
            }
        )
    return rows
