"""Which quantised operators XNNPACK, LiteRT's default CPU delegate, cannot or will not compute.

An int8 operator multiplies its integer result by a ratio of scales. XNNPACK takes only a range of
such ratios, and what happens outside differs by operator (read in XNNPACK's `src/operators` and
the delegate's `xnnpack_delegate.cc`, and tried on files with altered scales, ai-edge-litert 2.3):

* The whole file is refused ("failed to create XNNPACK runtime", raised by `allocate_tensors`) by a
  convolution, depthwise or transposed convolution or fully-connected layer with
  input_scale * weight_scale / output_scale >= 256 in any channel; by an activation whose scale is
  not a positive normal float; and by a pooling, padding, transposing, slicing, splitting,
  joining or resizing operator whose input and output scales differ.
* A BATCH_MATMUL by a constant with a ratio above 255 ends the process.
* The operator alone is left to the reference kernels (slower, still right) when ADD or SUB have
  input_scale / output_scale outside [2^-10, 2^8), MUL has s1 * s2 / s_out outside [2^-16, 2^8),
  LEAKY_RELU or an int8 to int8 QUANTIZE outside [2^-8, 2^7] (LEAKY_RELU's negative side too), or
  RESHAPE changes the scale.
* Nothing is refused, but the kernels assume it, below 2^-32 in the convolutions: the channel's
  output is constant.

AVERAGE_POOL_2D, SOFTMAX, HARD_SWISH, GELU, MAXIMUM, DIV, PRELU and nearest resizing in int8, and
every int16 operator, never reach XNNPACK; LOGISTIC, TANH, MEAN and SUM take any scale.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from core.tflite.graph import Operator, Tensor, operators

CONVOLUTIONS = {
    "CONV_2D": (0, 1),
    "DEPTHWISE_CONV_2D": (0, 1),
    "FULLY_CONNECTED": (0, 1),
    "TRANSPOSE_CONV": (2, 1),
}
SAME_SCALE = {
    "CONCATENATION",
    "DEPTH_TO_SPACE",
    "MAX_POOL_2D",
    "PAD",
    "RESIZE_BILINEAR",
    "SLICE",
    "SPACE_TO_DEPTH",
    "SPLIT",
    "STRIDED_SLICE",
    "TRANSPOSE",
}
SMALLEST_NORMAL = 2.0**-126


@dataclass(frozen=True)
class Requantisation:
    """One ratio of scales and the range XNNPACK takes.

    Attributes:
        operator: Index in the main graph.
        kind: The operator's name.
        tensor: Name of its output (for an activation's scale: of that tensor).
        value: The ratio; of a per-channel operator the channel nearest to or farthest outside a
            bound.
        low, high: The range taken, low <= value < high (LEAKY_RELU, QUANTIZE, BATCH_MATMUL and
            equal scales: <= high).
        ok: Whether `value` is in the range.
        effect: What happens outside: "refused" (the delegate fails for the whole file), "crash"
            (the process ends), "reference" (this operator runs in the slower kernels),
            "constant" (the output loses all its values).
        channel: The output channel of `value`; None when there is one ratio only.
    """

    operator: int
    kind: str
    tensor: str
    value: float
    low: float
    high: float
    ok: bool
    effect: str
    channel: int | None = None

    @property
    def fatal(self) -> bool:
        """Whether the file cannot be run by the default delegate because of this ratio."""
        return not self.ok and self.effect in ("refused", "crash")

    def __str__(self) -> str:
        where = "" if self.channel is None else f", channel {self.channel}"
        return (
            f"{self.kind} #{self.operator} ('{self.tensor}'{where}): {self.value:.4g} is "
            f"{'within' if self.ok else 'outside'} {self.low:.4g} to {self.high:.4g}"
        )


def requantisation(source: str | os.PathLike | bytes) -> list[Requantisation]:
    """Return every limited ratio of the int8 and uint8 operators of a .tflite file.

    Args:
        source: Path or bytes.

    Returns:
        One entry for each ratio, in execution order; of per-channel operators the largest ratio,
        and the smallest too where it is below the range. Float files give an empty list.

    Raises:
        UserError: When the file is missing, of another format or damaged.
    """
    found: list[Requantisation] = []
    for operator in operators(source):
        if operator.subgraph == 0:
            found.extend(_of_operator(operator))
    return found


def _of_operator(operator: Operator):
    if not operator.outputs or not _int8(operator.outputs[0]):
        return
    output = operator.outputs[0]
    for tensor in operator.outputs:
        if not _normal(tensor.scales[0]):
            yield _entry(operator, tensor.scales[0], SMALLEST_NORMAL, math.inf, "refused", tensor)
            return
    inputs = [t for t in operator.inputs if t is not None and _int8(t)]
    scale = output.scales[0]
    if operator.name in CONVOLUTIONS:
        source, weights = (operator.inputs[i] for i in CONVOLUTIONS[operator.name])
        if source in inputs and weights in inputs:
            yield from _channels(operator, source.scales[0], weights.scales, scale)
    elif operator.name == "BATCH_MATMUL":
        if len(inputs) == 2 and inputs[1].constant and set(inputs[1].zero_points) == {0}:
            for factor in (inputs[0].scales[0] * s / scale for s in inputs[1].scales):
                yield _entry(operator, factor, 0.0, 255.0, "crash", closed=True)
    elif operator.name in ("ADD", "SUB"):
        for tensor in inputs:
            yield _entry(operator, tensor.scales[0] / scale, 2.0**-10, 2.0**8, "reference")
    elif operator.name == "MUL" and len(inputs) == 2:
        product = inputs[0].scales[0] * inputs[1].scales[0] / scale
        yield _entry(operator, product, 2.0**-16, 2.0**8, "reference")
    elif operator.name in ("LEAKY_RELU", "QUANTIZE") and inputs:
        ratio = inputs[0].scales[0] / scale
        if operator.name == "LEAKY_RELU" or inputs[0].dtype == output.dtype:
            yield _entry(operator, ratio, 2.0**-8, 2.0**7, "reference", closed=True)
        if operator.name == "LEAKY_RELU":
            negative = abs(ratio * operator.options.get("alpha", 0.0))
            yield _entry(operator, negative, 2.0**-8, 2.0**7, "reference", closed=True)
    elif operator.name in SAME_SCALE or operator.name == "RESHAPE":
        effect = "reference" if operator.name == "RESHAPE" else "refused"
        for tensor in inputs:
            for result in operator.outputs:
                # A differing zero point is refused like a differing scale; NaN says "not equal".
                same = tensor.zero_points[:1] == result.zero_points[:1]
                ratio = tensor.scales[0] / result.scales[0] if same else math.nan
                yield _entry(operator, ratio, 1.0, 1.0, effect, result, closed=True)


def _channels(operator: Operator, source: float, weights: tuple[float, ...], output: float):
    ratios = [source * weight / output for weight in weights]
    largest = max(range(len(ratios)), key=ratios.__getitem__)
    smallest = min(range(len(ratios)), key=ratios.__getitem__)
    several = len(ratios) > 1
    yield _entry(
        operator, ratios[largest], 2.0**-32, 256.0, "refused", channel=largest if several else None
    )
    if several and ratios[smallest] < 2.0**-32 <= ratios[largest]:
        yield _entry(operator, ratios[smallest], 2.0**-32, 256.0, "refused", channel=smallest)


def _entry(operator, value, low, high, effect, tensor=None, *, closed=False, channel=None):
    ok = low <= value <= high if closed else low <= value < high
    if operator.name in CONVOLUTIONS and value < low:
        effect = "constant" if tensor is None else effect
    name = (tensor or operator.outputs[0]).name
    return Requantisation(
        operator.index, operator.name, name, value, low, high, ok, effect, channel
    )


def _int8(tensor: Tensor) -> bool:
    return tensor.dtype in ("int8", "uint8") and bool(tensor.scales)


def _normal(scale: float) -> bool:
    return math.isfinite(scale) and scale >= SMALLEST_NORMAL
