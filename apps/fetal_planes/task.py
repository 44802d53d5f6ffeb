"""Fetal planes as core sees them: an ultrasound picture in, a logit for each plane out."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from apps import catalog
from apps.fetal_planes.data import READERS, SAMPLE_DATA
from apps.fetal_planes.data.protocols import PAPER, arranged, parse
from core.classification.task import ClassificationTask
from core.config import TrainConfig
from core.data.images import as_rgb
from core.data.index import Index, Sample
from core.errors import one_of
from core.model_card import ModelCard
from core.task import Example

CROPS = ("off", "sector", "text")  # what `apps.fetal_planes.sector` knows, which needs OpenCV


class FetalPlanes(ClassificationTask):
    """A picture of obstetric ultrasound in, a logit for each of six planes, or one's own, out.

    Args:
        endings: What the data set's format asked for besides (`data.protocols.parse`).
    """

    name = "fetal"
    networks = {**catalog.networks("fetal"), **catalog.networks(catalog.BACKBONE)}
    readers = READERS
    sample_data = SAMPLE_DATA
    # The head alone for five epochs, then all at a tenth of its rate.
    defaults = {
        "epochs": 50,
        "batch": 32,
        "optimizer": "adam",
        "learning_rate": 1e-4,
        "weight_decay": 0.0,
        "schedule": "cosine",
        "patience": 8,
    }
    options = {**ClassificationTask.options, "crop": "off"}
    option_values = {**ClassificationTask.option_values, "crop": CROPS}
    presets = {
        # How the scores of arXiv:2410.17396 were made, as far as it is known.
        "paper-like": {"format": f"auto-{PAPER}"},
        # For integers: a backbone without gates, and classes that weigh alike.
        "phone": {"variant": "lite0-spatial-gate", "options": {"class_weights": "balanced"}},
    }
    # From random weights on small pictures, so that it needs no published ones.
    demo = {
        "network": "shufflenetv2",
        "variant": "x0_5",
        "input_size": (96, 96),
        "epochs": 60,
        "batch": 8,
        "learning_rate": 3e-3,
        "patience": 60,
        "validate_every": 5,
        "options": {"head_epochs": 0},
    }

    def __init__(self, endings: Collection[str] = ()):
        self.endings = frozenset(endings)

    # --- data ---------------------------------------------------------------------------------

    def read(self, path: str, format: str = "auto") -> Index:
        """Return the index of a data set.

        Endings of the format: "NAME-dedup" keeps copies out of the training side,
        "NAME-paper-like" splits images at random instead of patients.
        """
        name, endings = parse(format, self.readers)
        if endings:
            return FetalPlanes(endings).read(path, name)
        return super().read(path, name)

    def with_splits(self, index: Index) -> Index:
        return arranged(index, self.endings)

    def check_data(self, index: Index, card: ModelCard) -> list[str]:
        from apps.fetal_planes.audit import audit, problems

        return problems(index, audit(index))

    def card_for(self, card: ModelCard, config: TrainConfig, index: Index) -> ModelCard:
        """Return the card with what is cut off or blanked before a picture is resized."""
        crop = self.check_options(config.options)["crop"]
        return card.replace(decode={**card.decode, "crop": crop})

    def picture(self, sample: Sample, card: ModelCard) -> np.ndarray:
        """Return what the network is to see of a sample, at its own size: uint8 (H, W, C)."""
        from apps.fetal_planes.sector import cropped

        return cropped(super().picture(sample, card), card.decode.get("crop", CROPS[0]))

    def draw_input(self, sample: Sample, card: ModelCard) -> np.ndarray:
        return as_rgb(self.picture(sample, card))

    def augment(self, example: Example, rng: np.random.Generator, config: TrainConfig) -> Example:
        from apps.fetal_planes.augment import augmented

        return Example(augmented(example.inputs, rng), example.target)

    # --- results ------------------------------------------------------------------------------

    def check_decoding(self, card: ModelCard) -> None:
        one_of(card.decode.get("crop", CROPS[0]), CROPS, "--set: crop")


TASK = FetalPlanes()
