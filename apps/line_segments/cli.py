"""The command line of line segments: the shared commands, and its own."""

from apps.catalog import APPS
from apps.line_segments.compare_command import compare
from apps.line_segments.detect_command import detect
from apps.line_segments.simulate_command import simulate
from core.command_line.program import Command
from core.command_line.shared import bind

app = bind(
    "lines",
    APPS["lines"].summary,
    "apps.line_segments.task:TASK",
    instead={"predict": detect},
)
for name, command, panel in (
    ("detect", detect, "Use it"),
    ("compare", compare, "Use it"),
    ("simulate", simulate, "Make a network"),
):
    app.command(name, cls=Command, rich_help_panel=panel)(command)


def main() -> None:
    """Run `gossamer-lines`."""
    app()
