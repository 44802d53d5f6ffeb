"""What the builtin operators need to be computed: so many operands, of such ranks, such options.

The runtime takes missing options for zeros and then divides by a stride of 0, and reads a missing
operand from where none is.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Form:
    """What an operator needs.

    Attributes:
        ranks: Number of axes of each input that must be there; None is any.
        output: Number of axes of the first output.
        options: The schema's table of its options, without which it makes no sense.
    """

    ranks: tuple[int | None, ...] = ()
    output: int | None = None
    options: str = ""


_ONE, _TWO = Form((None,)), Form((None, None))
_POOLING = Form((4,), 4, "Pool2DOptions")

FORMS: dict[str, Form] = {
    "CONV_2D": Form((4, 4), 4, "Conv2DOptions"),
    "DEPTHWISE_CONV_2D": Form((4, 4), 4, "DepthwiseConv2DOptions"),
    "CONV_3D": Form((5, 5), 5, "Conv3DOptions"),
    "CONV_3D_TRANSPOSE": Form((1, 5, 5), 5, "Conv3DOptions"),
    "TRANSPOSE_CONV": Form((1, 4, 4), 4, "TransposeConvOptions"),
    "FULLY_CONNECTED": Form((None, 2), None, "FullyConnectedOptions"),
    "BATCH_MATMUL": Form((None, None), None, "BatchMatMulOptions"),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"), _POOLING),
    "DEPTH_TO_SPACE": Form((4,), 4, "DepthToSpaceOptions"),
    "SPACE_TO_DEPTH": Form((4,), 4, "SpaceToDepthOptions"),
    "RESIZE_BILINEAR": Form((4, 1), 4, "ResizeBilinearOptions"),
    "RESIZE_NEAREST_NEIGHBOR": Form((4, 1), 4, "ResizeNearestNeighborOptions"),
    "CONCATENATION": Form((None,), None, "ConcatenationOptions"),
    "STRIDED_SLICE": Form((None, 1, 1, 1), None, "StridedSliceOptions"),
    "SPLIT": Form((None, None), None, "SplitOptions"),
    "SPLIT_V": Form((None, None, None), None, "SplitVOptions"),
    "PACK": Form((None,), None, "PackOptions"),
    "UNPACK": Form((None,), None, "UnpackOptions"),
    "LEAKY_RELU": Form((None,), None, "LeakyReluOptions"),
    "SOFTMAX": Form((None,), None, "SoftmaxOptions"),
    **dict.fromkeys(("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "POW"), _TWO),
    **dict.fromkeys(("SQUARED_DIFFERENCE", "FLOOR_DIV", "FLOOR_MOD", "GATHER"), _TWO),
    **dict.fromkeys(("EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS"), _TWO),
    **dict.fromkeys(("LESS_EQUAL", "LOGICAL_AND", "LOGICAL_OR", "PRELU", "TILE"), _TWO),
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"), _TWO),
    **dict.fromkeys(("TRANSPOSE", "BROADCAST_TO", "ARG_MAX", "ARG_MIN", "PAD", "MIRROR_PAD"), _TWO),
    **dict.fromkeys(("PADV2", "SLICE", "SELECT", "SELECT_V2"), Form((None, None, None))),
    **dict.fromkeys(("RELU", "RELU6", "RELU_N1_TO_1", "LOGISTIC", "TANH", "ELU", "GELU"), _ONE),
    **dict.fromkeys(("HARD_SWISH", "EXP", "LOG", "SQRT", "RSQRT", "SQUARE", "ABS", "NEG"), _ONE),
    **dict.fromkeys(("FLOOR", "CEIL", "ROUND", "SIN", "COS", "SIGN", "LOGICAL_NOT"), _ONE),
    **dict.fromkeys(("QUANTIZE", "DEQUANTIZE", "DENSIFY", "CAST", "SHAPE", "RANK"), _ONE),
    **dict.fromkeys(("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "L2_NORMALIZATION"), _ONE),
    **dict.fromkeys(("LOG_SOFTMAX", "ZEROS_LIKE"), _ONE),
}
NONE = Form()


def misfit(name: str, inputs: list[int | None], outputs: list[int], options: str) -> str:
    """Return what does not fit an operator, as the middle of a sentence, or "".

    Args:
        name: Builtin name ("CONV_2D").
        inputs: Number of axes of each input; None for one that is omitted.
        outputs: Number of axes of each output.
        options: The schema's name of the table of options, or "".
    """
    form = FORMS.get(name, NONE)
    if len(inputs) < len(form.ranks):
        return "lacks inputs"
    for found, wanted in zip(inputs, form.ranks, strict=False):
        if found is None:
            return "lacks an input"
        if wanted is not None and found != wanted:
            return f"has an input of {found} axes instead of {wanted}"
    if form is not NONE and not outputs:
        return "lacks outputs"
    if form.output is not None and outputs[0] != form.output:
        return f"has an output of {outputs[0]} axes instead of {form.output}"
    if form.options and options != form.options:
        return "lacks its options"
    return ""
