"""The command line of LiDAR localization: the shared commands, and its own."""

from apps.bev_localization.build_map_command import build_map
from apps.bev_localization.compare_command import compare
from apps.bev_localization.localize_command import localize
from apps.bev_localization.make_bev_command import make_bev
from apps.bev_localization.simulate_command import simulate
from apps.catalog import APPS
from core.command_line.program import Command
from core.command_line.shared import bind

app = bind("bev", APPS["bev"].summary, "apps.bev_localization.task:TASK")
for name, command, panel in (
    ("build-map", build_map, "Use it"),
    ("localize", localize, "Use it"),
    ("compare", compare, "Look around"),
    ("make-bev", make_bev, "Make a network"),
    ("simulate", simulate, "Make a network"),
):
    app.command(name, cls=Command, rich_help_panel=panel)(command)


def main() -> None:
    """Run `gossamer-bev`."""
    app()
