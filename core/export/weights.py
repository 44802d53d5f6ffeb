"""The kernels of a file beside those of its network: which differ, and what was done to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.export.kernel_changes import explained, relative_error, rescaled_error
from core.tflite.constants import real_values
from core.tflite.graph import Operator, Tensor, names, operators
from core.tflite.layer_names import WEIGHTED, layer_of

# Largest difference of a kernel, of its norm, that storing it explains (measured: at most 0.007 for
# integers of a scale per channel; one scale for a kernel of uneven channels makes it larger).
TOLERANCES = {"float32": 1e-4, "float16": 2e-3}
INTEGER_TOLERANCE = 0.05
ROUNDED = 0.501  # steps between a value and what it is rounded to


@dataclass(frozen=True)
class Weights:
    """What one convolution, dense layer or matrix product of a float file holds.

    Attributes:
        layer: The Keras layer, or the tensor's name where no name tells.
        operator: "CONV_2D", ...
        kernel: float32, in TFLite's layout; (outputs, inputs) of a 1x1 convolution too, since an
            export turns dense layers into such.
        bias: float32 (channels,), or None.
        activation: The fused activation: "NONE", "RELU", ...
        steps: What the kernel was rounded to multiples of, for each channel; None where unknown.
    """

    layer: str
    operator: str
    kernel: np.ndarray
    bias: np.ndarray | None
    activation: str
    steps: np.ndarray | None = None

    @property
    def channel_axis(self) -> int:
        """The axis of output channels."""
        return WEIGHTED[self.operator][1] % self.kernel.ndim


@dataclass(frozen=True)
class Difference:
    """A layer whose weights are not the network's.

    Attributes:
        layer: The Keras layer.
        error: Norm of the difference over the norm of what should be there; infinite where the
            shapes differ or one side has no such layer.
        how: What was done to the kernel, to follow the layer's name: "has height and width
            swapped"; empty where nothing explains it.
        kind: Key of that explanation: "swapped sides", "scaled channels", ...; or "other".
    """

    layer: str
    error: float
    how: str
    kind: str


def weights_of(
    content: bytes,
    layers: Collection[str] = (),
    without: Collection[str] = (),
    steps: Mapping[int, Sequence[float]] | None = None,
) -> list[Weights]:
    """Return the weights of a float file (`core.export.unrounded`) in the order of computation.

    Args:
        content: The file.
        layers: Names of the network's layers with a kernel; what a converter, or the copies of a
            shared layer, added to them is taken off.
        without: Names of its layers without one: a product inside them is with a constant (the
            means of a group normalisation), which an export may compute otherwise.
        steps: Scales of the tensors whose values were integers, by their index.
    """
    activations = names("ActivationFunctionType")
    found = []
    for operator in operators(content):
        position = WEIGHTED.get(operator.name, (None, 0))[0]
        kernel = None if position is None else operator.inputs[position]
        if kernel is None or not kernel.constant or len(kernel.shape) < 2:
            continue
        layer = layer_name(operator, set(layers)) or kernel.name
        own = (steps or {}).get(kernel.index)
        if "/" in layer and layer.partition("/")[0] in without:
            continue
        bias, array = _bias(operator), real_values(kernel)
        if operator.name == "CONV_2D" and array.shape[1:3] == (1, 1):
            array = array[:, 0, 0]
        found.append(
            Weights(
                layer,
                operator.name,
                array,
                None if bias is None else real_values(bias),
                activations.get(operator.options.get("fusedActivationFunction", 0), "NONE"),
                None if own is None else np.asarray(own, np.float64),
            )
        )
    return found


def kernel_layers(model) -> set[str]:
    """Return the names of a Keras model's layers that have a kernel."""
    layers = model._flatten_layers(include_self=False)
    return {layer.name for layer in layers if any(len(w.shape) > 1 for w in layer.weights)}


def plain_layers(model) -> set[str]:
    """Return the names of a Keras model's layers that have none."""
    layers = model._flatten_layers(include_self=False)
    return {layer.name for layer in layers} - kernel_layers(model)


def layer_name(operator: Operator, known: set[str]) -> str:
    """Return the layer an operator was made from: one of `known` where its name tells, or ""."""
    name = layer_of(operator, known=known) if known else ""
    name = name or layer_of(operator)
    plain = name
    while known and plain not in known:  # copies of a shared layer are numbered
        shorter = re.sub(r"_\d+$", "", plain)
        if shorter == plain:
            return name
        plain = shorter
    return plain


def _bias(operator: Operator) -> Tensor | None:
    position = 3 if operator.name == "TRANSPOSE_CONV" else 2
    bias = operator.inputs[position] if len(operator.inputs) > position else None
    return bias if bias is not None and bias.constant else None


def differences(
    found: Sequence[Weights],
    expected: Sequence[Weights],
    tolerance: float,
    *,
    rescaled: bool = False,
    biases: bool = True,
    strangers: bool = True,
) -> list[Difference]:
    """Return the layers of a file whose weights are not those of the network, in its order.

    Args:
        found: Of the file.
        expected: Of the network, converted to float32.
        tolerance: Of `TOLERANCES`.
        rescaled: Whether positive factors of channels do not count, which an export moves between
            layers (`core.compress.equalize`); biases are not compared then.
        biases: Whether biases are compared; they are not where an export corrected them.
        strangers: Whether weights that the network does not have count; an integer file may
            compute a gate or a sum by a convolution of its own.
    """

    def error_of(made: Weights, wanted: Weights) -> float:
        error = relative_error(made.kernel, wanted.kernel)
        if rescaled and error > tolerance:
            return rescaled_error(made.kernel, wanted.kernel, wanted.channel_axis)
        return error

    def equal(made: Weights, wanted: Weights) -> bool:
        return error_of(made, wanted) <= tolerance or _is_rounded(made, wanted)

    pairs, rest = _paired(_joined(found, expected), expected, equal)
    rebuilt = {w.layer for w, made in pairs if made is None and _parts_of(w, rest)}
    listed: dict[str, Difference] = {}
    for wanted, made in pairs:
        if wanted.layer in rebuilt:
            continue
        if made is None:
            known = Difference(wanted.layer, np.inf, "is missing", "missing")
        elif not equal(made, wanted):
            kind, how = explained(
                made.kernel, wanted.kernel, wanted.channel_axis, tolerance, rescaled=rescaled
            )
            known = Difference(wanted.layer, error_of(made, wanted), how, kind)
        elif biases and not rescaled and not _bias_error(made, wanted) <= tolerance:
            how = "has another bias" if made.bias is not None else "has lost its bias"
            known = Difference(wanted.layer, _bias_error(made, wanted), how, "bias")
        else:
            continue
        listed.setdefault(wanted.layer, known)  # calls of a shared layer are one
    parts = {id(part) for w, _ in pairs if w.layer in rebuilt for part in _parts_of(w, rest)}
    for made in rest if strangers else ():
        if id(made) in parts:
            continue
        known = Difference(made.layer, np.inf, "is not in the network", "stranger")
        listed.setdefault(made.layer, known)
    return list(listed.values())


def _joined(found: Sequence[Weights], expected: Sequence[Weights]) -> list[Weights]:
    """Return the weights with the parts of a layer, `name.0`, `name.1`, … as that layer again.

    An integer export makes them of a dense layer whose outputs are split
    (`core.compress.primitive_attention.split_dense`).
    """
    shapes = {w.layer: w.kernel.shape for w in expected}
    parts: dict[str, list[tuple[int, Weights]]] = {}
    for made in found:
        name, _, number = made.layer.rpartition(".")
        if name in shapes and made.layer not in shapes and number.isdecimal():
            parts.setdefault(name, []).append((int(number), made))
    whole: dict[int, Weights | None] = {}
    for name, numbered in parts.items():
        by_number = dict(numbered)
        if sorted(number for number, _ in numbered) != [*range(len(numbered))]:
            continue  # of a shared layer there are several
        listed = [by_number[number] for number in range(len(numbered))]
        kernel = _side_by_side([part.kernel for part in listed], listed[0].channel_axis)
        if kernel is not None and kernel.shape == shapes[name]:
            biases = [part.bias for part in listed if part.bias is not None]
            bias = np.concatenate(biases) if len(biases) == len(listed) else None
            whole |= dict.fromkeys(map(id, listed))
            whole[id(listed[0])] = replace(
                listed[0], layer=name, kernel=kernel, bias=bias, steps=None
            )
    made_whole = (whole.get(id(made), made) for made in found)
    return [made for made in made_whole if made is not None]


def _side_by_side(kernels: Sequence[np.ndarray], axis: int) -> np.ndarray | None:
    try:
        return np.concatenate(kernels, axis)
    except ValueError:  # of other shapes
        return None


def _parts_of(wanted: Weights, rest: Sequence[Weights]) -> list[Weights]:
    """Return what an export made of a layer by other operators, as it does of grouped convolutions.

    Such kernels cannot be compared one by one; what they compute together is compared elsewhere.
    """
    return [
        made
        for made in rest
        if (made.layer == wanted.layer and made.operator != wanted.operator)
        or made.layer.startswith(f"{wanted.layer}.")
    ]


def _paired(
    found: Sequence[Weights],
    expected: Sequence[Weights],
    equal: Callable[[Weights, Weights], bool],
) -> tuple[list[tuple[Weights, Weights | None]], list[Weights]]:
    """Return each expected layer with the file's, and those of the file that are left.

    Names decide; where the converter changed them, equal weights do, then the order.
    """
    names_found, names_expected = ({w.layer for w in listed} for listed in (found, expected))

    def alike(made: Weights, wanted: Weights) -> bool:
        kinds = {made.operator, wanted.operator}
        return len(kinds) == 1 or kinds == {"CONV_2D", "FULLY_CONNECTED"}

    def renamed(made: Weights, wanted: Weights) -> bool:
        free = made.layer not in names_expected and wanted.layer not in names_found
        return free and alike(made, wanted)

    rules = (
        lambda m, w: m.layer == w.layer and alike(m, w) and equal(m, w),
        lambda m, w: renamed(m, w) and equal(m, w),
        lambda m, w: m.layer == w.layer and alike(m, w),
        lambda m, w: renamed(m, w) and m.kernel.shape == w.kernel.shape,
    )
    left = list(found)
    chosen: dict[int, Weights] = {}
    for rule in rules:
        for place, wanted in enumerate(expected):
            if place in chosen:
                continue
            made = next((made for made in left if rule(made, wanted)), None)
            if made is not None:
                chosen[place] = made
                left = [other for other in left if other is not made]
    return [(wanted, chosen.get(place)) for place, wanted in enumerate(expected)], left


def _is_rounded(made: Weights, wanted: Weights) -> bool:
    """Return whether every value of a kernel is what its own step rounds to.

    Where hardly anything comes in, an export makes the steps as coarse as the bias needs.
    """
    if made.steps is None or made.kernel.shape != wanted.kernel.shape:
        return False
    form = [-1 if a == made.channel_axis else 1 for a in range(made.kernel.ndim)]
    steps = made.steps.reshape(form if made.steps.size > 1 else ())
    return bool(np.all(np.abs(made.kernel - wanted.kernel) <= ROUNDED * steps))


def _bias_error(made: Weights, wanted: Weights) -> float:
    """Return the norm of the bias' difference over that of bias and kernel together.

    A bias alone may be nothing but rounding; beside the kernel it counts for what it does.
    """
    first, second = (np.zeros(1, np.float32) if w.bias is None else w.bias for w in (made, wanted))
    count = max(len(first), len(second))
    first, second = (np.pad(b, (0, count - len(b))) for b in (first, second))
    length = np.hypot(np.linalg.norm(second), np.linalg.norm(wanted.kernel))
    return float(np.linalg.norm(first - second) / (length or 1.0))
