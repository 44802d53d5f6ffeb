"""The command that draws a data set of pedestrians."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer

from core.command_line import options as opt
from core.command_line.program import program_name
from core.command_line.tables import say, show_json


def simulate(
    ctx: typer.Context,
    out: opt.OutFolder,
    people: Annotated[
        int, typer.Option(metavar="N", help="In training; the test has others.")
    ] = 60,
    cameras: Annotated[int, typer.Option(metavar="N", help="From 2 to 9.")] = 4,
    per_camera: Annotated[
        int, typer.Option(metavar="N", help="Pictures of a person by each camera.")
    ] = 3,
    seed: Annotated[int, opt.SEED] = 0,
    workers: Annotated[int, opt.WORKERS] = 1,
    json: opt.Json = False,
) -> None:
    """Draw a data set of synthetic pedestrians, laid out as Market-1501 is, in a new folder.

    What a network scores on drawings says nothing of scores on real people.
    """
    from apps.person_reid.simulation import simulate as draw
    from core.command_line.progress import track

    done = 0
    with ExitStack() as stack:
        bar: list = []

        def progress(pictures: int, total: int) -> None:
            nonlocal done
            if not bar:  # how many there will be is known with the first ones
                bar.append(stack.enter_context(track(total, "drawing")))
            bar[0](pictures - done)
            done = pictures

        record = draw(
            out,
            people=people,
            cameras=cameras,
            images=per_camera,
            seed=seed,
            workers=workers,
            progress=progress,
        )
    if json:
        show_json({"out": out, "counts": record["files"], "about": record})
        return
    parts = ", ".join(f"{count} in {name}" for name, count in record["files"].items())
    say(f"Saved: {out} ({record['what']}: {parts})")
    say(f"Next: {program_name(ctx)} train --data {out}")
