"""The command that finds the line segments of a user's pictures and videos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.line_segments.opening import DETECTOR, open_detector
from core.command_line import options as opt
from core.command_line.program import task_of
from core.command_line.tables import say, show_json, show_table
from core.command_line.use import new_inputs, result_files, tell_failed
from core.errors import NotWritten, UserError, one_of

if TYPE_CHECKING:
    from apps.line_segments.detections import Detections
    from apps.line_segments.detectors import Detector, Timed
    from core.data.index import Sample

LIST = "segments.json"


def detect(
    ctx: typer.Context,
    detector: Annotated[
        str,
        typer.Argument(metavar=DETECTOR, help="A network, LSD, or OpenCV's LSD."),
    ],
    inputs: opt.Inputs,
    out: opt.OutFolder,
    score: Annotated[
        float | None,
        typer.Option(
            metavar="X", help="Draw segments above this score. (default: the network's, else all)"
        ),
    ] = None,
    least_length: Annotated[
        float, typer.Option(min=0, metavar="N", help="Leave out segments of fewer pixels.")
    ] = 0.0,
    pictures: opt.Pictures = True,
    video_format: Annotated[str, typer.Option(metavar="mp4|avi", help="Of the videos.")] = "mp4",
    settings: opt.Settings = None,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Find the line segments of pictures and videos, and write them with their scores.

    Each picture gets x1 y1 x2 y2 score as text, an SVG drawing with a layer for each tenth of the
    score, and a picture with those above --score; segments.json holds all of them. Every score is
    written, so that another threshold needs no new detection. Videos get a list of their frames.

    --set changes how a network's maps are decoded, such as --set mode=official.

    Files that cannot be read are named at the end: exit code 1 if some failed, 2 if all did.
    """
    from apps.line_segments.writing import write_list
    from core.command_line.progress import track
    from core.files import claim_folder

    task = task_of(ctx)
    one_of(video_format, ("mp4", "avi"), "--video-format")
    samples = new_inputs(task.files(inputs), inputs, out)
    targets = result_files(samples, out, "_segments.txt")
    finds = open_detector(task, detector, opt.parse_settings(settings))
    claim_folder(out, overwrite=overwrite)
    shown = finds.shown if score is None else score
    written: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    listed: dict[str, Detections] = {}
    with track(len(samples), "detecting") as advance:
        for sample in samples:
            place = targets[sample.id]
            try:
                if is_video(sample):
                    drawn = place.with_name(f"{_stem(place)}_overlay.{video_format}")
                    done = _video(
                        finds, sample, place, drawn if pictures else None, shown, least_length
                    )
                else:
                    done, listed[sample.id] = _picture(
                        finds, sample, place, shown, least_length, pictures
                    )
                written.append({"input": str(sample.inputs[0]), **done})
            except NotWritten:
                raise
            except UserError as error:
                failed.append({"input": str(sample.inputs[0]), "error": str(error)})
            advance(1)
    if listed:
        write_list(out / LIST, listed)
    if json:
        show_json({"out": out, "detector": finds.name, "results": written, "failed": failed})
    elif written:
        show_table(
            ("input", "segments", "drawn", "network ms", "grouping ms"),
            [
                (one["input"], one["segments"], one["drawn"], one["network_ms"], one["grouping_ms"])
                for one in written
            ],
        )
        say(f"{len(written)} of {len(samples)} inputs done; the results are in {out}")
    tell_failed(failed, done=bool(written))


def is_video(sample: Sample) -> bool:
    """Return whether a sample is a video, by its name."""
    from core.data.videos import SUFFIXES

    return sample.inputs[0].suffix.lower() in SUFFIXES


def _picture(
    finds: Detector, sample: Sample, place: Path, shown: float, least: float, pictures: bool
) -> tuple[dict[str, Any], Detections]:
    """Detect, write text, SVG and picture; return what was done, and the segments."""
    from apps.line_segments.drawing import drawn_segments
    from apps.line_segments.writing import write_segments, write_svg
    from core.data.images import read_image, write_image

    image = read_image(sample.inputs[0])
    timed = finds(image)
    found = timed.found.longer(least)
    above = found.above(shown)
    files = [
        write_segments(place, found),
        write_svg(place.with_suffix(".svg"), found),
    ]
    if pictures:
        picture = drawn_segments(image, above.segments, above.scores)
        files.append(write_image(place.with_name(f"{_stem(place)}_overlay.png"), picture))
    return _done(timed, len(found), len(above), files), found


def _video(
    finds: Detector,
    sample: Sample,
    place: Path,
    drawn: Path | None,
    shown: float,
    least: float,
) -> dict[str, Any]:
    """Detect in every frame, write the list of them and the drawn video; return what was done."""
    import numpy as np

    from apps.line_segments.detectors import Timed
    from apps.line_segments.drawing import drawn_segments
    from apps.line_segments.writing import write_list
    from core.data.video_writing import changed_video
    from core.data.videos import read_frames

    frames: dict[str, Detections] = {}
    times: list[Timed] = []
    above = 0

    def look(image):
        nonlocal above
        timed = finds(image)
        found = timed.found.longer(least)
        frames[f"{sample.inputs[0].stem}_{len(frames) + 1:06d}.png"] = found
        times.append(timed)
        seen = found.above(shown)
        above += len(seen)
        return drawn_segments(image, seen.segments, seen.scores) if drawn is not None else image

    files, notes = [], []
    if drawn is None:
        for frame in read_frames(sample.inputs[0]):
            look(frame)
    else:
        notes = changed_video(sample.inputs[0], drawn, look)
        files.append(drawn)
    files.insert(0, write_list(place.with_suffix(".json"), frames))
    network = [one.network_ms for one in times if one.network_ms is not None]
    typical = Timed(
        times[0].found,
        float(np.median(network)) if network else None,
        float(np.median([one.grouping_ms for one in times])),
    )
    total = sum(len(found) for found in frames.values())
    return {**_done(typical, total, above, files), "notes": notes}


def _done(timed: Timed, segments: int, drawn: int, files: list[Path]) -> dict[str, Any]:
    return {
        "files": [str(file) for file in files],
        "size": list(timed.found.size),
        "segments": segments,
        "drawn": drawn,
        "network_ms": timed.network_ms,
        "grouping_ms": timed.grouping_ms,
        "notes": [],
    }


def _stem(place: Path) -> str:
    return place.stem.removesuffix("_segments")
