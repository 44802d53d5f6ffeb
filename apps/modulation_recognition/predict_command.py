"""The command that says how recordings are modulated, over time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.command_line import options as opt
from core.command_line.program import task_of
from core.command_line.tables import csv_text, say, show_json, show_table
from core.command_line.use import (
    change_decoding,
    load_engine,
    new_inputs,
    owning_run,
    result_files,
    tell_failed,
)
from core.errors import UserError

if TYPE_CHECKING:
    from apps.modulation_recognition.data.recordings import Recording
    from apps.modulation_recognition.recognition import Recognised
    from core.data.index import Sample
    from core.engines import Engine
    from core.task import Task

_ENDING = "_modulation.json"


def predict(
    ctx: typer.Context,
    source: opt.Source,
    inputs: opt.Inputs,
    out: opt.OutFolder,
    sample_rate: Annotated[
        float | None,
        typer.Option(metavar="HZ", help="Samples per second. (default: what SigMF says)"),
    ] = None,
    number_type: Annotated[
        str | None,
        typer.Option(
            metavar="complex64|int16",
            help="How a recording's numbers are stored. (default: by its ending)",
        ),
    ] = None,
    hop: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Samples from frame to frame. (default: side by side)"
        ),
    ] = None,
    batch: Annotated[int, opt.BATCH] = 256,
    pictures: opt.Pictures = True,
    settings: opt.Settings = None,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Say how recordings are modulated: the class of frames that slide over them.

    Recordings are I and Q samples as SigMF, complex64 or int16, or folders of them. Each gets a
    table of its frames (.csv), a summary with the stretches of each class (.json), and a
    spectrogram with the class over time (.png). Data sets, such as shards, get a table of
    their frames.

    Files that cannot be read are named at the end: exit code 1 if some failed, 2 if all did.
    """
    from apps.modulation_recognition.data.recordings import TYPES
    from core.errors import one_of
    from core.files import claim_folder

    task = task_of(ctx)
    if number_type is not None:
        one_of(number_type, TYPES, "--number-type")
    owning_run(source, task)
    samples = new_inputs(_inputs(task, inputs, raw=number_type is not None), inputs, out)
    targets = result_files(samples, out, _ENDING)
    engine = load_engine(task, source)
    change_decoding(task, engine, opt.parse_settings(settings))
    claim_folder(out, overwrite=overwrite)
    written: list[dict] = []
    failed: list[dict] = []
    for sample in samples:
        path = sample.inputs[0]
        try:
            if "data_set" in sample.extra:
                done = _data_set(task, engine, path, targets[sample.id], batch)
            else:
                recording = _opened(engine, path, sample_rate, number_type)
                found = _recognised(engine, recording, hop, batch)
                done = _results(engine, path, recording, found, targets[sample.id], pictures)
            written.append({"input": str(path), **done})
        except UserError as error:
            failed.append({"input": str(path), "error": str(error)})
    if json:
        show_json({"out": out, "results": written, "failed": failed})
    elif written:
        for entry in written:
            rows = [
                (row["class"] or "silence", row["frames"], row["share"], row["mean_probability"])
                for row in entry["classes"]
            ]
            columns = ("class", "frames", "share", "mean probability")
            show_table(columns, rows, title=f"{entry['input']}: {entry['frames']:,} frames")
            for file in entry["files"]:
                say(f"Saved: {file}")
    tell_failed(failed, done=bool(written))


def _inputs(task: Task, inputs: list[Path], *, raw: bool) -> list[Sample]:
    """Return a sample for each recording, and for each data set as a whole.

    Args:
        task: Finds recordings in folders and knows the layouts of data sets.
        inputs: Files and folders.
        raw: Whether all files are recordings, whatever they look like.
    """
    from core.data.index import Sample
    from core.errors import not_found

    whole: list[Path] = []
    rest: list[Path] = []
    for path in inputs:
        if not path.exists():
            raise not_found(path)
        layouts = [one for name, one in task.readers.items() if name != "recording"]
        known = not raw and any(layout.recognises(path) for layout in layouts)
        (whole if known else rest).append(path)
    sets = [Sample(path.name, (path,), extra={"data_set": True}) for path in whole]
    return [*sets, *(task.files(rest) if rest else [])]


def _opened(engine: Engine, path: Path, rate: float | None, number_type: str | None) -> Recording:
    from apps.modulation_recognition.data.recordings import open_recording

    return open_recording(
        path, sample_rate=rate, kind=number_type or "", least=engine.card.input_size[0]
    )


def _recognised(engine: Engine, recording: Recording, hop: int | None, batch: int) -> Recognised:
    from apps.modulation_recognition.recognition import frame_count, recognise
    from core.command_line.progress import track

    length = engine.card.input_size[0]
    count = frame_count(recording.samples, length, hop or length)
    with track(count, f"recognising {recording.path.name}") as advance:
        return recognise(engine, recording, hop=hop, batch=batch, advance=advance)


def _results(
    engine: Engine,
    path: Path,
    recording: Recording,
    found: Recognised,
    target: Path,
    pictures: bool,
) -> dict[str, Any]:
    """Write the results of a recording; return its frames, class shares and files."""
    from apps.modulation_recognition import recognition
    from core.data.images import write_image

    names, rate = engine.card.labels, recording.sample_rate
    shares = recognition.class_shares(found.classes, found.probability, names)
    summary = {
        "samples": recording.samples,
        "sample_rate": rate,
        "length": found.length,
        "hop": found.hop,
        "frames": len(found),
        "classes": shares,
        "stretches": recognition.stretches(found, names, rate),
    }
    files = _write(target, engine, path, summary, recognition.frame_rows(found, names, rate))
    if pictures:
        from apps.modulation_recognition.spectrogram import recognition_picture

        picture = recognition_picture(recording, found, names)
        files.append(write_image(target.with_suffix(".png"), picture))
    return {"frames": len(found), "classes": shares, "files": files}


def _data_set(task: Task, engine: Engine, path: Path, target: Path, batch: int) -> dict[str, Any]:
    """Write what each frame of a data set was taken for; return as `_results`."""
    import numpy as np

    from apps.modulation_recognition.data import SNR
    from apps.modulation_recognition.recognition import class_shares
    from core.command_line.progress import track
    from core.evaluate import run

    index = task.read(str(path))
    rows: list[dict[str, Any]] = []
    with track(len(index), f"recognising {path.name}") as advance:
        for sample, result in run(task, engine, index.samples, batch=batch, advance=advance):
            row: dict[str, Any] = {"id": sample.id}
            if sample.label is not None and index.labels:
                row["true"] = index.labels[sample.label]
            if SNR in sample.extra:
                row["snr"] = sample.extra[SNR]
            rows.append({**row, "class": result["class"], "probability": result["probability"]})
    names = engine.card.labels
    classes = np.array([names.index(row["class"]) for row in rows])
    shares = class_shares(classes, np.array([row["probability"] for row in rows]), names)
    summary = {"format": index.format, "frames": len(rows), "classes": shares}
    files = _write(target, engine, path, summary, rows)
    return {"frames": len(rows), "classes": shares, "files": files}


def _write(
    target: Path, engine: Engine, path: Path, summary: dict[str, Any], rows: list[dict[str, Any]]
) -> list[Path]:
    """Write summary and table of an input; return the files."""
    from core.files import write_atomic, write_json

    card = engine.card
    about = {"input": str(path), "network": card.network, "variant": card.variant}
    return [
        write_json(target, {**about, **summary}),
        write_atomic(target.with_suffix(".csv"), csv_text(rows)),
    ]
