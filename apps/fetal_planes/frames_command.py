"""The command that writes the real ultrasound frames that come with pydicom."""

from __future__ import annotations

from typing import Annotated

import typer

from core.command_line import options as opt
from core.command_line.tables import say, show_json
from core.command_line.use import tell_failed


def frames(
    out: opt.OutFolder,
    most: Annotated[int, typer.Option(min=1, metavar="N", help="Frames of a video.")] = 5,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Write real ultrasound frames that come with pydicom, none of a standard plane.

    For trying out --set options.crop and the command explain; needs the extra 'medical'. Files
    that cannot be decoded are named at the end: exit code 1 if some failed, 2 if all did.
    """
    from apps.fetal_planes.frames import write_frames

    files, failed = write_frames(out, most=most, overwrite=overwrite)
    if json:
        show_json({"out": out, "files": files, "failed": failed})
    else:
        say(f"Saved: {len(files)} frames in {out}")
    tell_failed(failed, done=bool(files))
