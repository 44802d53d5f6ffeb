"""A network that learns from another run: `TrainConfig.teacher`, for every domain alike.

The teacher sees the augmented batch as its own card normalises it, in inference mode; or, with
`distill.views`, each sample some times before the training. Classes are matched by name. Which file
taught is written into the run, so that a training is not gone on with under another one.

The loss is that of G. Hinton, O. Vinyals, J. Dean, "Distilling the knowledge in a neural network",
2015 (arXiv:1503.02531), as signal knowledge distillation has it (D. Hou et al., arXiv:2312.17446);
`core.config.Distillation` says what its parts are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from core.compress.distill import Distiller, FeatureMatch, SoftTargets, Term
from core.compress.teachers import check_teacher
from core.config import TrainConfig
from core.data.index import Index
from core.errors import UserError, near_miss
from core.files import sha256
from core.model_card import ModelCard
from core.run_folder import RunFolder
from core.task import Task
from core.training.setup import open_teacher

if TYPE_CHECKING:
    from core.data.pipeline import TrainingData

_ASKED = 128  # samples that a teacher is shown at once
LOGITS = "logits"  # how a card's `output` begins where the outputs are classes before a softmax


class Teaching:
    """What a training learns from the run that its config names as teacher.

    Args:
        task: The domain of both.
        config: Its `teacher` is set, its `distill` settled.
        card: Of the network that learns.

    Raises:
        UserError: When there is no such run, or it knows other classes or takes other inputs.
    """

    def __init__(self, task: Task, config: TrainConfig, card: ModelCard):
        if config.teacher is None:
            raise ValueError("`config.teacher` must name a run. Received: None")
        self._task, self._config = task, config
        self._choices = config.distillation
        if config.compress and self._choices.feature_weight:
            raise UserError(
                "Config: distill.feature_weight is for train, whose layers are those of the "
                "teacher's kind; leave it off while compressing."
            )
        self._run, self._model = open_teacher(config.teacher, task)
        theirs = self._run.card
        if theirs.channels != card.channels:
            raise self._unfit(
                f"takes {theirs.channels} channels, but the student {card.channels}; choose a "
                "teacher of the same input"
            )
        task.check_teacher(self._run, card)
        self._classes: tuple[int, ...] | None = None
        self._soft = card.output.startswith(LOGITS)
        if self._choices.views and not (self._soft and _one_answer(self._model)):
            raise UserError(
                "Config: distill.views is for classes of whole samples; set it to 0, so that the "
                "teacher sees every batch."
            )
        if self._soft and card.labels and theirs.labels:
            self._classes = self._places(card.labels, theirs.labels)
        self._input = rescaling(card, theirs)

    @property
    def record(self) -> dict[str, Any]:
        """What a run's config.yaml keeps of its teacher."""
        card, file = self._run.card, self._run.file("model.keras")
        return {
            "taught_by": {
                "run": str(self._run.path),
                "network": card.network,
                "variant": card.variant,
                "sha256": sha256(file),
            }
        }

    def check_unchanged(self, run: RunFolder) -> None:
        """Raise a `UserError` unless a run that is gone on with began under this very teacher."""
        if run.record.get("taught_by", {}).get("sha256") != self.record["taught_by"]["sha256"]:
            raise self._unfit(
                f"is not the one {run.path} began with (its model.keras was changed); restore it "
                "or train into another --out"
            )

    def around(self, fitted: keras.Model) -> Distiller:
        """Return what `fit` is called on in place of a graph that learns without a teacher.

        Raises:
            UserError: When outputs or inputs of the two do not fit.
        """
        if isinstance(fitted, Distiller):
            raise self._unfit(
                "cannot teach here, for the method of compression brings a teacher of its own; "
                "choose one of the two"
            )
        try:
            return Distiller(
                fitted,
                self._model,
                self._terms(fitted),
                task_weight=1 - self._choices.weight,
                teacher_input=self._input,
                weighs_teacher=self._soft,
                answered=bool(self._choices.views),
            )
        except UserError as error:
            raise UserError(f"Teacher {self._run.path}: {error}") from error

    def weights(self, index: Index) -> np.ndarray | None:
        """Return the task's weights of the soft term for an index, float32 (N,); None for none."""
        found = self._task.teacher_weights(index, self._config) if self._soft else None
        if found is None:
            return None
        found = np.asarray(found, np.float32)
        if found.shape != (len(index),) or not np.isfinite(found).all() or found.min() < 0:
            raise ValueError(
                f"`teacher_weights` must be {len(index)} finite numbers from 0. Received: shape "
                f"{found.shape}, from {found.min()} to {found.max()}"
            )
        return found

    def answer(self, data: TrainingData, weights: np.ndarray | None) -> str:
        """Ask about every training sample beforehand, and let the batches carry the answers.

        An answer is the logarithm of the mean of the probabilities over `distill.views` looks at a
        sample, augmented as in the first epochs.

        Args:
            data: Of the training.
            weights: Of the soft term for its samples, (N,); None for all alike.

        Returns:
            A sentence for the user.
        """
        views, started = self._choices.views, time.monotonic()
        total: Any = -np.inf
        for view in range(views):
            total = np.logaddexp(total, np.concatenate(list(self._log_probabilities(data, view))))
        answers = total - np.log(views)
        if self._model.outputs[0].shape[-1] == 1:
            answers = answers[:, :1] - answers[:, 1:]
        shares = np.ones(len(answers)) if weights is None else weights
        data.carry(np.column_stack([shares, answers]).astype(np.float32))
        return (
            f"Teacher: asked {views} times about each of {len(answers)} samples "
            f"({time.monotonic() - started:.0f} s)."
        )

    def _log_probabilities(self, data: TrainingData, view: int) -> Iterator[np.ndarray]:
        """Yield log p of samples in their order, (n, C); of one logit that of both classes."""
        for start in range(0, data.count, _ASKED):
            inputs = data.inputs(view, range(start, min(start + _ASKED, data.count)))
            shown = inputs if self._input is None else self._input(inputs)
            logits = np.asarray(self._model.predict_on_batch(shown), np.float64)
            if logits.shape[-1] == 1:
                logits = np.concatenate([logits, np.zeros_like(logits)], axis=-1)
            yield logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)

    def _terms(self, student: keras.Model) -> list[Term]:
        choices, terms = self._choices, list[Term]()
        if choices.weight and self._soft:
            terms.append(
                SoftTargets(choices.temperature, weight=choices.weight, classes=self._classes)
            )
        elif choices.weight:
            check_teacher(student, self._model)
            last = {_operation(student.outputs[0]).name: _operation(self._model.outputs[0]).name}
            terms.append(FeatureMatch(last, weight=choices.weight, distance="l1", project=False))
        if choices.feature_weight:
            features = {before_last_layer(student): before_last_layer(self._model)}
            terms.append(FeatureMatch(features, weight=choices.feature_weight))
        return terms

    def _places(self, ours: Sequence[str], theirs: Sequence[str]) -> tuple[int, ...] | None:
        """Return where the student's classes stand among the teacher's; None for equal lists."""
        for name in ours:
            if name not in theirs:
                raise self._unfit(
                    f"does not know the class '{name}'.{near_miss(name, theirs)} Choose a teacher "
                    "of the same classes"
                )
        places = tuple(theirs.index(name) for name in ours)
        return None if places == tuple(range(len(theirs))) else places

    def _unfit(self, what: str) -> UserError:
        return UserError(f"Teacher {self._run.path}: {what}.")


def _one_answer(model: keras.Model) -> bool:
    """Return whether a model gives one vector for a sample, and nothing else."""
    return len(model.outputs) == 1 and len(model.outputs[0].shape) == 2


def rescaling(student: ModelCard, teacher: ModelCard) -> Callable[[Any], Any] | None:
    """Return what makes the teacher's input of the student's; None where both are the same.

    The student's is (value / full_scale - mean) / std of its card, the teacher's that of its own.

    Args:
        student, teacher: Cards of as many channels.
    """
    scales, means, stds = (
        [np.asarray(getattr(card, name), float) for card in (student, teacher)]
        for name in ("full_scale", "mean", "std")
    )
    factor = (scales[0] * stds[0] / (scales[1] * stds[1])).astype(np.float32)
    offset = ((scales[0] / scales[1] * means[0] - means[1]) / stds[1]).astype(np.float32)
    if np.allclose(factor, 1) and np.allclose(offset, 0):
        return None
    return lambda inputs: keras.ops.cast(inputs, "float32") * factor + offset


def before_last_layer(model: keras.Model) -> str:
    """Return the layer whose output enters the last layer with weights before the first output."""
    node = _node(model.outputs[0])
    while not getattr(node.operation, "weights", ()) and node.input_tensors:
        node = _node(node.input_tensors[0])
    if not node.input_tensors:
        raise UserError(
            f"{model.name}: has no layer with weights, so no features to compare; leave "
            "distill.feature_weight off."
        )
    return _operation(node.input_tensors[0]).name


def _operation(tensor):
    return tensor._keras_history.operation


def _node(tensor):
    return _operation(tensor)._inbound_nodes[tensor._keras_history.node_index]
