"""Whether the model card in a file is true: beside the run's, the file's own tensors and itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.documents import BadDocument, read_json
from core.errors import UserError
from core.export.verification import Verification
from core.files import sha256
from core.model_card import PICTURES, UNSAID, ModelCard
from core.run_folder import RunFolder
from core.task import Task
from core.tflite.graph import operators
from core.tflite.inspect import FLOATS
from core.tflite.layer_names import WEIGHTED
from core.tflite.metadata import labels, standard_normalisation

# What a user gets who follows a wrong entry; entries that are not here decide nothing.
MEANING = {
    "network": "it is another network's file",
    "variant": "it is another variant's file",
    "app": "it is another app's file",
    "size_multiple": "other input sizes would be allowed",
    "channels": "inputs would have other channels",
    "color_order": "red and blue would reach the network swapped, or as grey",
    "full_scale": "inputs would be scaled otherwise than in training",
    "mean": "inputs would be normalised otherwise than in training",
    "std": "inputs would be normalised otherwise than in training",
    "resize": "inputs would be resized otherwise than in training",
    "labels": "classes would be called by each other's names, or by none",
    "output": "the outputs would be taken for something else",
    "decode": "outputs would be decoded otherwise",
}
Shape = Sequence[int | None]


def check_sidecar(result: Verification, path: Path, document: Mapping) -> None:
    """Compare a file with the JSON that was written beside it.

    Raises:
        UserError: When the sidecar is damaged.
    """
    sidecar = path.with_suffix(".json")
    if not sidecar.is_file():
        return
    try:
        recorded = read_json(sidecar)
    except BadDocument:
        recorded = None
    if not isinstance(recorded, dict):
        raise UserError(f"{sidecar}: is damaged; export the file again.")
    found = sha256(path)
    same = result.add("sha256 as exported", found[:12], "equal", found == recorded.get("sha256"))
    rest = {k: v for k, v in recorded.items() if k not in ("file", "sha256")}
    other = [name for name, *_ in _entries_that_differ(dict(document), rest)]
    if other:
        result.add("description as exported", f"other: {', '.join(other)}", "equal", False)
    if not same or other:
        what = f"the description in it ({', '.join(other)})" if other else "its bytes"
        result.blame(
            f"most likely the file was changed after the export: {what} differ from what "
            f"{sidecar.name} recorded; export it again, or copy file and sidecar together"
        )


def check_card(
    result: Verification,
    task: Task,
    path: Path,
    document: Mapping,
    run: RunFolder | None,
    *,
    input_shape: Shape | None,
    output_shapes: Sequence[Shape] = (),
) -> None:
    """Compare the card in a file with the run's, with the file's tensors and with its own copies.

    Args:
        result: Gets the checks.
        task: The domain.
        path: The file.
        document: What the file carries.
        run: The run it is from, if that is known.
        input_shape: Of the file's input without the batch axis, None for open sides; None where
            the file could not be loaded.
        output_shapes: Of its outputs, likewise.
    """
    stored = document.get("model_card", {})
    card = ModelCard.from_dict(stored, source=str(path))
    stored = {**UNSAID, **stored}
    if run is not None:
        _beside_run(result, stored, run)
    else:
        _beside_network(result, task, stored, card)
    _beside_tensors(result, card, input_shape, output_shapes)
    _beside_copies(result, path, card)


def _beside_run(result: Verification, stored: Mapping, run: RunFolder) -> None:
    """Compare with the card the network was trained with; only the input size may be another."""
    own = {**UNSAID, **read_json(run.file("model_card.json"))}
    wrong = [
        (name, shown)
        for name, shown in _entries_that_differ(stored, own)
        if name.split(".")[0] in MEANING
    ]
    value = ", ".join(name for name, _ in wrong) or "equal"
    if result.add("model card as the run's", value, "equal", not wrong):
        return
    meanings = dict.fromkeys(MEANING[name.split(".")[0]] for name, _ in wrong)
    result.blame(
        f"most likely the model card in the file was changed or is another run's: "
        f"{'; '.join(shown for _, shown in wrong)}; {', and '.join(meanings)}; export the run "
        "again"
    )


def _beside_network(result: Verification, task: Task, stored: Mapping, card: ModelCard) -> None:
    """Tell, without a run, what the card lacks and where it is not the published network's."""
    lacking = [name for name in MEANING if name not in stored]
    if not result.add("model card complete", ", ".join(lacking) or "yes", "yes", not lacking):
        result.blame(
            f"most likely the model card in the file was cut: it does not say {', '.join(lacking)},"
            " and nobody can tell what the network was trained with; export it again"
        )
    try:
        published = task.network(card.network).card(card.variant).to_dict()
    except (UserError, KeyError) as error:
        result.notes.append(f"not compared with the published network: {error}".rstrip("."))
        return
    chosen = {"labels", "decode", "channels"}  # each run has its own
    if card.channels != published["channels"]:
        chosen |= {"color_order", "mean", "std"}
    other = [
        shown
        for name, shown in _entries_that_differ(stored, published)
        if name in MEANING and name not in chosen
    ]
    result.add("model card beside the published network's", "; ".join(other) or "equal")


def _entries_that_differ(found: Mapping, wanted: Mapping) -> list[tuple[str, str]]:
    """Return (name, what it is and should be) of unequal entries; those of `decode` one by one."""
    listed = []
    for name in dict.fromkeys((*wanted, *found)):
        mine, own = found.get(name), wanted.get(name)
        if _plain(mine) == _plain(own) or name == "input_size":
            continue
        if isinstance(mine, Mapping) and isinstance(own, Mapping):
            listed += [(f"{name}.{n}", f"{name} {s}") for n, s in _entries_that_differ(mine, own)]
        elif name not in found:
            listed.append((name, f"{name} is missing where it should be {_shown(own)}"))
        elif name not in wanted:
            listed.append((name, f"{name} is {_shown(mine)} where there should be none"))
        elif name == "labels" and _is_reordered(mine, own):
            listed.append((name, f"labels are in another order, {_shown(mine)} for {_shown(own)}"))
        else:
            listed.append((name, f"{name} is {_shown(mine)} where it should be {_shown(own)}"))
    return listed


def _is_reordered(found: Any, wanted: Any) -> bool:
    if not (isinstance(found, list | tuple) and isinstance(wanted, list | tuple)):
        return False
    return sorted(map(str, found)) == sorted(map(str, wanted))


def _plain(value: Any) -> Any:
    """Return a JSON value with numbers that do not tell 1 from 1.0, and lists for tuples."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        parts = [f"{v:.4g}" if isinstance(v, float) else str(v) for v in value]
        return f"({', '.join(parts)})"
    return repr(value) if isinstance(value, str) else str(value)


def _beside_tensors(
    result: Verification, card: ModelCard, input_shape: Shape | None, output_shapes: Sequence[Shape]
) -> None:
    if input_shape is None:
        return
    said = card.input_shape
    fits = len(said) == len(input_shape) and all(
        side in (None, own) for side, own in zip(input_shape, said, strict=True)
    )
    shown = "x".join("any" if side is None else str(side) for side in input_shape)
    if not result.add("takes inputs of the card's size", shown, "x".join(map(str, said)), fits):
        result.blame(
            f"most likely the card in the file is not this network's: it says inputs are "
            f"{'x'.join(map(str, said))}, but the file takes {shown}; export the run again"
        )
    last = [shape[-1] for shape in output_shapes if len(shape)]
    if len(card.labels) > 1 and last:
        fits = len(card.labels) in last
        value = f"{len(card.labels)} labels, {' and '.join(map(str, last))} outputs"
        if not result.add("a label for each output", value, "as many", fits):
            result.blame(
                "most likely labels are missing in the card, or are another network's: "
                f"{value}; export the run again"
            )


def _beside_copies(result: Verification, path: Path, card: ModelCard) -> None:
    """Compare the card with what the file says to other programs."""
    known = card.color_order in (*PICTURES, "")
    if not known:
        result.add("colour order known", card.color_order, " or ".join(PICTURES), False)
        result.blame(
            f"most likely the card in the file was changed by hand: pictures are never read as "
            f"{card.color_order}; export the run again"
        )
    wrong = []
    if tuple(labels(path)) != card.labels:
        wrong.append("labels.txt has other labels")
    numbers = standard_normalisation(path)
    if numbers is not None:
        own = [np.multiply(values, card.full_scale) for values in (card.mean, card.std)]
        if not all(np.allclose(a, b, rtol=1e-5) for a, b in zip(numbers, own, strict=True)):
            wrong.append("the metadata of TensorFlow Lite has another normalisation")
    if not result.add(
        "says the same to other programs", "; ".join(wrong) or "yes", "yes", not wrong
    ):
        result.blame(
            f"most likely a part of the file's description was changed: {'; '.join(wrong)} than the"
            " model card; export the run again"
        )


def check_arithmetic(result: Verification, content: bytes) -> None:
    """Compare the precision that a file says it has with what its operators compute in."""
    listed = operators(content)
    heavy = [o for o in listed if o.name in WEIGHTED]
    constants = {t.dtype for o in listed for t in o.inputs if t is not None and t.constant}
    activations = {o.outputs[0].dtype for o in heavy if o.outputs}
    if not heavy:
        return
    if activations <= set(FLOATS):
        found = {
            "float16": "float16" in constants,
            "dynamic or weight_only": "int8" in constants or "int4" in constants,
        }
        kind = next((name for name, there in found.items() if there), "float32")
    else:
        kind = "int16x8" if "int16" in activations else "int8"
    recorded = result.precision
    allowed = {"float32": {"float32"}, "float16": {"float16", "float32"}}
    allowed |= {name: {"dynamic or weight_only", "float32"} for name in ("dynamic", "weight_only")}
    fits = kind in allowed.get(recorded, {recorded})
    if not result.add("arithmetic of the file", kind, recorded, fits):
        result.blame(
            f"most likely this is a {kind} file under the description of a {recorded} one; export "
            "the run again in the precision you need"
        )
