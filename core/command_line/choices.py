"""From defaults, a config file and flags to the one config of a training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.config import Distillation, TrainConfig, read_config_file
from core.data.index import Index
from core.errors import UserError, no_such
from core.model_card import ModelCard, shown_size
from core.task import Task

# Fields of the config that are choices by name, set as `FIELD.NAME`.
GROUPS = ("options", "distill")
# A training that only shows that everything works.
QUICK = {"epochs": 1, "steps_per_epoch": 2, "warmup_epochs": 0}
_ANNOUNCED = (
    "network",
    "variant",
    "input_size",
    "channels",
    "classes",
    "epochs",
    "batch",
    "learning_rate",
    "precision",
    "seed",
)


def file_values(path: Path | None, app: str) -> dict[str, Any]:
    """Return the choices of a config file; the config.yaml of a run folder is one too."""
    if path is None:
        return {}
    values = read_config_file(path)
    if "format_version" in values and isinstance(values.get("config"), dict):
        values = values["config"]
    values = dict(values)
    if values.pop("app", app) != app:
        raise UserError(f"{path}: is a config of another app, not of '{app}'; choose another file.")
    _check_names(values, {}, str(path))
    for group in GROUPS:
        if not isinstance(values.get(group, {}), Mapping):
            raise UserError(f"{path}: {group} must hold 'key: value' lines.")
    return values


def flag_values(
    task: Task, flags: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the command line chose: the flags that were given, and `--set`.

    Args:
        task: Names the domain's own options, set as `options.NAME`.
        flags: Config field → value; None where the flag was not given.
        settings: Config field, `options.NAME` or `distill.NAME` → value.
    """
    values = {name: value for name, value in flags.items() if value is not None}
    groups = tuple(f"{group}." for group in GROUPS)
    own = {n: v for n, v in settings.items() if not n.startswith(groups)}
    _check_names(own, task.options, "--set")
    for name, value in own.items():
        if name in values:
            raise UserError(f"{name} is chosen by its own option and by --set; pass one of them.")
        values[name] = value
    for group in GROUPS:
        inside = {
            name.removeprefix(f"{group}."): value
            for name, value in settings.items()
            if name.startswith(f"{group}.")
        }
        values |= {group: inside} if inside else {}
    return values


def merge(
    task: Task,
    file: Mapping[str, Any],
    flags: Mapping[str, Any],
    *,
    quick: bool = False,
    base: Mapping[str, Any] | None = None,
    preset: str | None = None,
) -> dict[str, Any]:
    """Return the choices by config field: the network's recipe, preset, the file, the flags.

    Args:
        task: Its recipe comes first and its options are checked.
        file, flags: Of `file_values` and `flag_values`.
        quick: Whether a few steps are enough, where the flags say nothing else.
        base: What to start from instead of the recipe (a run that is resumed).
        preset: Name of some of the task's choices that go together.
    """
    chosen_together = {} if preset is None else task.preset(preset)
    if base is None:
        chosen = {"network": task.default_network, **file, **flags}["network"]
        base = task.recipe(check_network(chosen, task))
    layers = [base, chosen_together, file, QUICK if quick else {}, flags]
    distill = {n: v for layer in layers for n, v in (layer.get("distill") or {}).items()}
    values = {name: value for layer in layers for name, value in layer.items()}
    if flags.get("clip_norm") is not None and "clip_value" not in {**file, **flags}:
        values["clip_value"] = None  # the two exclude each other
    options: dict[str, Any] = {}
    for layer in layers:
        options |= {n: _word(v, task, n) for n, v in (layer.get("options") or {}).items()}
    values |= {"options": task.check_options(options), "distill": distill}
    values["app"] = task.name
    values.setdefault("network", task.default_network)
    check_network(values["network"], task)
    return values


def replaced(
    task: Task, preset: str | None, file: Mapping[str, Any], flags: Mapping[str, Any]
) -> str:
    """Return what a user chose otherwise than a preset does, in a line; empty for nothing.

    Args:
        task: Has the preset.
        preset: Its name, or None for none.
        file, flags: Of `file_values` and `flag_values`.
    """
    if preset is None:
        return ""
    together = _flat(task.preset(preset))
    given = {**_flat(file), **_flat(flags)}
    changed = [
        f"{name} {given[name]} in place of {value}"
        for name, value in together.items()
        if name in given and given[name] != value
    ]
    return f"Preset {preset}: {', '.join(changed)}." if changed else ""


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return choices by name, those of a group as "GROUP.NAME"."""
    own = {
        f"{group}.{name}": value
        for group in GROUPS
        for name, value in (values.get(group) or {}).items()
    }
    return {**{name: value for name, value in values.items() if name not in GROUPS}, **own}


def check_network(name: str, task: Task) -> str:
    """Return a network's name if it is one of the task's, without importing any network."""
    if not isinstance(name, str) or name not in task.networks:
        raise no_such("network", name, task.networks)
    return name


def complete(
    values: Mapping[str, Any], given: Mapping[str, Any], index: Index, task: Task
) -> dict[str, Any]:
    """Return the choices with `classes` taken from labels or data, unless it was given."""
    labels = values.get("labels")
    if "classes" in given:
        return dict(values)
    found = task.classes_of(index) if not labels else 1 if isinstance(labels, str) else len(labels)
    return {**values, "classes": found} if found else dict(values)


def filled_in(config: TrainConfig, given: Mapping[str, Any], card: ModelCard) -> str:
    """Return the defaults a user did not choose, in a line."""
    shown = []
    for name in _ANNOUNCED:
        if name in given or (name == "classes" and not card.labels):
            continue
        value = getattr(card if name in ("input_size", "channels") else config, name)
        if name == "input_size":
            value = shown_size(value)
        shown.append(f"{name.replace('_', ' ')} {value}")
    return f"Defaults: {', '.join(shown)}." if shown else ""


def _word(value: Any, task: Task, name: str) -> Any:
    """Return the word that YAML took for a truth value, as in `multi_scale: off`."""
    allowed = task.option_values.get(name, ())
    if isinstance(value, bool) and value not in allowed:
        words = ("on", "yes", "true") if value else ("off", "no", "false")
        return next((word for word in words if word in allowed), value)
    return value


def _check_names(values: Mapping[str, Any], options: Mapping[str, Any], source: str) -> None:
    named = [f.name for f in dataclasses.fields(TrainConfig)]
    fields = [name for name in named if name not in ("app", *GROUPS)]
    for name in values:
        if name in options:
            raise UserError(f"{source}: no such key: '{name}'. Did you mean 'options.{name}'?")
        if name not in fields and not (name in GROUPS and source != "--set"):
            choices = [f"distill.{f.name}" for f in dataclasses.fields(Distillation)]
            known = [*fields, *choices, *(f"options.{option}" for option in options)]
            raise no_such("key", name, known, where=source)
