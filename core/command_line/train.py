"""The commands that make a run folder: train, and import of a published checkpoint."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from core.command_line import options as opt
from core.command_line.program import program_name, task_of
from core.command_line.quiet import load_tensorflow
from core.command_line.tables import say, show_json
from core.command_line.training import run_training
from core.errors import UserError
from core.history import best_row

# So many equal scores, and no loss below this share of the first, are no accident.
VALIDATIONS, STILL = 3, 0.95


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
    teacher: opt.Teacher = None,
    backbone_weights: opt.BackboneWeights = None,
    epochs: opt.Epochs = None,
    batch: Annotated[int | None, opt.BATCH] = None,
    learning_rate: opt.LearningRate = None,
    clip_norm: opt.ClipNorm = None,
    precision: opt.Arithmetic = None,
    patience: opt.Patience = None,
    steps_per_epoch: opt.StepsPerEpoch = None,
    seed: opt.Seed = None,
    settings: opt.Settings = None,
    preset: opt.Preset = None,
    config: opt.Config = None,
    quick: opt.Quick = False,
    resume: opt.Resume = False,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Train a network on a data set; the result is a run folder.

    What is not chosen is taken from the network's published recipe, labels and classes from the
    data. --set reaches every other choice: --set weight_decay=0.05 --set options.loss=ce_dice.

    With --teacher the network also learns from another run: distill.weight (0.7) of the loss is
    the difference to its class probabilities, softened by distill.temperature (4).

    With --resume only --out is needed: the choices come from the run folder.
    """
    task = task_of(ctx)
    run = run_training(ctx, task)
    rows = run.history()
    best = best_row(rows, task.headline, task.headline_mode)
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
    # A network that started from another run's weights may be as good as it gets.
    fresh = run.config.initial_weights is None
    if fresh and learned_nothing(rows, f"val_{task.headline}"):
        rate = run.config.learning_rate
        say(
            f"Warning: every validation gave the same {task.headline} and the loss did not fall: "
            "nothing was learned. A high learning rate can switch all units off for good; try "
            f"{rate / 4:g} in place of {rate:g}."
        )
    say(f"Saved: {run.path}")
    _say_next(program_name(ctx), run.path, run.config.data, run.config.format)


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
    from core.training.state import forget_earlier, replacing

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
    index = Index("checkpoint", checkpoint, ())
    config = settled(config, task, card, index)
    card = training_card(task, card, config, index)
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
    with replacing(out):
        run = RunFolder.create(
            out,
            config,
            card,
            overwrite=overwrite,
            source="import",
            checkpoint={"file": checkpoint.name, "sha256": sha256(checkpoint), **counts},
        )
        run.save_model(model)
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


def learned_nothing(rows: Sequence[Mapping[str, float]], headline: str) -> bool:
    """Return whether a training moved neither its score nor its loss, as where all ReLUs are off.

    Args:
        rows: Of the history, one per epoch; those of validated epochs have the headline.
        headline: Key of the score.
    """
    scores = [row[headline] for row in rows if headline in row]
    losses = [row["loss"] for row in rows if "loss" in row]
    still = len(scores) >= VALIDATIONS and len(set(scores)) == 1
    return still and len(losses) > 1 and min(losses[1:]) > STILL * losses[0]


def _say_next(program: str, run: Path, data: str, format: str = "auto") -> None:
    shown = shlex.quote(data) if data else "PATH"
    shown += "" if format == "auto" else f" --format {format}"
    path = shlex.quote(str(run))
    say(f"Next: {program} evaluate {path} --data {shown}")
    say(f"      {program} export {path} --precision int8 --data {shown}")
