"""Compress a run stage by stage, each one fine-tuned with the app's own training.

The last stage is the output run; earlier ones lie in its folder `stages/`. What was chosen stands
in `stages/chain.json`, so that a chain that was killed goes on where it was.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from core.compress.stage import holds_pattern
from core.compress.stages import stage_of
from core.config import TrainConfig
from core.data.index import Index
from core.documents import read_json
from core.errors import UserError, no_such
from core.files import claim_folder, write_atomic, write_json
from core.run_folder import RunFolder
from core.task import Task

CHAIN = "stages/chain.json"
# Fine-tuning starts from a trained network: fewer epochs, at a tenth of the learning rate.
EPOCHS, RATE_FACTOR = 10, 0.1
# What does not carry over from the training of the source run.
_FRESH: dict[str, Any] = {"patience": None, "ema": None, "precision": "float32", "warmup_epochs": 0,
          "steps_per_epoch": None, "validate_every": 1, "teacher": None, "distill": {}}  # fmt: skip
# What the source run has decided, or the chain decides.
_DECIDED = ("app", "network", "variant", "input_size", "channels", "classes", "labels",
            "initial_weights", "compress", "options")  # fmt: skip
CHANGEABLE = tuple(f.name for f in fields(TrainConfig) if f.name not in _DECIDED)


@dataclass(frozen=True)
class StagePlan:
    """One stage of a chain.

    Attributes:
        method: "prune", "cluster" or "quantize".
        folder: Where its run is written.
        config: Its training.
        chain: What tells its run from an older one in the same folder.
    """

    method: str
    folder: Path
    config: TrainConfig
    chain: str = ""

    @property
    def begun(self) -> bool:
        """Whether the run folder of this stage exists."""
        if not (self.folder / "config.yaml").is_file():
            return False
        return RunFolder(self.folder).record.get("chain") == self.chain


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
        training: Changes to the fine-tuning, by `TrainConfig` field (those of `CHANGEABLE`), and
            the task's own as "options".

    Raises:
        UserError: For methods, choices or a source that cannot be compressed so.
    """
    out, choices = Path(out), choices or {}
    if not methods:
        raise UserError("Nothing to do: name a method, such as: --method quantize.")
    for name in choices:
        if name not in methods:
            raise UserError(f"Choices are given for '{name}', which is not in --method.")
    if len(set(methods)) < len(methods):
        raise UserError(f"--method {','.join(methods)} names a method twice; name each once.")
    if not source.file("model.keras").is_file():
        raise UserError(f"{source.path}: holds no model.keras yet; finish the training first.")
    source.check_whole()
    base = _fine_tuning(task, source, training or {})
    after, chain = _methods_before(source), uuid.uuid4().hex
    plans, stages, previous = [], [], source.path
    for position, method in enumerate(methods, start=1):
        defaults = dict(task.method_defaults.get(method, {}))
        usual = defaults.pop("training", {})
        if "cluster" in after:
            defaults.pop("equalize", None)  # it would undo the clusters
        if holds_pattern({"after": after}):
            defaults.pop("balance", None)  # and the zeros
        chosen = {**defaults, **choices.get(method, {})}
        compress = {"method": method, "choices": chosen, "after": after}
        stages.append(stage_of(compress))  # complains about wrong choices
        folder = out if position == len(methods) else out / "stages" / f"{position}_{method}"
        if folder.resolve() == source.path.resolve():
            raise UserError(f"{folder}: is the run to compress; choose another --out.")
        values = {**base, **{k: v for k, v in usual.items() if k not in (training or {})}}
        values |= {"initial_weights": str(previous), "compress": compress}
        plans.append(StagePlan(method, folder, TrainConfig.from_dict(values), chain))
        previous, after = folder, [*after, method]
    taught = choices.get("adapt", {}).get("teacher")
    if len(stages) > 1 or taught:  # without a teacher the first one complains as soon as it starts
        from core.training.setup import bring_teacher, deployed

        bring_teacher(stages[0], task, source.card, plans[0].config)
        model = deployed(task.network(source.config.network), source)
        for stage in stages if taught else stages[1:]:
            stage.check(model)
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

    out, runs = plans[-1].folder, []
    if not resume:
        claim_folder(out, overwrite=overwrite)
    earlier = (out / CHAIN).read_bytes() if (out / CHAIN).is_file() else None
    try:
        if not resume:
            stages = [_stored(plan, out) for plan in plans]
            write_json(out / CHAIN, {"chain": plans[-1].chain, "stages": stages})
        for plan in plans:
            announce(plan)
            going_on = resume and plan.begun
            choices = {"resume": going_on, "overwrite": not going_on, "progress": progress}
            record = {"chain": plan.chain}
            runs.append(
                train(task, plan.config, plan.folder, index=index, record=record, **choices)
            )
    except Exception:
        if not any(plan.begun for plan in plans):
            _take_back(out, earlier)  # let the same command be given again
        raise
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
        stored = read_json(path)
        plans = [
            StagePlan(
                entry["method"],
                Path(out) / entry["folder"],
                TrainConfig.from_dict(entry["config"], source=str(path)),
                stored["chain"],
            )
            for entry in stored["stages"]
        ]
        if not plans or plans[-1].folder != Path(out):
            raise ValueError("no last stage")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UserError) as error:
        raise UserError(f"{path}: is damaged; compress again with --overwrite.") from error
    return plans


def _stored(plan: StagePlan, out: Path) -> dict:
    folder = plan.folder.relative_to(out).as_posix()
    return {"method": plan.method, "folder": folder, "config": plan.config.to_dict()}


def _take_back(out: Path, earlier: bytes | None) -> None:
    """Put the record of the earlier chain back, or delete that of one that reached nothing.

    Folders go if they are empty.
    """
    with contextlib.suppress(OSError, UserError):  # the error that ended the chain matters more
        if earlier is not None:
            write_atomic(out / CHAIN, earlier)
            return
        (out / CHAIN).unlink(missing_ok=True)
    for empty in ((out / CHAIN).parent, out):
        with contextlib.suppress(OSError):
            empty.rmdir()


def _methods_before(source: RunFolder) -> list[str]:
    compress = source.config.compress
    return [*compress.get("after", ()), compress["method"]] if compress else []


def _fine_tuning(task: Task, source: RunFolder, training: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of a fine-tuning: that of the source run, usual, then the changes."""
    for name in training:
        if name not in (*CHANGEABLE, "options"):
            raise no_such("key", name, CHANGEABLE, where="Training")
    values = source.config.to_dict()
    if source.record.get("source") == "import":  # no recipe of its own: the domain's
        values = {**values, **task.recipe(source.config.network)}
    if not source.config.compress:
        values |= {
            "epochs": EPOCHS,
            "learning_rate": values["learning_rate"] * RATE_FACTOR,
            "final_learning_rate": values["final_learning_rate"] * RATE_FACTOR,
        }
    values |= {**_FRESH, "input_size": list(source.card.input_size)}
    values |= {"channels": source.card.channels, "labels": list(source.card.labels)}
    chosen = dict(training.get("options") or {})
    for name, value in task.compress_options.items():
        if chosen.get(name, value) != value:
            raise UserError(
                f"Option '{name}' is '{chosen[name]}', but a compressed network trains with "
                f"'{value}'; leave it off."
            )
    options = {**values.get("options", {}), **chosen, **task.compress_options}
    values |= {**training, "options": task.check_options(options)}
    if not values.get("data"):
        raise UserError(f"{source.path}: nothing to fine-tune on; pass --data PATH.")
    return values
