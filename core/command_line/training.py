"""What the commands that train have in common: from flags and files to a run that was trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from core.command_line import options as opt
from core.command_line.program import program_name, when_stopped
from core.command_line.quiet import load_tensorflow
from core.command_line.tables import say
from core.errors import UserError

if TYPE_CHECKING:
    from core.data.index import Index
    from core.run_folder import RunFolder
    from core.task import Task

_SWITCHES = ("quick", "resume", "overwrite", "json")
_NO_CHOICES = (*_SWITCHES, "out", "config", "settings", "preset")


def run_training(ctx: typer.Context, task: Task) -> RunFolder:
    """Train as the command line says and return the run folder; nothing is printed as a result.

    Args:
        ctx: Of a command whose options are those of `train`, or some of them: what they were given
            is taken from here by their names, which are the config's.
        task: What is trained; names the command.

    Raises:
        UserError: For wrong choices, before anything heavy is imported.
    """
    from core.command_line import choices
    from core.config import TrainConfig
    from core.files import claim_folder
    from core.run_folder import RunFolder

    said = {name: value for name, value in ctx.params.items() if name not in _NO_CHOICES}
    out = Path(ctx.params["out"])
    quick, resume, overwrite, json = (ctx.params[name] for name in _SWITCHES)
    if resume and overwrite:
        raise UserError("--resume and --overwrite exclude each other; pass one of them.")
    start, teacher = said.get("initial_weights"), said.get("teacher")
    said |= {
        "input_size": opt.parse_size(said.get("input_size")),
        "labels": opt.parse_names(said.get("labels")),
        "initial_weights": None if start is None else str(start),
        "teacher": None if teacher is None else str(teacher),
    }
    settings = opt.parse_settings(ctx.params["settings"])
    settings |= _backbone_settings(task, said.pop("backbone_weights", None), start, settings)
    flags = choices.flag_values(task, said, settings)
    given_file = ctx.params["config"]
    file = choices.file_values(None if given_file is None else Path(given_file), task.name)
    earlier = None
    if resume and (out / "config.yaml").is_file():
        earlier = RunFolder(out, app=task.name)
        earlier.check_command(task.command)
    base = None if earlier is None else earlier.config.to_dict()
    preset = ctx.params.get("preset")
    if preset is not None and earlier is not None:
        raise UserError("--resume goes on with the choices of the run; leave --preset out.")
    values = choices.merge(task, file, flags, quick=quick, base=base, preset=preset)
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
        card = training_card(task, entry.card(chosen.variant), chosen, index)
        say(f"Data: {index.root}, format {index.format}, {index.describe_splits()}.", aside=json)
        for note in (note for note in index.notes if note.startswith("Warning: ")):
            say(note, aside=json)
        changed = choices.replaced(task, preset, file, flags)
        for line in (changed, choices.filled_in(chosen, given, card)):
            if line:
                say(line, aside=json)
    when_stopped(ctx, f"go on with: {program_name(ctx)} {task.command} --resume --out {out}")
    return fit.train(
        task,
        chosen,
        out,
        index=index,
        resume=resume,
        overwrite=overwrite,
        progress=TrainingProgress(task.headline),
    )


def _backbone_settings(
    task: Task, source: str | None, start: Path | None, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the setting that `--backbone-weights` stands for, if it was given."""
    if source is None:
        return {}
    option = "backbone_weights"
    if option not in task.options:
        raise UserError(f"'{task.name}' has no published backbones; leave --backbone-weights out.")
    if start is not None:
        raise UserError(
            "--initial-weights and --backbone-weights exclude each other; pass one of them."
        )
    if f"options.{option}" in settings:
        raise UserError(f"{option} is chosen by its own option and by --set; pass one of them.")
    return {f"options.{option}": source}


def _trained_on(run: RunFolder, index: Index) -> bool:
    return run.record.get("data", {}).get("fingerprint") == index.fingerprint()
