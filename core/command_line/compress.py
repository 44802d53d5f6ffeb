"""The command that makes a trained network smaller: prune, cluster, quantize, in a chain."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.command_line import options as opt
from core.command_line.program import program_name, task_of, when_stopped
from core.command_line.quiet import load_litert, load_tensorflow
from core.command_line.tables import say, show_json, show_table, size
from core.errors import UserError, near_miss

if TYPE_CHECKING:
    from core.data.index import Index
    from core.run_folder import RunFolder
    from core.task import Task
    from core.training.compressing import StagePlan

METHODS = ("prune", "cluster", "quantize")
_QUICK = {"epochs": 1, "steps_per_epoch": 2}


def compress(
    ctx: typer.Context,
    run: opt.Run,
    out: Annotated[Path, typer.Option(metavar="RUN2", help="Run folder to write.")],
    method: Annotated[
        str | None,
        typer.Option(
            metavar="prune|cluster|quantize",
            help="One method, or several in a row: prune,cluster,quantize.",
        ),
    ] = None,
    data: opt.Data = None,
    format: opt.Format = "auto",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs of each method. (default: 10)")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Samples per step.")] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate", "--lr", help="(default: a tenth of the run's own training)"
        ),
    ] = None,
    sparsity: Annotated[
        float | None, typer.Option(help="Share of zeros that prune reaches. (default: 0.75)")
    ] = None,
    clusters: Annotated[
        int | None, typer.Option(help="Different values a kernel keeps. (default: 16)")
    ] = None,
    leave_float: Annotated[
        list[str] | None,
        typer.Option("--float", metavar="LAYER", help="A layer quantize leaves in float."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A choice of a method, such as quantize.weight_bits=4, or of the training.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Decides all randomness.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A few steps, to see that all works.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the compression in --out.")
    ] = False,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Make a trained network smaller; each method is fine-tuned with the app's own training.

    prune sets weights to zero, cluster leaves few different values, quantize trains with the
    rounding of int8. Later methods keep what earlier ones reached.
    """
    from core.command_line.progress import TrainingProgress
    from core.run_folder import RunFolder

    task, program = task_of(ctx), program_name(ctx)
    if resume and overwrite:
        raise UserError("--resume and --overwrite exclude each other; pass one of them.")
    source = RunFolder(run, app=task.name)
    methods = () if resume else parse_methods(method)
    load_tensorflow()
    load_litert()
    from core.training.compressing import plan_chain, run_chain, started_chain

    if resume:
        plans = started_chain(out)
    else:
        flags = {
            "data": data,
            "format": None if data is None else format,
            "epochs": epochs,
            "batch": batch,
            "learning_rate": learning_rate,
            "seed": seed,
        }
        choices, training = split_settings(opt.parse_settings(settings), methods)
        for name, key, value in (
            ("prune", "sparsity", sparsity),
            ("cluster", "clusters", clusters),
            ("quantize", "exceptions", dict.fromkeys(leave_float or (), "float") or None),
        ):
            if value is not None:
                choices.setdefault(name, {})[key] = value
        training |= {name: value for name, value in flags.items() if value is not None}
        plans = plan_chain(
            task,
            source,
            methods,
            out,
            choices=choices,
            training=(_QUICK if quick else {}) | training,
        )
    first = plans[0].config
    index = task.read(first.data, first.format)
    if quick:
        from core.command_line.choices import few_samples

        index = few_samples(index)
    say(
        f"Defaults: data {first.data}, {first.epochs} epochs a method, batch {first.batch}, "
        f"learning rate {first.learning_rate:g}.",
        aside=json,
    )
    when_stopped(ctx, f"go on with: {program} compress {run} --resume --out {out}")

    def announce(plan: StagePlan) -> None:
        say(f"{plan.method.capitalize()}: {plan.folder}", aside=json)

    options = {"overwrite": overwrite, "resume": resume, "announce": announce}
    runs = run_chain(task, plans, index=index, progress=TrainingProgress(), **options)
    say("Comparing …", aside=json)
    rows = compared(task, [source, *runs], index)
    if json:
        show_json({"run": out, "metric": task.headline, "stages": rows})
        return
    columns = (task.headline, "precision", "non-zero", "values", "file", "zip")
    table = [
        (row["stage"], row[task.headline], row["precision"], f"{row['non_zero']:.1%}",
         row["most_values"], size(row["file_bytes"]), size(row["zip_bytes"]))
        for row in rows
    ]  # fmt: skip
    show_table(("stage", *columns), table, title=f"{source.path} → {out}")
    split = "test" if "test" in index.counts() else "val"
    say(f"Measured with Keras on the {split} samples of {index.root}; files as TFLite.")
    say(f"Saved: {out}")
    precision = "int8" if plans[-1].method == "quantize" else "float32"
    say(f"Next: {program} export {out} --precision {precision}")


def parse_methods(value: str | None) -> tuple[str, ...]:
    """Return the methods of "prune,cluster,quantize"."""
    if value is None:
        raise UserError("Nothing to do: pass --method, such as: --method quantize.")
    names = tuple(name.strip() for name in value.split(","))
    for name in names:
        if name not in METHODS:
            raise UserError(f"--method: no such method: '{name}'.{near_miss(name, METHODS)}")
    return names


def split_settings(
    settings: Mapping[str, Any], methods: Sequence[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Return the choices of `--set` by method, and those of the training."""
    from core.training.config import TrainConfig

    fields = {f.name for f in dataclasses.fields(TrainConfig)}
    fields -= {"app", "network", "variant", "compress", "initial_weights", "options"}
    choices: dict[str, dict[str, Any]] = {}
    training: dict[str, Any] = {}
    for name, value in settings.items():
        owner, dot, key = name.partition(".")
        if dot and owner in METHODS:
            if owner not in methods:
                raise UserError(f"--set {name}: '{owner}' is not in --method.")
            choices.setdefault(owner, {})[key] = value
        elif dot and owner == "options":
            training.setdefault("options", {})[key] = value
        elif name in fields:
            training[name] = value
        else:
            known = [*sorted(fields), *(f"{m}.…" for m in methods)]
            raise UserError(f"--set: unknown key '{name}'.{near_miss(name, known)}")
    return choices, training


def compared(task: Task, runs: Sequence[RunFolder], index: Index) -> list[dict[str, Any]]:
    """Return a row a run: metric, kernels and sizes; the last run keeps what changed."""
    from core.command_line.progress import track
    from core.compress.analysis import compare, compressed_size, kernel_table, most_values
    from core.engines import KerasEngine
    from core.evaluate import evaluate
    from core.export.convert import to_tflite
    from core.export.exporting import deployable
    from core.export.report_compression import record_changes

    held_out = index.split("test" if "test" in index.counts() else "val")
    rows, files = [], []
    with track(len(runs) * len(held_out), "comparing") as advance:
        for run in runs:
            model, card = deployable(task, run)
            scores = evaluate(task, KerasEngine(model, card), held_out, quick=True, advance=advance)
            method = run.config.compress.get("method")
            precision = "int8" if method == "quantize" else "float32"
            if run.config.compress.get("choices", {}).get("activation_bits") == 16:
                precision = "weight_only"
            files.append(to_tflite(model, precision))
            kernels = kernel_table(files[-1])
            weights = sum(kernel.parameters for kernel in kernels)
            rows.append(
                {
                    "stage": method or "before",
                    "run": run.path,
                    task.headline: scores.summary[task.headline],
                    "precision": precision,
                    "non_zero": sum(k.parameters - k.zeros for k in kernels) / max(weights, 1),
                    "most_values": most_values(model),
                    "file_bytes": len(files[-1]),
                    "zip_bytes": compressed_size(files[-1]),
                }
            )
    record_changes(runs[-1], compare(files[0], files[-1]))
    return rows
