"""The report's section on compression: sizes, zeros, different values, and noise by layer.

What a command measured is kept in the run's metrics.json under "compression":

    {"changes": [{"name": "zip bytes", "before": 5210, "after": 1730}, ...],
     "noise": {"<name>.tflite": {"sha256": "...", "samples": 16, "layers": [
         {"layer": "encoder1.0.conv", "sqnr_db": 41.2, "own_db": 44.9}, ...]}}}

Decibels are null where there is no noise. A record whose sha256 is not the file's is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import UserError
from core.export.report_bars import histogram, layer_bars
from core.export.report_markup import MISSING, Html, number, size, table, tag
from core.files import sha256

if TYPE_CHECKING:
    from core.compress.analysis import Change, KernelFacts
    from core.compress.noise import LayerNoise
    from core.run_folder import RunFolder
    from core.task import Task

KEY = "compression"
WORST = 5  # layers named
CALIBRATION, NOISE_SAMPLES = 200, 8


@dataclass(frozen=True)
class FileCompression:
    """What is known of the compression of one file.

    Attributes:
        label: What the report calls the file.
        bytes: Its size.
        zip_bytes: Size of a zip archive of it.
        kernels: Its kernels.
        noise: Of its layers in order; empty where it was not measured.
        samples: Behind the noise.
    """

    label: str
    bytes: int
    zip_bytes: int
    kernels: Sequence[KernelFacts] = ()
    noise: Sequence[LayerNoise] = ()
    samples: int = 0


@dataclass(frozen=True)
class Compression:
    """What the section shows.

    Attributes:
        files: Those that can be read.
        changes: Rows before/after.
        problem: What is wrong with the record in metrics.json, or "".
    """

    files: Sequence[FileCompression] = ()
    changes: Sequence[Change] = ()
    problem: str = ""


# --- records -------------------------------------------------------------------------------------


def record_noise(
    run: RunFolder, path: str | Path, noise: Iterable[LayerNoise], samples: int
) -> None:
    """Keep the noise of an exported file's layers in the run's metrics.json.

    Args:
        run: The run folder.
        path: The .tflite file.
        noise: Of `core.compress.analysis.layer_noise`, for the model the file was made from.
        samples: How many samples it was measured on.
    """
    path, known = Path(path), run.metrics().get(KEY, {})
    layers = [{name: _finite(value) for name, value in asdict(layer).items()} for layer in noise]
    entry = {"sha256": sha256(path), "samples": samples, "layers": layers}
    run.add_metrics(KEY, {**known, "noise": {**known.get("noise", {}), path.name: entry}})


def measure_noise(task: Task, run: RunFolder, path: Path) -> None:
    """Measure the noise of an int8 file's layers and keep it, unless that was done before.

    A file of a float run is quantized and calibrated again for it, as its export did.
    """
    from core.compress.noise import layer_noise
    from core.compress.quantize import is_quantized
    from core.export.deployable import deployable
    from core.export.exporting import calibrated_network, calibration_samples
    from core.tflite.metadata import extract

    known = run.metrics().get(KEY, {}).get("noise", {}).get(path.name, {})
    document = extract(path)
    if document.get("precision") != "int8" or known.get("sha256") == sha256(path):
        return
    if not run.config.data or document.get("calibrator") == "converter":
        return
    model, card = deployable(task, run, document["model_card"]["input_size"])
    inputs, _ = calibration_samples(task, card, run.config.data, run.config.format, CALIBRATION)
    quantized = model
    if not is_quantized(model):
        quantized = calibrated_network(model, inputs, card.pixel_range(), task.calibration_observer)
    samples = inputs[:: max(1, len(inputs) // NOISE_SAMPLES)][:NOISE_SAMPLES]
    record_noise(run, path, layer_noise(quantized, samples), len(samples))


def record_changes(run: RunFolder, changes: Iterable[Change]) -> None:
    """Keep the table before/after of `core.compress.analysis.compare` in the run's metrics.json."""
    known = run.metrics().get(KEY, {})
    run.add_metrics(KEY, {**known, "changes": [asdict(change) for change in changes]})


def collect_compression(run: RunFolder, paths: Mapping[str, Path]) -> Compression:
    """Return what is known of a run's files; those that cannot be read are left out.

    Args:
        run: The run folder.
        paths: The .tflite files by what the report calls them.
    """
    from core.compress.analysis import compressed_size, kernel_table

    changes: list[Change] = []
    noise: dict[str, tuple] = {}
    problem = ""
    try:
        changes, noise = _recorded(run.metrics().get(KEY, {}))
    except (AttributeError, KeyError, TypeError, ValueError):
        problem = f"The entry '{KEY}' of metrics.json is damaged; compress the run again."
    files = []
    for label, path in paths.items():
        digest, samples, layers = noise.get(path.name, ("", 0, ()))
        try:
            zipped, kernels = compressed_size(path), kernel_table(path)
        except UserError:  # told among the checks of the file
            continue
        if digest != sha256(path):
            samples, layers = 0, ()
        files.append(FileCompression(label, path.stat().st_size, zipped, kernels, layers, samples))
    return Compression(files, changes, problem)


def _recorded(entry: Mapping[str, Any]) -> tuple[list[Change], dict[str, tuple]]:
    """Return the rows before/after, and (sha256, samples, noise of the layers) by file."""
    from core.compress.analysis import Change, LayerNoise

    changes = [
        Change(str(row["name"]), *(_count(row[key]) for key in ("before", "after")))
        for row in entry.get("changes", ())
    ]
    noise = {
        name: (
            str(found["sha256"]),
            int(found["samples"]),
            [
                LayerNoise(str(x["layer"]), _decibels(x["sqnr_db"]), _decibels(x["own_db"]))
                for x in found["layers"]
            ],
        )
        for name, found in entry.get("noise", {}).items()
    }
    return changes, noise


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _decibels(value: Any) -> float:
    return math.inf if value is None else float(value)


def _count(value: Any) -> int | None:
    return None if value is None else int(value)


# --- section -------------------------------------------------------------------------------------


def compression_section(compression: Compression | None) -> Html | None:
    """Return the section, or None where there is nothing to show."""
    if compression is None or not (compression.files or compression.changes):
        return None
    said = (
        "Zip is the file in an archive (deflate, level 9), as an app's package holds it. Zeros and "
        "different values are those of the kernels as stored: integer codes in integer files. "
        "The histograms show all weights, each relative to the largest of its kernel."
    )
    files = compression.files
    with_kernels = [file for file in files if file.kernels]
    plots = [
        histogram(f"Weights of {file.label}", _histogram(file.kernels)) for file in with_kernels
    ]
    return tag(
        "section",
        tag("h2", "Compression"),
        tag("p", compression.problem, class_="note") if compression.problem else None,
        _changes(compression.changes) if compression.changes else None,
        _files(files) if files else None,
        tag("p", said, class_="small"),
        tag("div", *plots, class_="plots") if plots else None,
        *(_noise(file) for file in files if file.noise),
        *(_kernels(file) for file in with_kernels),
    )


def _changes(changes: Sequence[Change]) -> Html:
    def shown(name: str, value: int | None) -> str:
        return size(value) if "bytes" in name else number(value)

    rows = [
        (
            c.name.replace(" bytes", ""),
            shown(c.name, c.before),
            shown(c.name, c.after),
            None if c.ratio is None else _percent(c.ratio),
        )
        for c in changes
    ]
    return table(("changed", "before", "after", "after / before"), rows)


def _files(files: Sequence[FileCompression]) -> Html:
    rows = []
    for file in files:
        kernels = file.kernels
        weights = sum(k.parameters for k in kernels)
        rows.append(
            (
                file.label,
                size(file.bytes),
                size(file.zip_bytes),
                _percent(file.zip_bytes / file.bytes),
                number(weights) if kernels else None,
                _percent(sum(k.zeros for k in kernels) / weights) if kernels else None,
                number(max(k.unique for k in kernels)) if kernels else None,
                number(max(k.unique_per_channel for k in kernels)) if kernels else None,
            )
        )
    columns = ("compressed file", "size", "zip", "zip / size", "weights in kernels", "zeros",
               "different in a kernel", "in a channel")  # fmt: skip
    return table(columns, rows, strong=2)


def _histogram(kernels: Sequence[KernelFacts]) -> list[int]:
    return [sum(column) for column in zip(*(k.histogram for k in kernels), strict=True)]


def _noise(file: FileCompression) -> Html:
    noise = file.noise
    order = sorted(range(len(noise)), key=lambda n: noise[n].own_db)
    worst = [n for n in order if math.isfinite(noise[n].own_db)][:WORST]
    figure = layer_bars(
        f"Signal to rounding noise of {file.label} by layer",
        [layer.layer for layer in noise],
        [layer.sqnr_db for layer in noise],
        [layer.own_db for layer in noise],
        worst,
    )
    last = noise[-1]
    count = f"{file.samples} sample{'s' if file.samples != 1 else ''}"
    said = (
        f"On {count}: at the last layer, {last.layer}, the signal is {_shown(last.sqnr_db)} above "
        "the noise of rounding. A layer's own noise is what its rounded kernel and output add to "
        "exact inputs; the layers with the most of it:"
    )
    rows = [
        (rank, _name(noise[n].layer), _shown(noise[n].own_db), _shown(noise[n].sqnr_db))
        for rank, n in enumerate(worst, start=1)
    ]
    listed = table(("", "layer", "own", "gathered"), rows, words=2) if rows else None
    text = tag("p", said, style="margin-top: 10px")
    return tag("div", figure, text, listed, style="margin-top: 26px")


def _kernels(file: FileCompression) -> Html:
    kernels = file.kernels
    rows = [
        (
            _name(k.name),
            "×".join(map(str, k.shape)),
            number(k.parameters),
            _percent(k.sparsity),
            number(k.unique),
            number(k.unique_per_channel),
            f"{number(k.low, 3)} – {number(k.high, 3)}",
        )
        for k in kernels
    ]
    columns = ("kernel", "shape", "weights", "zeros", "different", "in a channel", "range")
    title = f"All {len(kernels)} kernels of {file.label}"
    return tag("details", tag("summary", title), table(columns, rows, words=2))


def _name(layer: str) -> Html:
    return tag("code", layer, style="white-space: nowrap")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _shown(decibels: float) -> str:
    return f"{decibels:.1f} dB".replace("-", "−") if math.isfinite(decibels) else MISSING
