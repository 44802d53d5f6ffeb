"""The command line of super-resolution: the shared commands, bound to its task, and its own."""

from apps.catalog import APPS
from apps.super_resolution.prepare_command import prepare
from apps.super_resolution.upscale_command import upscale
from core.command_line.program import Command
from core.command_line.shared import bind

app = bind(
    "superres",
    APPS["superres"].summary,
    "apps.super_resolution.task:TASK",
    instead={"predict": upscale},
)
app.command("upscale", cls=Command, rich_help_panel="Use it")(upscale)
app.command("prepare", cls=Command, rich_help_panel="Make a network")(prepare)


def main() -> None:
    """Run `gossamer-superres`."""
    app()
