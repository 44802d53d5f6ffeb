"""How good the weights of a training are on samples that it does not learn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np

from core.data.index import Index
from core.engines import Engine, KerasEngine, signal_to_noise
from core.evaluate import evaluate
from core.history import SIGNAL_TO_NOISE, decisive
from core.model_card import ModelCard
from core.task import Task

NEARNESS_SAMPLES = 100  # network inputs; dB over all their outputs hardly change with more


class Validator:
    """Scores the saved graph on the validation samples, compiled once.

    Args:
        task: Decodes and scores.
        deploy: Gives the graph that is scored.
        model: The saved graph; its variables are set by whoever calls `summary`.
        card: The model card.
        index: The validation samples.
        batch: Samples per call.
        wanted: The network whose outputs training is to keep, if that is all it is to do: then
            the weights are chosen by nearness to it, which few samples measure finely, and not by
            the headline, which on few samples changes by chance.

    Attributes:
        decisive: The key of `summary` by which weights are chosen.
        mode: Whether "max" or "min" of it is best.
    """

    def __init__(
        self,
        task: Task,
        deploy: Callable,
        model: keras.Model,
        card: ModelCard,
        index: Index,
        *,
        batch: int,
        wanted: keras.Model | None = None,
    ):
        self._task, self._deploy, self._index, self._batch = task, deploy, index, batch
        self._model = model
        self._engine = KerasEngine(deploy(model), card)
        own = {id(variable) for variable in model.variables}
        self._shared = all(id(v) in own for v in self._engine.model.variables)
        self._nearness: _Nearness | None = None
        measured = [task.headline]
        if wanted is not None:
            inputs = task.calibration_inputs(index, card, NEARNESS_SAMPLES)
            self._nearness = _Nearness(KerasEngine(wanted, card), inputs, batch)
            measured.append(SIGNAL_TO_NOISE)
        self.decisive, self.mode = decisive(measured, task.headline, task.headline_mode)

    def summary(self) -> dict[str, float]:
        """Return the scores of the graph's present weights by name, without the slow metrics."""
        if not self._shared:  # fused weights are copies: fuse again, into the compiled graph
            fused = self._deploy(self._model)
            for variable, value in zip(self._engine.model.variables, fused.variables, strict=True):
                variable.assign(value.value)
        index, batch = self._index, self._batch
        scores = evaluate(self._task, self._engine, index, batch=batch, quick=True)
        summary = {name: float(value) for name, value in scores.summary.items()}
        if self._nearness is None:
            return summary
        return {SIGNAL_TO_NOISE: self._nearness.decibels(self._engine), **summary}

    def is_better(self, value: float, best: float | None, *, or_equal: bool = False) -> bool:
        """Return whether a value of `decisive` is better than the best so far, if there is one."""
        if best is None or np.isnan(best) or (or_equal and value == best):
            return True
        return value > best if self.mode == "max" else value < best


class _Nearness:
    """Keeps a network's main output on some inputs, to compare another's with."""

    def __init__(self, wanted: Engine, inputs: Sequence[np.ndarray], batch: int):
        self._batches = [
            np.stack(inputs[start : start + batch]) for start in range(0, len(inputs), batch)
        ]
        self._wanted = [wanted(inputs)[0] for inputs in self._batches]

    def decibels(self, engine: Engine) -> float:
        """Return the signal-to-noise ratio of an engine's main output."""
        return signal_to_noise(self._wanted, [engine(inputs)[0] for inputs in self._batches])
