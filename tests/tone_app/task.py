"""Tones as core sees them."""

import numpy as np

from core.task import Example, Objective, Scores, Task
from tone_app.data import KIND, READERS, SUFFIXES, read_tone


class Tones(Task):
    """A short sound in, its class out."""

    name = "tone"
    networks = {"tone_net": "tone_app.network:NETWORK"}
    readers = READERS
    input_kind, input_suffixes = KIND, SUFFIXES
    headline = "accuracy"
    defaults = {"epochs": 20, "batch": 16, "learning_rate": 0.01}

    def load(self, sample, card):
        label = None if sample.label is None else np.int64(sample.label)
        return Example(read_tone(sample.inputs[0], *card.input_shape), label)

    def objective(self, config):
        import keras

        return Objective(keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    def decode(self, outputs, sample, card):
        return {"class": card.labels[np.argmax(outputs[0])], "logits": outputs[0]}

    def score(self, results, card, *, quick=False):
        right = {s.id: float(r["class"] == card.labels[s.label]) for s, r in results}
        rows = [{"id": name, "accuracy": value} for name, value in right.items()]
        accuracy = float(np.mean(list(right.values())))
        return Scores({"accuracy": accuracy}, rows, "share of sounds whose class is right")


TASK = Tones()
