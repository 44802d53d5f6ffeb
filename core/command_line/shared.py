"""The shared commands, built once and bound by each app."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import typer

from core.command_line.compress import compress
from core.command_line.demo import demo
from core.command_line.look import data, models
from core.command_line.program import Binding, Command, new_app
from core.command_line.ship import benchmark, export, report, verify
from core.command_line.train import import_, train
from core.command_line.use import evaluate, predict

_COMMANDS = (
    ("train", train, "Make a network"),
    ("import", import_, "Make a network"),
    ("evaluate", evaluate, "Use it"),
    ("predict", predict, "Use it"),
    ("compress", compress, "Make it small"),
    ("export", export, "Ship it"),
    ("verify", verify, "Ship it"),
    ("benchmark", benchmark, "Ship it"),
    ("report", report, "Ship it"),
    ("models", models, "Look around"),
    ("data", data, "Look around"),
    ("demo", demo, "Look around"),
)


def bind(
    name: str, summary: str, task: str, *, instead: Mapping[str, Callable] | None = None
) -> typer.Typer:
    """Return a Typer app with all the shared commands, to which an app adds its own.

    Args:
        name: The app's name on the command line.
        summary: A line for the help.
        task: "module:attribute" of the app's `core.task.Task`; imported by the first command that
            needs it, so that the help stays quick.
        instead: Shared command → the app's own function for it.
    """
    app = new_app(f"{summary[0].upper()}{summary[1:]}.")

    @app.callback()
    def _bind(ctx: typer.Context) -> None:
        ctx.obj = Binding(name, task)

    for command, function, panel in _COMMANDS:
        function = (instead or {}).get(command, function)
        app.command(command, cls=Command, rich_help_panel=panel)(function)
    return app
