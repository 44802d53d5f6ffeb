"""The kernels of a file beside those of its network: which differ, and what was done to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from core.export.constants import real_values
from core.export.graph import Operator, Tensor, names, operators
from core.export.layer_names import WEIGHTED, layer_of

# Largest difference of a kernel, of its norm, that storing it explains (measured: at most 0.007 for
# integers of a scale per channel; one scale for a kernel of uneven channels makes it larger).
TOLERANCES = {"float32": 1e-4, "float16": 2e-3}
INTEGER_TOLERANCE = 0.05
EVENING_ROUNDS = 12


@dataclass(frozen=True)
class Weights:
    """What one convolution, dense layer or matrix product of a float file holds.

    Attributes:
        layer: The Keras layer, or the tensor's name where no name tells.
        operator: "CONV_2D", ...
        kernel: float32, in TFLite's layout.
        bias: float32 (channels,), or None.
        activation: The fused activation: "NONE", "RELU", ...
    """

    layer: str
    operator: str
    kernel: np.ndarray
    bias: np.ndarray | None
    activation: str

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


def weights_of(content: bytes, layers: Collection[str] = ()) -> list[Weights]:
    """Return the weights of a float file (`core.export.unrounded`) in the order of computation.

    Args:
        content: The file.
        layers: Names of the network's layers with a kernel; what a converter, or the copies of a
            shared layer, added to them is taken off.
    """
    activations = names("ActivationFunctionType")
    found = []
    for operator in operators(content):
        position = WEIGHTED.get(operator.name, (None, 0))[0]
        kernel = None if position is None else operator.inputs[position]
        if kernel is None or not kernel.constant or len(kernel.shape) < 2:
            continue
        bias = _bias(operator)
        found.append(
            Weights(
                _layer(operator, set(layers)) or kernel.name,
                operator.name,
                real_values(kernel),
                None if bias is None else real_values(bias),
                activations.get(operator.options.get("fusedActivationFunction", 0), "NONE"),
            )
        )
    return found


def kernel_layers(model) -> set[str]:
    """Return the names of a Keras model's layers that have a kernel."""
    layers = model._flatten_layers(include_self=False)
    return {layer.name for layer in layers if any(len(w.shape) > 1 for w in layer.weights)}


def _layer(operator: Operator, known: set[str]) -> str:
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
) -> list[Difference]:
    """Return the layers of a file whose weights are not those of the network, in its order.

    Args:
        found: Of the file.
        expected: Of the network, converted to float32.
        tolerance: Of `TOLERANCES`.
        rescaled: Whether positive factors of channels do not count, which an export moves between
            layers (`core.compress.equalize`); biases are not compared then.
        biases: Whether biases are compared; they are not where an export corrected them.
    """
    compare = _evened_error if rescaled else _error

    def equal(made: Weights, wanted: Weights) -> bool:
        return compare(made.kernel, wanted.kernel, wanted.channel_axis) <= tolerance

    pairs, strangers = _paired(found, expected, equal)
    rebuilt = {w.layer for w, made in pairs if made is None and _parts_of(w, strangers)}
    listed: dict[str, Difference] = {}
    for wanted, made in pairs:
        if wanted.layer in rebuilt:
            continue
        if made is None:
            known = Difference(wanted.layer, np.inf, "is missing", "missing")
        elif not equal(made, wanted):
            kind, how = explained(made, wanted, tolerance)
            error = compare(made.kernel, wanted.kernel, wanted.channel_axis)
            known = Difference(wanted.layer, error, how, kind)
        elif biases and not rescaled and not _bias_error(made, wanted) <= tolerance:
            how = "has another bias" if made.bias is not None else "has lost its bias"
            known = Difference(wanted.layer, _bias_error(made, wanted), how, "bias")
        else:
            continue
        listed.setdefault(wanted.layer, known)  # calls of a shared layer are one
    parts = {id(part) for w, _ in pairs if w.layer in rebuilt for part in _parts_of(w, strangers)}
    for made in strangers:
        if id(made) in parts:
            continue
        known = Difference(made.layer, np.inf, "is not in the network", "stranger")
        listed.setdefault(made.layer, known)
    return list(listed.values())


def _parts_of(wanted: Weights, strangers: Sequence[Weights]) -> list[Weights]:
    """Return what an export made of a layer by other operators, as it does of grouped convolutions.

    Such kernels cannot be compared one by one; what they compute together is compared elsewhere.
    """
    return [
        made
        for made in strangers
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
        return made.operator == wanted.operator

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


def explained(made: Weights, wanted: Weights, tolerance: float) -> tuple[str, str]:
    """Return (kind, what was done to a kernel); ("other", "") where nothing simple explains it."""
    kernel, like = made.kernel, wanted.kernel
    if kernel.shape != like.shape:
        return "shape", f"has a kernel of {_size(kernel)} where the network has {_size(like)}"
    if not np.isfinite(kernel).all():
        return "infinite", "holds values that are no numbers"
    if not kernel.any():
        return "zero", "holds zeros only"
    for kind, how, changed in _changes(kernel, wanted):
        if changed.shape == kernel.shape and _error(kernel, changed) <= 2 * tolerance:
            return kind, how
    return "other", ""


def _changes(kernel: np.ndarray, wanted: Weights) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield (kind, in words, the network's kernel so changed), the simplest first."""
    like, out = wanted.kernel, wanted.channel_axis
    spatial = like.ndim == 4
    if spatial and max(like.shape[1:3]) > 1:
        yield "swapped sides", "has height and width swapped", like.transpose(0, 2, 1, 3)
        yield "turned", "is turned upside down (flipped)", like[:, ::-1, ::-1]
    if not spatial and like.ndim == 2:
        yield "transposed", "is transposed (inputs and outputs swapped)", like.T
    elif spatial and like.shape[0] == like.shape[3] and wanted.operator == "CONV_2D":
        yield "transposed", "has inputs and outputs swapped", like.transpose(3, 1, 2, 0)
    into = like.ndim - 1 if out != like.ndim - 1 else None
    if into is not None and like.shape[into] == 3:
        what = "has its red and blue inputs swapped"
        yield "red and blue", what, np.flip(like, into)
    factor = float(np.vdot(kernel, like) / np.vdot(like, like))
    if factor > 0:
        yield "scaled", f"is multiplied by {factor:.3g}", like * np.float32(factor)
    for axis, side in ((out, "output"), (into, "input")):
        if axis is None or like.shape[axis] == 1:
            continue
        factors = channel_factors(kernel, like, axis)
        low, high = factors.min(), factors.max()
        how = f"is multiplied by another factor in each {side} channel ({low:.2g} to {high:.2g})"
        kind = "scaled channels" if side == "output" else "scaled inputs"
        yield kind, how, like * _along(factors, axis, like.ndim)
        order = _order(kernel, like, axis)
        if order is not None:
            how = f"has its {side} channels in another order"
            yield "ordered", how, np.take(like, order, axis)


def channel_factors(kernel: np.ndarray, like: np.ndarray, axis: int) -> np.ndarray:
    """Return the factor of each channel that brings `like` nearest to a kernel of its shape."""
    rest = tuple(a for a in range(like.ndim) if a != axis % like.ndim)
    power = (like * like).sum(rest)
    return (kernel * like).sum(rest) / np.where(power > 0, power, 1.0)


def _order(kernel: np.ndarray, like: np.ndarray, axis: int) -> np.ndarray | None:
    """Return the order of `like`'s channels in a kernel, or None where it is none or the same."""
    made, wanted = (np.moveaxis(a, axis, 0).reshape(a.shape[axis], -1) for a in (kernel, like))
    lengths = [np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-30) for a in (made, wanted)]
    order = ((made / lengths[0]) @ (wanted / lengths[1]).T).argmax(axis=1)
    is_order = len(set(order.tolist())) == len(order)
    return order if is_order and (order != np.arange(len(order))).any() else None


def _evened_error(made: np.ndarray, wanted: np.ndarray, axis: int) -> float:
    """Return the difference of two kernels up to positive factors of their channels."""
    if made.shape != wanted.shape:
        return np.inf
    return _error(*(_evened(kernel, axis) for kernel in (made, wanted)))


def _evened(kernel: np.ndarray, axis: int) -> np.ndarray:
    """Return a kernel whose channels, of outputs and of inputs, all have the norm one."""
    kernel = kernel.astype(np.float64)
    axes = {axis % kernel.ndim, kernel.ndim - 1}
    for _ in range(EVENING_ROUNDS if len(axes) > 1 else 1):
        for channel in sorted(axes):
            rest = tuple(a for a in range(kernel.ndim) if a != channel)
            length = np.sqrt(np.square(kernel).mean(rest, keepdims=True))
            kernel = kernel / np.where(length > 0, length, 1.0)
    return kernel


def _error(made: np.ndarray, wanted: np.ndarray, axis: int = -1) -> float:
    """Return the norm of the difference over that of `wanted`; zeros around either do not count.

    Float files hold depthwise kernels that were widened by channels of zeros.
    """
    if made.ndim != wanted.ndim:
        return np.inf
    common = tuple(slice(min(sides)) for sides in zip(made.shape, wanted.shape, strict=True))
    for array in (made, wanted):
        if array.size > array[common].size and not np.isclose(
            np.linalg.norm(array), np.linalg.norm(array[common]), rtol=1e-6
        ):
            return np.inf
    made, wanted = made[common].astype(np.float64), wanted[common].astype(np.float64)
    length = np.linalg.norm(wanted)
    return float(np.linalg.norm(made - wanted) / (length or 1.0))


def _bias_error(made: Weights, wanted: Weights) -> float:
    """Return the norm of the bias' difference over that of bias and kernel together.

    A bias alone may be nothing but rounding; beside the kernel it counts for what it does.
    """
    first, second = (np.zeros(1, np.float32) if w.bias is None else w.bias for w in (made, wanted))
    count = max(len(first), len(second))
    first, second = (np.pad(b, (0, count - len(b))) for b in (first, second))
    length = np.hypot(np.linalg.norm(second), np.linalg.norm(wanted.kernel))
    return float(np.linalg.norm(first - second) / (length or 1.0))


def _along(factors: np.ndarray, axis: int, rank: int) -> np.ndarray:
    return factors.astype(np.float32).reshape([-1 if a == axis else 1 for a in range(rank)])


def _size(kernel: np.ndarray) -> str:
    return "x".join(map(str, kernel.shape))
