"""The command that enlarges a user's pictures and videos."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apps.super_resolution.tiling import SCHEMES
from core.command_line import options as opt
from core.command_line.program import task_of
from core.command_line.tables import say, show_json
from core.command_line.use import load_engine, new_inputs, owning_run, result_files, tell_failed
from core.errors import NotWritten, UserError, one_of

if TYPE_CHECKING:
    import numpy as np

    from apps.super_resolution.enlarge import Tiling
    from core.data.index import Sample
    from core.engines import Engine

_COMPARED = 1024  # pixels of the result's side in a comparison, from the middle


@dataclass(frozen=True)
class _Job:
    """One input and its result.

    Attributes:
        source, target: The files.
        size: (height, width) of the source, or None where its header cannot be read.
        tiles: Tiles of a picture, or of a frame.
        moving: Whether it is a video.
        frames: Frames of a video as its header counts them.
    """

    source: Path
    target: Path
    size: tuple[int, int] | None
    tiles: int
    moving: bool = False
    frames: int = 1


def upscale(
    ctx: typer.Context,
    source: opt.Source,
    inputs: opt.Inputs,
    out: opt.OutFolder,
    tile: Annotated[
        int | None,
        typer.Option(
            min=8, metavar="N", help="Side of a tile. (default: small pictures whole, else 256)"
        ),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help="Pixels around a tile. (default: what the network sees)"
        ),
    ] = None,
    scheme: Annotated[
        str,
        typer.Option(
            metavar="|".join(SCHEMES), help="Cut tiles out of larger ones, or average overlaps."
        ),
    ] = "padded",
    batch: Annotated[int, opt.BATCH] = 1,
    picture_format: Annotated[
        str, typer.Option(metavar="png|tif|jpg|webp", help="Of the enlarged pictures.")
    ] = "png",
    video_format: Annotated[str, typer.Option(metavar="mp4|avi", help="Of the videos.")] = "mp4",
    compare: Annotated[
        bool, typer.Option("--compare", help="Also write the bicubic enlargement beside it.")
    ] = False,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Enlarge pictures and videos of any size; depth, transparency and colour profile are kept.

    Large pictures go through the network in tiles, --batch of them at a time.

    Files that cannot be read are named at the end: exit code 1 if some failed, 2 if all did.
    """
    from apps.super_resolution.picture_writing import FORMATS
    from core.command_line.progress import track
    from core.files import claim_folder

    task = task_of(ctx)
    one_of(picture_format, FORMATS, "--picture-format")
    one_of(video_format, ("mp4", "avi"), "--video-format")
    one_of(scheme, SCHEMES, "--scheme")
    owning_run(source, task)
    samples = new_inputs(task.files(inputs), inputs, out)
    engine = load_engine(task, source)
    choices: Tiling = {"tile": tile, "overlap": overlap, "scheme": scheme}
    jobs = list(_jobs(engine, samples, out, (picture_format, video_format), choices))
    claim_folder(out, overwrite=overwrite)
    written, failed = [], []
    with track(sum(job.tiles * job.frames for job in jobs), "enlarging") as advance:
        for job in jobs:
            begun = time.perf_counter()
            try:
                enlarge = _video if job.moving else _picture
                done = enlarge(
                    engine, job, compare=compare, advance=advance, batch=batch, **choices
                )
            except NotWritten:
                raise
            except UserError as error:
                failed.append({"input": str(job.source), "error": str(error)})
                continue
            seconds = round(time.perf_counter() - begun, 3)
            written.append({"input": str(job.source), **done, "seconds": seconds})
    if json:
        show_json({"out": out, "results": written, "failed": failed})
    else:
        for entry in written:
            for note in entry["notes"]:
                say(f"{entry['files'][0]}: {note}.")
        if written:
            say(f"{len(written)} of {len(jobs)} inputs enlarged; the results are in {out}")
    tell_failed(failed, done=bool(written))


def _jobs(
    engine: Engine, samples: list[Sample], out: Path, formats: tuple[str, str], choices: Tiling
) -> Iterator[_Job]:
    """Yield what is to be done; a `UserError` for choices that fit no picture or equal names."""
    from apps.super_resolution.enlarge import plan, scale_of
    from core.data.images import read_size
    from core.data.videos import SUFFIXES, read_info

    def is_video(sample: Sample) -> bool:
        return sample.inputs[0].suffix.lower() in SUFFIXES

    scale = scale_of(engine.card)
    targets = result_files(samples, out, lambda one: f"_x{scale}.{formats[is_video(one)]}")
    for sample in samples:
        path, moving, size, frames = sample.inputs[0], is_video(sample), None, 1
        try:
            if moving:
                info = read_info(path)
                size, frames = info.size, max(1, info.frames)
            else:
                size = read_size(path)
        except UserError:  # said when its turn comes
            size = None
        tiles = 1 if size is None else len(plan(engine, size, engine.card, **choices))
        yield _Job(path, targets[sample.id], size, tiles, moving, frames)


def _picture(engine: Engine, job: _Job, *, compare: bool, **options) -> dict:
    """Enlarge a picture and return the files, the new size and the notes."""
    from apps.super_resolution.enlarge import scale_of
    from apps.super_resolution.picture_writing import check_size, write_picture
    from apps.super_resolution.pictures import comparison, enlarged_strips, read_picture
    from core.data.images import write_image

    scale = scale_of(engine.card)
    picture = read_picture(job.source)
    height, width = picture.pixels.shape[:2]
    size = (height * scale, width * scale)
    check_size(job.target, size)
    strips = enlarged_strips(engine, picture, engine.card, **options)
    files, middle = [job.target], _middle((height, width), max(1, _COMPARED // scale))
    if compare:
        seen: list[np.ndarray] = []
        strips = _watched(strips, [slice(s.start * scale, s.stop * scale) for s in middle], seen)
    lost = write_picture(
        job.target, strips, size, picture.channels, picture.pixels.dtype, icc=picture.icc
    )
    if compare:
        import numpy as np

        result = np.concatenate(seen)[..., : picture.pixels.shape[-1]]
        result = np.broadcast_to(result, (*result.shape[:2], 3))
        sheet = comparison(picture.rgb[middle[0], middle[1]], result, scale)
        place = job.target.with_name(f"{job.target.stem}_comparison.png")
        files.append(write_image(place, sheet))
    return {
        "files": [str(file) for file in files],
        "size": list(size),
        "notes": [*picture.notes, *lost],
    }


def _video(engine: Engine, job: _Job, *, compare: bool, **options) -> dict:
    """Enlarge a video and return the file, the new size and the notes."""
    from apps.super_resolution.enlarge import enlarge, scale_of
    from core.data.video_writing import changed_video
    from core.data.videos import read_info

    scale = scale_of(engine.card)
    height, width = read_info(job.source).size
    notes = changed_video(
        job.source,
        job.target,
        lambda frame: enlarge(engine, frame, engine.card, **options),
        scale,
    )
    if compare:
        notes.append("has no comparison, which is made of pictures only")
    return {"files": [str(job.target)], "size": [height * scale, width * scale], "notes": notes}


def _middle(size: tuple[int, int], side: int) -> list[slice]:
    """Return rows and columns of the middle of a picture, at most `side` pixels each."""
    starts = [max(0, (length - side) // 2) for length in size]
    return [slice(s, min(n, s + side)) for s, n in zip(starts, size, strict=True)]


def _watched(
    strips: Iterator[np.ndarray], part: list[slice], seen: list[np.ndarray]
) -> Iterator[np.ndarray]:
    """Pass strips on and keep copies of the rows and columns of a part."""
    rows, columns = part
    at = 0
    for strip in strips:
        low, high = max(rows.start, at), min(rows.stop, at + len(strip))
        if low < high:
            seen.append(strip[low - at : high - at, columns].copy())
        at += len(strip)
        yield strip
