"""The commands that lead to a phone: export, verify, benchmark and report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.command_line import options as opt
from core.command_line.program import program_name, task_of
from core.command_line.quiet import load_litert, load_tensorflow
from core.command_line.tables import csv_text, say, show_json, show_table, size
from core.command_line.use import check_source, data_of, needed_data, owning_run, tell_failed
from core.errors import CheckFailed, UserError, one_of
from core.export import CALIBRATED, CALIBRATORS, IO_TYPES, PRECISIONS

if TYPE_CHECKING:
    from core.export.benchmark import Timing
    from core.export.verify import Verification
    from core.run_folder import RunFolder
    from core.task import Task


def export(
    ctx: typer.Context,
    run: opt.Run,
    precision: Annotated[
        str, typer.Option(metavar="|".join(PRECISIONS), help="Number format of the file.")
    ] = "float32",
    io: Annotated[
        str, typer.Option(metavar="|".join(IO_TYPES), help="Type of inputs and outputs.")
    ] = "float32",
    data: opt.Data = None,
    format: opt.Format = None,
    samples: Annotated[int, opt.SAMPLES] = 200,
    calibrator: Annotated[
        str, typer.Option(metavar="|".join(CALIBRATORS), help="Who decides the scales of int8.")
    ] = "own",
    equalize: Annotated[
        bool, typer.Option("--equalize", help="Even channel ranges before int8 (DFQ).")
    ] = False,
    balance: Annotated[
        bool, typer.Option("--balance", help="Put features in the basis that int8 rounds best.")
    ] = False,
    correct_bias: Annotated[
        bool, typer.Option("--correct-bias", help="Take int8's mean errors into biases (DFQ).")
    ] = False,
    input_size: opt.InputSize = None,
    open_size: Annotated[
        bool, typer.Option("--open-size", help="A file for inputs of any size.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File to write. (default: RUN/export/<name>_<precision>.tflite)",
        ),
    ] = None,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Write a run's network as a .tflite file, with a .json beside it that describes it.

    int8 and int16x8 are calibrated with --samples of --data; without --data, of the data the run
    was trained on.
    """
    one_of(precision, PRECISIONS, "--precision")
    one_of(io, IO_TYPES, "--io")
    one_of(calibrator, CALIBRATORS, "--calibrator")
    chosen_size = opt.parse_size(input_size)
    task, program = task_of(ctx), program_name(ctx)
    folder = run_folder(run, task)
    trained = precision == "int8" and folder.config.compress.get("method") == "quantize"
    layout = format or "auto"
    if precision in CALIBRATED and data is None and not trained:
        data, layout = needed_data(folder, data, format, f"calibrate {precision} with")
        say(f"Defaults: calibration data {data}, up to {samples} samples.", aside=json)
    load_tensorflow()
    load_litert()
    from core.export.exporting import export as write

    made = write(
        task,
        folder,
        precision,
        data=data,
        format=layout,
        samples=samples,
        io=io,
        calibrator=calibrator,
        equalize=equalize,
        balance=balance,
        correct_bias=correct_bias,
        out=out,
        overwrite=overwrite,
        input_size=chosen_size,
        open_size=open_size,
    )
    bytes_ = Path(made.path).stat().st_size
    if json:
        files = {"file": made.path, "sidecar": made.sidecar}
        show_json({**files, "file_bytes": bytes_, "notes": made.notes})
        return
    for note in made.notes:
        say(f"{note[:1].upper()}{note[1:]}.")
    say(f"Saved: {made.path} ({size(bytes_)})")
    say(f"       {made.sidecar}")
    held_out = "" if folder.config.data and out is None else f" --data {data or 'PATH'}"
    say(f"Next: {program} verify {made.path}{held_out}")


def verify(
    ctx: typer.Context,
    file: opt.File,
    data: opt.Data = None,
    format: opt.Format = None,
    split: opt.Split = None,
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="The Keras network to compare with: whose file it is (the default), or what that "
            "was compressed from.",
        ),
    ] = None,
    samples: Annotated[int | None, opt.SAMPLES] = None,
    json: opt.Json = False,
) -> None:
    """Check a .tflite file beside its Keras network on held-out samples; exit code 1 if it fails.

    Without --data the data the run was trained on is used.
    """
    from core.command_line.progress import track

    task = task_of(ctx)
    check_file(file)
    folder = owning_run(file, task) if run is None else run_folder(run, task)
    chosen, layout = data_of(folder, data, format)
    if folder is not None and chosen != data:
        say(f"Defaults: run {folder.path}, data {chosen}.", aside=json)
    index = None if chosen is None else task.read(chosen, layout)
    split = split or ("test" if index is None else index.held_out())
    count = 0 if index is None else len(index.split(split))
    load_tensorflow()
    load_litert()
    from core.export.verify import verify as check

    engines = 2 if folder is None else 3  # Keras, XNNPACK, the reference kernels
    with track(engines * min(count, samples or count), "verifying") as advance:
        found = check(
            task,
            file,
            run=folder,
            data=chosen,
            format=layout,
            split=split,
            samples=samples,
            advance=advance,
        )
    if json:
        show_json({**found.to_dict(), "file": str(file)})
    else:
        show_checks(found, str(file))
    if not found.passed:
        missed = [row.check for row in found.rows if row.ok is False]
        raise CheckFailed(f"{file}: does not hold: {', '.join(missed)}.")


def benchmark(
    ctx: typer.Context,
    sources: opt.Sources,
    threads: Annotated[
        str | None,
        typer.Option(metavar="N…", help="Numbers of threads, such as: 1 2. (default: 1 and all)"),
    ] = None,
    calls: Annotated[int, opt.CALLS] = 50,
    csv: opt.Csv = None,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Measure latency, memory and size, in one table over files and numbers of threads.

    A run stands for its Keras network and all its exported files.
    """
    from core.command_line.progress import track
    from core.files import claim_file, write_atomic

    task = task_of(ctx)
    counts = opt.parse_threads(threads)
    if csv is not None:
        claim_file(csv, overwrite=overwrite, option="--csv")
    jobs = benchmark_jobs(task, sources, counts, calls)
    timings: list[Timing] = []
    failed: list[dict[str, str]] = []
    with track(len(jobs), "measuring") as advance:
        for source, job in jobs:
            try:
                timings += job()
            except (UserError, CheckFailed) as error:  # the others are still worth measuring
                failed.append({"input": str(source), "error": str(error)})
            advance(1)
    rows = [dataclasses.asdict(timing) for timing in timings]
    if csv is not None:
        write_atomic(csv, csv_text(rows))
    if json:
        show_json({"results": rows, "failed": failed})
    elif timings:
        show_timings(timings)
    tell_failed(failed, done=bool(timings))


def _held_out(task: Task, data: str, format: str) -> str:
    """Return the split of a report, which is also made where the data have gone."""
    try:
        return task.read(data, format).held_out()
    except UserError:
        return "test"


def report(
    ctx: typer.Context,
    run: opt.Run,
    data: opt.Data = None,
    format: opt.Format = None,
    split: opt.Split = None,
    json: opt.Json = False,
) -> None:
    """Write RUN/report.html: training curves, scores, pictures and files of a run on one page.

    An earlier report of the run is replaced.
    """
    task = task_of(ctx)
    folder = run_folder(run, task)
    chosen, layout = data_of(folder, data, format)
    if chosen != data:
        say(f"Defaults: data {chosen}.", aside=json)
    if split is None:
        split = "test" if chosen is None else _held_out(task, chosen, layout)
    load_tensorflow()
    load_litert()
    from core.export.report import write_report

    path = write_report(
        task,
        folder,
        data=chosen,
        format=layout,
        split=split,
        progress=lambda what: say(f"{what[:1].upper()}{what[1:]} …", aside=True),
    )
    if json:
        show_json({"run": folder.path, "report": path})
    else:
        say(f"Saved: {path}")


def benchmark_jobs(
    task: Task, sources: list[Path], threads: tuple[int | None, ...], calls: int
) -> list[tuple[Path, Callable[[], list[Timing]]]]:
    """Return what is to be measured; a run gives its Keras network and each of its files."""
    jobs: list[tuple[Path, Callable[[], list[Timing]]]] = []
    files: list[Path] = []
    for source in sources:
        check_source(source)
        if source.is_file():
            files.append(source)
            continue
        folder = run_folder(source, task)
        files += sorted(folder.file("export").glob("*.tflite"))
        if folder.file("model.keras").is_file():
            jobs.append((source, partial(_time_keras, task, source, calls)))
    if not jobs and not files:
        raise UserError(f"{sources[0]}: holds neither model.keras nor files in export/; export it.")
    for file in dict.fromkeys(files):
        jobs.append((file, partial(_time_file, file, threads, calls)))
    return jobs


def show_timings(timings: list[Timing]) -> None:
    """Print timings as a table."""
    rows = [
        (
            timing.name,
            timing.precision,
            timing.threads,
            timing.median_ms,
            f"{timing.p10_ms:.2f} – {timing.p90_ms:.2f}",
            size(timing.memory_bytes),
            size(timing.file_bytes),
            None if timing.xnnpack is None else "{} of {}".format(*timing.xnnpack),
        )
        for timing in timings
    ]
    columns = ("file", "precision", "threads", "ms", "p10 – p90", "memory", "size", "by XNNPACK")
    show_table(columns, rows)


def show_checks(found: Verification, title: str) -> None:
    """Print a verification as a table, what is most likely wrong and its notes below."""
    marks = {True: "yes", False: "NO", None: ""}
    rows = [(r.check, r.value, r.bound, marks[r.ok]) for r in found.rows]
    show_table(("check", "value", "bound", "holds"), rows, title=title)
    for sentence in (*found.causes, *found.notes):
        say(f"{sentence[:1].upper()}{sentence[1:]}.")
    if found.protocol:
        say(f"Protocol: {found.protocol}")


def _time_keras(task: Task, source: Path, calls: int) -> list[Timing]:
    from core.command_line.use import load_engine
    from core.export.benchmark import time_network

    engine = load_engine(task, source)
    timing = time_network(engine, name=f"{source.name} (Keras)", calls=calls)
    return [dataclasses.replace(timing, precision="float")]


def _time_file(path: Path, threads: tuple[int | None, ...], calls: int) -> list[Timing]:
    load_litert()
    from core.export.benchmark import benchmark as measure

    return measure(path, threads=threads, calls=calls)


def run_folder(path: Path, task: Task) -> RunFolder:
    """Return the run folder of the task's app at a path."""
    from core.run_folder import RunFolder

    return RunFolder(path, app=task.name)


def check_file(path: Path) -> None:
    """Raise a `UserError` when a path is not a .tflite file."""
    if path.is_dir():
        raise UserError(f"{path}: is a folder; pass a .tflite file, such as those in its export/.")
    check_source(path)
