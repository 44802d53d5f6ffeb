"""The command line of medical segmentation: the shared commands, bound to its task."""

from apps.catalog import APPS
from core.command_line.shared import bind

app = bind("medseg", APPS["medseg"].summary, "apps.medical_segmentation.task:TASK")


def main() -> None:
    """Run `gossamer-medseg`."""
    app()
