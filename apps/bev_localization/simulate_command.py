"""The command that drives a simulated LiDAR through a made-up town."""

from __future__ import annotations

from typing import Annotated

import typer

from core.command_line import options as opt
from core.command_line.program import program_name
from core.command_line.tables import say, show_json


def simulate(
    ctx: typer.Context,
    out: opt.OutFolder,
    scans: Annotated[int, typer.Option(metavar="N", help="Scans of the map, at most.")] = 72,
    queries: Annotated[
        int, typer.Option(metavar="N", help="Scans that come back, of each scenario.")
    ] = 40,
    scenarios: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="How places are seen again: same, opposite, lateral, yaw, beams16, next-day, hard;"
            " several with commas.",
        ),
    ] = "opposite",
    blocks: Annotated[int, typer.Option(metavar="N", help="Blocks of the town, to a side.")] = 4,
    spacing: Annotated[
        float, typer.Option(metavar="METRES", help="Between the scans of the map.")
    ] = 5.0,
    lidar: Annotated[
        str, typer.Option(metavar="NAME", help="hdl64, hdl32, os1-64 or vlp16.")
    ] = "hdl32",
    columns: Annotated[
        int | None, typer.Option(metavar="N", help="Directions of a turn. (default: the LiDAR's)")
    ] = None,
    distortion: Annotated[
        bool, typer.Option("--distortion", help="Distort scans by the sensor's motion.")
    ] = False,
    seed: Annotated[int, opt.SEED] = 0,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Write scans of a simulated town in KITTI's layout: a map, and sequences that come back to it.

    They show that places are found and poses fit; what a network scores on them says nothing of
    real streets. A town of another --seed is another town.
    """
    from apps.bev_localization.simulator.dataset import simulate as drive
    from core.command_line.progress import track

    names = opt.parse_names(scenarios) or ()
    with track(max(scans, 0) + max(queries, 0) * len(names), "simulating") as advance:
        done = 0

        def show(count: int, total: int) -> None:
            nonlocal done
            advance(count - done)
            done = count

        record = drive(
            out,
            scans=scans,
            queries=queries,
            scenarios=names,
            blocks=blocks,
            spacing=spacing,
            lidar=lidar,
            columns=columns,
            distortion=distortion,
            seed=seed,
            overwrite=overwrite,
            progress=show,
        )
    if json:
        show_json({"out": out, "drives": record["sequences"], "about": record})
        return
    say(
        f"Saved: {out} ({record['scans']} scans of the map, {record['queries']} of each of "
        f"{len(names)} scenario(s); {record['what']})"
    )
    say(f"Next: {program_name(ctx)} train --data {out} --preset light --out RUN")
