"""The options that several commands share, each written once so that it means one thing."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from core.errors import UserError, near_miss

PRECISIONS = ("float32", "float16", "dynamic", "weight_only", "int8", "int16x8")

Run = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of train or import.")]
Source = Annotated[
    Path, typer.Argument(metavar="RUN|FILE.tflite", help="Run folder, or an exported file.")
]
Data = Annotated[
    str | None,
    typer.Option(metavar="PATH|sample", help="Data set; 'sample' is the built-in sample data."),
]
Format = Annotated[
    str, typer.Option(metavar="NAME", help="Layout of the data set; auto recognises it.")
]
Split = Annotated[
    str | None,
    typer.Option(
        metavar="train|val|test|all",
        help="Which samples of the data set. (default: test, or val where it has none)",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace files that are already in --out.")
]
InputSize = Annotated[
    str | None,
    typer.Option(metavar="H W", help="Height and width (or one number for both)."),
]
Network = Annotated[
    str | None, typer.Option(metavar="NAME", help="Which network; see the command models.")
]
Variant = Annotated[
    str | None, typer.Option(metavar="NAME", help="Which variant; see the command models.")
]
Labels = Annotated[
    str | None, typer.Option(metavar="A,B,…", help="Class names, separated by commas.")
]
Threads = Annotated[
    str | None,
    typer.Option(metavar="N…", help="Numbers of threads, such as: 1 2. (default: 1 and all)"),
]


def parse_size(value: str | None) -> tuple[int, int] | None:
    """Return (height, width) of "256", "256,192", "256x192" or "256 192"."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d+)(?:\s*[x, ]\s*(\d+))?", value.strip())
    if found is None:
        raise UserError(f"--input-size is '{value}'; pass height and width, such as: 256 256.")
    height, width = found[1], found[2] or found[1]
    return int(height), int(width)


def parse_names(value: str | None) -> tuple[str, ...] | None:
    """Return the names of a list separated by commas."""
    if value is None:
        return None
    names = tuple(name.strip() for name in value.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise UserError(f"--labels is '{value}'; pass different names separated by commas.")
    return names


def parse_threads(value: str | None) -> tuple[int | None, ...]:
    """Return numbers of threads; None in the result stands for all cores."""
    if value is None:
        return (1, None)
    parts = re.split(r"[,\s]+", value.strip())
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UserError(f"--threads is '{value}'; pass numbers from 1, such as: 1 2.")
    return tuple(int(part) for part in parts)


def parse_settings(settings: Iterable[str] | None) -> dict[str, Any]:
    """Return the values of `--set key=value`, read as YAML reads them ("1e-4" is a number too)."""
    import yaml

    values: dict[str, Any] = {}
    for setting in settings or ():
        name, equals, written = setting.partition("=")
        name = name.strip()
        if not equals or not name:
            raise UserError(f"--set {setting}: is no choice; write --set key=value.")
        if name in values:
            raise UserError(f"--set {name}: is given twice; pass it once.")
        try:
            value = yaml.safe_load(written)
        except yaml.YAMLError as error:
            raise UserError(f"--set {setting}: the value cannot be read; quote it.") from error
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                value = float(value)
        values[name] = value
    return values


def one_of(value: str, choices: Iterable[str], option: str) -> str:
    """Return `value` if it is among `choices`, or raise a `UserError` with the nearest."""
    choices = list(choices)
    if value not in choices:
        raise UserError(f"{option} is '{value}'.{near_miss(value, choices)}")
    return value
