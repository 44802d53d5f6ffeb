"""Whether the ranges of an integer file hold what flows through it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.compress.noise import decibels
from core.export.unrounded import STORAGE, unrounded
from core.export.verification import Verification
from core.tflite.graph import Tensor, operators, sound_model, values
from core.tflite.layer_names import layer_of
from core.tflite.limits import SAME_SCALE, requantisation

# Sound files have 28 dB or more of both; 6 dB of clipping were measured in a nearly dead channel
# whose values calibration had not met at their largest. A range that collapsed has less than 1 dB.
LEAST_CLIPPING_DB, LEAST_ROUNDING_DB = 3.0, 12.0
# What a range that is wide enough for the values must hold of them: else it lies beside them.
LEAST_PLACED_DB = 12.0
SHOWN = 3  # ranges of a list
# Kernels compute these with a range of their own.
FIXED = ("LOGISTIC", "TANH", "SOFTMAX", "LOG_SOFTMAX", "L2_NORMALIZATION")
SHARING = SAME_SCALE | {"RESHAPE"}
# A range that is no wider than this part of what XNNPACK allows was widened for it.
NEAR_LIMIT = 0.25


@dataclass(frozen=True)
class Range:
    """One range of an integer file on real inputs; tensors that must share it are one.

    Attributes:
        layer: The Keras layer that fills most of it, or the tensor's name.
        low, high: What its codes can say.
        least, most: What the network computes there without rounding.
        clipping_db: Signal over what is cut off at the ends, in dB; infinite where nothing is, or
            where the network itself may cut off its outputs.
        rounding_db: Signal over what the steps lose within the range, in dB; infinite where the
            range is not the export's choice.
    """

    layer: str
    low: float
    high: float
    least: float
    most: float
    clipping_db: float
    rounding_db: float

    @property
    def cuts(self) -> bool:
        """Whether values are lost at its ends."""
        is_wide = self.most - self.least <= self.high - self.low
        return self.clipping_db < (LEAST_PLACED_DB if is_wide else LEAST_CLIPPING_DB)


def activation_ranges(
    content: bytes,
    inputs: Sequence[np.ndarray] | np.ndarray,
    outputs: Sequence[np.ndarray] | None = None,
) -> list[Range]:
    """Return how the ranges of a file's integer activations fit what flows through them.

    The network is computed in real numbers (`core.export.unrounded`), so that each range is judged
    by itself: a collapsed one does not hide those behind it.

    Args:
        content: The file.
        inputs: Network inputs, float32 without a batch axis, of the size of the file.
        outputs: What the run's network computes from them, with the batch axis: a file may leave
            the network's own last clipping to its range, which cannot be told otherwise.
    """
    engine = watching(unrounded(content), np.shape(inputs[0]))
    place = engine.get_input_details()[0]["index"]
    last = [detail["index"] for detail in engine.get_output_details()]
    groups = _groups(content, last)
    for number, one in enumerate(inputs):
        engine.set_tensor(place, np.asarray(one, np.float32)[None])
        engine.invoke()
        for group in groups:
            for index in group.members:
                if not group.is_last:
                    group.see(engine.get_tensor(index), index)
                elif outputs is not None and index in last:
                    group.see(outputs[last.index(index)][number], index)
    return [group.result() for group in groups if group.signal]


def watching(content: bytes, shape: Sequence[int]) -> Any:
    """Return an interpreter that keeps the values of all tensors, for inputs of a shape (no batch).

    Only of a float file do the values stay what the operators computed.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    engine = Interpreter(
        model_content=content,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    engine.resize_tensor_input(engine.get_input_details()[0]["index"], (1, *shape))
    engine.allocate_tensors()
    return engine


def _groups(content: bytes, last: Sequence[int]) -> list[_Group]:
    """Return the ranges of a file: integer tensors by those that must share scale and zero."""
    listed = [o for o in operators(content) if o.subgraph == 0 and o.name not in STORAGE]
    near = {
        entry.operator
        for entry in requantisation(content)
        if entry.kind not in SHARING and entry.value > NEAR_LIMIT * entry.high
    }
    leader: dict[int, int] = {}

    def root(index: int) -> int:
        while leader.setdefault(index, index) != index:
            index = leader[index]
        return index

    for operator in listed:
        if operator.name in SHARING:
            operands = (*operator.inputs, *operator.outputs)
            shared = [t for t in operands if t is not None and _is_activation(t)]
            for tensor in shared[1:]:
                if _quantisation(tensor) == _quantisation(shared[0]):
                    leader[root(tensor.index)] = root(shared[0].index)
    stored = _stored(content, last)
    # A softmax takes what is far below the largest value for zero, however far.
    masked = {root(t.index) for o in listed if o.name == "SOFTMAX" for t in o.inputs[:1] if t}
    groups: dict[int, _Group] = {}
    for operator in listed:
        if operator.name == "WHILE":  # hands its arguments on; what its body computes is in float
            continue
        for tensor in filter(_is_activation, operator.outputs):
            group = groups.setdefault(root(tensor.index), _Group(tensor))
            group.members[tensor.index] = layer_of(operator) or tensor.name
            group.is_masked = root(tensor.index) in masked
            group.is_last |= tensor.index in stored
            group.is_chosen &= operator.name not in FIXED and operator.index not in near
    return list(groups.values())


def _stored(content: bytes, last: Sequence[int]) -> set[int]:
    """Return the file's output tensors and those of its float form."""
    return {*last, *values(sound_model(content).subgraphs[0].outputs)}


def _is_activation(tensor: Tensor) -> bool:
    return tensor.quantised and not tensor.constant


def _quantisation(tensor: Tensor) -> tuple[float, int]:
    return tensor.scales[0], tensor.zero_points[0]


class _Group:
    """Tensors of one range, and sums of what flows through them."""

    def __init__(self, tensor: Tensor):
        self.step, zero = _quantisation(tensor)
        codes = np.iinfo(tensor.dtype)
        self.low, self.high = ((end - zero) * self.step for end in (codes.min, codes.max))
        self.members: dict[int, str] = {}
        self.is_last, self.is_masked, self.is_chosen = False, False, True
        self.least, self.most = math.inf, -math.inf
        self.signal = self.clipped = self.rounded = 0.0
        self._shares: dict[int, float] = {}

    def see(self, flowing: np.ndarray, index: int) -> None:
        flowing = flowing.astype(np.float64)
        self.least, self.most = min(self.least, flowing.min()), max(self.most, flowing.max())
        if self.is_masked:
            flowing = np.maximum(flowing, self.low)
        kept = np.clip(flowing, self.low, self.high)
        power = float(np.square(flowing).sum())
        self.signal += power
        self.clipped += float(np.square(flowing - kept).sum())
        self.rounded += float(np.square(kept - np.rint(kept / self.step) * self.step).sum())
        self._shares[index] = self._shares.get(index, 0.0) + power

    def result(self) -> Range:
        layer = self.members[max(self._shares, key=lambda index: self._shares[index])]
        rounding = decibels(self.signal, self.rounded) if self.is_chosen else math.inf
        clipping = decibels(self.signal, self.clipped)
        ends = (self.low, self.high, float(self.least), float(self.most))
        return Range(layer, *ends, clipping, rounding)


def check_ranges(
    result: Verification,
    content: bytes,
    inputs: Sequence[np.ndarray] | np.ndarray,
    outputs: Sequence[np.ndarray] | None,
) -> None:
    """Look for ranges that cut off, or are too coarse for, what flows through them.

    Args:
        result: Gets the check.
        content, inputs, outputs: As for `activation_ranges`.
    """
    found = activation_ranges(content, inputs, outputs)
    if not found:
        return
    narrow = [r for r in found if r.cuts]
    coarse = [r for r in found if r.rounding_db < LEAST_ROUNDING_DB and r not in narrow]
    wrong = [f"{r.layer} cut off" for r in narrow] + [f"{r.layer} too coarse" for r in coarse]
    more = f", and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    value = f"{', '.join(wrong[:SHOWN])}{more}" if wrong else f"{len(found)} ranges"
    if result.add("ranges hold the values", value, "all", not wrong):
        return
    again = "export the run again, calibrated with samples like these (--data)"
    if narrow:
        worst = min(narrow, key=lambda r: r.clipping_db)
        result.blame(
            f"most likely the range of '{worst.layer}' collapsed or its zero point is wrong: it "
            f"holds {worst.low:.3g} to {worst.high:.3g}, but values reach from {worst.least:.3g} "
            f"to {worst.most:.3g}; {again}"
        )
    if coarse:
        worst = min(coarse, key=lambda r: r.rounding_db)
        result.blame(
            f"most likely the scale of '{worst.layer}' is too large: it holds {worst.low:.3g} to "
            f"{worst.high:.3g}, but values only reach from {worst.least:.3g} to {worst.most:.3g}, "
            f"so that few of its codes are used; {again}"
        )
