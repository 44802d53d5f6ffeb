"""The commands that use a network: evaluate and predict, with a run folder or a .tflite file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.command_line import options as opt
from core.command_line.program import task_of
from core.command_line.quiet import load_litert, load_tensorflow
from core.command_line.tables import (
    complain,
    csv_text,
    say,
    show_json,
    show_records,
    show_table,
)
from core.errors import UserError, no_such, not_found, one_of

if TYPE_CHECKING:
    from core.data.index import Sample
    from core.engines import Engine
    from core.run_folder import RunFolder
    from core.task import Task


def evaluate(
    ctx: typer.Context,
    source: opt.Source,
    data: opt.Data = None,
    format: opt.Format = None,
    split: opt.Split = None,
    batch: Annotated[int, opt.BATCH] = 4,
    settings: opt.Settings = None,
    per_sample: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Write the scores of every sample.")
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Draw the scores, where the app has pictures of them."),
    ] = None,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Score a run or a .tflite file on a data set; a run keeps the result in metrics.json.

    Without --data the data the run was trained on is used. --set changes how outputs are decoded,
    such as --set threshold=0.4.
    """
    from core.command_line.progress import track
    from core.data.images import write_image
    from core.evaluate import evaluate as score
    from core.files import claim_file, claim_folder, sha256, write_atomic

    task = task_of(ctx)
    run = owning_run(source, task)
    if run is not None:
        run.metrics()  # complain before the work: the result is kept there
    if per_sample is not None:
        claim_file(per_sample, overwrite=overwrite, option="--per-sample")
    if pictures is not None:
        if not task.draws_scores:
            raise UserError(f"'{task.name}' has no pictures of its scores; leave out --pictures.")
        claim_folder(pictures, overwrite=overwrite)
    chosen, layout = needed_data(run, data, format, "evaluate on")
    if data is None:
        say(f"Defaults: data {chosen}.", aside=json)
    whole = task.read(chosen, layout)
    split = split or whole.held_out()
    index = whole.split(split)
    engine = load_engine(task, source)
    changes = opt.parse_settings(settings)
    change_decoding(task, engine, changes)
    with track(len(index), "evaluating") as advance:
        scores = score(task, engine, index, batch=batch, advance=advance)
    if per_sample is not None:
        write_atomic(per_sample, csv_text(scores.per_sample))
    drawn = []
    if pictures is not None:
        named = task.score_pictures(scores)
        drawn = [write_image(pictures / f"{name}.png", one) for name, one in named.items()]
    result = {
        "data": str(index.root),
        "format": index.format,
        "split": split,
        "samples": len(index),
        "metrics": scores.summary,
        "protocol": scores.protocol,
    }
    if run is not None:
        weights = run.file("model.keras") if source.is_dir() else source
        about = {"fingerprint": whole.fingerprint(), "model_sha256": sha256(weights)}
        parts = ["keras" if source.is_dir() else source.name, index.format, split]
        key = "/".join([*parts, *(f"{name}={value}" for name, value in sorted(changes.items()))])
        try:
            run.add_metrics(key, {**result, **about})
        except UserError as error:  # the scores are worth more than their place
            say(f"Not kept with the run: {error}", aside=True)
    if json:
        more = {"tables": scores.tables, "per_sample": scores.per_sample, "files": drawn}
        show_json({"source": source, **result, **more})
        return
    title = f"{source}: {len(index)} samples of {index.root} ({index.format}, {split})"
    show_table(("metric", "value"), list(scores.summary.items()), title=title)
    for name, rows in scores.tables.items():
        say()
        show_records(rows, title=f"{name[:1].upper()}{name[1:].replace('_', ' ')}:")
    if scores.protocol:
        say(f"Protocol: {scores.protocol}")
    for file in drawn:
        say(f"Saved: {file}")


def predict(
    ctx: typer.Context,
    source: opt.Source,
    inputs: opt.Inputs,
    out: opt.OutFolder,
    batch: Annotated[int, opt.BATCH] = 4,
    pictures: opt.Pictures = True,
    settings: opt.Settings = None,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Run a network on files and folders; write each result, and a picture of it.

    --set changes how outputs are decoded, such as --set threshold=0.4.

    Files that cannot be read are named at the end: exit code 1 if some failed, 2 if all did.
    """
    from core.command_line.progress import track
    from core.data.images import write_image
    from core.files import claim_folder

    task = task_of(ctx)
    owning_run(source, task)
    samples = new_inputs(task.files(inputs), inputs, out)
    drawn = result_files(samples, out, "_overlay.png")
    engine = load_engine(task, source)
    change_decoding(task, engine, opt.parse_settings(settings))
    claim_folder(out, overwrite=overwrite)
    written: list[dict] = []
    failed: list[dict] = []
    with track(len(samples), "predicting") as advance:
        for sample, result, error in results(task, engine, samples, batch=batch):
            file = str(sample.inputs[0])
            if error is None:
                files = task.write(sample, result, out, engine.card)
                picture = task.draw(sample, result, engine.card) if pictures else None
                if picture is not None:
                    files = [*files, write_image(drawn[sample.id], picture)]
                written.append({"input": file, "files": [str(path) for path in files]})
            else:
                failed.append({"input": file, "error": str(error)})
            advance(1)
    if json:
        show_json({"out": out, "results": written, "failed": failed})
    elif written:
        say(f"{len(written)} of {len(samples)} inputs predicted; the results are in {out}")
    tell_failed(failed, done=bool(written))


def tell_failed(failed: Sequence[Mapping[str, str]], *, done: bool) -> None:
    """Name the inputs that failed, and then exit: with 1, or with 2 where nothing was done.

    Args:
        failed: "input" and "error" of each.
        done: Whether other inputs went through.
    """
    for entry in failed:
        complain(entry["error"])
    if failed:
        raise typer.Exit(1 if done else 2)


def results(
    task: Task, engine: Engine, samples: list[Sample], *, batch: int
) -> Iterator[tuple[Sample, Any, UserError | None]]:
    """Yield (sample, result, error) in order; a sample that cannot be read does not stop the rest.

    A batch with a bad file is run again one by one, which finds the bad one and keeps the others.
    """
    from core.evaluate import run

    position = 0
    while position < len(samples):
        try:
            for sample, result in run(task, engine, samples[position:], batch=batch):
                position += 1
                yield sample, result, None
        except UserError:
            for sample in samples[position : position + batch]:
                position += 1
                try:
                    ((_, result),) = run(task, engine, [sample], batch=1)
                except UserError as error:
                    yield sample, None, error
                else:
                    yield sample, result, None


def new_inputs(samples: list[Sample], inputs: list[Path], out: Path) -> list[Sample]:
    """Return the samples outside the output folder: results of an earlier run are no inputs.

    Raises:
        UserError: When the inputs lie directly in the output folder, or all of them lie in it.
    """
    target = out.resolve()
    folders = [(path if path.is_dir() else path.parent).resolve() for path in inputs]
    if target in folders:
        raise UserError(
            f"{out}: holds the inputs, which results could replace; choose another --out."
        )
    if not any(target.is_relative_to(folder) for folder in folders):
        return samples
    kept = [s for s in samples if not s.inputs[0].parent.resolve().is_relative_to(target)]
    if not kept:
        raise UserError(f"{inputs[0]}: holds no inputs but those in {out}; check the path.")
    return kept


def result_files(
    samples: Sequence[Sample], folder: Path, ending: str | Callable[[Sample], str]
) -> dict[str, Path]:
    """Return the file of each sample's result by its id: FOLDER/a/b_mask.png for "a/b.jpg".

    Args:
        samples: The inputs.
        folder: Where results are written.
        ending: What comes after the name without its suffix, or a function that returns it.

    Raises:
        UserError: When two inputs differ in their suffix only, so that results would collide.
    """
    files: dict[str, Path] = {}
    owners: dict[Path, str] = {}
    for sample in samples:
        file = sample.file_in(folder, ending if isinstance(ending, str) else ending(sample))
        if file in owners:
            raise UserError(
                f"{sample.inputs[0]}: its result would overwrite that of '{owners[file]}', which "
                "has the same name but for the suffix; rename one of them, or write their results "
                "into different folders."
            )
        files[sample.id] = file
        owners[file] = sample.id
    return files


def check_source(source: Path) -> None:
    """Raise a `UserError` when a path is neither a folder nor a .tflite file."""
    if not source.exists():
        raise not_found(source, "run folder or .tflite file")
    if source.is_file() and source.suffix != ".tflite":
        raise UserError(f"{source}: is neither a run folder nor a .tflite file; pass one of them.")


def owning_run(source: Path, task: Task) -> RunFolder | None:
    """Return the run a path is, or whose export/ folder it lies in; None for a file elsewhere.

    Raises:
        UserError: When the path is neither a run of the task's app nor a .tflite file.
    """
    from core.run_folder import RunFolder

    check_source(source)
    if source.is_dir():
        return RunFolder(source, app=task.name)
    folder = source.resolve().parent
    if folder.name == "export" and (folder.parent / "config.yaml").is_file():
        return RunFolder(folder.parent, app=task.name)
    return None


def data_of(run: RunFolder | None, data: str | None, format: str | None) -> tuple[str | None, str]:
    """Return data and format as they were chosen, or those that a run was trained on.

    Args:
        run: The run, or None for a file without one.
        data, format: What the command line says; None where it does not.

    Returns:
        The data, None where neither tells, and its format.
    """
    if data is not None or run is None or not run.config.data:
        return data, format or "auto"
    return run.config.data, format or run.config.format


def needed_data(
    run: RunFolder | None, data: str | None, format: str | None, purpose: str
) -> tuple[str, str]:
    """Return data and format as `data_of` does; a `UserError` where nobody tells the data."""
    found, layout = data_of(run, data, format)
    if found is None:
        raise UserError(f"Nothing to {purpose}: pass --data PATH (or --data sample).")
    return found, layout


def load_engine(task: Task, source: Path) -> Engine:
    """Return the engine of a run folder (Keras, the deployed graph) or of a .tflite file.

    Raises:
        UserError: When the path is neither, is damaged, or belongs to another app.
    """
    from core.engines import KerasEngine, LiteRTEngine
    from core.run_folder import RunFolder

    check_source(source)
    if source.is_dir():
        run = RunFolder(source, app=task.name)
        load_tensorflow()
        from core.export.deployable import deployable

        return KerasEngine(*deployable(task, run, open_size=True))
    load_litert()
    engine = LiteRTEngine(source)
    if engine.card.app != task.name:
        raise UserError(
            f"{source}: is a network of the app '{engine.card.app}', not of '{task.name}'; use: "
            f"gossamer {engine.card.app} …"
        )
    try:
        task.check_decoding(engine.card)
    except UserError as error:
        raise UserError(f"{source}: its model card cannot be followed: {error}") from error
    return engine


def change_decoding(task: Task, engine: Engine, changes: dict[str, Any]) -> None:
    """Change entries of the card's decoding (threshold, protocol, ...).

    Raises:
        UserError: When the card has no such entry or the task no such value.
    """
    known = engine.card.decode
    for name, value in changes.items():
        if name not in known:
            raise no_such("key", name, known, where="--set")
        allowed = task.option_values.get(name)
        if allowed is not None:
            one_of(value, allowed, f"--set: {name}")
    engine.card = engine.card.replace(decode={**known, **changes})
    task.check_decoding(engine.card)
