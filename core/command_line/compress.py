"""The command that makes a trained network smaller: prune, cluster, quantize, in a chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.command_line import options as opt
from core.command_line.program import program_name, task_of, when_stopped
from core.command_line.quiet import load_litert, load_tensorflow
from core.command_line.tables import say, show_json, show_table, size
from core.compress import METHODS
from core.errors import UserError, no_such

if TYPE_CHECKING:
    from core.data.index import Index
    from core.run_folder import RunFolder
    from core.task import Task
    from core.training.compressing import StagePlan

_QUICK = {"epochs": 1, "steps_per_epoch": 2}


def compress(
    ctx: typer.Context,
    run: opt.Run,
    out: opt.OutRun,
    method: Annotated[str | None, opt.METHOD] = None,
    data: opt.Data = None,
    format: opt.Format = None,
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
    epochs: opt.Epochs = None,
    batch: Annotated[int | None, opt.BATCH] = None,
    learning_rate: opt.LearningRate = None,
    seed: opt.Seed = None,
    settings: opt.Settings = None,
    quick: opt.Quick = False,
    resume: opt.Resume = False,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Make a trained network smaller; each method is fine-tuned with the app's own training.

    prune sets weights to zero, cluster leaves few different values, quantize trains with the
    rounding of int8. Later methods keep what earlier ones reached. adapt, which comes first, makes
    nothing smaller: it betters the weights by low-rank updates under the network's own guidance, or
    another run's. Unless chosen otherwise, each trains 10 epochs at a tenth of the run's own rate.

    --method names one of them, or several in a row: --method prune,cluster,quantize.

    --set reaches every other choice of a method, --set quantize.weight_bits=4, or of the training.
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

    flags = {
        "data": data,
        "format": format if data is None else format or "auto",
        "epochs": epochs,
        "batch": batch,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    own_flags = {
        ("prune", "sparsity"): sparsity,
        ("cluster", "clusters"): clusters,
        ("quantize", "exceptions"): dict.fromkeys(leave_float or (), "float") or None,
    }
    if resume:
        given = [method, *flags.values(), *own_flags.values(), *(settings or ()), quick or None]
        if any(value is not None for value in given):
            raise UserError(
                "--resume goes on with what was chosen; pass it with RUN and --out only, or start "
                "anew with --overwrite."
            )
        plans = started_chain(out)
        begun_from = Path(str(plans[0].config.initial_weights))
        if begun_from.resolve() != source.path.resolve():
            raise UserError(f"{out}: was begun from {begun_from}, not from {run}; name that run.")
    else:
        choices, training = split_settings(task, opt.parse_settings(settings), methods)
        for (name, key), value in own_flags.items():
            if value is not None:
                _set_once(choices.setdefault(name, {}), key, value)
        for name, chosen in flags.items():
            if chosen is not None:
                _set_once(training, name, chosen)
        if "options" in training:
            training["options"] = _checked_options(task, source, training["options"])
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
    few = task.few_samples(index)
    if quick or _begun_on(plans, few):
        index = few
    say(
        f"Defaults: data {first.data}, epochs {first.epochs} a method, batch {first.batch}, "
        f"learning rate {first.learning_rate:g}.",
        aside=json,
    )
    when_stopped(ctx, f"go on with: {program} compress {run} --resume --out {out}")

    def announce(plan: StagePlan) -> None:
        say(f"{plan.method.capitalize()}: {plan.folder}", aside=json)

    runs = run_chain(
        task,
        plans,
        index=index,
        progress=TrainingProgress(task.headline),
        overwrite=overwrite,
        resume=resume,
        announce=announce,
    )
    say("Comparing …", aside=json)
    rows = compared(task, [source, *runs], index)
    if json:
        show_json({"run": out, "headline": task.headline, "stages": rows})
        return
    columns = (task.headline, "precision", "non-zero", "values", "file", "zip")
    table = [
        (row["stage"], row["value"], row["precision"], f"{row['non_zero']:.1%}",
         row["most_values"], size(row["file_bytes"]), size(row["zip_bytes"]))
        for row in rows
    ]  # fmt: skip
    show_table(("stage", *columns), table, title=f"{source.path} → {out}")
    for row in rows:
        if row["agreement"]:
            alike = "; ".join(f"{one['check']} {one['share']:.1%}" for one in row["agreement"])
            say(f"{row['stage'].capitalize()}, beside the network before: {alike}.")
    split = index.held_out()
    say(f"Measured with Keras on the {split} samples of {index.root}; files as TFLite.")
    say(f"Saved: {out}")
    say(f"Next: {program} export {out} --precision {_fitting_precision(plans[-1])}")


def parse_methods(value: str | None) -> tuple[str, ...]:
    """Return the methods of "prune,cluster,quantize"."""
    if value is None:
        raise UserError("Nothing to do: pass --method, such as: --method quantize.")
    names = tuple(name.strip() for name in value.split(","))
    for name in names:
        if name not in METHODS:
            raise no_such("method", name, METHODS, where="--method")
    return names


def split_settings(
    task: Task, settings: Mapping[str, Any], methods: Sequence[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Return the choices of `--set` by method, and those of the training."""
    from core.command_line.choices import GROUPS
    from core.training.compressing import CHANGEABLE

    choices: dict[str, dict[str, Any]] = {}
    training: dict[str, Any] = {}
    for name, value in settings.items():
        owner, dot, key = name.partition(".")
        if dot and owner in METHODS:
            if owner not in methods:
                raise UserError(f"--set {name}: '{owner}' is not in --method.")
            choices.setdefault(owner, {})[key] = value
        elif dot and owner in GROUPS:
            training.setdefault(owner, {})[key] = value
        elif name in CHANGEABLE:
            training[name] = value
        else:
            options = [f"options.{option}" for option in task.options]
            known = [*sorted(CHANGEABLE), *options, *(f"{m}.…" for m in methods)]
            raise no_such("key", name, known, where="--set")
    return choices, training


def _set_once(chosen: dict[str, Any], name: str, value: Any) -> None:
    if name in chosen:
        raise UserError(f"{name} is chosen by its own option and by --set; pass one of them.")
    chosen[name] = value


def _checked_options(task: Task, source: RunFolder, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the task's own choices, words that YAML takes for truth values read as words."""
    from core.command_line.choices import merge

    merged = merge(task, {}, {"options": given}, base=source.config.to_dict())["options"]
    return {name: merged[name] for name in given}


def _begun_on(plans: Sequence[StagePlan], index: Index) -> bool:
    """Return whether a chain that is resumed was begun on these samples."""
    from core.run_folder import RunFolder

    begun = [RunFolder(plan.folder) for plan in plans if plan.begun]
    return bool(begun) and begun[0].record["data"]["fingerprint"] == index.fingerprint()


def _fitting_precision(plan: StagePlan) -> str:
    """Return the precision a compressed network is made for."""
    if plan.method != "quantize":
        return "float32"
    return "int16x8" if plan.config.compress["choices"].get("activation_bits") == 16 else "int8"


def compared(task: Task, runs: Sequence[RunFolder], index: Index) -> list[dict[str, Any]]:
    """Return a row a run: metric, likeness to the first, kernels, sizes; the last keeps changes."""
    from core.command_line.progress import track
    from core.compress.analysis import compare, compressed_size, kernel_table, most_values
    from core.engines import KerasEngine
    from core.evaluate import scored
    from core.export.deployable import deployable
    from core.export.exporting import plain_file
    from core.export.report_compression import record_changes
    from core.history import best_row

    held_out = index.split(index.held_out())
    rows, files = [], []
    first: list = []  # results of the network before
    with track(len(runs) * len(held_out), "comparing") as advance:
        for run in runs:
            model, card = deployable(task, run, open_size=True)
            engine = KerasEngine(model, card)
            scores, results = scored(task, engine, held_out, quick=True, advance=advance)
            agreement = task.agreement(first, results, card) if first else []
            first = first or results
            best = best_row(run.history(), task.headline, task.headline_mode)
            precision, file = plain_file(run, model, card)
            files.append(file)
            kernels = kernel_table(files[-1])
            weights = sum(kernel.parameters for kernel in kernels)
            rows.append(
                {
                    "stage": run.config.compress.get("method") or "before",
                    "run": run.path,
                    "best_epoch": None if best is None else int(best["epoch"]),
                    "value": scores.summary[task.headline],
                    "agreement": [{"check": what, "share": share} for what, share, _ in agreement],
                    "precision": precision,
                    "non_zero": sum(k.parameters - k.zeros for k in kernels) / max(weights, 1),
                    "most_values": most_values(model),
                    "file_bytes": len(files[-1]),
                    "zip_bytes": compressed_size(files[-1]),
                }
            )
    record_changes(runs[-1], compare(files[0], files[-1]))
    return rows
