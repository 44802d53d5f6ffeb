"""An export is not done when the converter returns: run the file beside the Keras model.

The file is loaded the way a phone loads it (XNNPACK, the default delegate) and with the reference
kernels, on real samples, and compared by output and by the task's own metric. Its card, its kernels
and its ranges are compared too, so that what is wrong has a name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.data.index import Index, spread
from core.engines import Engine, KerasEngine, LiteRTEngine, output_error, signal_to_noise
from core.errors import UserError
from core.evaluate import scored
from core.export.card_checks import check_arithmetic, check_card, check_sidecar
from core.export.convert import computed_network
from core.export.deployable import deployable
from core.export.diagnosis import diagnose
from core.export.exporting import evens_channels
from core.export.file_checks import check_loading, check_operators
from core.export.network_checks import FLOAT_BOUND, Beside, check_function, check_kernels
from core.export.ranges import check_ranges
from core.export.verification import Check, Verification
from core.files import sha256
from core.model_card import ModelCard
from core.run_folder import RunFolder
from core.task import Task
from core.tflite.graph import read_bytes
from core.tflite.inspect import check_file, output_steps
from core.tflite.metadata import extract

__all__ = ["Check", "Verification", "verify"]

OUTPUT_SAMPLES = 16
KERNELS = {"file": "XNNPACK", "file_reference": "reference kernels"}
# What rounding activations must leave of the outputs, in dB (measured: 11.9 and 30 at least).
LEAST_DB = {"dynamic": 6.0, "int8": 6.0, "int16x8": 20.0}


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
        run: The run it was exported from, with which the result is kept, or one that was compressed
            to that, with which it is not; None looks for it around the file.
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
    content = read_bytes(path)
    check_sidecar(result, path, document)
    check_operators(result, content, document)
    check_arithmetic(result, content)
    loaded = check_loading(result, path, card)
    shape, outputs = _shapes(loaded)
    check_card(result, task, path, document, run, input_shape=shape, output_shapes=outputs)
    files = _fitted(result, loaded, card, shape)
    engines: dict[str, Engine] = {**files}
    index = _held_out(result, task, run, data, format, split, samples)
    earlier = run is not None and _compressed_from(path, run)
    if run is None:
        result.notes.append(
            "no run folder found: kernels, outputs, normalisation, decoding and the order of "
            "labels were not compared with the Keras network; pass --run"
        )
    elif files:
        engines |= _compare_network(result, task, content, document, run, files, index, earlier)
    if index is not None and engines:
        _compare_metrics(result, task, engines, index, advance, partly=samples is not None)
    if run is not None and not earlier:  # what is kept with a run is about its own files
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


def _compressed_from(path: Path, run: RunFolder) -> bool:
    """Return whether the run a file lies in was compressed from another, at once or in stages."""
    here, goal = path.resolve().parent.parent, run.path.resolve()
    seen: set[Path] = set()
    # Each of two runs may have been written over from the other.
    while here not in seen and here != goal and (here / "config.yaml").is_file():
        seen.add(here)
        config = RunFolder(here).config
        if not config.compress or not config.initial_weights:
            return False
        here = Path(config.initial_weights).resolve()
    return here == goal and bool(seen)


def _shapes(files: Mapping[str, LiteRTEngine]) -> tuple[tuple | None, list[tuple]]:
    """Return the shapes of a file's input and outputs without the batch axis."""
    for engine in files.values():
        return engine.input_shape[1:], [shape[1:] for shape in engine.output_shapes]
    return None, []


def _fitted(
    result: Verification, files: dict[str, LiteRTEngine], card: ModelCard, shape: tuple | None
) -> dict[str, LiteRTEngine]:
    """Return the engines with the size that the file really takes; none where nothing fits it."""
    if shape is None:
        return {}
    if shape[-1] != card.channels:
        result.notes.append("nothing was run on samples: the file takes other channels")
        return {}
    size = tuple(b if a is None else a for a, b in zip(shape, card.input_size, strict=False))
    for engine in files.values():
        engine.card = card.replace(input_size=size)
    return files


def _held_out(
    result: Verification,
    task: Task,
    run: RunFolder | None,
    data: str | None,
    format: str,
    split: str,
    samples: int | None,
) -> Index | None:
    """Return the samples to compare on, or None where no data are named."""
    if run is not None and not data:
        data, format = run.config.data, run.config.format
    if not data:
        result.notes.append("no data: outputs and metric were not compared on samples; pass --data")
        return None
    index = task.read(data, format)
    result.subject |= {"fingerprint": index.fingerprint(), "split": split}
    index = spread(index.split(split), samples)
    result.subject["samples"] = len(index)
    result.notes.append(f"{len(index)} samples of {data} ({split})")
    return index


def _compare_network(
    result: Verification,
    task: Task,
    content: bytes,
    document: Mapping,
    run: RunFolder,
    files: Mapping[str, LiteRTEngine],
    index: Index | None,
    earlier: bool,
) -> dict[str, Engine]:
    """Compare a file with the network of its run; return that, as "keras", if they compare.

    Of an `earlier` run, which was compressed to the file's, only results can be the same.
    """
    file = next(iter(files.values()))
    if file.card.channels != run.card.channels:
        result.notes.append("not compared with Keras: the run's network takes other channels")
        return {}
    model, card = deployable(task, run, file.card.input_size)
    keras = KerasEngine(computed_network(model, result.precision), card)
    samples, given = None, None
    if index is not None:
        chosen = spread(index, OUTPUT_SAMPLES).samples
        samples = np.stack([task.network_input(sample, card) for sample in chosen])
        given = np.stack([task.network_input(sample, file.card) for sample in chosen])
    current = sha256(run.file("model.keras"))
    result.subject["model_sha256"] = current
    if earlier:
        result.notes.append(
            f"compared with {run.path}, the run it was compressed from: by results, not by kernels"
        )
        if samples is not None and given is not None:
            _compare_outputs(result, content, keras, files, samples, given, bound=False)
        return {"keras": keras}
    fresh = document.get("model_sha256") == current
    result.add("exported from the run's present weights", "yes" if fresh else "no", "yes", fresh)

    def changed(change: Callable) -> Any:
        return deployable(task, run, file.card.input_size, change=change)[0]

    beside = Beside(content, model, changed, card, result.precision, samples)
    evened = evens_channels(model, "equalize" in task.int8_repairs)
    wrong = check_kernels(result, beside, document, rescaled=evened)
    agrees = check_function(result, beside)
    if not fresh:
        result.blame(_staleness(document, run, bool(wrong) or not agrees))
    elif wrong or not agrees:
        diagnose(result, beside, wrong)
    if samples is not None and given is not None:
        _compare_outputs(result, content, keras, files, samples, given)
        _compare_rounding(result, beside, files, samples)
        check_ranges(result, content, samples, beside.wanted["samples"] if agrees else None)
    return {"keras": keras}


def _staleness(document: Mapping, run: RunFolder, differs: bool) -> str:
    name, own = document.get("run"), run.path.resolve().name
    whose = f" ('{name}')" if name not in (None, own) else ""
    if differs:
        return (
            f"most likely the run was trained on after the export, or the file is another run's"
            f"{whose}: its weights are not those of {run.path / 'model.keras'}; export the run "
            "again, or pass the file's own --run"
        )
    return (
        f"most likely model.keras was written again after the export{whose}, or the hash in the "
        "file was changed: the weights are equal; export the run again, so that the record fits"
    )


def _compare_outputs(
    result: Verification,
    content: bytes,
    keras: KerasEngine,
    files: Mapping[str, LiteRTEngine],
    samples: np.ndarray,
    given: np.ndarray,
    *,
    bound: bool = True,
) -> None:
    """Compare outputs for the run's inputs with the file's for what its own card makes of them.

    Without a `bound` the error of a float file is told as that of any other.
    """
    from core.compress.quantize import is_quantized

    simulated = is_quantized(keras.model)
    reference = keras(samples)
    for key, name in KERNELS.items():
        if key not in files:
            continue
        outputs = files[key](given)
        if [a.shape for a in outputs] != [a.shape for a in reference]:
            return  # which `check_function` has found
        error = output_error(reference, outputs)
        if result.precision == "float32" and bound:
            result.add(
                f"output error, {name}",
                float(f"{error:.3g}"),
                f"≤ {FLOAT_BOUND:g} of the largest output",
                error <= FLOAT_BOUND,
            )
            continue
        decibels = signal_to_noise(reference, outputs)
        shown = f"{error:.3g} of the largest; {decibels:.1f} dB SNR"
        result.add(f"output error, {name}", shown if error else "none, equal in every bit")
        found = output_steps(content, files[key].output_indices)
        steps = [step for step in found if step is not None]
        if simulated and len(steps) == len(found):
            within = [
                np.mean(np.abs(a - b) <= 1.01 * step)
                for a, b, step in zip(reference, outputs, steps, strict=True)
            ]
            result.add(f"outputs within a step, {name}", f"{min(within):.2%}")


def _compare_rounding(
    result: Verification, beside: Beside, files: Mapping[str, LiteRTEngine], samples: np.ndarray
) -> None:
    """Compare a file with its own float form: what rounding activations does to the outputs."""
    least = LEAST_DB.get(result.precision)
    if least is None:
        return
    exact = beside.cut(beside.file(samples))
    for key, name in KERNELS.items():
        if key in files:
            decibels = signal_to_noise(exact, files[key](samples))
            result.add(
                f"left by rounding activations, {name}",
                f"{decibels:.1f} dB",
                f"≥ {least:g} dB",
                decibels >= least,
            )


def _compare_metrics(
    result: Verification,
    task: Task,
    engines: Mapping[str, Engine],
    index: Index,
    advance: Callable[[int], None] | None,
    *,
    partly: bool,
) -> None:
    """Score every engine; no more than a note where a choice of samples has no score (`partly`)."""
    found: dict[str, Sequence] = {}
    tables: dict[str, Mapping[str, list[dict]]] = {}
    for key in sorted(engines, key=lambda key: key != "keras"):
        engine = engines[key]
        try:
            scores, found[key] = scored(task, engine, index, advance=advance)
        except UserError as error:
            if result.passed and not partly:
                raise
            result.notes.append(f"the samples were not scored: {error}".rstrip("."))
            return
        result.metrics[key], result.protocol = scores.summary, scores.protocol
        tables[key] = scores.tables
    if found.get("keras") and found.get("file"):
        card = engines["file"].card
        for what, share, least in task.agreement(found["keras"], found["file"], card):
            result.add(what, f"{share:.2%}", f"≥ {least:.0%}", share >= least)
    name = task.headline
    for key, label in KERNELS.items():
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
    if "keras" in tables and "file" in tables:
        _compare_parts(result, tables["keras"], tables["file"], task.headline)


def _compare_parts(
    result: Verification,
    before: Mapping[str, list[dict]],
    after: Mapping[str, list[dict]],
    headline: str,
) -> None:
    """Tell the accuracy, or else the headline, of each row of the tables that are called `by_…`."""
    for name in (name for name in before if name.startswith("by_") and name in after):
        part = name.removeprefix("by_")
        for own, other in zip(before[name], after[name], strict=True):
            measure = "accuracy" if "accuracy" in own else headline
            keras, file = own[measure], other[measure]
            shown = f"{file:.4f} (Keras {keras:.4f}, {file - keras:+.4f})"
            result.add(f"{measure} at {part} {own[part]}, {KERNELS['file']}", shown)
