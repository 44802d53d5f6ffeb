"""`gossamer aqua benchmark-models`: networks trained with the same choices, in one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.command_line import options as opt
from core.command_line.comparing import cost, parameters_of
from core.command_line.program import task_of, when_stopped
from core.command_line.quiet import load_tensorflow
from core.command_line.tables import csv_text, say, show_json, show_table, size
from core.command_line.training import run_training
from core.command_line.use import load_engine
from core.errors import CheckFailed, UserError

if TYPE_CHECKING:
    from core.data.index import Index
    from core.run_folder import RunFolder
    from core.task import Task

NETWORKS = ("mobilenetv2", "shufflenetv2", "squeezenet", "efficientnet")
METRICS = ("accuracy", "macro_f1", "top_2")
TABLE, MEASURED = "benchmark", "measured.json"
_NOT_OF_TRAINING = ("networks", "calls")


def benchmark_models(
    ctx: typer.Context,
    out: opt.OutFolder,
    networks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NETWORK[:VARIANT]...", help=f"Which; if none: {', '.join(NETWORKS)}."
        ),
    ] = None,
    data: opt.Data = None,
    format: opt.Format = None,
    workers: Annotated[int | None, opt.WORKERS] = None,
    augment: opt.Augment = None,
    input_size: opt.InputSize = None,
    backbone_weights: opt.BackboneWeights = None,
    epochs: opt.Epochs = None,
    batch: Annotated[int | None, opt.BATCH] = None,
    learning_rate: opt.LearningRate = None,
    patience: opt.Patience = None,
    steps_per_epoch: opt.StepsPerEpoch = None,
    seed: opt.Seed = None,
    settings: opt.Settings = None,
    preset: opt.Preset = None,
    config: opt.Config = None,
    calls: Annotated[int, opt.CALLS] = 50,
    quick: opt.Quick = False,
    resume: opt.Resume = False,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Train several networks with the same choices and compare them: scores, size, latency, int8.

    Each becomes a run folder in --out, scored on the test split as trained and as int8 file.
    benchmark.csv, benchmark.json and benchmark.png there hold the table. With --resume, what is
    trained and measured already is taken as it is.
    """
    from core.data.images import write_image
    from core.files import claim_folder, write_atomic, write_json

    task = task_of(ctx)
    chosen = parse_networks(networks or NETWORKS, task)
    if not resume:
        claim_folder(out, overwrite=overwrite)
    rows: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for number, (network, variant) in enumerate(chosen, start=1):
        say(f"{number}/{len(chosen)} {network} {variant or ''}".rstrip(), aside=json)
        place = out / (f"{network}_{variant}" if variant else network)
        try:
            run = _trained(ctx, task, place, network, variant, resume=resume)
            rows.append(measured(task, run, calls, resume=resume))
        except CheckFailed as error:  # one that diverges, or cannot be exported: the others can
            failed.append({"network": network, "variant": variant, "error": str(error)})
            say(f"Failed: {error}", aside=json)
    if not rows:
        raise CheckFailed(failed[0]["error"])
    index = task.read(rows[0]["data"], rows[0]["format"])
    split = index.held_out()
    samples = len(index.split(split))
    kept = [{k: v for k, v in row.items() if k not in ("data", "format")} for row in rows]
    about = {
        "out": out,
        "data": index.root,
        "format": index.format,
        "split": split,
        "samples": samples,
        "results": kept,
        "not_made": failed,
    }
    note = f"{samples} samples of {index.root}, split {split}; latency on one thread"
    write_json(out / f"{TABLE}.json", about)
    write_atomic(out / f"{TABLE}.csv", csv_text(kept))
    write_image(out / f"{TABLE}.png", drawn(rows, samples, note))
    if json:
        show_json(about)
    else:
        show(rows, note)
        say(f"Saved: {out / TABLE}.csv, .json and .png")
    if failed:
        raise CheckFailed(f"{len(failed)} of {len(chosen)} networks: {failed[0]['error']}")


def parse_networks(names: Sequence[str], task: Task) -> list[tuple[str, str | None]]:
    """Return (network, variant) of names as "shufflenetv2:x0_5"; None is the default variant.

    Raises:
        UserError: When one is unknown or named twice.
    """
    from core.command_line.choices import check_network

    pairs: list[tuple[str, str | None]] = []
    for one in names:
        name, _, variant = one.partition(":")
        pair = check_network(name, task), variant or None
        if pair in pairs:
            raise UserError(f"{one} is named twice; name each network once.")
        pairs.append(pair)
    return pairs


def _trained(
    ctx: typer.Context, task: Task, place: Path, network: str, variant: str | None, *, resume: bool
) -> RunFolder:
    """Train one network as the command's options say, or go on where it was stopped."""
    begun = resume and (place / "config.yaml").is_file()
    if begun and (finished := _finished(task, place, ctx.params["epochs"])):
        return finished
    given = {name: value for name, value in ctx.params.items() if name not in _NOT_OF_TRAINING}
    given |= {"out": place, "network": network, "variant": variant, "resume": begun}
    given["preset"] = None if begun else given["preset"]  # it is among the run's own choices
    before, ctx.params = ctx.params, given
    try:
        run = run_training(ctx, task)
    finally:
        ctx.params = before
    when_stopped(ctx, "go on with the same command and --resume.")
    return run


def _finished(task: Task, place: Path, epochs: int | None) -> RunFolder | None:
    """Return a run that needs no more training, if it is one."""
    from core.run_folder import RunFolder
    from core.training.state import TrainingState

    run = RunFolder(place, app=task.name)
    done = TrainingState.load(place).is_finished(run.config)
    return run if done and epochs in (None, run.config.epochs) else None


def measured(task: Task, run: RunFolder, calls: int, *, resume: bool) -> dict[str, Any]:
    """Return the row of a trained network; it is kept with the run.

    Args:
        task, run: Whose network it is.
        calls: Of a timing.
        resume: Whether what was measured of the same weights and data stands.
    """
    from core.documents import parse_json
    from core.files import sha256, write_json

    index = task.read(run.config.data, run.config.format)
    kept = run.file(MEASURED)
    mark = {"weights": sha256(run.file("model.keras")), "fingerprint": index.fingerprint(),
            "calls": calls}  # fmt: skip
    if resume and kept.is_file():
        found = parse_json(kept.read_text("utf-8"))
        if found.get("mark") == mark:
            return found["row"]
    row = _measured(task, run, index, calls)
    write_json(kept, {"mark": mark, "row": row})
    return row


def _measured(task: Task, run: RunFolder, index: Index, calls: int) -> dict[str, Any]:
    from core.command_line.progress import track
    from core.evaluate import evaluate
    from core.export.exporting import export

    load_tensorflow()
    config, held_out = run.config, index.split(index.held_out())
    engine = load_engine(task, run.path)
    row: dict[str, Any] = {
        "network": config.network,
        "variant": config.variant,
        "run": str(run.path),
        "data": config.data,
        "format": config.format,
        "input_size": list(run.card.input_size),
        "epochs": len(run.history()),
        "parameters": parameters_of(task, run, engine, {}),
    }
    with track(2 * len(held_out), "evaluating") as advance:
        for precision, start in (("float32", ""), ("int8", "int8_")):
            made = export(task, run, precision, data=config.data, format=config.format,
                          overwrite=True).path  # fmt: skip
            file = load_engine(task, made)
            scores = evaluate(task, file if start else engine, held_out, advance=advance).summary
            row |= {f"{start}{name}": scores.get(name) for name in METRICS}
            spent = cost(made, run, file, calls)
            row["macs"] = row.get("macs", spent["macs"])
            row |= {
                f"{start or 'float_'}{name}": spent[name]
                for name in ("file_bytes", "median_ms", "p10_ms", "p90_ms")
            }
    row["int8_drop"] = row[task.headline] - row[f"int8_{task.headline}"]
    return row


def show(rows: Sequence[dict[str, Any]], title: str) -> None:
    """Print the table."""
    columns = ("network", "accuracy", "macro F1", "top-2", "parameters", "MACs", "float", "ms",
               "int8", "ms", "int8 macro F1", "drop")  # fmt: skip
    cells = [
        (f"{r['network']} {r['variant']}", r["accuracy"], r["macro_f1"], r["top_2"],
         r["parameters"], r["macs"], size(r["float_file_bytes"]), r["float_median_ms"],
         size(r["int8_file_bytes"]), r["int8_median_ms"], r["int8_macro_f1"], r["int8_drop"])
        for r in rows
    ]  # fmt: skip
    show_table(columns, cells, title=title)


def drawn(rows: Sequence[dict[str, Any]], samples: int, note: str):
    """Return the picture of the table; accuracies with their 95 % Wilson intervals."""
    from core.classification.metrics import wilson_interval
    from core.export.interval_plot import Panel, interval_plot

    def alone(name: str, scale: float = 1.0) -> list[tuple[float, float, float]]:
        return [(row[name] * scale,) * 3 for row in rows]

    def timed(kind: str) -> list[tuple[float, float, float]]:
        return [tuple(row[f"{kind}_{n}_ms"] for n in ("median", "p10", "p90")) for row in rows]

    right = [(row["accuracy"], *wilson_interval(round(row["accuracy"] * samples), samples))
             for row in rows]  # fmt: skip
    panels = [
        Panel("accuracy (95 %)", right, 3),
        Panel("macro F1", alone("macro_f1"), 3),
        Panel("macro F1 lost by int8", alone("int8_drop"), 3),
        Panel("float latency, ms", timed("float"), 2),
        Panel("int8 latency, ms", timed("int8"), 2),
        Panel("int8 size, MB", alone("int8_file_bytes", 1e-6), 2),
    ]
    return interval_plot([f"{row['network']} {row['variant']}" for row in rows], panels, note)
