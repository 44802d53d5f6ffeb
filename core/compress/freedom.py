"""Where a network may change the basis of its features without changing any result.

What a kernel writes and only kernels read may be multiplied by any matrix whose inverse goes into
the readers; sums of such tensors (a residual stream with linear ends) share one matrix. Behind a
ReLU, or where channels are parted, a positive factor per channel is left of this freedom, and
behind anything else nothing (orthogonal matrices for language models: S. Ashkboos et al., "QuaRot",
NeurIPS 2024, arXiv:2404.00456; factors: M. Nagel et al., ICCV 2019, arXiv:1906.04721, Sec. 4.1).
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

import keras
import numpy as np

from core.compress.folding import activation_of
from core.compress.graph import Call, Graph
from core.compress.quantized_kernel import QuantizedKernel

# Linear in the features of a pixel, so that a matrix passes; the others let only factors pass.
LETS_MATRICES_PASS = {
    "ActivationQuantizer", "AveragePooling2D", "BilinearUpsampling", "Conversion", "Cropping2D",
    "Dropout", "GlobalAveragePooling2D", "Identity", "NearestUpsampling", "QuantizedChannelMean",
    "UpSampling2D", "ZeroPadding2D",
}  # fmt: skip
LETS_FACTORS_PASS = LETS_MATRICES_PASS | {
    "GlobalMaxPooling2D", "LeakyReLU", "MaxPooling2D", "QuantizedLeakyReLU",
}  # fmt: skip
SUMS = {"Add", "QuantizedAdd", "QuantizedSubtract", "Subtract"}
PRODUCTS = {"Multiply", "QuantizedMultiply"}
KERNELS = (keras.layers.Conv2D, keras.layers.Dense, keras.layers.DepthwiseConv2D)


@dataclass(frozen=True)
class Segment:
    """Neighbouring channels of a tensor that have one kind of freedom.

    Attributes:
        start, stop: The channels.
        matrix: Number of the matrix they are multiplied by, or None.
        factors: Without a matrix, the number of each channel's factor, -1 for a fixed one.
    """

    start: int
    stop: int
    matrix: int | None
    factors: np.ndarray = field(default_factory=lambda: np.empty(0, int))


@dataclass(frozen=True)
class Freedom:
    """What may be chosen in a network.

    Attributes:
        matrices: Sides of the matrices.
        factors: Number of positive factors.
        segments: Value of the graph → its segments, for all that have channels.
    """

    matrices: list[int]
    factors: int
    segments: dict[int, list[Segment]]

    def __bool__(self) -> bool:
        return bool(self.matrices or self.factors)

    def has_matrix(self, value: int) -> bool:
        """Return whether a matrix may act on some channels of a value."""
        return any(part.matrix is not None for part in self.segments[value])


def is_written_and_read(call: Call, known: Container[int]) -> bool:
    """Return whether a call is a kernel of a known form, between known values."""
    kernel = isinstance(call.operation, QuantizedKernel) and isinstance(call.operation, KERNELS)
    return kernel and call.inputs[0] in known and call.outputs[0] in known


def freedom_of(graph: Graph) -> Freedom:
    """Return what a quantized model's graph leaves to choose.

    Args:
        graph: Of a result of `core.compress.quantize.quantize_aware`.
    """
    found = _Finding(graph)
    for value in graph.inputs:
        found.pinned(value)
    for call in graph.calls:
        found.visit(call)
    for value in graph.outputs:
        found.pin(value)
    return found.freedom()


class _Finding:
    """Unites the channels that must be changed alike.

    Attributes:
        channels: Value → number of each of its channels; equal freedom is decided in `freedom`.
    """

    def __init__(self, graph: Graph):
        self.graph = graph
        self.channels: dict[int, np.ndarray] = {}
        self._parent: list[int] = []
        self._block: list[int] = []  # channel → which kernel wrote it
        self._block_parent: list[int] = []
        self._block_is_whole: list[bool] = []  # at the root: whether a matrix may act on it
        self._pins: set[int] = set()

    # --- one call -----------------------------------------------------------------------------

    def visit(self, call: Call) -> None:
        """Enter what a call reads and writes."""
        operation, kind = call.operation, type(call.operation).__name__
        if isinstance(operation, QuantizedKernel):
            self._kernel(call)
        elif len(call.outputs) != 1 or not self._has_channels(call):
            self._unknown(call)
        elif kind in LETS_FACTORS_PASS or activation_of(operation) == "relu":
            self._pass(call, matrices=kind in LETS_MATRICES_PASS)
        elif kind in SUMS and self._alike(call):
            self._sum(call)
        elif kind in PRODUCTS and self._alike(call):
            self._product(call)
        elif kind == "Concatenate" and operation.axis in (-1, 3):
            self.channels[call.outputs[0]] = np.concatenate([self.channels[v] for v in call.inputs])
        elif kind == "GetItem" and (kept := _channels_kept(call)) is not None:
            source = self.channels[call.inputs[0]]
            self.part(source)
            self.channels[call.outputs[0]] = source[kept]
        else:
            self._unknown(call)

    def _kernel(self, call: Call) -> None:
        layer, source, value = call.operation, call.inputs[0], call.outputs[0]
        fixed = self.graph.uses[id(layer)] != 1 or layer.fixed_kernel or layer.norm is not None
        if not isinstance(layer, KERNELS) or fixed or source not in self.channels:
            self._unknown(call)
            return
        self._new(value)
        if isinstance(layer, keras.layers.DepthwiseConv2D) or getattr(layer, "groups", 1) > 1:
            self.part(self.channels[source])
            self.part(self.channels[value])
        function = keras.activations.serialize(layer.activation)
        if function == "relu":
            self.part(self.channels[value])
        elif function != "linear":
            self.pin(value)

    def _pass(self, call: Call, *, matrices: bool) -> None:
        source = self.channels[call.inputs[0]]
        if self.graph.shapes[call.outputs[0]][-1] != len(source):
            self._unknown(call)
            return
        if not matrices:
            self.part(source)
        self.channels[call.outputs[0]] = source

    def _sum(self, call: Call) -> None:
        first, second = (self.channels[value] for value in call.inputs)
        for one, other in zip(first, second, strict=True):
            self._unite(one, other)
        if self._is_whole(first) and self._is_whole(second):
            self._unite_blocks(self._block[first[0]], self._block[second[0]])
        else:
            self.part(first)
            self.part(second)
        self.channels[call.outputs[0]] = first

    def _product(self, call: Call) -> None:
        """A gate that cannot be scaled lets the factors of what it gates pass."""
        first, second = (self.channels[value] for value in call.inputs)
        gates = [self._all_pinned(channels) for channels in (first, second)]
        if not any(gates):
            self._unknown(call)
            return
        features = first if gates[1] else second
        self.part(features)
        self.channels[call.outputs[0]] = features

    def _unknown(self, call: Call) -> None:
        for value in call.inputs:
            self.pin(value)
        for value in call.outputs:
            self.pinned(value)

    # --- channels -----------------------------------------------------------------------------

    def pinned(self, value: int) -> None:
        """Enter a value that nothing may change."""
        self._new(value)
        self.pin(value)

    def pin(self, value: int) -> None:
        """Let nothing change a value any more."""
        channels = self.channels.get(value)
        if channels is not None:
            self.part(channels)
            self._pins.update(channels.tolist())

    def part(self, channels: np.ndarray) -> None:
        """Let no matrix mix channels any more."""
        for block in {self._block[channel] for channel in channels.tolist()}:
            self._block_is_whole[_root(self._block_parent, block)] = False

    def freedom(self) -> Freedom:
        """Number what is free."""
        roots = np.array([_root(self._parent, n) for n in range(len(self._parent))], int)
        pinned = {int(roots[n]) for n in self._pins}
        factors: dict[int, int] = {}
        matrices: dict[int, int] = {}
        sides: list[int] = []
        segments: dict[int, list[Segment]] = {}
        for value, channels in self.channels.items():
            blocks = [_root(self._block_parent, self._block[n]) for n in channels.tolist()]
            segments[value] = []
            start = 0
            while start < len(channels):
                stop, whole = start + 1, self._block_is_whole[blocks[start]]
                same = [blocks[start]]
                while stop < len(channels) and self._block_is_whole[blocks[stop]] == whole:
                    if whole and blocks[stop] != same[0]:
                        break
                    stop += 1
                if whole:
                    stop = start + self._width(channels[start])
                    if blocks[start] not in matrices:
                        matrices[blocks[start]] = len(sides)
                        sides.append(stop - start)
                    segments[value].append(Segment(start, stop, matrices[blocks[start]]))
                else:
                    own = roots[channels[start:stop]].tolist()
                    numbers = [
                        -1 if n in pinned else factors.setdefault(n, len(factors)) for n in own
                    ]
                    segments[value].append(Segment(start, stop, None, np.array(numbers, int)))
                start = stop
        return Freedom(sides, len(factors), segments)

    def _new(self, value: int) -> None:
        width = self.graph.shapes[value][-1] if len(self.graph.shapes[value]) > 1 else None
        if width is None:
            return
        first, block = len(self._parent), len(self._block_parent)
        self._parent += range(first, first + width)
        self._block += [block] * width
        self._block_parent.append(block)
        self._block_is_whole.append(True)
        self.channels[value] = np.arange(first, first + width)

    def _width(self, channel: int) -> int:
        return self._block.count(self._block[channel])

    def _has_channels(self, call: Call) -> bool:
        return all(value in self.channels for value in call.inputs)

    def _alike(self, call: Call) -> bool:
        widths = {len(self.channels[value]) for value in call.inputs}
        return len(call.inputs) == 2 and len(widths) == 1

    def _all_pinned(self, channels: np.ndarray) -> bool:
        return self._pins.issuperset(channels.tolist())

    def _is_whole(self, channels: np.ndarray) -> bool:
        blocks = {self._block[channel] for channel in channels.tolist()}
        return len(blocks) == 1 and len(channels) == self._width(channels[0])

    def _unite(self, one: int, other: int) -> None:
        self._parent[_root(self._parent, other)] = _root(self._parent, one)

    def _unite_blocks(self, one: int, other: int) -> None:
        one, other = (_root(self._block_parent, block) for block in (one, other))
        whole = self._block_is_whole[one] and self._block_is_whole[other]
        self._block_parent[other] = one
        self._block_is_whole[one] = whole


def _root(parents: list[int], number: int) -> int:
    while parents[number] != number:
        parents[number] = parents[parents[number]]
        number = parents[number]
    return number


def _channels_kept(call: Call) -> np.ndarray | None:
    """Return which channels a slice keeps, or None if it does not keep whole ones."""
    shape = call.node.input_tensors[0].shape
    numbers = np.arange(shape[-1], dtype=np.float32)
    sides = [1 if side is None else side for side in shape[:-1]]
    try:
        (kept,) = call.replay(call.operation, [np.broadcast_to(numbers, (*sides, len(numbers)))])
    except (ValueError, IndexError):
        return None
    kept = np.asarray(kept)
    if kept.ndim != len(shape) or not kept.size:
        return None
    first = kept.reshape(-1, kept.shape[-1])[0]
    return first.astype(int) if (kept == first).all() else None
