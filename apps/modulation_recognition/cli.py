"""The command line of modulation recognition: the shared commands, and its own."""

from apps.catalog import APPS
from apps.modulation_recognition.compare_command import compare
from apps.modulation_recognition.generate_command import generate
from apps.modulation_recognition.predict_command import predict
from core.command_line.program import Command
from core.command_line.shared import bind

app = bind(
    "modrec",
    APPS["modrec"].summary,
    "apps.modulation_recognition.task:TASK",
    instead={"predict": predict},
)
app.command("generate", cls=Command, rich_help_panel="Make a network")(generate)
app.command("compare", cls=Command, rich_help_panel="Use it")(compare)


def main() -> None:
    """Run `gossamer-modrec`."""
    app()
