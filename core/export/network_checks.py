"""Whether a file holds the network of its run: the kernels one by one, and what they compute.

Both are asked of the float form of the file (`core.export.unrounded`), so that the answer does not
depend on how coarsely its activations are rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from core.engines import KerasEngine, LiteRTEngine, output_error, signal_to_noise
from core.export.reference import float_network, reference_file, with_rounded_kernels
from core.export.unrounded import unrounded
from core.export.verification import Verification
from core.export.weights import (
    INTEGER_TOLERANCE,
    TOLERANCES,
    Difference,
    differences,
    kernel_layers,
    plain_layers,
    weights_of,
)
from core.model_card import ModelCard
from core.tflite.graph import sound_model, tensors

FLOAT_BOUND = 1e-4  # of the output's largest value
# A file may be so much farther from the network than rounding its kernels accounts for (measured:
# 2.5 dB; 8.5 dB where channels were evened before), and need not be nearer than the second.
MARGIN_DB, NEAREST_DB = 12.0, 46.0
SHOWN = 3  # layers of a list


class Beside:
    """A file and its run's network, ready to be compared.

    Attributes:
        card: The run's, at the file's size.
        keras: The float network.
        original: The file.
        content: The file without any rounding of activations.
        file: The same, loaded.
        steps: Scales of its tensors that hold, or held, integers, by their index.
        ends: What each output of the file can say, (low, high); None where it is not an integer.
        reference: The network as a float32 file.
        inputs: "samples" and "synthetic inputs", float32 with the batch axis.
        wanted: What the network computes from them, by the same names.
    """

    def __init__(
        self,
        content: bytes,
        model: Any,
        changed: Callable[[Callable], Any],
        card: ModelCard,
        precision: str,
        samples: np.ndarray | None = None,
    ):
        """Load both and run the network.

        Args:
            content: The file.
            model: The run's deployable network.
            changed: Returns it as it would be if a function had changed the trained network.
            card: Its card at the file's size.
            precision: Of the file.
            samples: Real network inputs with the batch axis, if there are any.

        Raises:
            UserError: When one of them cannot be run without rounding.
        """
        network = float_network(model, precision)
        self.card, self._changed, self._precision = card, changed, precision
        self.keras = KerasEngine(network, card)
        self.original, self.content = content, unrounded(content)
        self.file = LiteRTEngine(self.content, card)
        stored = tensors(sound_model(content))
        self.steps = {t.index: t.scales for t in stored if t.scales}
        self.ends = [_ends(stored[index]) for index in self.file.output_indices]
        self.reference = reference_file(network)
        self.inputs = {} if samples is None else {"samples": samples}
        self.inputs["synthetic inputs"] = synthetic_inputs(card)
        # One call for all inputs, since a model is traced for each number of them.
        outputs = self.keras(np.concatenate(list(self.inputs.values())))
        self.wanted, start = {}, 0
        for name, inputs in self.inputs.items():
            self.wanted[name] = [values[start : start + len(inputs)] for values in outputs]
            start += len(inputs)

    def changed(self, change: Callable) -> KerasEngine:
        """Return the float network as it would be if `change` had changed the trained one."""
        return KerasEngine(float_network(self._changed(change), self._precision), self.card)

    def cut(self, outputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return outputs with their values cut off where the file's are."""
        return [
            values if ends is None else np.clip(values, *ends)
            for values, ends in zip(outputs, self.ends, strict=True)
        ]


def _ends(tensor) -> tuple[float, float] | None:
    """Return the smallest and largest value of an integer tensor."""
    if not tensor.quantised:
        return None
    codes = np.iinfo(tensor.dtype)
    scale, zero = tensor.scales[0], tensor.zero_points[0]
    return (codes.min - zero) * scale, (codes.max - zero) * scale


def synthetic_inputs(card: ModelCard) -> np.ndarray:
    """Return network inputs that reach what photographs seldom do, float32 with the batch axis.

    Noise, black, white, a ramp of another direction in each channel and a checkerboard; for what
    is no picture normal noise, zeros, ones and the ramp.
    """
    shape = card.input_shape
    rng = np.random.default_rng(0)
    places = np.indices(shape[:-1])
    along = np.stack([places[c % len(places)] / max(1, shape[c % len(places)] - 1)
                      for c in range(card.channels)], axis=-1)  # fmt: skip
    ramp = np.where(np.arange(card.channels) % 3 == 2, 1.0 - along, along)
    if not card.is_picture:
        noise = rng.standard_normal(shape)
        return np.stack([noise, np.zeros(shape), np.ones(shape), 2 * ramp - 1]).astype(np.float32)
    board = np.broadcast_to((places.sum(0) // 4 % 2)[..., None], shape)
    values = [rng.random(shape), np.zeros(shape), np.ones(shape), ramp, board]
    return np.stack([card.normalise(card.full_scale * v) for v in values])


def check_kernels(
    result: Verification, beside: Beside, document: Mapping, *, rescaled: bool
) -> list[Difference]:
    """Compare every kernel of a file with the network's.

    Args:
        result: Gets the check.
        beside: The two.
        document: The file's own account of its export.
        rescaled: Whether that export moved factors between channels, where it does not tell.

    Returns:
        The layers that differ.
    """
    if document.get("balanced"):  # in another basis, of which the run knows nothing
        result.notes.append("kernels are compared only by what they compute together: balanced")
        return []
    layers = kernel_layers(beside.keras.model)
    plain = plain_layers(beside.keras.model)
    found = weights_of(beside.content, layers, plain, beside.steps)
    expected = weights_of(beside.reference, layers, plain)
    own_int8 = result.precision == "int8" and document.get("calibrator") != "converter"
    known = document.get("equalized")
    choices = {"biases": not document.get("biases_corrected"), "strangers": not own_int8}
    tolerance = TOLERANCES.get(result.precision, INTEGER_TOLERANCE)
    wrong = differences(found, expected, tolerance, **choices)
    if wrong and own_int8 and (rescaled if known is None else known):
        wrong = differences(found, expected, tolerance, rescaled=True, **choices)
    shown = "; ".join(_told(d) for d in wrong[:SHOWN])
    more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    value = f"{len(wrong)} of {len(expected)} differ: {shown}{more}" if wrong else len(expected)
    result.add("kernels as the run's", value, "all", not wrong)
    return wrong


def _told(difference: Difference) -> str:
    how = difference.how or f"differs by {difference.error:.1%}"
    return f"{difference.layer} {how}"


def check_function(result: Verification, beside: Beside) -> bool:
    """Compare what the file computes without rounding with what the network computes.

    Returns:
        Whether all of it agrees.
    """
    agrees = True
    alone = LiteRTEngine(with_rounded_kernels(beside.reference, result.precision), beside.card)
    for name, inputs in beside.inputs.items():
        made, wanted = beside.file(inputs), beside.wanted[name]
        if [a.shape for a in made] != [a.shape for a in wanted]:
            shapes = [" and ".join(str(a.shape[1:]) for a in side) for side in (made, wanted)]
            result.add("outputs as the run's", shapes[0], shapes[1], False)
            return False
        made, wanted, rounded = (beside.cut(o) for o in (made, wanted, alone(inputs)))
        if result.precision == "float32":
            if name == "samples":
                continue  # the file itself is compared
            error, unavoidable = (output_error(wanted, outputs) for outputs in (made, rounded))
            least = max(FLOAT_BOUND, 2 * unavoidable)  # chaotic networks differ by the runtime
            value, bound = float(f"{error:.3g}"), f"≤ {least:.1g} of the largest output"
            agrees = bool(
                result.add(f"output error, {name}", value, bound, error <= least) and agrees
            )
            continue
        decibels = signal_to_noise(wanted, made)
        nearest = signal_to_noise(wanted, rounded)
        least = max(0.0, min(nearest, NEAREST_DB) - MARGIN_DB)
        what = f"the run's network but for rounding, {name}"
        shown = f"{decibels:.1f} dB (rounded kernels alone {nearest:.1f} dB)"
        if result.precision in ("dynamic", "weight_only"):  # the converter rounds in its own way
            result.add(what, shown)
        else:
            agrees = bool(
                result.add(what, shown, f"≥ {least:.1f} dB", decibels >= least) and agrees
            )
    return agrees
