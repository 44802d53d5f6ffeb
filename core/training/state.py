"""The one file a training is resumed from, and the rules for resuming.

`checkpoints/state.npz` is the only truth: `model.keras` and `history.csv` follow from it and are
written anew on resuming, so it does not matter between which two files a process was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from core.checkpoints.archives import DAMAGE, read_archive
from core.config import TrainConfig
from core.documents import parse_json
from core.errors import UserError
from core.files import explained, is_unfinished, write_atomic

STATE = "checkpoints/state.npz"
BEFORE = ".before"  # where a run that is being overwritten waits
_MAKING = f"{BEFORE}.unfinished"
MAY_CHANGE = ("epochs", "patience", "workers", "cache")  # the only choices a resume may change
OWNED = (
    "model.keras",
    "history.csv",
    "timing.csv",
    "metrics.json",
    "report.html",
    STATE,
)  # what an overwritten run leaves behind that would be taken for the new one's


@dataclass
class TrainingState:
    """Everything that decides how a training goes on.

    Attributes:
        epoch: Finished epochs.
        best: Best value so far of the metric that decides (`core.history.decisive`), None before
            the first validation.
        best_epoch: The epoch (from 1) it was reached in; 0 is before the first.
        validated: The last epoch (from 1) that was evaluated.
        history: A row per finished epoch, after that of the start (epoch 0) where it is a
            candidate; no wall times, so equal runs have equal histories.
        timing: A row per finished epoch: seconds of training and samples per second.
        arrays: Values by group, in the order of the variables: "model", "optimizer", "average"
            (empty without EMA), "best" (the variables of model.keras).
    """

    epoch: int = 0
    best: float | None = None
    best_epoch: int = 0
    validated: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    timing: list[dict[str, float]] = field(default_factory=list)
    arrays: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def save(self, folder: Path) -> Path:
        """Write the state of a run folder atomically; the old one stays if that fails."""
        record = {k: v for k, v in asdict(self).items() if k != "arrays"}
        named: dict[str, Any] = {
            f"{group}/{position}": array
            for group, arrays in self.arrays.items()
            for position, array in enumerate(arrays)
        }

        def write(temporary: Path) -> None:
            with temporary.open("wb") as stream:
                np.savez(stream, record=np.array(json.dumps(record)), **named)

        return write_atomic(folder / STATE, write)

    @classmethod
    def load(cls, folder: Path) -> TrainingState:
        """Return the state of a run folder; an empty one where none was written yet.

        Raises:
            UserError: When the file is damaged.
        """
        path = folder / STATE
        if not path.is_file():
            return cls()
        try:
            stored = read_archive(path, text=True)
            record = parse_json(stored.pop("record").item())
            arrays: dict[str, list[np.ndarray]] = {}
            for name, values in stored.items():  # in the order they were written
                arrays.setdefault(name.split("/")[0], []).append(values)
            return cls(**record, arrays=arrays)
        except (OSError, *DAMAGE) as error:
            raise UserError(
                f"{path}: is damaged; delete it to train this run from its start with --resume."
            ) from error

    def is_finished(self, config: TrainConfig) -> bool:
        """Return whether all epochs are done or patience has run out."""
        return self.epoch >= config.epochs or self.out_of_patience(config)

    def out_of_patience(self, config: TrainConfig) -> bool:
        """Return whether the last evaluation came `patience` epochs after the best, or more."""
        return config.patience is not None and self.validated - self.best_epoch >= config.patience


def assign(variables: Sequence[Any], values: Sequence[np.ndarray], source: Path) -> None:
    """Set variables, in order; a `UserError` naming `source` when they do not fit."""
    shapes = [tuple(v.shape) for v in variables]
    if shapes != [tuple(v.shape) for v in values]:
        raise UserError(
            f"{source}: does not fit the network as this version builds it; train again."
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def write_table(path: Path, rows: Sequence[Mapping[str, float]]) -> Path:
    """Write rows as CSV, atomically; gaps empty, what was validated last."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = sorted(names, key=lambda name: name.startswith("val_"))
    lines = [",".join(columns)]
    lines += [",".join(repr(row[c]) if c in row else "" for c in columns) for row in rows]
    return write_atomic(path, "\n".join(lines) + "\n")


def check_same_choices(run: Path, old: TrainConfig, new: TrainConfig) -> None:
    """Raise a `UserError` naming the first choice a resume may not change."""
    before, after = (_flat(config) for config in (old, new))
    for name in sorted(before.keys() | after.keys()):
        if name not in MAY_CHANGE and before.get(name) != after.get(name):
            raise UserError(
                f"{run}: was started with {name} {before.get(name)!r}, not {after.get(name)!r}; "
                f"resume it with the same (only {', '.join(MAY_CHANGE)} may change) or choose "
                "another --out."
            )


@contextmanager
def replacing(folder: Path) -> Iterator[None]:
    """Set an earlier run aside while a new one begins in its folder.

    When that fails before anything was reached, the folder is as it was before, so that the same
    command can be given again.
    """
    set_aside(folder)
    try:
        yield
    except Exception:
        if not _is_whole(folder):
            remove_beginning(folder)
            bring_back(folder)
        raise


def set_aside(folder: Path) -> None:
    """Move an earlier run out of the way; it is kept until the new one has a checkpoint.

    All its files have a second name before the first one loses its place, so a process that is
    killed leaves the whole run in one of the two. What a killed training had set aside before
    stays the earlier run, unless a whole one stands in its place.
    """
    kept, making = folder / BEFORE, folder / _MAKING
    files = _files_of_run(folder)
    with explained(folder):
        if _is_whole(folder):
            forget_earlier(folder)
        if files and not kept.is_dir():
            shutil.rmtree(making, ignore_errors=True)
            try:
                for path in files:
                    _name_again(path, making / path.relative_to(folder))
                making.rename(kept)
            except OSError:
                shutil.rmtree(making, ignore_errors=True)
                raise
        for path in files:
            path.unlink()


def bring_back(folder: Path) -> None:
    """Put back the run that was set aside, after a training or import that reached nothing."""
    kept = folder / BEFORE
    with contextlib.suppress(OSError):  # the error that ended the training matters more
        for path in reversed(_files_of_run(kept)):
            _name_again(path, folder / path.relative_to(kept))
        forget_earlier(folder)


def forget_earlier(folder: Path) -> None:
    """Delete the run that was set aside, now that a new one stands in its place."""
    for name in (BEFORE, _MAKING):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name, ignore_errors=True)


def _name_again(path: Path, target: Path) -> None:
    """Give a file a second name on the same disk; copy it where there are no such links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(path, target)
    except OSError:
        shutil.copy2(path, target)


def _is_whole(folder: Path) -> bool:
    """Return whether a folder holds a run that has reached something."""
    reached = any((folder / name).is_file() for name in (STATE, "model.keras"))
    return reached and (folder / "config.yaml").is_file()


def _files_of_run(folder: Path) -> list[Path]:
    """Return the files in a folder that a training or import wrote and would be taken for new.

    The config comes first: without it nothing takes the rest for a run.
    """
    names = ("config.yaml", *OWNED, "model_card.json")
    files = [folder / name for name in names if (folder / name).is_file()]
    return files + sorted((folder / "tensorboard").glob("events.*"))


def remove_beginning(folder: Path) -> None:
    """Delete what a training wrote before its first epoch ended, and the folder if it is empty."""
    with contextlib.suppress(OSError, UserError):  # the error that ended the training matters more
        for path in _files_of_run(folder):
            path.unlink()
        remove_leftovers(folder)
        for empty in ("checkpoints", "tensorboard", "."):
            with contextlib.suppress(OSError):
                (folder / empty).rmdir()


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files of a killed process (see `core.files.write_atomic`)."""
    with explained(folder):
        for inside in (folder, folder / "checkpoints"):
            for path in inside.glob(".*"):
                if is_unfinished(path) and path.is_file():
                    path.unlink(missing_ok=True)
        shutil.rmtree(folder / _MAKING, ignore_errors=True)


def _flat(config: TrainConfig) -> dict[str, Any]:
    """Return the choices as JSON values, those of a group by their own names."""
    values = json.loads(json.dumps(config.to_dict()))
    options, distill = values.pop("options"), values.pop("distill")
    values |= {f"option {name}": value for name, value in options.items()}
    return {**values, **{f"distill.{name}": value for name, value in distill.items()}}
