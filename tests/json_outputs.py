"""What a command prints under `--json` against its schema."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from functools import cache

import typer
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from apps.catalog import APPS
from core.command_line.schemas import schema_name, schemas


@cache
def validator(package: str, name: str) -> Draft202012Validator:
    """Return the validator of a schema, those of an app's package over the shared ones."""
    known = schemas(package)
    resources = [(schema["$id"], Resource.from_contents(schema)) for schema in known.values()]
    return Draft202012Validator(known[name], registry=Registry().with_resources(resources))


def check_output(program: typer.Typer, arguments: Sequence[str], printed: str) -> None:
    """Raise an AssertionError unless standard output is empty or one document that fits.

    Args:
        program: What was called.
        arguments: With what.
        printed: What it wrote to standard output; empty where an error ended it.
    """
    if not printed:
        return
    package, name = _schema_of(program, arguments)
    document = json.loads(printed, parse_constant=_refuse)
    wrong = sorted(validator(package, name).iter_errors(document), key=lambda e: list(e.path))
    shown = [f"{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in wrong]
    assert not shown, f"{name} --json differs from its schema: " + "; ".join(shown[:3])


def _schema_of(program: typer.Typer, arguments: Sequence[str]) -> tuple[str, str]:
    """Return the app's package, empty for none, and the name of the schema."""
    packages = {entry.package: importlib.import_module(f"{entry.package}.cli").app
                for entry in APPS.values()}  # fmt: skip
    package = next((name for name, app in packages.items() if app is program), "")
    command = typer.main.get_command(program)
    for word in arguments:
        if not hasattr(command, "commands"):
            break
        package = APPS[word].package if word in APPS else package
        command = command.commands[word]
    owner = ".".join(command.callback.__module__.split(".")[:2])
    return package or (owner if owner in packages else ""), schema_name(command)


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")
