"""The commands that look at what there is: models and data."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.command_line import options as opt
from core.command_line.program import task_of
from core.command_line.quiet import load_tensorflow
from core.command_line.tables import say, show_json, show_table
from core.errors import UserError

if TYPE_CHECKING:
    from core.data.index import Index
    from core.model_card import ModelCard
    from core.task import Task


def models(
    ctx: typer.Context,
    network: opt.Network = None,
    json: opt.Json = False,
) -> None:
    """List every network and variant, with counted and published parameters."""
    from core.command_line.choices import check_network
    from core.command_line.progress import track
    from core.model_card import shown_size

    task = task_of(ctx)
    if network is not None:
        check_network(network, task)
    names = task.networks if network is None else (network,)
    load_tensorflow()
    entries = [(name, variant) for name in names for variant in task.network(name).variants]
    found = []
    with track(len(entries), "building") as advance:
        for name, variant in entries:
            found.append(_describe(task, name, variant))
            advance(1)
    if json:
        show_json({"networks": found})
        return
    rows = [
        (
            entry["network"],
            entry["variant"],
            entry["parameters"],
            entry["published_parameters"],
            entry["deployed_parameters"],
            shown_size(entry["card"]["input_size"]),
        )
        for entry in found
    ]
    show_table(("network", "variant", "parameters", "published", "deployed", "input"), rows)
    for name in names:
        card = task.network(name).card(next(iter(task.network(name).variants)))
        say()
        say(f"{name}: {card.title}")
        for label, value in (
            ("paper", card.paper),
            ("code", card.official_code),
            ("licence", card.licence),
            ("weights", card.checkpoints),
        ):
            if value:
                say(f"  {label + ':':<9}{value}")


def data(
    ctx: typer.Context,
    data: opt.DataSet,
    format: opt.Format = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Draw samples with their truth into a picture."),
    ] = None,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Say how a data set is read and what is wrong with it: every file is opened once.

    The exit code is 1 if there are problems.
    """
    from core.command_line.contact_sheet import write_sheet
    from core.files import claim_file

    task = task_of(ctx)
    if out is not None and out.suffix.lower() != ".png":
        raise UserError(f"{out}: pictures are written as PNG; choose a name ending in .png.")
    if out is not None:
        claim_file(out, overwrite=overwrite)
    index = task.read(data, format or "auto")
    groups = {sample.group for sample in index.samples if sample.group}
    notes = [*index.notes, *task.data_notes(index)]
    summary = {
        "data": str(index.root),
        "format": index.format,
        "samples": len(index),
        "splits": {name or "unsplit": count for name, count in index.counts().items()},
        "labels": list(index.labels),
        "groups": len(groups),
        "fingerprint": index.fingerprint(),
        "notes": notes,
    }
    if not json:
        rows = [
            ("format", index.format),
            ("samples", f"{len(index)} ({index.describe_splits()})"),
            ("labels", ", ".join(index.labels) or None),
            ("groups", len(groups) or None),
            ("fingerprint", summary["fingerprint"]),
        ]
        show_table(("data", str(index.root)), rows)
        for note in notes:
            say(note)
    load_tensorflow()
    card = data_card(task, index)
    problems = list(task.check_data(index, card))
    if out is not None:
        write_sheet(task, index, card, out)
    if json:
        show_json({**summary, "problems": problems, "out": out})
    else:
        for problem in problems:
            say(f"Problem: {problem}")
        say(f"{_count(problems)} found in {len(index)} samples.")
        if out is not None:
            say(f"Saved: {out}")
    if problems:
        raise typer.Exit(1)


def data_card(task: Task, index: Index) -> ModelCard:
    """Return the card a data set would be trained with by default."""
    from core.config import TrainConfig
    from core.training.setup import training_card

    name = task.defaults.get("network", task.default_network)
    network = task.network(name)
    variant = network.check_variant(task.defaults.get("variant"))
    config = TrainConfig(
        task.name, name, variant, classes=len(index.labels) or task.defaults.get("classes", 1)
    )
    return training_card(task, network.card(variant), config, index)


def _describe(task: Task, name: str, variant: str) -> dict:
    """Return a variant's card and parameters: as published (with training heads) and deployed."""
    network = task.network(name)
    card = network.card(variant)
    model = network.build(
        variant,
        card.input_shape,
        **{**task.build_arguments(card), **network.training_options},
    )
    return {
        "network": name,
        "variant": variant,
        "parameters": _parameters(model),
        "published_parameters": card.published.get("parameters"),
        "deployed_parameters": _parameters(network.deploy(model)),
        "card": card.to_dict(),
    }


def _parameters(model) -> int:
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def _count(problems: list[str]) -> str:
    return "No problems" if not problems else f"{len(problems)} problem(s)"
