"""The command that renders a data set of synthetic scenes with exact segments."""

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
    count: Annotated[int, typer.Option(metavar="N", help="Pictures to train with.")] = 2000,
    held_out: Annotated[
        int, typer.Option(metavar="N", help="Pictures to validate and to test with, each.")
    ] = 100,
    pixels: Annotated[int, typer.Option(metavar="N", help="Sides of a picture.")] = 320,
    photographs: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Photographs to take parts of."),
    ] = None,
    seed: Annotated[int, opt.SEED] = 0,
    workers: Annotated[int | None, opt.WORKERS] = None,
    json: opt.Json = False,
) -> None:
    """Render streets, rooms and boxes with exact segments, as lists in the style of L-CNN's files.

    Parts of --photographs are the texture of some surfaces. Networks can be pre-trained on the
    scenes; they are renderings: what a detector scores on them says nothing of photographs.
    """
    from apps.line_segments.scenes.simulation import simulate as render
    from core.command_line.progress import track

    counts = {"train": count, "valid": held_out, "test": held_out}
    with track(sum(counts.values()), "rendering") as advance:
        record = render(
            out,
            counts=counts,
            size=(pixels, pixels),
            seed=seed,
            workers=workers or 1,
            photographs=photographs,
            advance=advance,
        )
    if json:
        show_json({"out": out, "counts": record["files"], "about": record})
        return
    parts = ", ".join(f"{number} for {split}" for split, number in record["files"].items())
    say(f"Saved: {out} ({parts}; {record['what']})")
    say(f"Next: {program_name(ctx)} train --data {out}")
