"""One word for one thing: flags, arguments, JSON keys and metrics, over all commands."""

import re
from collections import defaultdict

import pytest
import typer

from apps.catalog import APPS
from core.command_line.schemas import schemas

# A flag that names what a command alone writes, or has choices of its own, is explained there.
OWN_WORDS = {"--out": {"help", "metavar"}, "--precision": {"help", "metavar", "rich_help_panel"}}
# A key that is a mapping by kind (of checkpoint arrays, of engines) in one place; and PPV's name.
OWN_KEYS = {"missing", "unexpected", "mismatched", "file", "metrics", "precision", "value"}


def parameters():
    """Yield (command, parameter) of every command of the suite."""
    from apps.__main__ import build

    for name, command in typer.main.get_command(build()).commands.items():
        for word, one in getattr(command, "commands", {"": command}).items():
            for parameter in one.params:
                yield f"{name} {word}".strip(), parameter


def kind(parameter) -> str:
    """Return what a parameter takes, whether it may be left out or not: "int", "list[Path]"."""
    annotation = parameter.type_descriptor.annotation
    return re.sub(r"^(typing\.)?Optional\[(.*)\]$|( \| None)$", r"\2", str(annotation))


def test_a_flag_means_the_same_in_every_command():
    said = defaultdict(lambda: defaultdict(set))
    for command, parameter in parameters():
        name = "/".join((*parameter.opts, *parameter.secondary_opts))
        what = name if parameter.param_type_name == "option" else f"<{name}>"
        for part in ("help", "metavar", "rich_help_panel"):
            said[what, part][getattr(parameter, part, None)].add(command)
        if not parameter.multiple:  # `cross --data A --data B`
            said[what, "kind"][kind(parameter)].add(command)
    for (name, part), found in said.items():
        if part not in OWN_WORDS.get(name, ()):
            assert len(found) == 1, f"{part} of {name}: {dict(found)}"


def test_every_flag_is_explained_and_has_one_name():
    for command, parameter in parameters():
        assert parameter.help, f"{command}: {parameter.name}"
        assert len(parameter.opts) == 1, f"{command}: {parameter.opts}"


def test_no_flag_is_anothers_plural():
    """`--run RUN` and `--runs N` would be two things in nearly one word."""
    names = {opt for _, p in parameters() if p.param_type_name == "option" for opt in p.opts}
    assert {name for name in names if f"{name}s" in names} <= {"--camera"}  # --cameras counts them


def test_whatever_a_user_names_to_be_written_is_not_replaced_unasked():
    """simulate and generate write into a new folder only."""
    writing = {"--out", "--csv", "--per-sample", "--maps", "--plot"}
    owners = defaultdict(set)
    for command, parameter in parameters():
        owners[command] |= set(parameter.opts)
    lacking = {c for c, flags in owners.items() if flags & writing and "--overwrite" not in flags}
    simulating = {f"{app} simulate" for app in ("reid", "fetal", "aqua", "lines")}
    assert lacking == simulating | {"modrec generate"}


def test_a_flag_of_train_is_the_configs_key():
    from core.config import TrainConfig

    own = {"--out", "--config", "--set", "--quick", "--resume", "--overwrite", "--json"}
    own |= {"--preset", "--backbone-weights"}  # several keys, and an app's option
    for command, parameter in parameters():
        if command.endswith(" train") and not own & set(parameter.opts):
            key = parameter.opts[0].removeprefix("--").replace("-", "_")
            assert key in TrainConfig.__dataclass_fields__, parameter.opts


def keys(schema):
    """Yield (key, type) of every key in a schema."""
    if isinstance(schema, dict):
        for key, value in schema.get("properties", {}).items():
            if isinstance(value, dict) and value:
                types = value.get("type", value.get("$ref", "one of"))
                types = types if isinstance(types, list) else [types]
                yield key, "|".join(sorted(set(types) - {"null"}))
        schema = list(schema.values())
    for value in schema if isinstance(schema, list) else ():
        yield from keys(value)


def test_a_json_key_has_one_type_in_all_documents():
    found = defaultdict(set)
    for package in ("", *(app.package for app in APPS.values())):
        for schema in schemas(package).values():
            for key, value in keys(schema):
                found[key].add(value)
    assert {key for key, values in found.items() if len(values) > 1} <= OWN_KEYS
    for key in found:
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", key), key


@pytest.mark.parametrize("app", APPS.values(), ids=lambda app: app.name)
def test_the_headline_is_a_metric_that_the_app_explains(app):
    from importlib import import_module

    task = import_module(f"{app.package}.task").TASK
    metrics = schemas(app.package)["scores"]["$defs"]["metrics"]["properties"]
    assert task.headline in metrics
