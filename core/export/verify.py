"""An export is not done when the converter returns: run the file beside the Keras model.

The file is loaded the way a phone loads it (XNNPACK, the default delegate) and with the reference
kernels, on real samples, and compared by output and by the task's own metric.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from core.data.index import spread
from core.documents import read_json
from core.engines import Engine, KerasEngine, LiteRTEngine, output_error, signal_to_noise
from core.errors import UserError
from core.evaluate import run as run_on
from core.export.convert import computed_network
from core.export.exporting import deployable
from core.export.inspect import (
    check_file,
    float_operators,
    foreign_operators,
    operators,
    output_steps,
    requantisation,
    xnnpack_share,
)
from core.export.metadata import extract
from core.files import sha256
from core.model_card import ModelCard
from core.run_folder import RunFolder
from core.task import Task

FLOAT_BOUND = 1e-4  # of the output's largest value
OUTPUT_SAMPLES = 16


@dataclass(frozen=True)
class Check:
    """One line of a verification.

    Attributes:
        check: What was looked at.
        value: What was found.
        bound: What it must be; empty for information only.
        ok: Whether it holds; None for information only.
    """

    check: str
    value: str | float | int
    bound: str = ""
    ok: bool | None = None


@dataclass
class Verification:
    """The outcome of `verify`.

    Attributes:
        file: Name of the file.
        precision: As the export recorded it.
        rows: The checks in order.
        metrics: {"keras" | "file" | "file_reference": summary of the task's scores}.
        protocol: Definition of those scores.
        notes: What was compared with what, in sentences.
        subject: What the numbers are about, so that a later reader can tell whether they still
            hold: "sha256" of the file, "model_sha256" of the Keras weights, "fingerprint" of
            the data, "split" and "samples".
    """

    file: str
    precision: str
    subject: dict[str, str | int] = field(default_factory=dict)
    rows: list[Check] = field(default_factory=list)
    metrics: dict[str, dict] = field(default_factory=dict)
    protocol: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether every check that has a bound holds."""
        return all(row.ok is not False for row in self.rows)

    def to_dict(self) -> dict:
        """Return everything as JSON-ready values."""
        return {**asdict(self), "passed": self.passed}

    def add(self, check: str, value, bound: str = "", ok: bool | None = None) -> None:
        """Append a line."""
        self.rows.append(Check(check, value, bound, None if ok is None else bool(ok)))


def verify(
    task: Task,
    path: str | Path,
    *,
    run: RunFolder | str | Path | None = None,
    data: str | None = None,
    format: str = "auto",
    split: str = "test",
    samples: int | None = None,
    advance: Callable[[int], None] | None = None,
) -> Verification:
    """Check a TFLite file; see the rows of the result.

    Args:
        task: The file's domain.
        path: The .tflite file.
        run: The run it was exported from; None looks for it around the file.
        data, format, split: Held-out samples; None takes the data of the run's training.
        samples: At most so many samples, evenly chosen; None takes all.
        advance: Called with numbers of evaluated samples, for a progress bar.

    Raises:
        UserError: When the file is missing, corrupt or carries no model card, or the data is wrong.
    """
    path = Path(path)
    check_file(path)
    document = extract(path)
    card = ModelCard.from_dict(document.get("model_card", {}), source=str(path))
    if card.app != task.name:
        raise UserError(f"{path}: is a file of '{card.app}'; use: gossamer {card.app} verify …")
    run = _find_run(task, path, run)
    result = Verification(path.name, str(document.get("precision", "unknown")))
    result.subject["sha256"] = sha256(path)
    _check_sidecar(result, path)
    _check_operators(result, path, document)
    engines = _load(result, path, card)
    if run is not None:
        _check_origin(result, document, run)
        data, format = (data, format) if data else (run.config.data, run.config.format)
    if not data:
        result.notes.append("no data: outputs and metric were not compared; pass --data")
        return result
    index = task.read(data, format)
    result.subject |= {"fingerprint": index.fingerprint(), "split": split}
    index = spread(index.split(split), samples)
    result.subject["samples"] = len(index)
    result.notes.append(f"{len(index)} samples of {data} ({split})")
    if run is not None:
        model, _ = deployable(task, run, card.input_size)
        model = computed_network(model, result.precision)
        engines = {"keras": KerasEngine(model, card), **engines}
        _compare_outputs(result, task, path, engines, index)
    else:
        result.notes.append("no run folder found: not compared with Keras; pass --run")
    _compare_metrics(result, task, engines, index, advance)
    if run is not None:
        try:
            run.add_metrics(f"verify/{path.name}", result.to_dict())
        except UserError as error:  # what was found is worth more than its place
            result.notes.append(f"not kept with the run: {error}".rstrip("."))
    return result


def _find_run(task: Task, path: Path, run) -> RunFolder | None:
    if isinstance(run, RunFolder):
        return run
    if run is not None:
        return RunFolder(run, app=task.name)
    around = path.resolve().parent.parent
    return RunFolder(around, app=task.name) if (around / "config.yaml").is_file() else None


def _check_sidecar(result: Verification, path: Path) -> None:
    sidecar = path.with_suffix(".json")
    if not sidecar.is_file():
        return
    try:
        recorded = read_json(sidecar).get("sha256")
    except (ValueError, AttributeError):
        raise UserError(f"{sidecar}: is damaged; export the file again.") from None
    result.add("sha256 as exported", sha256(path)[:12], "equal", sha256(path) == recorded)


def _check_origin(result: Verification, document: dict, run: RunFolder) -> None:
    """A file exported before the run was trained on is compared with the wrong weights."""
    current = sha256(run.file("model.keras"))
    result.subject["model_sha256"] = current
    same = document.get("model_sha256") == current
    result.add("exported from the run's present weights", "yes" if same else "no", "yes", same)


def _check_operators(result: Verification, path: Path, document: dict) -> None:
    foreign = sorted({operator.name for operator in foreign_operators(path)})
    total = len(operators(path))
    result.add(
        "builtin operators only", ", ".join(foreign) or f"{total} builtin", "all", not foreign
    )
    if result.precision == "int8":
        floating = float_operators(path)
        named = ", ".join(f"{o.name} {o.outputs[0].name}" for o in floating[:3])
        choices = (document.get("compression") or {}).get("choices") or {}
        if "float" in (choices.get("exceptions") or {}).values():
            result.add("operators left in float, as chosen", named or 0)
        else:
            result.add("operators left in float", named or 0, "0", not floating)
    entries = requantisation(path)
    if entries:
        fatal = [entry for entry in entries if entry.fatal]
        shown = "; ".join(map(str, fatal[:3])) or f"{len(entries)} ratios"
        result.add("scale ratios XNNPACK computes", shown, "all", not fatal)


def _load(result: Verification, path: Path, card: ModelCard) -> dict[str, Engine]:
    """Return the engines that load the file; the default delegate must."""
    engines: dict[str, Engine] = {}
    for key, delegate, label in (
        ("file", True, "loads in the default delegate (XNNPACK)"),
        ("file_reference", False, "loads with the reference kernels"),
    ):
        try:
            engines[key] = LiteRTEngine(path, card, delegate=delegate)
            result.add(label, "yes", "yes", True)
        except UserError as error:
            result.add(label, str(error), "yes", False)
    if "file" in engines:
        taken, total = xnnpack_share(path)
        result.add("operators XNNPACK took", f"{taken} of {total}")
    return engines


def _compare_outputs(result: Verification, task: Task, path: Path, engines, index) -> None:
    from core.compress.quantize import is_quantized

    chosen = spread(index, OUTPUT_SAMPLES).samples
    card, simulated = engines["keras"].card, is_quantized(engines["keras"].model)
    inputs = np.stack([task.network_input(sample, card) for sample in chosen])
    reference = engines["keras"](inputs)
    for key, name in (("file", "XNNPACK"), ("file_reference", "reference kernels")):
        if key not in engines:
            continue
        outputs = engines[key](inputs)
        error = output_error(reference, outputs)
        if result.precision == "float32":
            result.add(
                f"output error, {name}",
                float(f"{error:.3g}"),
                f"≤ {FLOAT_BOUND:g} of the largest output",
                error <= FLOAT_BOUND,
            )
        else:
            decibels = signal_to_noise(reference, outputs)
            shown = f"{error:.3g} of the largest; {decibels:.1f} dB SNR"
            result.add(f"output error, {name}", shown if error else "none, equal in every bit")
            steps = output_steps(path, engines[key].output_indices)
            if simulated and None not in steps:
                within = [
                    np.mean(np.abs(a - b) <= 1.01 * step)
                    for a, b, step in zip(reference, outputs, steps, strict=True)
                ]
                result.add(f"outputs within a step, {name}", f"{min(within):.2%}")


def _compare_metrics(result: Verification, task: Task, engines, index, advance) -> None:
    found: dict[str, list] = {}
    for key, engine in engines.items():
        results = run_on(task, engine, index.samples, advance=advance)
        if task.compares_results:
            results = found[key] = list(results)
        scores = task.score(iter(results), engine.card)
        result.metrics[key], result.protocol = scores.summary, scores.protocol
    if "keras" in found and "file" in found:
        card = engines["file"].card
        for what, share, least in task.agreement(found["keras"], found["file"], card):
            result.add(what, f"{share:.2%}", f"≥ {least:.0%}", share >= least)
    name = task.headline
    for key, label in (("file", "XNNPACK"), ("file_reference", "reference kernels")):
        if key not in result.metrics:
            continue
        value = result.metrics[key][name]
        if "keras" not in result.metrics:
            result.add(f"{name}, {label}", round(value, 4))
            continue
        before = result.metrics["keras"][name]
        loss = before - value if task.headline_mode == "max" else value - before
        result.add(
            f"{name}, {label}",
            f"{value:.4f} (Keras {before:.4f})",
            f"loses ≤ {task.int8_tolerance:g}",
            loss <= task.int8_tolerance,
        )
