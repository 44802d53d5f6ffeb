"""The command that draws a data set of planes."""

from __future__ import annotations

from typing import Annotated

import typer

from core.command_line import options as opt
from core.command_line.program import program_name
from core.command_line.tables import say, show_json


def simulate(
    ctx: typer.Context,
    out: opt.OutFolder,
    patients: Annotated[
        int, typer.Option(metavar="N", help="Women, a third of them for the test.")
    ] = 60,
    frames: Annotated[
        int, typer.Option(metavar="N", help="Pictures of each; with six, one of every plane.")
    ] = 6,
    seed: Annotated[int, opt.SEED] = 0,
    json: opt.Json = False,
) -> None:
    """Draw a data set of synthetic planes, laid out as FETAL_PLANES_DB is, in a new folder.

    What a network scores on drawings says nothing of scores on real scans.
    """
    from apps.fetal_planes.simulation import simulate as draw
    from core.command_line.progress import track

    with track(patients * frames, "drawing") as advance:
        record = draw(out, patients=patients, frames=frames, seed=seed, advance=advance)
    if json:
        show_json({"out": out, "counts": record["counts"], "about": record})
        return
    parts = ", ".join(f"{count} {name}" for name, count in record["counts"].items())
    say(f"Saved: {out} ({record['what']}: {parts})")
    say(f"Next: {program_name(ctx)} train --data {out}")
