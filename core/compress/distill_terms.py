"""What a student may learn from its teacher: the terms of distillation, functions of tensors.

A term is a small frozen dataclass. It says which pairs of layers it looks at, checks their shapes
once, and turns what a batch gave in both networks into one number, computed in float32. An app
adds its own by subclassing `Term`; the batch's targets are handed to it too.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import tensorflow as tf

from core.compress.feature_maps import block_side, float32, grid, pooled, same_size, size_of, unit
from core.errors import UserError

DISTANCES = ("mse", "l1", "cosine")

Pair = tuple[str, str]
Pairs = Mapping[str, str] | Sequence[Pair]


@dataclass(frozen=True)
class View:
    """What a term sees of one network.

    Attributes:
        name: The network's.
        outputs: Its outputs; float32 for a batch, symbolic while shapes are checked.
        features: Outputs of the layers of `Term.layer_pairs`, in that order.
        weights: How far the network is to be followed on each sample, float32 (N,); None: on all
            alike. Only a teacher has them, and `SoftTargets` heeds them.
    """

    name: str
    outputs: Sequence[Any]
    features: Sequence[Any] = ()
    weights: Any = None


class Term(abc.ABC):
    """One addend of a distillation loss.

    Attributes:
        name: Of the metric that shows its value, `<name>_loss`.
        weight: Its factor in the sum.
    """

    name: ClassVar[str]
    weight: float

    @property
    def layer_pairs(self) -> tuple[Pair, ...]:
        """(student layer, teacher layer) whose outputs the term needs."""
        return ()

    @property
    def projects(self) -> bool:
        """Whether student features of another width go through a learned 1x1 projection."""
        return False

    def check(self, student: View, teacher: View) -> None:  # noqa: B027  (most terms take any)
        """Raise a `UserError` when the symbolic shapes do not fit."""

    @abc.abstractmethod
    def __call__(self, student: View, teacher: View, targets: Any = None) -> tf.Tensor:
        """Return the term's value for a batch, a float32 scalar without `weight`.

        Args:
            student: Outputs and features of the student; gradients flow through them.
            teacher: Those of the teacher, constants.
            targets: The batch's targets as `fit` has them.
        """


@dataclass(frozen=True)
class SoftTargets(Term):
    """The teacher's softened class probabilities.

    T² · KL(p_teacher ‖ p_student) with p = softmax(logits / T) over the last axis, the mean over
    batch and positions; where the last axis has size 1, the two-class form with
    p = sigmoid(logit / T). The factor T² keeps the gradient's size independent of T.

    With weights w of the samples it is the mean of w times a sample's value, not divided by their
    sum: a sample the teacher knows nothing of makes the term smaller, not the others stronger.

    G. Hinton, O. Vinyals, J. Dean, "Distilling the knowledge in a neural network", 2015
    (arXiv:1503.02531), section 2.

    Args:
        temperature: T > 0.
        weight: Factor in the sum.
        output: Position of the output that is compared, in both networks; logits (N, ..., C).
        classes: For each of the student's classes its place among the teacher's; other classes of
            the teacher are left out. None: both have the same.
    """

    name: ClassVar[str] = "soft_targets"
    temperature: float = 4.0
    weight: float = 1.0
    output: int = 0
    classes: tuple[int, ...] | None = None

    def __post_init__(self):
        _check_weight(self.weight)
        if self.classes is not None and not (self.classes and min(self.classes) >= 0):
            raise ValueError(f"`classes` must be places from 0. Received: {self.classes}")
        if not 0.0 < self.temperature < math.inf:
            raise ValueError(f"`temperature` must be positive. Received: {self.temperature}")

    def check(self, student: View, teacher: View) -> None:
        for view in (student, teacher):
            if not 0 <= self.output < len(view.outputs):
                raise UserError(
                    f"{view.name}: has {len(view.outputs)} outputs, so soft targets cannot use "
                    f"output {self.output}; choose another."
                )
        ours, theirs = (tuple(v.outputs[self.output].shape) for v in (student, teacher))
        if self.classes is not None and max(self.classes) < theirs[-1]:
            theirs = (*theirs[:-1], len(self.classes))
        fits = len(ours) == len(theirs) and all(
            a == b or None in (a, b) for a, b in zip(ours, theirs, strict=True)
        )
        if not fits or ours[-1] != theirs[-1]:
            raise UserError(
                f"{student.name}: its output {_shown(ours)} differs from the output "
                f"{_shown(theirs)} of the teacher {teacher.name}; soft targets need equal "
                "classes and sizes: choose another teacher, or terms on features only."
            )

    def __call__(self, student: View, teacher: View, targets: Any = None) -> tf.Tensor:
        self.check(student, teacher)  # sizes left open in the models are known for a batch
        taught = teacher.outputs[self.output]
        if self.classes is not None:
            taught = tf.gather(taught, list(self.classes), axis=-1)
        return self.compare(student.outputs[self.output], taught, teacher.weights)

    def compare(self, student: Any, teacher: Any, weights: Any = None) -> tf.Tensor:
        """Return the term for two logit tensors (N, ..., C) of one shape, and samples' weights."""
        student, teacher = float32(student), float32(teacher)
        _assert_same_shape(student, teacher, "outputs of student and teacher")
        student, teacher = student / self.temperature, teacher / self.temperature
        if student.shape[-1] == 1:
            # Both classes' log probabilities: log p and log(1 − p) = log sigmoid(−logit).
            student, teacher = (tf.concat([x, -x], -1) for x in (student, teacher))
            log_student, log_teacher = tf.math.log_sigmoid(student), tf.math.log_sigmoid(teacher)
        else:
            log_student, log_teacher = tf.nn.log_softmax(student), tf.nn.log_softmax(teacher)
        divergence = tf.reduce_sum(tf.exp(log_teacher) * (log_teacher - log_student), axis=-1)
        if weights is not None:
            by_sample = tf.reshape(divergence, (tf.shape(divergence)[0], -1))
            divergence = tf.reduce_mean(by_sample, axis=-1) * tf.reshape(float32(weights), (-1,))
        return self.temperature**2 * tf.reduce_mean(divergence)


class PairTerm(Term):
    """A term on features: the mean over its pairs of layers, so that `weight` fits any number.

    Papers that sum over the pairs are met with `weight` times the number of pairs.
    """

    pairs: Pairs  # a tuple of pairs once the term is made
    positions: ClassVar[bool] = True  # whether features must have positions, (N, ..., C)

    @property
    def layer_pairs(self) -> tuple[Pair, ...]:
        return cast(tuple[Pair, ...], self.pairs)

    @abc.abstractmethod
    def compare(self, student: Any, teacher: Any) -> tf.Tensor:
        """Return the value for the features of one pair."""

    def __call__(self, student: View, teacher: View, targets: Any = None) -> tf.Tensor:
        self.check(student, teacher)  # sizes left open in the models are known for a batch
        values = [
            self.compare(a, b) for a, b in zip(student.features, teacher.features, strict=True)
        ]
        return tf.add_n(values) / len(values)

    def check(self, student: View, teacher: View) -> None:
        for (name, other), ours, theirs in zip(
            self.layer_pairs, student.features, teacher.features, strict=True
        ):
            ours, theirs = tuple(ours.shape), tuple(theirs.shape)
            where = f"{student.name}.{name} {_shown(ours)} and {teacher.name}.{other}"
            where += f" {_shown(theirs)}"
            smallest = 3 if self.positions else 2
            if not (len(ours) == len(theirs) and smallest <= len(ours) <= 4):
                raise UserError(
                    f"{where}: cannot be compared by {self.name}, which takes "
                    f"{'(N, L, C)' if self.positions else '(N, C), (N, L, C)'} or (N, H, W, C) on "
                    "both sides; choose other layers."
                )
            for a, b in zip(ours[1:-1], theirs[1:-1], strict=True):
                if a and b and max(a, b) % min(a, b):
                    raise UserError(
                        f"{where}: their sizes differ by no integer factor; choose layers of the "
                        "same size or of an exact multiple."
                    )
            self._check_widths(where, ours[-1], theirs[-1])

    def _check_widths(self, where: str, ours: int, theirs: int) -> None:
        """Raise a `UserError` when the numbers of channels do not fit."""


@dataclass(frozen=True)
class FeatureMatch(PairTerm):
    """The teacher's features themselves.

    Distances: "mse" and "l1" are means over all elements, "cosine" is the mean over positions of
    1 − cos between the channel vectors. The finer of two maps is average-pooled to the coarser.

    A. Romero et al., "FitNets: hints for thin deep nets", ICLR 2015 (arXiv:1412.6550), with 1x1
    convolutions for regressors. A pair of output layers compares outputs.

    Args:
        pairs: Student layer → teacher layer; features (N, C), (N, L, C) or (N, H, W, C).
        weight: Factor in the sum.
        distance: One of `DISTANCES`.
        project: Whether a learned 1x1 projection brings the student's width to the teacher's
            where they differ; without it, different widths are an error.
    """

    name: ClassVar[str] = "feature_match"
    positions: ClassVar[bool] = False
    pairs: Pairs
    weight: float = 1.0
    distance: str = "mse"
    project: bool = True

    def __post_init__(self):
        _set_pairs(self)
        if self.distance not in DISTANCES:
            raise ValueError(f"`distance` must be one of {DISTANCES}. Received: {self.distance!r}")

    @property
    def projects(self) -> bool:
        return self.project

    def _check_widths(self, where: str, ours: int, theirs: int) -> None:
        if ours != theirs and not self.project:
            raise UserError(
                f"{where}: have different widths; allow the projection (`project=True`) or choose "
                "layers of one width."
            )

    def compare(self, student: Any, teacher: Any) -> tf.Tensor:
        student, teacher = float32(student), float32(teacher)
        if len(student.shape) > 2:
            student, teacher = same_size(grid(student), grid(teacher))
        if self.distance == "cosine":
            cosine = tf.reduce_sum(unit(student, -1) * unit(teacher, -1), axis=-1)
            return tf.reduce_mean(1.0 - cosine)
        difference = student - teacher
        return tf.reduce_mean(
            tf.square(difference) if self.distance == "mse" else tf.abs(difference)
        )


@dataclass(frozen=True)
class AttentionTransfer(PairTerm):
    """Where the teacher's features are strong.

    Q = Σ_c |F_c|^p over the channels, flattened and divided by its Euclidean norm; the value is
    the mean squared difference of both networks' Q. The finer of two maps is average-pooled to
    the coarser before it is normalised.

    S. Zagoruyko, N. Komodakis, "Paying more attention to attention", ICLR 2017 (arXiv:1612.03928),
    equation 2 with the squared distance and the mean of their code; their β is 1000 for each pair.

    Args:
        pairs: Student layer → teacher layer; features (N, L, C) or (N, H, W, C) of any widths.
        weight: Factor in the sum.
        power: p ≥ 1.
    """

    name: ClassVar[str] = "attention_transfer"
    pairs: Pairs
    weight: float = 1000.0
    power: float = 2.0

    def __post_init__(self):
        _set_pairs(self)
        if not 1.0 <= self.power < math.inf:
            raise ValueError(f"`power` must be at least 1. Received: {self.power}")

    def compare(self, student: Any, teacher: Any) -> tf.Tensor:
        maps = same_size(self.attention(student), self.attention(teacher))
        ours, theirs = (unit(tf.reshape(x, (tf.shape(x)[0], -1)), -1) for x in maps)
        return tf.reduce_mean(tf.square(ours - theirs))

    def attention(self, features: Any) -> tf.Tensor:
        """Return Σ_c |F_c|^p, not normalised, (N, H, W, 1)."""
        features = tf.abs(grid(float32(features)))
        powered = tf.square(features) if self.power == 2 else tf.pow(features, self.power)
        return tf.reduce_sum(powered, axis=-1, keepdims=True)


@dataclass(frozen=True)
class Affinity(PairTerm):
    """How alike the teacher finds any two positions of an input.

    Each position's channel vector is divided by its norm (+ 1e-8); A = Fᵀ F holds the inner
    products of all pairs of positions, (N, P, P), and the value is the mean absolute difference
    of both networks' A.

    Z. He et al., "FAKD: feature-affinity based knowledge distillation for efficient image
    super-resolution", ICIP 2020. Maps of more than `max_positions` positions are average-pooled
    first, in blocks of k by k without overlap, incomplete ones at the border included.

    Args:
        pairs: Student layer → teacher layer; features (N, L, C) or (N, H, W, C) of any widths.
        weight: Factor in the sum.
        max_positions: P at most; A takes 4 P² bytes for each sample.
    """

    name: ClassVar[str] = "affinity"
    pairs: Pairs
    weight: float = 1.0
    max_positions: int = 48 * 48

    def __post_init__(self):
        _set_pairs(self)
        if self.max_positions < 1:
            raise ValueError(f"`max_positions` must be positive. Received: {self.max_positions}")

    def compare(self, student: Any, teacher: Any) -> tf.Tensor:
        maps = same_size(grid(float32(student)), grid(float32(teacher)))
        ours, theirs = (self.matrix(x) for x in maps)
        return tf.reduce_mean(tf.abs(ours - theirs))

    def matrix(self, features: Any) -> tf.Tensor:
        """Return A of features (N, H, W, C): (N, P, P)."""
        features = float32(features)
        height, width = size_of(features)
        features = pooled(features, block_side(height, width, self.max_positions))
        channels = features.shape[-1]
        vectors = unit(tf.reshape(features, (tf.shape(features)[0], -1, channels)), -1)
        return tf.matmul(vectors, vectors, transpose_b=True)


# --- checks --------------------------------------------------------------------------------------
def _assert_same_shape(a: tf.Tensor, b: tf.Tensor, what: str) -> None:
    if not a.shape.is_compatible_with(b.shape):
        raise ValueError(f"The {what} must have one shape. Received: {a.shape}, {b.shape}")
    if not (a.shape[1:].is_fully_defined() and b.shape[1:].is_fully_defined()):
        tf.debugging.assert_equal(tf.shape(a), tf.shape(b), f"The {what} differ in shape.")


def _set_pairs(term: PairTerm) -> None:
    """Check the arguments all terms on features have; bring `pairs` to a tuple of pairs."""
    _check_weight(term.weight)
    given = term.pairs.items() if isinstance(term.pairs, Mapping) else term.pairs
    pairs = tuple(tuple(pair) if not isinstance(pair, str) else (pair,) for pair in given)
    if not pairs or not all(len(p) == 2 and all(isinstance(n, str) for n in p) for p in pairs):
        raise ValueError(
            "`pairs` must hold (student layer, teacher layer) names, at least one pair. "
            f"Received: {term.pairs!r}"
        )
    object.__setattr__(term, "pairs", pairs)


def _check_weight(weight: float) -> None:
    if not 0.0 <= weight < math.inf:
        raise ValueError(f"`weight` must be a finite number from 0. Received: {weight}")


def _shown(shape: tuple) -> str:
    return "(" + ", ".join("any" if side is None else str(side) for side in shape[1:]) + ")"
