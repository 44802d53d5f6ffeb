"""The command line of LiDAR localization: the shared commands, and its own."""

from apps.bev_localization.build_map_command import build_map
from apps.bev_localization.compare_command import compare
from apps.bev_localization.localize_command import localize
from apps.bev_localization.make_bev_command import make_bev
from apps.bev_localization.simulate_command import simulate
from apps.catalog import APPS
from core.command_line.pretrain import pretrain
from core.command_line.program import Command
from core.command_line.shared import bind

PRETRAIN = """Train REIN's encoder on pairs of scans of one place; then train from the run it makes.

Poses tell which pixels of two scans show the same spot: the same spots shall look alike, and the
same places. For where ResNet-34's weights are not at hand; the recipe is nobody's published one.
train --initial-weights takes the encoder over, and starts NetVLAD from clusters of its features.

--set reaches every other choice: --set options.recipe=NAME, options.temperature, options.places
(the weight of places beside spots) and options.repeats=4, which takes each scan so often in an
epoch. With --resume only --out is needed: the choices come from the run folder."""

app = bind("bev", APPS["bev"].summary, "apps.bev_localization.task:TASK")
for name, command, panel in (
    ("build-map", build_map, "Use it"),
    ("localize", localize, "Use it"),
    ("compare", compare, "Look around"),
    ("make-bev", make_bev, "Make a network"),
    ("simulate", simulate, "Make a network"),
):
    app.command(name, cls=Command, rich_help_panel=panel)(command)
app.command("pretrain", cls=Command, rich_help_panel="Make a network", help=PRETRAIN)(pretrain)


def main() -> None:
    """Run `gossamer-bev`."""
    app()
