"""Teacher and student: train a small network on the task's own loss and on what a large one knows.

The student's loss is the one given to `compile`; terms on outputs and on features of both networks
(`core.compress.distill_terms`) are added to it. The `Distiller` takes the student's place wherever
a Keras model is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from core.compress.distill_terms import (
    Affinity,
    AttentionTransfer,
    FeatureMatch,
    SoftTargets,
    Term,
    View,
)
from core.errors import UserError, near_miss

__all__ = [
    "Affinity",
    "AttentionTransfer",
    "Distiller",
    "FeatureMatch",
    "SoftTargets",
    "Term",
    "View",
]

MANY_NAMES = 12  # so many layers are listed where none comes close to an unknown name
_FEATURES = "_gossamer_features"


class Distiller(keras.Model):
    """Trains a student under a frozen teacher.

    total = task_weight · (loss of `compile`) + Σ weight · term + the layers' own losses

    A call returns the student's outputs; `fit`, `evaluate` and `predict` work as on the student.
    Logged are `loss` (the total), `task_loss` and each term as `<name>_loss`, unweighted, while
    training and in evaluation. The teacher runs in inference mode, its variables are neither
    trained nor among the Distiller's; the student's come first there, then the projections'.
    `save` writes the student alone.

    Args:
        student: A functional model; it is trained in place.
        teacher: A functional model that takes the same inputs and shares no variable with it.
        terms: What is learned from the teacher.
        task_weight: Factor of the task's loss; with 0 `fit` needs no targets.
        teacher_input: Returns the teacher's input for the student's, where the two are normalised
            in other ways; None gives both the same.
        weighs_teacher: Whether the sample weights that `fit` gets say how far the teacher is
            followed on each sample (`View.weights`), instead of weighting the task's loss.
        answered: Whether the columns after these, (N, 1 + C), are what the teacher's only output,
            (N, C), is on each sample, so that it need not be asked.
        name: Of the Keras model.

    Raises:
        UserError: When inputs, outputs or features of the two do not fit, or a layer is unknown.
    """

    def __init__(
        self,
        student: keras.Model,
        teacher: keras.Model,
        terms: Sequence[Term],
        *,
        task_weight: float = 1.0,
        teacher_input: Callable[[Any], Any] | None = None,
        weighs_teacher: bool = False,
        answered: bool = False,
        name: str = "distiller",
    ):
        terms = tuple(terms)
        _check_arguments(student, teacher, terms, task_weight)
        super().__init__(name=name)
        self.student = student
        self.task_weight, self.weighs_teacher = float(task_weight), weighs_teacher or answered
        self.answered = answered
        if answered and any(term.layer_pairs for term in terms):
            raise ValueError("`answered` leaves no features of the teacher to compare.")
        self._teacher_input = teacher_input
        # Keras would track a model that is an attribute, and count, save and train it.
        self._unseen = _Unseen(student, teacher, terms)
        self.projections = self._unseen.make_projections()
        names = [*(["task_loss"] if task_weight else []), *_metric_names(terms)]
        self.trackers = [keras.metrics.Mean(name=name) for name in names]
        self.built = True

    @property
    def teacher(self) -> keras.Model:
        """The frozen network."""
        return self._unseen.teacher.model

    @property
    def terms(self) -> tuple[Term, ...]:
        """What is learned from the teacher."""
        return self._unseen.terms

    @property
    def inputs(self) -> list:
        """The student's symbolic inputs."""
        return self.student.inputs

    @property
    def outputs(self) -> list:
        """The student's symbolic outputs."""
        return self.student.outputs

    @property
    def output_names(self) -> list[str]:
        """Names by which `compile` may list losses and metrics."""
        return self.student.output_names

    def call(self, inputs, training=None):
        """Return the student's outputs."""
        outputs, features = self._unseen.student(inputs, training=training)
        # `compute_loss` gets only the outputs; what else this call computed travels on them.
        setattr(keras.tree.flatten(outputs)[0], _FEATURES, features)
        return outputs

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Return the total loss of a batch and update the metrics of its parts."""
        outputs = keras.tree.flatten(y_pred)
        features = getattr(outputs[0], _FEATURES, None)
        if features is None:  # the caller made `y_pred` in another way
            features = self._unseen.student(x, training=training)[1]
        weights = None
        if self.weighs_teacher:
            weights, sample_weight = sample_weight, None
        taught: Any
        hints: list[Any] = []
        if self.answered and weights is not None:
            taught, weights = weights[:, 1:], weights[:, 0]
        else:
            shown = x if self._teacher_input is None else self._teacher_input(x)
            taught, hints = self._unseen.teacher(shown, training=False)
        taught, hints = keras.tree.map_structure(
            tf.stop_gradient, (keras.tree.flatten(taught), hints)
        )
        outputs, features, taught, hints = keras.tree.map_structure(
            lambda value: tf.cast(value, tf.float32), (outputs, features, taught, hints)
        )
        own = [tf.reduce_sum(tf.cast(loss, tf.float32)) for loss in self.losses]
        total, values = tf.add_n(own) if own else tf.constant(0.0), []
        if self.task_weight:
            task = super().compute_loss(x, y, y_pred, sample_weight, training)
            task = tf.cast(task, tf.float32) - total  # Keras adds the layers' own losses
            values.append(task)
            total += self.task_weight * task
        for position, term in enumerate(self.terms):
            ours, theirs = self._unseen.term_features(position, features, hints)
            ours = [
                value if projection is None else projection(value)
                for projection, value in zip(self._projections_of(position), ours, strict=True)
            ]
            value = term(
                View(self.student.name, outputs, ours),
                View(self.teacher.name, taught, theirs, weights),
                y,
            )
            values.append(value)
            total += term.weight * value
        count = tf.shape(keras.tree.flatten(x)[0])[0]
        for tracker, value in zip(self.trackers, values, strict=True):
            tracker.update_state(value, sample_weight=count)
        return total

    def save(self, filepath, *args, **kwargs):
        """Save the student; see `keras.Model.save`."""
        return self.student.save(filepath, *args, **kwargs)

    def get_config(self):
        raise NotImplementedError("Save or clone `student`; a Distiller only exists for training.")

    def _projections_of(self, position: int) -> list:
        """Return the projection of each pair of a term, None where the widths agree."""
        return [
            None if index is None else self.projections[index]
            for index in self._unseen.projection_indices[position]
        ]


class _Unseen:
    """Both networks with their features, and what follows from the terms; not tracked by Keras."""

    def __init__(self, student, teacher, terms: tuple[Term, ...]):
        self.terms = terms
        pairs = [pair for term in terms for pair in term.layer_pairs]
        self.student = _Probe(student, [ours for ours, _ in pairs], "student")
        self.teacher = _Probe(teacher, [theirs for _, theirs in pairs], "teacher")
        self._starts = []
        self.projection_indices: list[list[int | None]] = []
        self._widths: list[tuple[tuple, int]] = []
        start = 0
        for position, term in enumerate(terms):
            self._starts.append(start)
            start += len(term.layer_pairs)
            ours, theirs = self.term_features(
                position, self.student.features, self.teacher.features
            )
            term.check(
                View(student.name, student.outputs, ours),
                View(teacher.name, teacher.outputs, theirs),
            )
            self.projection_indices.append(
                [self._projection(term, a, b) for a, b in zip(ours, theirs, strict=True)]
            )

    def term_features(self, position: int, ours: list, theirs: list) -> tuple[list, list]:
        """Return the student's and the teacher's features of one term."""
        start = self._starts[position]
        end = start + len(self.terms[position].layer_pairs)
        return ours[start:end], theirs[start:end]

    def make_projections(self) -> list[keras.layers.Layer]:
        """Return the 1x1 projections, built: a Dense layer along the channels is one."""
        made = []
        for number, (shape, width) in enumerate(self._widths):
            layer = keras.layers.Dense(
                width, use_bias=False, dtype="float32", name=f"projection_{number}"
            )
            layer.build(shape)
            made.append(layer)
        return made

    def _projection(self, term: Term, ours, theirs) -> int | None:
        if not term.projects or ours.shape[-1] == theirs.shape[-1]:
            return None
        self._widths.append((tuple(ours.shape), theirs.shape[-1]))
        return len(self._widths) - 1


class _Probe:
    """A functional model that also returns outputs of inner layers."""

    def __init__(self, model, names: list[str], role: str):
        self.model = model
        functional = _functional(model)
        self._structure = functional._outputs_struct
        self._names = list(dict.fromkeys(names))
        tensors = {name: _output_of(functional, name, role) for name in self._names}
        self.features = [tensors[name] for name in names]
        self._order = [self._names.index(name) for name in names]
        self._run = None
        if names:
            self._run = keras.Model(
                functional._inputs_struct, [*functional.outputs, *tensors.values()]
            )

    def __call__(self, inputs, training: bool | None) -> tuple[Any, list]:
        """Return the outputs in the model's structure, and the features."""
        if self._run is None:
            return self.model(inputs, training=training), []
        values = self._run(inputs, training=training)
        count = len(self.model.outputs)
        features = [values[count + position] for position in self._order]
        return keras.tree.pack_sequence_as(self._structure, values[:count]), features


def _output_of(functional, name: str, role: str):
    """Return the symbolic output of a layer inside a functional model."""
    by_depth = functional._nodes_by_depth
    known = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    nodes = [node for node in known if node.operation.name == name]
    if not nodes:
        names = list(dict.fromkeys(node.operation.name for node in known))
        inner = [
            layer.name
            for layer in functional.layers
            if isinstance(layer, keras.Model) and name in {x.name for x in layer._flatten_layers()}
        ]
        if inner:
            raise UserError(
                f"{functional.name}: the {role}'s layer '{name}' lies inside the nested model "
                f"'{inner[0]}', whose features cannot be reached; name a layer outside of it."
            )
        hint = near_miss(name, names)
        if len(names) > MANY_NAMES and hint.startswith(" Known"):
            hint = f" Known: {', '.join(names[:MANY_NAMES])} and {len(names) - MANY_NAMES} more."
        raise UserError(f"{functional.name}: the {role} has no layer '{name}'.{hint}")
    if len(nodes) > 1 or len(nodes[0].outputs) > 1:
        why = f"is used {len(nodes)} times" if len(nodes) > 1 else "has several outputs"
        raise UserError(
            f"{functional.name}: the {role}'s layer '{name}' {why}, so its feature is ambiguous; "
            "name another layer."
        )
    return nodes[0].outputs[0]


def _check_arguments(student, teacher, terms: tuple[Term, ...], task_weight: float) -> None:
    for role, model in (("student", student), ("teacher", teacher)):
        if _functional(model) is None:
            raise UserError(
                f"{getattr(model, 'name', model)}: the {role} is no functional model; build it "
                "with the functional API."
            )
    if not terms or not all(isinstance(term, Term) for term in terms):
        raise ValueError(f"`terms` must hold at least one `Term`. Received: {terms!r}")
    if not 0.0 <= task_weight < float("inf"):
        raise ValueError(f"`task_weight` must be a finite number from 0. Received: {task_weight}")
    own = {id(variable) for variable in student.variables}
    if any(id(variable) in own for variable in teacher.variables):
        raise ValueError("`teacher` must share no variables with `student`; clone one of them.")
    ours, theirs = ([tuple(x.shape) for x in model.inputs] for model in (student, teacher))
    fits = len(ours) == len(theirs) and all(
        len(a) == len(b) and all(p == q or q is None for p, q in zip(a[1:], b[1:], strict=True))
        for a, b in zip(ours, theirs, strict=True)
    )
    if not fits:
        raise UserError(
            f"{teacher.name}: the teacher takes {_listed(theirs)}, but the student {student.name} "
            f"is given {_listed(ours)}; build both for one input size (or the teacher for any)."
        )


def _functional(model):
    """Return the functional model behind a functional or Sequential one, else None."""
    if isinstance(model, keras.Sequential):
        return model._functional
    return model if hasattr(model, "_nodes_by_depth") else None


def _metric_names(terms: tuple[Term, ...]) -> list[str]:
    """Return `<name>_loss` for each term, numbered from the second of a name on."""
    names: list[str] = []
    for term in terms:
        same = sum(other.name == term.name for other in terms[: len(names)])
        names.append(f"{term.name}_{same + 1}_loss" if same else f"{term.name}_loss")
    return names


def _listed(shapes: list[tuple]) -> str:
    shown = ("×".join("any" if side is None else str(side) for side in s[1:]) for s in shapes)
    return " and ".join(shown)
