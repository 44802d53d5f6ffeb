"""The command of classification apps that makes a run's probabilities what they say."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.command_line import options as opt
from core.command_line.program import program_name, task_of
from core.command_line.ship import run_folder
from core.command_line.tables import say, show_json, show_records
from core.command_line.use import load_engine, needed_data
from core.errors import UserError, one_of

if TYPE_CHECKING:
    import numpy as np

    from core.run_folder import RunFolder

SPLITS = ("val", "test")


def calibrate(
    ctx: typer.Context,
    run: opt.Run,
    out: opt.OutRun,
    data: opt.Data = None,
    format: opt.Format = None,
    fit_on: Annotated[
        str, typer.Option(metavar="|".join(SPLITS), help="The split that tells the temperature.")
    ] = SPLITS[0],
    batch: Annotated[int, opt.BATCH] = 32,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Scale a run's logits by one temperature, so that its probabilities are what they say.

    The temperature of the lowest negative log likelihood on the validation samples (Guo et al.,
    ICML 2017) goes into the last layer's weights: which class comes first stays as it was, and
    every file that is exported from the new run is calibrated. Calibrate before compressing.

    Without --data the data the run was trained on is used.
    """
    from core.command_line.progress import track
    from core.evaluate import evaluate
    from core.files import claim_folder
    from core.run_folder import RunFolder
    from core.training.state import forget_earlier, replacing

    if fit_on == "train":
        raise UserError(
            "--fit-on train: a network is too sure of the samples it learned from; take val."
        )
    one_of(fit_on, SPLITS, "--fit-on")
    task = task_of(ctx)
    source = run_folder(run, task)
    _check_source(source, out)
    chosen, layout = needed_data(source, data, format, "calibrate with")
    if data is None:
        say(f"Defaults: data {chosen}.", aside=json)
    index = task.read(chosen, layout)
    splits = [fit_on, *(name for name in index.counts() if name == "test" != fit_on)]
    parts = {name: index.split(name) for name in splits}
    if out.exists():
        claim_folder(out, overwrite=overwrite)
    engine = load_engine(task, run)
    from core.classification.calibration import HIGHEST, LOWEST, fit_temperature, fold_temperature

    reports = {}
    with track(sum(map(len, parts.values())), "evaluating") as advance:
        for name, part in parts.items():
            scores = evaluate(task, engine, part, batch=batch, quick=True, advance=advance)
            reports[name] = scores.details
    fitted = reports[fit_on]
    temperature = fit_temperature(fitted.logits, fitted.labels)
    model = source.load_model()
    try:
        layer = fold_temperature(model, temperature)
    except ValueError as error:
        raise UserError(
            f"{run}: does not end in a layer whose weights could be scaled ({model.name}); "
            "calibrate a plain training, before it is compressed."
        ) from error
    rows = [
        _row(name, report.logits, report.labels, temperature) for name, report in reports.items()
    ]
    notes = []
    if temperature in (LOWEST, HIGHEST):
        why = "all clearly right" if temperature == LOWEST else "no better than guesses"
        notes.append(
            f"The search ended at its bound, {temperature:g}: the {len(parts[fit_on])} samples are "
            f"{why}, which tells no temperature; take more of them."
        )
    if fit_on == "test":
        notes.append("The test samples told the temperature: they are held out no more.")
    kept = {"data": source.record["data"]} if "data" in source.record else {}
    with replacing(out):
        made = RunFolder.create(
            out,
            source.config,
            source.card,
            overwrite=overwrite,
            source="calibrate",
            **kept,
            temperature=temperature,
            calibrated_from=str(run),
            calibrated_on=f"{fit_on} of {index.root} ({index.format})",
            calibrated_layer=layer,
        )
        made.save_model(model)
    forget_earlier(out)
    if json:
        told = {"run": made.path, "source": run, "temperature": temperature, "layer": layer}
        show_json({**told, "measured": rows, "notes": notes})
        return
    title = f"{run}: temperature {temperature:.4f}, in the weights of {layer}"
    show_records(rows, title=title)
    for note in notes:
        say(f"Note: {note}")
    say(f"Saved: {made.path}")
    shown = f"{shlex.quote(str(made.path))} --data {shlex.quote(chosen)}"
    say(f"Next: {program_name(ctx)} evaluate {shown}")


def _check_source(source: RunFolder, out) -> None:
    """Raise a `UserError` for a run that cannot be calibrated, or not into that folder."""
    source.check_whole()
    if out.resolve() == source.path.resolve():
        raise UserError(f"{out}: is the run to calibrate; choose another --out.")
    compress = source.config.compress
    if "quantize" in (compress.get("method"), *compress.get("after", ())):
        raise UserError(
            f"{source.path}: is quantized, and its ranges are those of its present logits; "
            "calibrate the run it was made of, then quantize that."
        )


def _row(name: str, logits: np.ndarray, labels: np.ndarray, temperature: float) -> dict[str, Any]:
    """Return what calibration did to a split: negative log likelihood and calibration error."""
    from core.classification.calibration import expected_calibration_error, negative_log_likelihood
    from core.classification.metrics import softmax

    found: dict[str, Any] = {"split": name, "samples": len(labels)}
    for when, by in (("before", 1.0), ("after", temperature)):
        found[f"nll_{when}"] = negative_log_likelihood(logits, labels, by)
        found[f"ece_{when}"] = expected_calibration_error(softmax(logits / by), labels)
    return found
