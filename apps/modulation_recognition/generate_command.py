"""The command that generates a data set of modulated signals."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from core.command_line import options as opt
from core.command_line.program import program_name
from core.command_line.tables import say, show_json
from core.errors import UserError


def generate(
    ctx: typer.Context,
    out: opt.OutFolder,
    parameters: Annotated[
        str,
        typer.Option(metavar="radioml2016|rml22", help="Published set of signals and channel."),
    ] = "radioml2016",
    snr_convention: Annotated[
        str | None,
        typer.Option(
            metavar="radioml2016|db",
            help="What a label L means: about 2 L dB, or L dB. (default: the set's own)",
        ),
    ] = None,
    am_ssb: Annotated[
        str,
        typer.Option(
            metavar="as_released|corrected",
            help="Without any signal, as in the released files, or a true upper sideband.",
        ),
    ] = "as_released",
    independent_channels: Annotated[
        bool,
        typer.Option(
            "--independent-channels/--one-channel",
            help="A channel for every frame, or the released files' one for all.",
        ),
    ] = True,
    frames_of_each: Annotated[
        int, typer.Option(metavar="N", help="Frames of each class at each SNR label.")
    ] = 1000,
    snrs: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…|A:B:STEP", help="SNR labels, B included. (default: the set's own)"
        ),
    ] = None,
    modulations: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="Some of the set's classes. (default: all)")
    ] = None,
    shard_format: Annotated[
        str, typer.Option(metavar="npz|hdf5", help="Of the files, one for each SNR label.")
    ] = "npz",
    seed: Annotated[int, opt.SEED] = 0,
    workers: Annotated[int | None, opt.WORKERS] = None,
    json: opt.Json = False,
) -> None:
    """Generate frames of modulated signals after a channel, as RadioML's data sets were made.

    The same choices give the same bytes, with any number of --workers. The frames are simulated
    from the published description: they are not the released files.
    """
    from apps.modulation_recognition.signals.generator import chosen
    from apps.modulation_recognition.signals.parameters import Recipe
    from apps.modulation_recognition.signals.shards import write_generated
    from core.command_line.progress import track

    recipe = Recipe(parameters, snr_convention or "", am_ssb, independent_channels, seed)
    wanted = tuple(name.strip() for name in modulations.split(",")) if modulations else ()
    names, labels = chosen(recipe, frames_of_each, wanted, parse_snrs(snrs))
    total = len(names) * len(labels) * frames_of_each
    begun = time.perf_counter()
    with track(total, "generating") as advance:
        record = write_generated(
            out,
            recipe,
            frames_of_each,
            classes=names,
            snrs=labels,
            format=shard_format,
            workers=workers or 1,
            advance=advance,
        )
    rate = total / (time.perf_counter() - begun)
    if json:
        show_json({"out": out, "frames": total, "frames_per_second": rate, "about": record})
        return
    say(
        f"Saved: {out} ({total:,} frames: {len(names)} classes, {len(labels)} SNR labels, "
        f"{frames_of_each:,} of each; {rate:,.0f} frames/s)"
    )
    say(f"They are {record['what']}; {record['snr_meaning']}.")
    say(f"Next: {program_name(ctx)} train --data {out}")


def parse_snrs(value: str | None) -> tuple[int, ...]:
    """Return the labels of "-20,-10,0" or "-20:18:2", the end included; none for None.

    Raises:
        UserError: When it is neither.
    """
    if value is None:
        return ()
    wrong = UserError(f"--snrs is '{value}'; pass whole numbers such as -10,0,10 or -20:18:2.")
    try:
        if ":" not in value:
            return tuple(int(one) for one in value.split(","))
        first, last, *step = (int(one) for one in value.split(":"))
        labels = range(first, last + 1, *step[:1])
    except ValueError as error:
        raise wrong from error
    if len(step) > 1 or not 0 < len(labels) <= 201:
        raise wrong
    return tuple(labels)
