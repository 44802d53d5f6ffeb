"""The command that cuts people out of a video, to try a network on real crops."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from core.command_line import options as opt
from core.command_line.program import program_name
from core.command_line.tables import say, show_json
from core.errors import UserError

# 795 frames of a camera over people walking (PETS 2009 S2.L1), in Debian's package opencv-doc.
SAMPLE = Path("/usr/share/doc/opencv-doc/examples/data/vtest.avi")


def crops(
    ctx: typer.Context,
    video: Annotated[
        str, typer.Argument(metavar="VIDEO", help="Of a camera that stands still; 'sample'.")
    ],
    out: opt.OutFolder,
    camera: Annotated[int, typer.Option(min=1, help="Its number in the crops' names.")] = 1,
    per_track: Annotated[int, typer.Option(min=1, help="Crops of a track at most.")] = 8,
    least_height: Annotated[
        int, typer.Option(min=16, metavar="N", help="Of a person, in pixels.")
    ] = 60,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Cut walking people out of a video, a number for each track, named as Market-1501 does.

    A track is not proven to be one person: use the crops to extract, search and look. 'sample' is
    the pedestrian video of Debian's package opencv-doc.
    """
    from apps.person_reid.following import follow
    from core.command_line.progress import track
    from core.data.images import write_image
    from core.data.videos import read_frames, read_info
    from core.files import claim_folder

    path = SAMPLE if video == "sample" else Path(video)
    if video == "sample" and not path.is_file():
        raise UserError(
            "The sample video is not installed; install Debian's package opencv-doc, or name a "
            "video of your own."
        )
    info = read_info(path)
    claim_folder(out, overwrite=overwrite)
    with track(info.frames or 1, "following") as advance:

        def watched():
            for frame in read_frames(path):
                yield frame
                advance(1)

        tracks = follow(watched(), least_height=least_height)
    if not tracks:
        raise UserError(
            f"{path}: shows nobody upright of {least_height} pixels or more who moves; lower "
            "--least-height, or choose a video of a camera that stands still."
        )
    files = [
        write_image(out / f"{number:04d}_c{camera}_f{frame:07d}.png", crop)
        for number, one in enumerate(tracks, start=1)
        for frame, crop in one.chosen(per_track)
    ]
    if json:
        show_json({"out": out, "input": path, "tracks": len(tracks), "crops": len(files)})
        return
    say(f"Saved: {len(files)} crops of {len(tracks)} tracks in {out}")
    say(f"Next: {program_name(ctx)} index RUN {out} --out crops.npz")
