"""Chains of compressions of the toy network: made, killed, resumed, compared."""

from pathlib import Path

import numpy as np
from test_fit import Recorder, result_of
from toy_task import ToyTask

from core.compress.quantize import is_quantized
from core.run_folder import RunFolder
from core.training.compressing import plan_chain, run_chain, started_chain

METHODS = ("prune", "cluster", "quantize")
CHOICES = {"prune": {"sparsity": 0.5}, "cluster": {"clusters": 4}}
TRAINING = {"epochs": 3, "learning_rate": 0.01}


class Killed(BaseException):
    """Stands for the moment a process is gone."""


class KilledAt(Recorder):
    """Kills the process after an epoch, or in a step, of a method's training."""

    def __init__(self, method: str, *, epoch: int = 0, step: int = 0):
        super().__init__()
        self._moment, self._epoch = (method, step), epoch
        self._method, self._steps = "", 0

    def announce(self, plan):
        self._method, self._steps = plan.method, 0

    def step(self, epoch, done_samples, logs):
        self._steps += 1
        if (self._method, self._steps) == self._moment:
            raise Killed

    def epoch(self, epoch, row, timing):
        if (self._method, epoch) == (self._moment[0], self._epoch):
            raise Killed


def planned(source, out, methods=METHODS, choices=None, **training):
    choices = choices or {name: c for name, c in CHOICES.items() if name in methods}
    training = {**TRAINING, **training}
    return plan_chain(ToyTask(), source, methods, out, choices=choices, training=training)


def compress(source, toy_data, out, methods=METHODS, *, overwrite=False, killer=None, **training):
    plans = planned(source, out, methods, **training)
    return run_chain(ToyTask(), plans, index=toy_data, overwrite=overwrite, **told(killer))


def resume(toy_data, out, *, killer=None) -> list[RunFolder]:
    plans = started_chain(out)
    return run_chain(ToyTask(), plans, index=toy_data, resume=True, **told(killer))


def told(killer) -> dict:
    return {} if killer is None else {"progress": killer, "announce": killer.announce}


def results(out: Path) -> dict:
    """Return everything two equal chains must have in common, to the last bit, by stage."""
    return {plan.method: result_of(RunFolder(plan.folder)) for plan in started_chain(out)}


def kernel_of(run: RunFolder) -> np.ndarray:
    model = run.load_model()
    kept = [x for x in model.layers if x.name == "conv1"]
    return kept[0]._prepared().numpy() if is_quantized(model) else kept[0].kernel.numpy()
