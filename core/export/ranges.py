"""Whether the ranges of an integer file hold what flows through it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.export.graph import Tensor, operators
from core.export.layer_names import layer_of
from core.export.unrounded import STORAGE, unrounded


@dataclass(frozen=True)
class Range:
    """One activation of an integer file on real inputs.

    Attributes:
        tensor: Its name in the file.
        layer: The Keras layer it is the output of, or the tensor's name.
        low, high: What its codes can say.
        least, most: What the network computes there without rounding.
        step: Distance of neighbouring codes.
        clipping_db: Signal over what is cut off at the ends of the range, in dB.
        rounding_db: Signal over what the steps lose within the range, in dB.
    """

    tensor: str
    layer: str
    low: float
    high: float
    least: float
    most: float
    step: float
    clipping_db: float
    rounding_db: float


def activation_ranges(content: bytes, inputs: Sequence[np.ndarray]) -> list[Range]:
    """Return how every integer activation of a file fits what flows through it.

    The network is computed in real numbers (`core.export.unrounded`), so that each range is judged
    by itself: a collapsed one does not hide those behind it.

    Args:
        content: The file.
        inputs: Network inputs, float32 without a batch axis, of the size of the file.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    chosen = {}
    for operator in operators(content):
        for tensor in operator.outputs if operator.subgraph == 0 else ():
            if tensor.quantised and operator.name not in STORAGE:
                chosen[tensor.index] = tensor, layer_of(operator) or tensor.name
    engine = Interpreter(
        model_content=unrounded(content),
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    place = engine.get_input_details()[0]["index"]
    engine.resize_tensor_input(place, (1, *np.shape(inputs[0])))
    engine.allocate_tensors()
    found = {index: _Watch(tensor) for index, (tensor, _) in chosen.items()}
    for values in inputs:
        engine.set_tensor(place, np.asarray(values, np.float32)[None])
        engine.invoke()
        for index, watch in found.items():
            watch.see(engine.get_tensor(index))
    return [found[index].result(layer) for index, (_, layer) in chosen.items()]


class _Watch:
    """Sums up what flows through one tensor."""

    def __init__(self, tensor: Tensor):
        self.tensor, self.step = tensor, tensor.scales[0]
        zero, codes = tensor.zero_points[0], np.iinfo(tensor.dtype)
        self.low, self.high = ((end - zero) * self.step for end in (codes.min, codes.max))
        self.least, self.most = math.inf, -math.inf
        self.signal = self.clipped = self.rounded = 0.0

    def see(self, values: np.ndarray) -> None:
        values = values.astype(np.float64)
        self.least, self.most = min(self.least, values.min()), max(self.most, values.max())
        kept = np.clip(values, self.low, self.high)
        self.signal += float(np.square(values).sum())
        self.clipped += float(np.square(values - kept).sum())
        self.rounded += float(np.square(kept - np.rint(kept / self.step) * self.step).sum())

    def result(self, layer: str) -> Range:
        return Range(
            self.tensor.name,
            layer,
            self.low,
            self.high,
            float(self.least),
            float(self.most),
            self.step,
            _decibels(self.signal, self.clipped),
            _decibels(self.signal, self.rounded),
        )


def _decibels(signal: float, noise: float) -> float:
    if not noise:
        return math.inf
    return 10.0 * math.log10(signal / noise) if signal else -math.inf
