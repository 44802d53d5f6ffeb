"""From a run folder to a TFLite file that carries its model card, checked before it is written."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.compress.scheme import floating_layers
from core.compress.stage import holds_pattern
from core.documents import read_json
from core.errors import CheckFailed, UserError, one_of
from core.export import CALIBRATED, CALIBRATORS, IO_TYPES, PRECISIONS
from core.export.convert import to_tflite
from core.export.deployable import deployable
from core.files import claim_file, json_text, sha256, write_described
from core.model_card import ModelCard
from core.run_folder import RunFolder, versions
from core.task import Task

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        path: The .tflite file.
        sidecar: The JSON beside it, with the same document that is embedded in the file.
        notes: Sentences about what was decided: calibration, widened ranges.
    """

    path: Path
    sidecar: Path
    notes: list[str]


def export(
    task: Task,
    run: RunFolder | str | Path,
    precision: str = "float32",
    *,
    data: str | None = None,
    format: str = "auto",
    samples: int = 200,
    io: str = "float32",
    calibrator: str = "own",
    equalize: bool = False,
    balance: bool = False,
    correct_bias: bool = False,
    input_size: Sequence[int] | None = None,
    open_size: bool = False,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> Exported:
    """Convert a run's network and write the file with its sidecar.

    Args:
        task: The run's domain.
        run: The run folder.
        precision: One of `core.export.PRECISIONS`.
        data: Calibration data of the integer precisions; None takes the data of the training.
        format: How that data is read.
        samples: Calibration samples at most, from the training split.
        io: Input and output type of an int8 file: float32, uint8 or int8.
        calibrator: "own" fake quantizers, or the "converter"'s calibrator as a cross-check.
        equalize: Rescale neighbouring kernels before int8 (`core.compress.equalize`).
        balance: Write features in the basis that is cheapest to round (`core.compress.balance`).
        correct_bias: Move the mean error of rounded kernels into the biases of int8.
        input_size: The input's sides, or one number for all; None takes the model card's.
        open_size: Whether the file takes any size, where the domain has it so.
        out: The file; None is `export/<run>_<precision>.tflite` in the run folder.
        overwrite: Whether an existing file may be replaced.

    Raises:
        UserError: For a choice, folder or data the user can mend.
        CheckFailed: When the converted file would not run on a device; nothing is written.
    """
    one_of(precision, PRECISIONS, "--precision")
    one_of(io, IO_TYPES, "--io")
    one_of(calibrator, CALIBRATORS, "--calibrator")
    if io != "float32" and precision != "int8":
        raise UserError(f"--io {io} is for int8 files; pass --precision int8 or leave --io off.")
    run = run if isinstance(run, RunFolder) else RunFolder(run, app=task.name)
    out = Path(out or run.file("export") / f"{run.path.resolve().name}_{precision}.tflite")
    if out.suffix != ".tflite":
        raise UserError(f"{out}: must end in .tflite; choose another --out.")
    sidecar = out.with_suffix(".json")
    claim_file(out, overwrite=overwrite)
    claim_file(sidecar, overwrite=overwrite or _is_sidecar(sidecar))
    model, card = deployable(task, run, input_size, open_size=open_size)
    if open_size and (None not in model.inputs[0].shape[1:] or precision == "int16x8"):
        what = "int16x8 files have" if precision == "int16x8" else "this network has"
        raise UserError(f"{run.path}: {what} one input size; leave out --open-size.")
    notes: list[str] = []
    calibration, source = None, None
    trained = run.config.compress.get("method") == "quantize"
    if trained and precision == "int8":
        bits = run.config.compress.get("choices", {}).get("activation_bits", 8)
        if bits == 16:
            raise UserError(
                f"{run.path}: was trained with 16-bit activations; pass --precision int16x8."
            )
    own_path = precision == "int8" and calibrator == "own"
    if trained and calibrator != "own":
        raise UserError(f"{run.path}: was trained with its own ranges; leave --calibrator off.")
    if (equalize or balance or correct_bias) and (trained or not own_path):
        raise UserError(
            "--equalize, --balance and --correct-bias are for the post-training int8 export of a "
            "float run; leave them off."
        )
    if balance and holds_pattern(run.config.compress):
        raise UserError(f"{run.path}: --balance would undo its zeros or clusters; leave it off.")
    if trained and precision == "int8":
        notes.append("the ranges are those of the quantization-aware training")
    elif precision in CALIBRATED:
        calibration, source = calibration_samples(
            task, card, data or run.config.data, format if data else run.config.format, samples
        )
        notes.append(f"calibrated with {source}")
    equalize |= "equalize" in task.int8_repairs
    evened = own_path and evens_channels(model, equalize)
    balance |= "balance" in task.int8_repairs and not holds_pattern(run.config.compress)
    balanced = own_path and not trained and balance
    if own_path:
        model, widened = integer_network(
            model,
            calibration,
            rescale=equalize,
            rebase=balanced,
            correct_bias=correct_bias,
            pixels=card.pixel_range(),
            observer=task.calibration_observer,
        )
        notes += widened
        calibration = None
    content = to_tflite(
        model,
        precision,
        input_shape=card.input_shape,
        calibration=calibration,
        io=io,
        open_size=open_size,
    )
    in_float = floating_layers(model) if precision == "int8" else []
    check_converted(
        content, precision, out.name, float_allowed=float_exceptions(run), in_float=in_float
    )
    if in_float:
        notes.append(f"{len(in_float)} layers always stay in float ({in_float[0]}, …)")
    notes += left_in_float(content, precision)
    document = {
        "model_card": card.to_dict(),
        "precision": precision,
        "io": io,
        "calibration": "quantization-aware training" if trained else source,
        "calibrator": None if source is None else calibrator,
        "equalized": evened,
        "balanced": balanced,
        "biases_corrected": correct_bias,
        "compression": dict(run.config.compress) or None,
        **({"in_float": in_float} if in_float else {}),
        "run": run.path.resolve().name,
        "model_sha256": sha256(run.file("model.keras")),
        "versions": versions(),
    }
    from core.tflite.metadata import embed

    file = embed(content, document, card.labels)
    described = {**document, "file": out.name, "sha256": hashlib.sha256(file).hexdigest()}
    write_described(out, file, sidecar, json_text(described))
    return Exported(out, sidecar, notes)


def plain_file(run: RunFolder, model, card: ModelCard) -> tuple[str, bytes]:
    """Return the precision that a run's network is made for, and its file without metadata.

    Args:
        run: The run.
        model, card: Of `deployable`.
    """
    compress = run.config.compress
    precision = "int8" if compress.get("method") == "quantize" else "float32"
    if compress.get("choices", {}).get("activation_bits") == 16:
        precision = "weight_only"
    return precision, to_tflite(model, precision, input_shape=card.input_shape)


def _is_sidecar(path: Path) -> bool:
    """Return whether a file is what an export wrote beside its file; a user's own is not."""
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and "model_card" in found


def integer_network(
    model,
    calibration,
    *,
    rescale: bool = False,
    rebase: bool = False,
    correct_bias: bool = False,
    pixels: tuple[float, float] | None = None,
    observer: str = "minmax",
) -> tuple[object, list[str]]:
    """Return the model an int8 file computes, and notes on what was changed for it.

    Args:
        model: A float network, which is quantized and calibrated, or one that was trained with
            its quantizers.
        calibration: Calibration samples of a float network, float32, without a batch axis.
        rescale, rebase, correct_bias: As `equalize`, `balance` and `correct_bias` of `export`.
        pixels: `ModelCard.pixel_range` of a float network.
        observer: Of its calibration.
    """
    from core.compress.balance import balance
    from core.compress.equalize import correct_biases, equalize
    from core.compress.integer import integer_form
    from core.compress.quantize import is_quantized

    notes: list[str] = []
    if not is_quantized(model):
        if evens_channels(model, rescale):
            model, pairs = equalize(model, calibration)
            notes.append(f"{len(pairs)} pairs of layers equalized")
        if rebase:
            model, found = balance(model, calibration)
            notes.append(f"balanced: {found.share:.2f} of the expected rounding error is left")
        model = calibrated_network(model, calibration, pixels, observer)
    folded, widened = integer_form(model)
    if correct_bias:
        corrected = correct_biases(folded, calibration)
        notes.append(f"biases of {len(corrected)} layers corrected")
    return folded, [*notes, *widened]


def evens_channels(model, wished: bool) -> bool:
    """Return whether post-training int8 of a network evens its channels first."""
    from core.compress.equalize import has_instance_norms
    from core.compress.quantize import is_quantized

    # Instance norms cannot be rounded without.
    return not is_quantized(model) and (wished or has_instance_norms(model))


def calibrated_network(
    model, calibration, pixels: tuple[float, float] | None = None, observer: str = "minmax"
):
    """Return a float network with fake quantizers, calibrated: post-training int8."""
    from core.compress.quantize import quantize_aware
    from core.compress.ranges import calibrate, fix_input_range
    from core.compress.scheme import Scheme

    quantized = quantize_aware(model, Scheme(observer=observer))
    calibrate(quantized, calibration)
    fix_input_range(quantized, pixels)
    return quantized


def float_exceptions(run: RunFolder) -> bool:
    """Return whether the run's quantization leaves layers in float by choice."""
    exceptions = run.config.compress.get("choices", {}).get("exceptions") or {}
    return "float" in exceptions.values()


def calibration_samples(
    task: Task, card: ModelCard, data: str, format: str, count: int
) -> tuple[list[np.ndarray], str]:
    """Return network inputs for calibration, evenly taken from the training split.

    Returns:
        The inputs, float32 without a batch axis, and where they are from, in words.
    """
    index = task.read(data, format)
    split = "train" if "train" in index.counts() else "all"
    chosen = index.split(split)
    inputs, taken = task.calibration_inputs(chosen, card, count), min(count, len(chosen))
    parts = f"{len(inputs)} parts of " if len(inputs) > taken else ""
    return inputs, f"{parts}{taken} samples of {data} ({split})"


def left_in_float(content: bytes, precision: str) -> list[str]:
    """Return a note on the operators of an int16x8 file that have no form of 16 bits."""
    from core.tflite.inspect import float_operators

    kinds = sorted({o.name for o in float_operators(content)}) if precision == "int16x8" else []
    return (
        [f"operators without a form of 16 bits stay in float: {', '.join(kinds)}"] if kinds else []
    )


def check_converted(
    content: bytes,
    precision: str,
    name: str,
    *,
    float_allowed: bool = False,
    in_float: Sequence[str] = (),
) -> None:
    """Raise `CheckFailed` when a converted file would not run as promised; name the layers.

    Args:
        content: The file.
        precision: What was promised.
        name: Its name.
        float_allowed: Whether layers of an int8 file are in float by choice.
        in_float: Layers that always are.
    """
    from core.tflite.inspect import (
        check_file,
        float_operators,
        foreign_operators,
        requantisation,
    )

    try:
        check_file(content)
    except UserError as error:
        reason = str(error).split(": ", 2)[-1].split(";")[0]
        raise CheckFailed(
            f"{name}: the converter wrote a file that does not run ({reason}), as where a layer is "
            "zero for every calibration sample; pass more --samples, or export --precision int8, "
            "which widens such ranges."
        ) from error
    foreign = sorted({operator.name for operator in foreign_operators(content)})
    if foreign:
        raise CheckFailed(
            f"{name}: needs operators that plain LiteRT does not have: {', '.join(foreign)}; "
            "replace the layers that use them."
        )
    if precision != "int8":
        return
    floating = [f"{o.name} ({o.outputs[0].name})" for o in float_operators(content, in_float)]
    if floating and not float_allowed:
        raise CheckFailed(
            f"{name}: {len(floating)} operators would still compute in float: "
            f"{', '.join(floating[:3])}; these layers cannot be quantized yet."
        )
    refused = [str(entry) for entry in requantisation(content) if entry.fatal]
    if refused:
        raise CheckFailed(
            f"{name}: a phone's default delegate would refuse the file: {'; '.join(refused[:3])}; "
            "export with --calibrator own, which widens such ranges."
        )
