"""The arguments and options of all commands, each written once so that it means one thing.

A command names a type from here (`data: opt.Data = None`), or, where its default makes the type
another one, the option itself (`seed: Annotated[int, opt.SEED] = 0`). What only one domain knows
stands with that domain's commands.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from core.documents import parse_yaml
from core.errors import UserError

_data = partial(typer.Option, rich_help_panel="Data")
_network = partial(typer.Option, rich_help_panel="Network")
_training = partial(typer.Option, rich_help_panel="Training")

# --- what is worked on ----------------------------------------------------------------------------

Run = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of train or import.")]
Source = Annotated[
    Path, typer.Argument(metavar="RUN|FILE.tflite", help="Run folder, or an exported file.")
]
Sources = Annotated[
    list[Path], typer.Argument(metavar="RUN|FILE.tflite...", help="Run folders and exported files.")
]
File = Annotated[Path, typer.Argument(metavar="FILE.tflite", help="An exported file.")]
Inputs = Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Files, and folders.")]
DataSet = Annotated[
    str,
    typer.Argument(metavar="PATH|sample", help="Data set; 'sample' is the built-in sample data."),
]

# --- data -----------------------------------------------------------------------------------------

DATA = _data(metavar="PATH|sample", help="Data set; 'sample' is the built-in sample data.")
SAMPLES = _data(min=1, help="At most so many samples, evenly chosen.")
WORKERS = _data(min=0, help="How many work at once.")
Data = Annotated[str | None, DATA]
Format = Annotated[
    str | None,
    _data(metavar="NAME", help="Layout of the data set. (default: auto, which recognises it)"),
]
Split = Annotated[
    str | None,
    _data(
        metavar="train|val|test|all",
        help="Which samples of the data set. (default: test, or val where it has none)",
    ),
]
Augment = Annotated[bool | None, _data("--augment/--no-augment", help="Vary samples.")]

# --- network --------------------------------------------------------------------------------------

VARIANT = _network(metavar="NAME", help="Which variant; see the command models.")
Network = Annotated[
    str | None, _network(metavar="NAME", help="Which network; see the command models.")
]
Variant = Annotated[str | None, VARIANT]
InputSize = Annotated[
    str | None, _network(metavar="H W", help="The input's sides, or one number for all of them.")
]
Channels = Annotated[int | None, _network(help="Input channels: of pictures 1 (grey) or 3 (RGB).")]
Classes = Annotated[int | None, _network(help="1 for one foreground, else with background.")]
Labels = Annotated[str | None, _network(metavar="A,B,…", help="Class names, separated by commas.")]
InitialWeights = Annotated[
    Path | None, _network(metavar="RUN", help="Start from the weights of this run.")
]
Teacher = Annotated[
    Path | None,
    _network(metavar="RUN", help="Learn from this run too; --set distill.NAME=… says how."),
]
BackboneWeights = Annotated[
    str | None,
    _network(
        metavar="FILE|package|download",
        help="Published weights of all but the head, where the app builds upon such.",
    ),
]
Partial = Annotated[bool, _network("--partial", help="Load what fits and list the rest.")]

# --- training -------------------------------------------------------------------------------------

EPOCHS = _training(help="Passes over the data.")
LEARNING_RATE = _training(help="Peak learning rate.")
SEED = _training(help="Decides all randomness.")
Epochs = Annotated[int | None, EPOCHS]
LearningRate = Annotated[float | None, LEARNING_RATE]
ClipNorm = Annotated[float | None, _training(help="Clip gradients by their norm.")]
Arithmetic = Annotated[
    str | None,
    _training(metavar="float32|mixed_float16|mixed_bfloat16", help="Number format."),
]
Patience = Annotated[int | None, _training(help="Stop after so many epochs without gain.")]
StepsPerEpoch = Annotated[int | None, _training(help="End an epoch early.")]
Seed = Annotated[int | None, SEED]
Preset = Annotated[
    str | None,
    _training(metavar="NAME", help="Choices of the app that go together; all others come before."),
]
Config = Annotated[
    Path | None,
    _training(
        metavar="FILE.yaml",
        help="Choices from a file (a run's config.yaml too); options come before it.",
    ),
]
Quick = Annotated[bool, _training("--quick", help="A few steps, to see that all works.")]
Resume = Annotated[bool, _training("--resume", help="Go on with what was begun in --out.")]

# --- use and results ------------------------------------------------------------------------------

BATCH = typer.Option(min=1, help="How many go through the network at once.")
METHOD = typer.Option(metavar="NAME", help="How; the methods are named above.")
CALLS = typer.Option(min=1, help="Least number of measured calls.")
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any other choice by its name; see above."),
]
OutRun = Annotated[Path, typer.Option("--out", metavar="RUN", help="Run folder to write.")]
OutFolder = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the results.")]
Pictures = Annotated[
    bool, typer.Option("--pictures/--no-pictures", help="Draw results over the inputs.")
]
Csv = Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Write the table as CSV too.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace files that are already there.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, as result.")]


def parse_size(value: str | None) -> tuple[int, ...] | None:
    """Return the sides of "256 192", "256,192" or "256x192"; one number stands for all sides."""
    if value is None:
        return None
    if not re.fullmatch(r"\d{1,9}(\s*[x, ]\s*\d{1,9})*", value.strip()):
        raise UserError(f"--input-size is '{value}'; pass its sides, such as: 256 256.")
    return tuple(int(side) for side in re.findall(r"\d+", value))


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
    values: dict[str, Any] = {}
    for setting in settings or ():
        name, equals, written = setting.partition("=")
        name = name.strip()
        if not equals or not name:
            raise UserError(f"--set {setting}: is no choice; write --set key=value.")
        if name in values:
            raise UserError(f"--set {name}: is given twice; pass it once.")
        try:
            value = parse_yaml(written)
        except ValueError as error:
            raise UserError(f"--set {setting}: the value cannot be read; quote it.") from error
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                value = float(value)
        values[name] = value
    return values
