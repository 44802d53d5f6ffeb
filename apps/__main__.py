"""The program `gossamer`: every app's commands under its name, and a look at the suite itself."""

from __future__ import annotations

import importlib
from typing import Annotated

import typer

from apps.catalog import APPS, BACKBONE, names
from core.command_line.options import Json
from core.command_line.program import Command, new_app
from core.command_line.tables import say, show_json, show_table

_SUMMARY = "Lightweight networks, from paper, checkpoint or data to a verified TFLite file."


def build() -> typer.Typer:
    """Return the program with every app of the catalog."""
    program = new_app(_SUMMARY)

    @program.callback()
    def _options(
        version: Annotated[
            bool,
            typer.Option(
                "--version", is_eager=True, callback=_show_versions, help="Show the versions."
            ),
        ] = False,
    ) -> None:
        pass

    for entry in APPS.values():
        module = importlib.import_module(f"{entry.package}.cli")
        program.add_typer(module.app, name=entry.name, rich_help_panel="Apps")
    program.command("apps", cls=Command, rich_help_panel="The suite")(apps)
    program.command("doctor", cls=Command, rich_help_panel="The suite")(doctor)
    return program


def apps(json: Json = False) -> None:
    """List the apps and their networks."""
    rows = [
        {
            "app": entry.name,
            "command": f"gossamer {entry.name}",
            "summary": entry.summary,
            "networks": list(names(entry.name)),
        }
        for entry in APPS.values()
    ]
    if json:
        show_json({"apps": rows, "backbones": list(names(BACKBONE))})
    else:
        shown = [{**row, "networks": row["networks"] or "the backbones"} for row in rows]
        show_table(("app", "command", "summary", "networks"), [tuple(r.values()) for r in shown])
        say(f"Backbones that any app may build upon: {', '.join(names(BACKBONE))}.")


def doctor(json: Json = False) -> None:
    """Check this machine: versions, processor, memory, libraries; exit code 1 if it cannot work."""
    from core.command_line.doctor import MISSING, examine

    findings = examine()
    missing = [finding for finding in findings if finding.status == MISSING]
    if json:
        show_json({"passed": not missing, "findings": findings})
    else:
        rows = [(f.check, f.status, f.found) for f in findings]
        show_table(("check", "status", "found"), rows)
        for finding in findings:
            if finding.advice:
                say(f"{finding.check}: {finding.advice}")
        say("Something required is missing." if missing else "Ready.")
    if missing:
        raise typer.Exit(1)


def _show_versions(wanted: bool) -> None:
    if wanted:
        from core.run_folder import versions

        found = {"gossamer-keras": "not installed (a checkout)", **versions()}
        say("\n".join(f"{name} {number}" for name, number in found.items()))
        raise typer.Exit


def main() -> None:
    """Run `gossamer`."""
    build()()


if __name__ == "__main__":
    main()
