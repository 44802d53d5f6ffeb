"""Float TFLite files that store pruned kernels without their zeros, and when that makes them fast.

XNNPACK computes 1×1 convolutions sparsely where a network has the form of "Fast Sparse ConvNets"
(E. Elsen et al., CVPR 2020, arXiv 1911.09723) and the processor is no x86 with AVX, on which it
finds dense kernels faster. Where only a part of a network has that form, it turns the layout of
that part around and not back, and the outputs are wrong: such files are not written.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import UserError
from core.export.convert import to_tflite
from core.export.sparse_rules import ENDINGS, Node, nodes_of, zeros_and_size
from core.tflite.constants import told_with
from core.tflite.graph import read_bytes
from core.tflite.integrity import check_file

PRECISIONS = ("float32", "float16")


@dataclass(frozen=True)
class Condition:
    """One thing XNNPACK asks of a file.

    Attributes:
        number: As in the report.
        text: What must hold.
        violation: The first place where it does not, naming operator and layer; "" if it holds.
    """

    number: int
    text: str
    violation: str = ""

    @property
    def holds(self) -> bool:
        return not self.violation


@dataclass(frozen=True)
class SparseReport:
    """Whether a .tflite file runs on XNNPACK's sparse kernels, and what it weighs.

    Attributes:
        conditions: The seven conditions.
        encoded: Tensors stored without their zeros.
        zeros, parameters: Of all 1×1 convolutions.
        file_bytes, zip_bytes: Size of the file, and of a zip archive of it.
        safe: Whether every processor computes the network's outputs: all or nothing of the network
            is sparse.
        note: What else to know, or "".
    """

    conditions: tuple[Condition, ...]
    encoded: int
    zeros: int
    parameters: int
    file_bytes: int
    zip_bytes: int
    safe: bool
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether all conditions hold, so that the 1×1 convolutions run sparsely."""
        return all(condition.holds for condition in self.conditions)

    @property
    def sparsity(self) -> float:
        """Share of zeros over all 1×1 convolutions."""
        return self.zeros / self.parameters if self.parameters else 0.0

    def __str__(self) -> str:
        broken = [c for c in self.conditions if not c.holds]
        if not broken:
            return f"all conditions for sparse inference hold{'; ' if self.note else ''}{self.note}"
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        return f"condition {broken[0].number} fails: {broken[0].violation}{more}"


def sparse_tflite(model, precision: str = "float32") -> bytes:
    """Return the TFLite file of a pruned model with its sparse kernels stored sparsely.

    Kernels with few zeros stay dense, whatever their layer; the file computes the same function.

    Args:
        model: A functional Keras model with one image input of fixed size.
        precision: "float32" or "float16"; quantized files never run sparsely.

    Raises:
        UserError: When XNNPACK would compute a part of the network sparsely and the outputs
            wrongly, or an operator is not builtin.
    """
    if precision not in PRECISIONS:
        raise UserError(
            f"{model.name}: a sparse file is float32 or float16, not {precision}; for int8 the "
            "zeros only make the zip archive smaller, so export it without sparse."
        )
    content = to_tflite(model, precision, sparse=True)
    report = check_sparse(content)
    if not report.safe:
        raise UserError(
            f"{model.name}: stored sparsely it would compute wrong outputs on processors without "
            f"AVX, because only a part of it fits XNNPACK's sparse path: {report}; change that "
            "layer or export without sparse."
        )
    return content


def check_sparse(source) -> SparseReport:
    """Return which conditions of XNNPACK's sparse inference a .tflite file meets.

    Args:
        source: Path or bytes.

    Raises:
        UserError: When the file is missing, of another format or damaged.
    """
    from core.compress.analysis import compressed_size

    check_file(source)
    content = read_bytes(source)
    nodes, outputs, stored = nodes_of(content)
    path = _Path(nodes, outputs)
    encoded = {tensor.index for tensor in stored.values() if tensor.sparsity is not None}
    with told_with(source):
        counts = {n: zeros_and_size(n, stored) for n in nodes if n.is_pointwise}
    inner = _total(counts[n] for n in path.nodes if n.is_pointwise)
    form = path.conditions()
    whole = all(not violation for _, violation in form)
    # XNNPACK only looks for such a part of a network where something can begin and end it.
    begun = [n for n in nodes if n.begins]
    tempting = encoded and begun and any(n.operator.name in ENDINGS for n in nodes)
    found = (*form, _enough_zeros(*inner), _stored(encoded))
    zeros, parameters = _total(counts.values())
    return SparseReport(
        tuple(Condition(number, *condition) for number, condition in enumerate(found, start=1)),
        encoded=len(encoded),
        zeros=zeros,
        parameters=parameters,
        file_bytes=len(content),
        zip_bytes=compressed_size(content),
        safe=not tempting or (whole and all(n in path.nodes for n in begun)),
        note=_classifier_note(inner, _total(zeros_and_size(n, stored) for n in path.classifiers)),
    )


class _Path:
    """The part of a network that can only run sparsely as a whole.

    It is what the last pooling is computed from, back to the convolutions that can begin it, and
    everything else that its values flow into.

    Attributes:
        nodes: Its nodes in execution order, also those that do not fit.
        classifiers: Dense layers that read where it ends.
    """

    def __init__(self, nodes: list[Node], outputs: set[int]):
        self._outputs = outputs
        self._makers = {t.index: node for node in nodes for t in node.operator.outputs}
        self._readers = {n: [r for r in nodes if n.output in r.inputs] for n in nodes}
        self._ends = [node for node in nodes if node.ends]
        members: set[Node] = set()
        pending = self._ends[-1:] or [n for n in nodes if n.output in outputs]
        while pending:
            node = pending.pop()
            if node in members:
                continue
            members.add(node)
            if not node.begins:
                pending += [self._makers[t] for t in node.inputs if t in self._makers]
            if not node.complaint and not self._is_exit(node):
                pending += [r for r in self._readers[node] if r.inside or r.ends]
        self.nodes = [node for node in nodes if node in members]
        self.classifiers = [
            reader
            for node in self.nodes
            if self._is_exit(node)
            for reader in self._readers[node]
            if reader.operator.name == "FULLY_CONNECTED"
        ]

    def conditions(self) -> list[tuple[str, str]]:
        """Return conditions 1 to 5 as (what must hold, first violation)."""
        return [
            ("everything is float32 or float16", self._not_float()),
            ("it begins with a 3×3 convolution of 3 channels, stride 2, padding 1", self._start()),
            ("it ends with a pooling over height and width or DEPTH_TO_SPACE", self._end()),
            ("in between are only operators the sparse path knows", self._stranger()),
            ("no value in between is read elsewhere", self._leak()),
        ]

    def _is_exit(self, node: Node) -> bool:
        readers = self._readers[node]
        return node.ends and not (readers and any(reader.inside for reader in readers))

    def _not_float(self) -> str:
        return next((f"{n.label} {n.complaint}" for n in self.nodes if n.foreign_type), "")

    def _first(self) -> Node | None:
        """Return the convolution that should begin the path."""
        return next((n for n in self.nodes if "CONV" in n.operator.name), None)

    def _start(self) -> str:
        first = self._first()
        if first is None:
            return "there is no convolution"
        if not any(node.begins for node in self.nodes):
            return f"{first.label} {first.complaint or 'comes first'}"
        for node in self.nodes:
            if not node.begins and any(t not in self._makers for t in node.inputs):
                return f"{node.label} reads the network's input past that convolution"
        return ""

    def _end(self) -> str:
        if not self._ends:
            return "nothing pools over both; end with GlobalAveragePooling2D (keepdims=False)"
        for node in filter(self._is_exit, self.nodes):
            flat = all(
                r.operator.name in ("FULLY_CONNECTED", "RESHAPE") for r in self._readers[node]
            )
            if node.operator.options.get("keepDims") and (not flat or node.output in self._outputs):
                return (
                    f"{node.label} keeps its axes, which leave the path in another order; pool "
                    "with keepdims=False"
                )
        return ""

    def _stranger(self) -> str:
        first = self._first()
        begun = first is None or first.begins
        for node in self.nodes:
            fits = node.begins or node.inside or self._is_exit(node)
            if begun and not fits and node is not first and not node.foreign_type:
                return f"{node.label} {node.complaint or 'ends the path before its last pooling'}"
            begun = begun or node is first
        return ""

    def _leak(self) -> str:
        for node in self.nodes:
            if node.complaint or self._is_exit(node):
                continue
            if node.output in self._outputs:
                return f"{node.label} is an output of the network"
            for reader in self._readers[node]:
                if reader not in self.nodes:
                    return f"{node.label} is read by {reader.label}, which is outside"
        return ""


def _enough_zeros(zeros: int, parameters: int) -> tuple[str, str]:
    text = "more than two thirds of the weights of all 1×1 convolutions are zero"
    if not parameters:
        return text, "there are no 1×1 convolutions"
    return text, "" if 3 * zeros > 2 * parameters else f"only {zeros / parameters:.1%} are zero"


def _stored(encoded: set[int]) -> tuple[str, str]:
    text = "the file stores kernels without their zeros"
    return text, "" if encoded else "none is stored so; export with sparse_tflite"


def _classifier_note(inner: tuple[int, int], classifiers: tuple[int, int]) -> str:
    """Say what newer runtimes, which count the dense layer behind the pooling too, will do."""
    zeros, parameters = _total((inner, classifiers))
    if _enough_zeros(*inner)[1] or not _enough_zeros(zeros, parameters)[1]:
        return ""
    return (
        f"newer runtimes also count the dense layer behind the pooling; with it only "
        f"{zeros / parameters:.1%} are zero and they compute densely: prune it too"
    )


def _total(counts) -> tuple[int, int]:
    """Return the sums of (zeros, parameters) pairs."""
    columns = list(zip(*counts, strict=True)) or [(0,), (0,)]
    return sum(columns[0]), sum(columns[1])
