"""The command that trains an encoder without labels, for apps whose inputs are pictures."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from core.command_line import options as opt
from core.command_line.program import program_name, task_of
from core.command_line.tables import say, show_json
from core.command_line.training import run_training


def pretrain(
    ctx: typer.Context,
    out: opt.OutRun,
    data: opt.Data = None,
    format: opt.Format = None,
    workers: Annotated[int | None, opt.WORKERS] = None,
    network: opt.Network = None,
    variant: opt.Variant = None,
    input_size: opt.InputSize = None,
    channels: opt.Channels = None,
    initial_weights: opt.InitialWeights = None,
    epochs: opt.Epochs = None,
    batch: Annotated[int | None, opt.BATCH] = None,
    learning_rate: opt.LearningRate = None,
    clip_norm: opt.ClipNorm = None,
    precision: opt.Arithmetic = None,
    steps_per_epoch: opt.StepsPerEpoch = None,
    seed: opt.Seed = None,
    settings: opt.Settings = None,
    config: opt.Config = None,
    quick: opt.Quick = False,
    resume: opt.Resume = False,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Train a network's encoder without labels (Barlow Twins); then train from the run it makes.

    Only training images are looked at, and of data with masks only the images; a folder of images
    alone will do. train --initial-weights takes the encoder over, whole or not at all.

    --set reaches every other choice: --set optimizer=adam, and of the two views of every image
    options.crop, options.rotate and options.color=on. Where there are few images,
    options.repeats=20 takes each so often in an epoch, every time as other views.

    With --resume only --out is needed: the choices come from the run folder.
    """
    from core.training.pretraining import Pretraining

    domain = task_of(ctx)
    task = domain.pretraining() or Pretraining(domain)
    run = run_training(ctx, task)
    rows = run.history()
    values = {name: rows[-1][name] for name in task.shown}
    if json:
        show_json({"run": run.path, "epochs": len(rows), **values})
        return
    first = rows[0]["loss"]
    say(f"Loss: {first:.4g} after the first epoch, {values['loss']:.4g} after epoch {len(rows)}.")
    for note in task.notes(values):
        say(f"Note: {note}")
    say(f"Saved: {run.path}")
    card, path = run.card, shlex.quote(str(run.path))
    say(f"Next: {program_name(ctx)} train --network {card.network} --variant {card.variant} "
        f"--initial-weights {path} --data PATH --out RUN")  # fmt: skip
