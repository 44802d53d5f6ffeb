"""The command line of underwater species: the shared commands, and its own."""

from apps.catalog import APPS
from apps.underwater_species.benchmark_models_command import benchmark_models
from apps.underwater_species.simulate_command import simulate
from core.command_line.calibrate import calibrate
from core.command_line.explain import explain
from core.command_line.program import Command
from core.command_line.shared import bind

app = bind("aqua", APPS["aqua"].summary, "apps.underwater_species.task:TASK")
for name, command, panel in (
    ("explain", explain, "Use it"),
    ("calibrate", calibrate, "Use it"),
    ("simulate", simulate, "Make a network"),
    ("benchmark-models", benchmark_models, "Make a network"),
):
    app.command(name, cls=Command, rich_help_panel=panel)(command)


def main() -> None:
    """Run `gossamer-aqua`."""
    app()
