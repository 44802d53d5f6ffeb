"""The commands that make a run folder: train, and import of a published checkpoint."""

from __future__ import annotations

import dataclasses
import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.command_line import options as opt
from core.command_line.program import program_name, task_of, when_stopped
from core.command_line.quiet import load_tensorflow
from core.command_line.tables import say, show_json
from core.errors import UserError

if TYPE_CHECKING:
    from core.data.index import Index
    from core.run_folder import RunFolder


def train(
    ctx: typer.Context,
    out: opt.OutRun,
    data: opt.Data = None,
    format: opt.Format = None,
    workers: Annotated[int | None, opt.WORKERS] = None,
    augment: opt.Augment = None,
    network: opt.Network = None,
    variant: opt.Variant = None,
    input_size: opt.InputSize = None,
    channels: opt.Channels = None,
    classes: opt.Classes = None,
    labels: opt.Labels = None,
    initial_weights: opt.InitialWeights = None,
    epochs: opt.Epochs = None,
    batch: Annotated[int | None, opt.BATCH] = None,
    learning_rate: opt.LearningRate = None,
    clip_norm: opt.ClipNorm = None,
    precision: opt.Arithmetic = None,
    patience: opt.Patience = None,
    steps_per_epoch: opt.StepsPerEpoch = None,
    seed: opt.Seed = None,
    settings: opt.Settings = None,
    config: opt.Config = None,
    quick: opt.Quick = False,
    resume: opt.Resume = False,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Train a network on a data set; the result is a run folder.

    What is not chosen is taken from the network's published recipe, labels and classes from the
    data. --set reaches every other choice: --set weight_decay=0.05 --set options.loss=ce_dice.

    With --resume only --out is needed: the choices come from the run folder.
    """
    from core.command_line import choices
    from core.config import TrainConfig
    from core.files import claim_folder
    from core.run_folder import RunFolder

    task, program = task_of(ctx), program_name(ctx)
    if resume and overwrite:
        raise UserError("--resume and --overwrite exclude each other; pass one of them.")
    flags = choices.flag_values(
        task,
        {
            "data": data,
            "format": format,
            "network": network,
            "variant": variant,
            "input_size": opt.parse_size(input_size),
            "channels": channels,
            "classes": classes,
            "labels": opt.parse_names(labels),
            "epochs": epochs,
            "batch": batch,
            "seed": seed,
            "learning_rate": learning_rate,
            "clip_norm": clip_norm,
            "precision": precision,
            "patience": patience,
            "workers": workers,
            "augment": augment,
            "steps_per_epoch": steps_per_epoch,
            "initial_weights": None if initial_weights is None else str(initial_weights),
        },
        opt.parse_settings(settings),
    )
    file = choices.file_values(config, task.name)
    earlier = None
    if resume and (out / "config.yaml").is_file():
        earlier = RunFolder(out, app=task.name)
    base = None if earlier is None else earlier.config.to_dict()
    values = choices.merge(task, file, flags, quick=quick, base=base)
    given = {**file, **flags, **(choices.QUICK if quick else {})}
    if earlier is None and "data" not in given:
        if resume:
            raise UserError(f"{out}: holds no run to resume; say what to train on with --data.")
        raise UserError("Nothing to train on: pass --data PATH, or --data sample to try it out.")
    TrainConfig.from_dict({"variant": "", **values})  # complain before the long imports
    if out.exists() and not resume:
        claim_folder(out, overwrite=overwrite)
    index = task.read(values.get("data", "sample"), values.get("format", "auto"))
    few = task.few_samples(index)
    if quick or (earlier is not None and _trained_on(earlier, few)):
        index = few
    if earlier is None:
        values = choices.complete(values, given, index, task)

    load_tensorflow()
    entry = task.network(values["network"])
    values["variant"] = entry.check_variant(values.get("variant"))
    chosen = TrainConfig.from_dict(values)
    from core.command_line.progress import TrainingProgress
    from core.training import fit
    from core.training.setup import training_card

    if earlier is None:
        card = training_card(entry.card(chosen.variant), chosen, index)
        say(f"Data: {index.root}, format {index.format}, {index.describe_splits()}.", aside=json)
        line = choices.filled_in(chosen, given, card)
        if line:
            say(line, aside=json)
    when_stopped(ctx, f"go on with: {program} train --resume --out {out}")
    run = fit.train(
        task,
        chosen,
        out,
        index=index,
        resume=resume,
        overwrite=overwrite,
        progress=TrainingProgress(),
    )
    rows = run.history()
    best = best_row(rows, f"val_{task.headline}", task.headline_mode)
    value = None if best is None else best[f"val_{task.headline}"]
    if json:
        show_json(
            {
                "run": run.path,
                "epochs": len(rows),
                "best_epoch": None if best is None else int(best["epoch"]),
                "headline": task.headline,
                "value": value,
            }
        )
        return
    if best is not None:
        where = f"epoch {int(best['epoch'])} of {len(rows)}"
        say(f"Best: {task.headline} {value:.4f} on the validation samples, {where}.")
    say(f"Saved: {run.path}")
    _say_next(program, run.path, chosen.data, chosen.format)


def import_(
    ctx: typer.Context,
    checkpoint: Annotated[
        Path, typer.Option(metavar="FILE", help="Published checkpoint (PyTorch, safetensors, npz).")
    ],
    out: opt.OutRun,
    network: opt.Network = None,
    variant: opt.Variant = None,
    classes: opt.Classes = None,
    channels: opt.Channels = None,
    input_size: opt.InputSize = None,
    labels: opt.Labels = None,
    partial: opt.Partial = False,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Turn a published checkpoint into a run folder.

    What is not given is read off the checkpoint. Every array must find its place by name and shape,
    unless --partial is given.
    """
    from core.checkpoints import read
    from core.command_line.choices import check_network
    from core.config import TrainConfig
    from core.data.index import Index
    from core.files import claim_folder, sha256
    from core.run_folder import RunFolder
    from core.training.state import bring_back, forget_earlier, remove_beginning, set_aside

    task, program = task_of(ctx), program_name(ctx)
    chosen_size, names = opt.parse_size(input_size), opt.parse_names(labels)
    network = check_network(network or task.default_network, task)
    if out.exists():
        claim_folder(out, overwrite=overwrite)
    state = read(checkpoint)

    load_tensorflow()
    from core.checkpoints import load_torch_state
    from core.model_card import shown_size
    from core.training.setup import settled, training_card

    entry = task.network(network)
    state = entry.published(state)
    guessed = dict(task.infer_arguments(network, state))
    variant = entry.check_variant(variant or guessed.get("variant"))
    card = entry.card(variant)
    values = {
        "classes": classes or (len(names) if names else None),
        "channels": channels,
        "input_size": chosen_size,
        "labels": names,
    }
    values = {name: guessed.get(name) if v is None else v for name, v in values.items()}
    values["classes"] = values["classes"] or len(card.labels) or 1
    config = TrainConfig.from_dict(
        {
            "app": task.name,
            "network": network,
            "variant": variant,
            "data": "",
            **{name: value for name, value in values.items() if value is not None},
        }
    )
    config = settled(config, task, card)
    card = training_card(card, config, Index("checkpoint", checkpoint, ()))
    model = entry.build(
        variant,
        task.saved_input_shape(card),
        **{**task.build_arguments(card), **entry.training_options},
    )
    ignored = (*entry.ignored, *entry.skipped(model))
    found = load_torch_state(model, entry.convert_state(state), strict=not partial, ignored=ignored)
    notes = entry.notes(state, checkpoint.name)
    if not found.matched:
        raise UserError(
            f"{checkpoint}: holds nothing that fits {network} {variant}; check --network and "
            "--variant."
        )
    counts = {
        kind: len(getattr(found, kind))
        for kind in ("matched", "missing", "unexpected", "mismatched", "ignored")
    }
    try:
        if overwrite:
            set_aside(out)
        run = RunFolder.create(
            out,
            config,
            card,
            overwrite=overwrite,
            source="import",
            checkpoint={"file": checkpoint.name, "sha256": sha256(checkpoint), **counts},
        )
        run.save_model(model)
    except UserError:
        remove_beginning(out)  # a run without weights would only be in the way
        bring_back(out)
        raise
    forget_earlier(out)
    if json:
        shown = dataclasses.asdict(found)
        show_json(
            {"run": run.path, "network": network, "variant": variant, "counts": counts}
            | {"not_loaded": {k: shown[k] for k in ("missing", "unexpected", "mismatched")}}
            | {"notes": notes}
        )
        return
    size = shown_size(card.input_shape)
    told = f", classes {config.classes} ({', '.join(card.labels)})" if card.labels else ""
    say(f"Network: {network} {variant}, input {size}{told}.")
    say(f"Checkpoint: {found}")
    for note in notes:
        say(f"Note: {note}")
    say(f"Saved: {run.path}")
    _say_next(program, run.path, "")


def best_row(rows: list[dict], metric: str, mode: str) -> dict | None:
    """Return the row of a history that is best by a metric, or None where none was measured."""
    measured = [row for row in rows if not math.isnan(row.get(metric, math.nan))]
    if not measured:
        return None
    return (max if mode == "max" else min)(measured, key=lambda row: row[metric])


def _trained_on(run: RunFolder, index: Index) -> bool:
    return run.record.get("data", {}).get("fingerprint") == index.fingerprint()


def _say_next(program: str, run: Path, data: str, format: str = "auto") -> None:
    shown = shlex.quote(data) if data else "PATH"
    shown += "" if format == "auto" else f" --format {format}"
    path = shlex.quote(str(run))
    say(f"Next: {program} evaluate {path} --data {shown}")
    say(f"      {program} export {path} --precision int8 --data {shown}")
