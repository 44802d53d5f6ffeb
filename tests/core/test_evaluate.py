"""How samples go through an engine."""

import numpy as np
import pytest

from core.data.index import Sample
from core.evaluate import run
from core.model_card import ModelCard


class Halving:
    """A task of which two large samples are taken at once, whatever was wished."""

    def __init__(self):
        self.seen = []

    def samples_at_once(self, samples, wished):
        return min(wished, 2) if any(sample.extra for sample in samples) else wished

    def prepare(self, sample, card):
        return np.full(3, float(sample.id)), None

    def infer(self, engine, inputs):
        self.seen.append(len(inputs))
        return [[values / 2] for values in inputs]

    def decode(self, outputs, sample, card):
        return float(outputs[0][0])


class Engine:
    name, card = "none", ModelCard("net", "base", "app")


@pytest.mark.parametrize("extra, seen", [({}, [4, 1]), ({"large": True}, [2, 2, 1])])
def test_fewer_samples_are_held_where_they_are_large(extra, seen):
    task, done = Halving(), []
    samples = [Sample(str(n), (), extra=extra) for n in range(5)]
    found = list(run(task, Engine(), samples, batch=4, advance=done.append))
    assert [(sample.id, result) for sample, result in found] == [(str(n), n / 2) for n in range(5)]
    assert task.seen == seen == done
