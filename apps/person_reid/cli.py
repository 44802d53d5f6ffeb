"""The command line of person re-identification: the shared commands, and its own."""

from apps.catalog import APPS
from apps.person_reid.crops_command import crops
from apps.person_reid.cross_command import cross
from apps.person_reid.extract_command import extract
from apps.person_reid.placement_command import place
from apps.person_reid.search_command import search
from apps.person_reid.simulate_command import simulate
from core.command_line.program import Command
from core.command_line.shared import bind

app = bind("reid", APPS["reid"].summary, "apps.person_reid.task:TASK")
for name, command, panel in (
    ("extract", extract, "Use it"),
    ("index", extract, "Use it"),
    ("search", search, "Use it"),
    ("crops", crops, "Use it"),
    ("cross", cross, "Use it"),
    ("place", place, "Make a network"),
    ("simulate", simulate, "Make a network"),
):
    app.command(name, cls=Command, rich_help_panel=panel)(command)


def main() -> None:
    """Run `gossamer-reid`."""
    app()
