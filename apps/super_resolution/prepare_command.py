"""`gossamer superres prepare`: decode a data set once, so that training never waits for files."""

from __future__ import annotations

from typing import Annotated

import typer

from core.command_line import options as opt
from core.command_line.program import program_name, task_of
from core.command_line.tables import say, show_json


def prepare(
    ctx: typer.Context,
    data: opt.DataSet,
    out: opt.OutFolder,
    scale: Annotated[int, typer.Option(min=1, help="Of the networks to be trained.")] = 2,
    side: Annotated[
        int, typer.Option(min=0, help="Side of a sub-image in large pixels; 0 keeps them whole.")
    ] = 480,
    step: Annotated[int, typer.Option(min=1, help="Distance of two sub-images.")] = 240,
    format: opt.Format = None,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Cut a data set into decoded sub-images; train on them with --data DIR."""
    from apps.super_resolution.data.preparing import prepare as cut
    from core.command_line.progress import track

    index = task_of(ctx).read(data, format or "auto")
    with track(len(index), "preparing") as advance:
        made = cut(
            index,
            scale,
            out,
            size=side or None,
            step=step,
            overwrite=overwrite,
            progress=lambda done, count: advance(1),
        )
    if json:
        show_json({"out": out, "scale": scale, "samples": len(made), "splits": made.counts()})
        return
    say(f"Saved: {out} ({len(made)} samples of scale {scale}: {made.describe_splits()})")
    say(f"Next: {program_name(ctx)} train --data {out}")
