"""The command line of medical segmentation: the shared commands, bound to its task, and its own."""

from apps.catalog import APPS
from apps.medical_segmentation.compare_command import compare
from core.command_line.pretrain import pretrain
from core.command_line.program import Command
from core.command_line.shared import bind

app = bind("medseg", APPS["medseg"].summary, "apps.medical_segmentation.task:TASK")
app.command("pretrain", cls=Command, rich_help_panel="Make a network")(pretrain)
app.command("compare", cls=Command, rich_help_panel="Use it")(compare)


def main() -> None:
    """Run `gossamer-medseg`."""
    app()
