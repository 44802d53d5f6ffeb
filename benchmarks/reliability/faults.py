"""Faults that happen on the way from a network to a device, to be planted into a file.

A fault is put into the network before its conversion, into the card that the file carries, or into
the file's bytes. What comes out claims to be the healthy run's file.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.export.exporting import export
from core.files import sha256, write_atomic
from core.run_folder import RunFolder
from core.task import Task
from core.tflite.graph import operators, read_model
from core.tflite.metadata import embed, extract
from core.tflite.packing import packed

ALL = ("float32", "float16", "dynamic", "int8", "int16x8")
INTEGER = ("int8",)


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        name: What is planted.
        named: Regular expression that what `verify` says of it must match.
        network: Returns the network with the fault; None where it has no place for it.
        card: Changes the card's entries in place; returns False where that changes nothing.
        content: Returns the bytes with the fault; None where they have no place for it.
        precisions: Of the files it is planted into.
    """

    name: str
    named: str
    network: Callable[[Any], Any] | None = None
    card: Callable[[dict], bool] | None = None
    content: Callable[[bytes], bytes | None] | None = None
    precisions: tuple[str, ...] = ALL


def plant(
    task: Task, run: RunFolder, healthy: Path, fault: Fault, precision: str, folder: Path
) -> Path | None:
    """Write a file with a fault and return it; None where the network has no place for it.

    Args:
        task: The domain.
        run: The healthy run.
        healthy: Its file in this precision.
        fault: What to plant.
        precision: Of the file.
        folder: Where the file, and the run it comes from, are written.
    """
    content, document = healthy.read_bytes(), extract(healthy)
    if fault.network is not None:
        model = fault.network(run.load_model())
        if model is None:
            return None
        sick = shutil.copytree(run.path, folder / "run", ignore=shutil.ignore_patterns("export"))
        RunFolder(sick).save_model(model)
        made = export(task, sick, precision, data=run.config.data, format=run.config.format)
        content, document = made.path.read_bytes(), extract(made.path)
        shutil.rmtree(sick)
        document |= {"model_sha256": sha256(run.file("model.keras")), "run": run.path.name}
    if fault.card is not None and not fault.card(document["model_card"]):
        return None
    if fault.content is not None:
        changed = fault.content(content)
        if changed is None:
            return None
        content = changed
    content = embed(content, document, document["model_card"].get("labels", ()))
    return write_atomic(folder / f"{run.path.name}_{precision}.tflite", content)


# --- into the network ----------------------------------------------------------------------------


def _changed(kind: type | tuple, fits: Callable, change: Callable, *, last: bool = False):
    """Return a fault of the network: the kernel of the first (or last) fitting layer changes."""

    def plant_it(model):
        layers = [layer for layer in model.layers if isinstance(layer, kind)]
        layers = [layer for layer in layers if fits(np.asarray(layer.kernel))]
        if not layers:
            return None
        layer = layers[-1 if last else 0]
        kernel = np.asarray(layer.kernel)
        changed = np.ascontiguousarray(change(kernel))
        if np.array_equal(changed, kernel):
            return None
        layer.kernel.assign(changed)
        return model

    return plant_it


def _of(kind: str) -> Any:
    import keras

    return getattr(keras.layers, kind)


def _red_and_blue(model):
    return _changed(_of("Conv2D"), lambda k: k.shape[2] == 3, lambda k: k[:, :, ::-1])(model)


def _sides(model):
    fits = lambda k: k.shape[0] == k.shape[1] > 1  # noqa: E731
    return _changed(_of("Conv2D"), fits, lambda k: k.transpose(1, 0, 2, 3))(model)


def _transposed(model):
    fits = lambda k: k.shape[:2] == (1, 1) and k.shape[2] == k.shape[3] > 1  # noqa: E731
    return _changed(_of("Conv2D"), fits, lambda k: k.transpose(0, 1, 3, 2))(model)


def _depthwise_order(model):
    fits = lambda k: k.shape[0] > 1 and k.shape[2] > 1  # noqa: E731
    return _changed(_of("DepthwiseConv2D"), fits, lambda k: k[:, :, ::-1])(model)


def _other_weights(model):
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            kernel = np.asarray(layer.kernel)
            layer.kernel.assign(rng.permutation(kernel.ravel()).reshape(kernel.shape))
    return model


def _stale_norms(model):
    trained = False
    for layer in model.layers:
        if isinstance(layer, _of("BatchNormalization")):
            for values, start in ((layer.moving_mean, 0.0), (layer.moving_variance, 1.0)):
                trained = trained or bool(np.any(np.asarray(values) != start))
                values.assign(np.full(values.shape, start))
    return model if trained else None


def _lost_activation(model):
    import keras

    rectifiers = [layer.name for layer in model.layers if isinstance(layer, keras.layers.ReLU)]
    if not rectifiers:
        return None
    lost = rectifiers[len(rectifiers) // 2]

    def copied(layer):
        if layer.name == lost:
            return keras.layers.Activation("linear", name=layer.name)
        return type(layer).from_config(layer.get_config())

    clone = keras.models.clone_model(model, clone_function=copied)
    clone.set_weights(model.get_weights())
    return clone


# --- into the card -------------------------------------------------------------------------------


def _entry(name: str, change: Callable[[Any], Any]) -> Callable[[dict], bool]:
    def plant_it(card: dict) -> bool:
        changed = change(card[name])
        different = changed is not None and changed != card[name]
        card[name] = changed if different else card[name]
        return different

    return plant_it


def _other_decoding(value: dict) -> dict | None:
    numbers = [k for k, v in value.items() if isinstance(v, float)]
    if numbers:
        return {**value, numbers[0]: value[numbers[0]] + 0.37}
    words = [k for k, v in value.items() if isinstance(v, str)]
    return {**value, words[0]: "another"} if words else None


# --- into the bytes ------------------------------------------------------------------------------


def _integer_output(content: bytes):
    """Return (model, quantization) of the convolution's output that says the most.

    It has the widest range of those in the first half of a file; others may be dead.
    """
    found = [
        o.outputs[0]
        for o in operators(content)
        if o.name in ("CONV_2D", "DEPTHWISE_CONV_2D") and o.outputs[0].quantised
    ]
    if not found:
        return None
    chosen = max(found[: (len(found) + 1) // 2], key=lambda tensor: tensor.scales[0])
    model = read_model(content)
    return model, model.subgraphs[0].tensors[chosen.index].quantization


def _rescaled(factor: float) -> Callable[[bytes], bytes | None]:
    def plant_it(content: bytes) -> bytes | None:
        found = _integer_output(content)
        if found is None:
            return None
        model, quantization = found
        quantization.scale = [float(quantization.scale[0]) * factor]
        return packed(model)

    return plant_it


def _wrong_zero(content: bytes) -> bytes | None:
    found = _integer_output(content)
    if found is None:
        return None
    model, quantization = found
    quantization.zeroPoint = [127 if quantization.zeroPoint[0] < 0 else -128]
    return packed(model)


def _even_scales(content: bytes) -> bytes | None:
    """Give every channel of one kernel the first channel's scale."""
    for operator in operators(content):
        kernel = operator.inputs[1] if operator.name == "CONV_2D" else None
        if kernel is not None and len(kernel.scales) > 1 and np.ptp(kernel.scales) > 0:
            model = read_model(content)
            quantization = model.subgraphs[0].tensors[kernel.index].quantization
            quantization.scale = [float(max(kernel.scales))] * len(kernel.scales)
            return packed(model)
    return None


def _foreign(content: bytes) -> bytes:
    """Turn the last operator into one of TensorFlow's own."""
    model = read_model(content)
    code = type(model.operatorCodes[0])()
    code.builtinCode, code.deprecatedBuiltinCode = 32, 32  # CUSTOM
    code.customCode, code.version = "FlexErf", 1
    model.subgraphs[0].operators[-1].opcodeIndex = len(model.operatorCodes)
    model.subgraphs[0].operators[-1].builtinOptionsType = 0
    model.subgraphs[0].operators[-1].builtinOptions = None
    model.operatorCodes.append(code)
    return packed(model)


FAULTS = (
    Fault("red and blue swapped in the first kernel", r"red and blue", network=_red_and_blue),
    Fault("height and width swapped in a kernel", r"height and width swapped", network=_sides),
    Fault("a square 1x1 kernel transposed", r"transposed", network=_transposed),
    Fault("channels of a depthwise kernel reordered", r"order", network=_depthwise_order),
    Fault(
        "weights of another state",
        r"earlier state of the run, or of another run|hold other values",
        network=_other_weights,
    ),
    Fault(
        "stale batch normalisation",
        r"BatchNormalization is stale",
        network=_stale_norms,
    ),
    Fault(
        "an activation lost",
        r"activation was changed|first that computes something else|end of the network",
        network=_lost_activation,
    ),
    Fault(
        "colour order in the card",
        r"color_order",
        card=_entry("color_order", lambda v: "BGR" if v == "RGB" else None),
    ),
    Fault("mean in the card", r"\bmean\b", card=_entry("mean", lambda v: [x + 0.2 for x in v])),
    Fault("std in the card", r"\bstd\b", card=_entry("std", lambda v: [2 * x for x in v])),
    Fault("full scale in the card", r"full_scale", card=_entry("full_scale", lambda v: 1.0)),
    Fault("resize rule in the card", r"resize", card=_entry("resize", lambda v: "nearest")),
    Fault(
        "labels in another order",
        r"labels are in another order",
        card=_entry("labels", lambda v: v[::-1] if len(v) > 1 else None),
    ),
    Fault(
        "a label missing",
        r"labels",
        card=_entry("labels", lambda v: v[:-1] if v else None),
    ),
    Fault("another decoding in the card", r"decode", card=_entry("decode", _other_decoding)),
    Fault("another variant in the card", r"variant", card=_entry("variant", lambda v: f"{v}2")),
    Fault(
        "another input size in the card",
        r"says inputs are",
        card=_entry("input_size", lambda v: [2 * side for side in v]),
    ),
    Fault(
        "a range far too narrow",
        r"collapsed|range",
        content=_rescaled(0.01),
        precisions=INTEGER,
    ),
    Fault("a range far too wide", r"scale of .* too large", content=_rescaled(60.0),
          precisions=INTEGER),
    Fault("a zero point at the wrong end", r"zero point", content=_wrong_zero,
          precisions=INTEGER),
    Fault(
        "one scale for all channels of a kernel",
        r"multiplied|scale|weights were changed|other values",
        content=_even_scales,
        precisions=INTEGER,
    ),
    Fault("an operator of TensorFlow's own", r"Flex", content=_foreign, precisions=("float32",)),
)  # fmt: skip


def mislabelled(healthy: Path, precision: str, folder: Path) -> Path:
    """Write a file under the description of another precision."""
    document = {**extract(healthy), "precision": precision}
    content = embed(healthy.read_bytes(), document, document["model_card"].get("labels", ()))
    return write_atomic(folder / f"{healthy.stem}_as_{precision}.tflite", content)


def touched(healthy: Path, folder: Path) -> Path:
    """Write a file of which a weight changed after its sidecar was written."""
    content = bytearray(healthy.read_bytes())
    record = json.loads(healthy.with_suffix(".json").read_text(encoding="utf-8"))
    constants = [t for o in operators(bytes(content)) for t in o.inputs if t and t.constant]
    largest = max(constants, key=lambda t: t.data.nbytes)
    at = bytes(content).find(largest.data.tobytes()[:64])
    content[at] ^= 1
    write_atomic(folder / f"{healthy.stem}.json", json.dumps(record))
    return write_atomic(folder / healthy.name, bytes(content))
