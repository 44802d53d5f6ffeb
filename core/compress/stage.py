"""A method of compression as a stage of a training: what each of them answers.

A stage takes the deployable network of a run, changes it before training, acts during training, and
says what is saved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from core.errors import UserError, no_such


class Stage:
    """One method with its choices; by itself it changes nothing.

    Args:
        choices: Its own choices by name; a `UserError` for a wrong one.
        after: The methods that the network went through before.
    """

    method = ""

    def __init__(self, choices: Mapping[str, Any], after: Sequence[str] = ()):
        self.choices, self.after = dict(choices), tuple(after)

    def learn_from(self, teacher: keras.Model) -> None:
        """Take the deployable network of the run that a choice `teacher` names; most have none."""

    def check(self, model) -> None:
        """Raise a `UserError` when the choices do not fit a network, before hours of training.

        Args:
            model: The deployable float network, or what an earlier stage will make of it.
        """

    def prepare(self, model, samples: Sequence[np.ndarray]) -> keras.Model:
        """Return the network to train, from a deployable float one.

        Args:
            model: A functional `keras.Model`; it is not changed.
            samples: Network inputs for calibration, float32 (H, W, C).
        """
        return copied(model)

    def fitted(self, model) -> keras.Model:
        """Return what `fit` is called on for the network that `prepare` made: itself, mostly."""
        return model

    @property
    def wanted(self) -> keras.Model | None:
        """The network whose outputs are to be kept, where training has no other aim."""
        return None

    def callbacks(self, model, *, epochs: int, steps: int) -> list[keras.callbacks.Callback]:
        """Return what acts while `model` trains for `epochs` of `steps` steps."""
        return []

    @property
    def variables(self) -> list:
        """State besides the model's, for resuming exactly."""
        return []

    @property
    def settled(self) -> bool:
        """Whether the network is as compressed as it shall be, so that it may be the best."""
        return True

    def finish(self, model) -> keras.Model:
        """Return what is saved of the trained network."""
        return model


def copied(model) -> keras.Model:
    """Return a copy of a functional model with the same weights."""
    uncompiled = keras.Model(model.input, model.output, name=model.name)
    clone = keras.models.clone_model(uncompiled)
    clone.set_weights(model.get_weights())
    return clone


def holds_pattern(compress: Mapping[str, Any]) -> bool:
    """Return whether a run's kernels hold zeros or clusters, which mixing channels would undo."""
    done = {compress.get("method"), *(compress.get("after") or ())}
    return bool(done & {"prune", "cluster"})


_KINDS = (
    (bool, bool, "true or false"),
    (int, int, "a whole number"),
    (float, int | float, "a number"),
    (Mapping, Mapping, "'name: value' entries"),
    (list, list, "a list of names"),
)


def check_choices(method: str, choices: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Raise a `UserError` for an unknown choice, or one of another kind than its default."""
    for name, value in choices.items():
        if name not in known:
            raise no_such("key", name, known, where=method)
        for kind, allowed, words in _KINDS:
            if isinstance(known[name], kind):
                fits = isinstance(value, allowed) and isinstance(value, bool) == (kind is bool)
                if not fits:
                    raise UserError(f"{method}: {name} is {value!r}; give {words}.")
                break
