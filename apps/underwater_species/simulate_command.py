"""The command that draws a data set of animals under water."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from core.command_line import options as opt
from core.command_line.program import program_name
from core.command_line.tables import say, show_json


def simulate(
    ctx: typer.Context,
    out: opt.OutFolder,
    count: Annotated[int, typer.Option(metavar="N", help="Pictures to train with.")] = 1120,
    pixels: Annotated[int, typer.Option(metavar="N", help="Sides of a picture.")] = 112,
    photographs: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Photographs to take parts of."),
    ] = None,
    seed: Annotated[int, opt.SEED] = 0,
    json: opt.Json = False,
) -> None:
    """Draw animals under a synthetic degradation, as train/<class>/ and test/<class>/.

    Classes are unequal. Parts of --photographs stand for the places, which are drawn without them.

    What a network scores on drawings says nothing of scores on photographs: this is not AQUA20.
    """
    from apps.underwater_species.simulation import counts_of
    from apps.underwater_species.simulation import simulate as draw
    from core.command_line.progress import track

    total = sum(sum(kinds.values()) for kinds in counts_of(count).values())
    with track(total, "drawing") as advance:
        record = draw(
            out, count=count, seed=seed, size=pixels, photographs=photographs, advance=advance
        )
    counts = {split: sum(kinds.values()) for split, kinds in record["files"].items()}
    if json:
        show_json({"out": out, "counts": counts, "about": record})
        return
    parts = " and ".join(f"{number} for {split}" for split, number in counts.items())
    say(f"Saved: {out} ({parts}; {record['what']})")
    say(f"Next: {program_name(ctx)} train --data {out}")
