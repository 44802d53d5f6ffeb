"""What XNNPACK's sparse path accepts, operator by operator (`xnn_check_nchw_compatibility`).

The path keeps its values channels first: it begins at a convolution that turns the image around,
goes through operators that know this layout, and ends at one that turns it back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.tflite.constants import values_of
from core.tflite.graph import Operator, operators, sound_model, values
from core.tflite.layer_names import Stored, layer_of, stored_constants

FLOATS = ("float16", "float32")
VALID = 1  # the schema's Padding.VALID; SAME is 0
ENDINGS = ("MEAN", "SUM", "DEPTH_TO_SPACE")
UNARY = {
    "ABS", "CEIL", "ELU", "EXP", "FLOOR", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "NEG",
    "RELU", "RELU6", "RELU_N1_TO_1", "ROUND", "RSQRT", "SQRT", "SQUARE", "TANH",
}  # fmt: skip
EXPLICIT = "build it as ZeroPadding2D({0}) and padding 'valid', on a map of even size"


@dataclass(eq=False)
class Node:
    """An operator with its padding merged in and its unpacked constants left out.

    Attributes:
        operator: The operator.
        label: How it is called in messages.
        inputs: Numbers of the tensors it reads that are no constants.
        padding: (top, bottom, left, right) of a convolution; None where SAME is not symmetric.
        begins, inside, ends: The parts of the sparse path it can be.
        complaint: Why it can be none of them, or "".
    """

    operator: Operator
    label: str
    inputs: list[int]
    padding: tuple[int, int, int, int] | None = None
    begins: bool = False
    inside: bool = False
    ends: bool = False
    complaint: str = ""

    @property
    def output(self) -> int:
        return self.operator.outputs[0].index

    @property
    def foreign_type(self) -> str:
        """The first type it computes in that is no float, or ""."""
        computed = [t for t in self.operator.inputs if t is not None and t.index in self.inputs]
        return next(
            (t.dtype for t in (*computed, *self.operator.outputs) if t.dtype not in FLOATS), ""
        )

    @property
    def is_pointwise(self) -> bool:
        return self.operator.name == "CONV_2D" and self.operator.operand(1).shape[1:3] == (1, 1)


def nodes_of(content: bytes) -> tuple[list[Node], set[int], Stored]:
    """Return a file's main graph: nodes in execution order, output tensors, unpacked constants.

    Raises:
        UserError: When the file is of another format or damaged.
    """
    listed = [operator for operator in operators(content) if operator.subgraph == 0]
    stored = stored_constants(listed)
    nodes: list[Node] = []
    for operator in listed:
        if (0, operator.outputs[0].index) in stored:
            continue
        inputs = [t for t in operator.inputs if t is not None and not t.constant]
        read = [t.index for t in inputs if (0, t.index) not in stored]
        layer = layer_of(operator, stored)
        name = f"{operator.name} ({layer})" if layer else f"{operator.name} #{operator.index}"
        nodes.append(Node(operator, name, list(dict.fromkeys(read))))
    _merge_pads(nodes)
    for node in nodes:
        _judge(node)
    return nodes, set(values(sound_model(content).subgraphs[0].outputs)), stored


def _merge_pads(nodes: list[Node]) -> None:
    """Give the convolutions their padding; a PAD read by one of them alone is part of it."""
    for node in list(nodes):
        if node.operator.name not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            continue
        node.padding = _own_padding(node.operator)
        pad = next((n for n in nodes if n.inputs and n.output in node.inputs), None)
        if pad is None or pad.operator.name != "PAD" or node.padding != (0, 0, 0, 0):
            continue
        amounts = pad.operator.inputs[1]
        readers = sum(pad.output in other.inputs for other in nodes)
        if readers == 1 and amounts is not None and amounts.constant:
            batch, rows, columns, channels = values_of(amounts).tolist()
            if batch == channels == [0, 0]:
                node.padding, node.inputs = (*rows, *columns), pad.inputs
                nodes.remove(pad)


def _own_padding(operator: Operator) -> tuple[int, int, int, int] | None:
    options, (height, width) = operator.options, operator.operand(1).shape[1:3]
    if options["padding"] == VALID:
        return (0, 0, 0, 0)
    if options["strideH"] != 1 or options["strideW"] != 1:
        return None
    rows, columns = (
        (height - 1) * options["dilationHFactor"],
        (width - 1) * options["dilationWFactor"],
    )
    return (rows // 2, rows - rows // 2, columns // 2, columns - columns // 2)


def _judge(node: Node) -> None:
    """Set which parts of the path a node can be."""
    name, operator = node.operator.name, node.operator
    if node.foreign_type:
        node.complaint = f"computes in {node.foreign_type}"
    elif name == "CONV_2D":
        _judge_convolution(node)
    elif name == "DEPTHWISE_CONV_2D":
        _judge_depthwise(node)
    elif name == "DEPTH_TO_SPACE":
        node.ends = True
    elif name in ENDINGS:
        axes = operator.inputs[1]
        spatial = axes is not None and axes.constant and set(values_of(axes).ravel() % 4) == {1, 2}
        node.inside = node.ends = spatial and len(operator.operand(0).shape) == 4
        node.complaint = "" if node.ends else "is not over height and width"
    elif name in ("ADD", "MUL"):
        pair = (operator.operand(0), operator.operand(1))
        node.inside = all(len(t.shape) == 4 and t.index in node.inputs for t in pair)
        node.complaint = "" if node.inside else "takes a constant, or a value that is not 4-D"
    elif name == "RESIZE_BILINEAR":
        node.inside = min(operator.operand(0).shape[1:3]) > 1
        node.complaint = "" if node.inside else "enlarges a map of one pixel"
    elif name in UNARY:
        node.inside = len(operator.operand(0).shape) == 4
        node.complaint = "" if node.inside else "takes a value that is not 4-D"
    else:
        node.complaint = "is an operator the sparse path does not know"


def _judge_convolution(node: Node) -> None:
    options, image = node.operator.options, node.operator.operand(0)
    _, *window, channels = node.operator.operand(1).shape
    strides = (options["strideH"], options["strideW"])
    if channels != image.shape[3]:
        node.complaint = "is grouped"
    elif (options["dilationHFactor"], options["dilationWFactor"]) != (1, 1):
        node.complaint = "is dilated"
    elif window == [1, 1]:
        node.inside = strides == (1, 1) and node.padding == (0, 0, 0, 0)
        node.complaint = "" if node.inside else f"is 1×1 with stride {strides[0]} or padding"
    elif window != [3, 3]:
        node.complaint = f"is {window[0]}×{window[1]}"
    elif strides != (2, 2):
        node.complaint = f"is 3×3 with stride {strides[0]}"
    elif channels != 3:
        node.complaint = f"is 3×3 with {channels} input channels, not 3"
    elif node.padding != (1, 1, 1, 1):
        node.complaint = f"is not padded by 1 on all four sides: {EXPLICIT.format(1)}"
    else:
        node.begins = True


def _judge_depthwise(node: Node) -> None:
    options, kernel = node.operator.options, node.operator.operand(1).shape
    window, strides = kernel[1:3], (options["strideH"], options["strideW"])
    side = window[0] // 2
    if options["depthMultiplier"] != 1 or kernel[3] != node.operator.operand(0).shape[3]:
        node.complaint = "has a depth multiplier"
    elif (options["dilationHFactor"], options["dilationWFactor"]) != (1, 1):
        node.complaint = "is dilated"
    elif strides not in ((1, 1), (2, 2)):
        node.complaint = f"has stride {strides}"
    elif window not in ((3, 3), (5, 5)):
        node.complaint = f"is {window[0]}×{window[1]}, neither 3×3 nor 5×5"
    elif node.padding != (side,) * 4:
        node.complaint = f"is not padded by {side} on all four sides: {EXPLICIT.format(side)}"
    else:
        node.inside = True


def zeros_and_size(node: Node, stored: Stored) -> tuple[int, int]:
    """Return how many weights of a convolution or dense layer are zero, and how many it has."""
    kernel = node.operator.operand(1)
    kernel = stored.get((0, kernel.index), kernel)
    if kernel.data is None:
        return 0, 0
    array = values_of(kernel)
    return int(np.count_nonzero(array == 0)), array.size
