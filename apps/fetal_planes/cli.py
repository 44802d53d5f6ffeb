"""The command line of fetal planes: the shared commands, and its own."""

from apps.catalog import APPS
from apps.fetal_planes.audit_command import audit
from apps.fetal_planes.frames_command import frames
from apps.fetal_planes.simulate_command import simulate
from core.command_line.calibrate import calibrate
from core.command_line.explain import explain
from core.command_line.program import Command
from core.command_line.shared import bind

app = bind("fetal", APPS["fetal"].summary, "apps.fetal_planes.task:TASK")
for name, command, panel in (
    ("explain", explain, "Use it"),
    ("calibrate", calibrate, "Use it"),
    ("audit", audit, "Look around"),
    ("simulate", simulate, "Make a network"),
    ("frames", frames, "Look around"),
):
    app.command(name, cls=Command, rich_help_panel=panel)(command)


def main() -> None:
    """Run `gossamer-fetal`."""
    app()
