"""The command line of person re-identification: the shared commands, and its own."""

from apps.catalog import APPS
from core.command_line.shared import bind

app = bind("reid", APPS["reid"].summary, "apps.person_reid.task:TASK")


def main() -> None:
    """Run `gossamer-reid`."""
    app()
