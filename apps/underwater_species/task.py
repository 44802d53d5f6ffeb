"""Underwater species as core sees them: a photograph in, a logit for each class out.

T. R. Fuad, S. Ahmed, S. Ivan: "AQUA20", arXiv:2506.17455; its code is github.com/taufiktrf/AQUA20.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from apps import catalog
from apps.underwater_species.augment import augmented
from apps.underwater_species.data import READERS, SAMPLE_DATA, picture, selecting
from core.classification.task import ClassificationTask
from core.config import TrainConfig
from core.data.images import as_rgb
from core.data.index import Index, Sample
from core.model_card import ModelCard
from core.network import Network
from core.task import Example

_DEFAULT = "mobilenetv2"

# Validation from train, a small rate once the backbone learns too, its normalisations left alone,
# classes weighed evenly. It is meant for published weights to begin with.
SOUND = {
    "format": "auto",
    "epochs": 40,
    "batch": 32,
    "seed": 42,
    "optimizer": "adam",
    "learning_rate": 1e-4,
    "weight_decay": 0.0,
    "schedule": "cosine",
    "patience": 10,
    "augment": True,
    "options": {
        "head_epochs": 8,
        "head_rate": 1e-3,
        "opening": "whole",
        "norms": "frozen",
        "class_weights": "balanced",
        "smoothing": 0.1,
    },
}
# The published code, as far as it ended in the published table: the head alone is trained, with
# normalisations that adapt, on unchanged pictures, and the test split chooses the epoch. Its second
# phase, the whole network at the same rate once ten epochs brought no lower test loss, is left out:
# it improved one of the 13 networks (EfficientNet-B0, in its first epoch) and set the others back.
# The epoch is chosen by macro F1 here, by the loss there.
PAPER = {
    "format": f"auto-{selecting.PAPER}",
    "epochs": 100,
    "batch": 32,
    "seed": 42,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "schedule": "constant",
    "patience": 10,
    "augment": False,
    "options": {
        "head_epochs": 100,
        "head_rate": 1e-3,
        "opening": "whole",
        "norms": "adapting",
        "class_weights": "none",
        "smoothing": 0.0,
        "mixup": 0.0,
        "cutmix": 0.0,
    },
}


FROM_RANDOM = (
    "The head is trained first on a backbone of random weights, which tells it little: pass "
    "--backbone-weights, or --set options.head_epochs=0 --set options.norms=kept."
)


class UnderwaterSpecies(ClassificationTask):
    """A photograph under water in, a logit for each of AQUA20's 20 classes, or one's own, out."""

    name = "aqua"
    networks = {
        _DEFAULT: catalog.networks()[_DEFAULT],
        **catalog.networks(catalog.BACKBONE),
    }
    readers = READERS
    sample_data = SAMPLE_DATA
    defaults = SOUND
    presets = {"sound": SOUND, "paper": PAPER}
    # From random weights on small pictures, so that it needs no published ones.
    demo = {
        "network": "shufflenetv2",
        "variant": "x0_5",
        "input_size": (96, 96),
        "epochs": 30,
        "batch": 16,
        "patience": 30,
        "learning_rate": 2e-3,
        "options": {"head_epochs": 0, "norms": "kept"},
    }

    # --- networks -----------------------------------------------------------------------------

    def bring_weights(self, network: Network, model, config: TrainConfig) -> list[str]:
        """Load published weights; say so where the head would be trained first without any."""
        notes = super().bring_weights(network, model, config)
        if not notes and self.head_epochs(config):
            return [FROM_RANDOM]
        return notes

    # --- data ---------------------------------------------------------------------------------

    def read(self, path: str, format: str = "auto") -> Index:
        """Return the index of a data set.

        "NAME-paper" as format selects the model by the test split, as the published code does.
        """
        name, _, last = format.rpartition("-")
        if format in self.readers or last != selecting.PAPER:
            return super().read(path, format)
        return _SelectedByTest().read(path, name)

    def with_splits(self, index: Index) -> Index:
        return selecting.with_validation(index)

    def check_data(self, index: Index, card: ModelCard) -> list[str]:
        own = tuple(sample for sample in index.samples if not selecting.is_copy(sample))
        return super().check_data(replace(index, samples=own), card)

    def picture(self, sample: Sample, card: ModelCard) -> np.ndarray:
        return picture(sample, card.channels)

    def draw_input(self, sample: Sample, card: ModelCard) -> np.ndarray:
        return as_rgb(self.picture(sample, card))

    def augment(self, example: Example, rng: np.random.Generator, config: TrainConfig) -> Example:
        return Example(augmented(example.inputs, rng), example.target)


class _SelectedByTest(UnderwaterSpecies):
    """The same, where the test split is the validation split too."""

    def with_splits(self, index: Index) -> Index:
        return selecting.with_test_as_validation(index)


TASK = UnderwaterSpecies()
