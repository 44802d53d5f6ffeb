"""Compress a run stage by stage, each one fine-tuned with the app's own training.

The last stage is the output run; earlier ones lie in its folder `stages/`. What was chosen stands
in `stages/chain.json`, so that a chain that was killed goes on where it was.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.compress.stages import stage_of
from core.data.index import Index
from core.errors import UserError
from core.files import claim_folder, write_json
from core.run_folder import RunFolder
from core.task import Task
from core.training.config import TrainConfig

CHAIN = "stages/chain.json"
# Fine-tuning starts from a trained network: fewer epochs, at a tenth of the learning rate.
EPOCHS, RATE_FACTOR = 10, 0.1
# What does not carry over from the training of the source run.
_FRESH = {"patience": None, "ema": None, "precision": "float32", "warmup_epochs": 0,
          "steps_per_epoch": None, "validate_every": 1}  # fmt: skip


@dataclass(frozen=True)
class StagePlan:
    """One stage of a chain.

    Attributes:
        method: "prune", "cluster" or "quantize".
        folder: Where its run is written.
        config: Its training.
    """

    method: str
    folder: Path
    config: TrainConfig


def plan_chain(
    task: Task,
    source: RunFolder,
    methods: Sequence[str],
    out: str | Path,
    *,
    choices: Mapping[str, Mapping[str, Any]] | None = None,
    training: Mapping[str, Any] | None = None,
) -> list[StagePlan]:
    """Return the stages that compress a run, checked; nothing is written.

    Args:
        task: The run's domain.
        source: The run to compress, trained, imported or compressed before.
        methods: Names of the stages in order.
        out: The run folder of the last stage.
        choices: Method → its choices (see `core.compress.stages`).
        training: Changes to the fine-tuning, by `TrainConfig` field.

    Raises:
        UserError: For methods, choices or a source that cannot be compressed so.
    """
    out, choices, training = Path(out), choices or {}, dict(training or {})
    for name in choices:
        if name not in methods:
            raise UserError(f"Choices are given for '{name}', which is not in --method.")
    if len(set(methods)) < len(methods):
        raise UserError(f"--method {','.join(methods)} names a method twice; name each once.")
    if not source.file("model.keras").is_file():
        raise UserError(f"{source.path}: holds no model.keras yet; finish the training first.")
    if source.path.resolve() == out.resolve():
        raise UserError(f"{out}: is the run to compress; choose another --out.")
    base = _fine_tuning(task, source, training)
    after = _methods_before(source)
    plans, previous = [], source.path
    for position, method in enumerate(methods, start=1):
        compress = {"method": method, "choices": dict(choices.get(method, {})), "after": after}
        stage_of(compress)  # complains about wrong choices
        last = position == len(methods)
        folder = out if last else out / "stages" / f"{position}_{method}"
        values = {**base, "initial_weights": str(previous), "compress": compress}
        plans.append(StagePlan(method, folder, TrainConfig.from_dict(values)))
        previous, after = folder, [*after, method]
    return plans


def run_chain(
    task: Task,
    plans: Sequence[StagePlan],
    *,
    index: Index | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: Any = None,
    announce: Callable[[StagePlan], None] = lambda plan: None,
) -> list[RunFolder]:
    """Train the stages of a chain and return their run folders.

    Args:
        task: The domain.
        plans: Of `plan_chain`, or of `started_chain` to resume.
        index: The samples; None reads the data of the config.
        overwrite: Whether an older run in the output folder may be replaced.
        resume: Go on with a chain that was begun.
        progress: Shows each training (`core.training.callbacks.Progress`).
        announce: Called before each stage.
    """
    from core.training.fit import train

    out = plans[-1].folder
    if not resume:
        claim_folder(out, overwrite=overwrite)
        write_json(out / CHAIN, [_stored(plan) for plan in plans])
    runs = []
    for plan in plans:
        announce(plan)
        begun = resume and (plan.folder / "config.yaml").is_file()
        choices = {"index": index, "resume": begun, "overwrite": not begun, "progress": progress}
        runs.append(train(task, plan.config, plan.folder, **choices))
    return runs


def started_chain(out: str | Path) -> list[StagePlan]:
    """Return the stages of a chain that was begun in a folder.

    Raises:
        UserError: When no chain was begun there or its record is damaged.
    """
    path = Path(out) / CHAIN
    if not path.is_file():
        raise UserError(f"{out}: holds no compression to resume; start one without --resume.")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return [
            StagePlan(
                entry["method"],
                Path(out) / entry["folder"],
                TrainConfig.from_dict(entry["config"], source=str(path)),
            )
            for entry in stored
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is damaged; compress again with --overwrite.") from error


def _stored(plan: StagePlan) -> dict:
    folder = "." if plan.folder.parent.name != "stages" else f"stages/{plan.folder.name}"
    return {"method": plan.method, "folder": folder, "config": plan.config.to_dict()}


def _methods_before(source: RunFolder) -> list[str]:
    compress = source.config.compress
    return [*compress.get("after", ()), compress["method"]] if compress else []


def _fine_tuning(task: Task, source: RunFolder, training: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of a fine-tuning: that of the source run, gentler, then the changes."""
    values = source.config.to_dict()
    if source.record.get("source") == "import":  # no recipe of its own: the domain's
        values = {**values, **dict(task.defaults)}
    if not source.config.compress:
        values |= {
            "epochs": EPOCHS,
            "learning_rate": values["learning_rate"] * RATE_FACTOR,
            "final_learning_rate": values["final_learning_rate"] * RATE_FACTOR,
        }
    values |= {**_FRESH, "input_size": list(source.card.input_size)}
    values |= {"channels": source.card.channels, "labels": list(source.card.labels)}
    options = {**values.get("options", {}), **training.get("options", {})}
    values |= {**training, "options": {**options, **task.compress_options}}
    if not values.get("data"):
        raise UserError(f"{source.path}: nothing to fine-tune on; pass --data PATH.")
    known = {field.name for field in dataclasses.fields(TrainConfig)}
    return {name: value for name, value in values.items() if name in known}
