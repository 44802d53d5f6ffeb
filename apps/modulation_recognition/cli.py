"""The command line of modulation recognition: the shared commands, and its own."""

from apps.catalog import APPS
from core.command_line.shared import bind

app = bind("modrec", APPS["modrec"].summary, "apps.modulation_recognition.task:TASK")


def main() -> None:
    """Run `gossamer-modrec`."""
    app()
