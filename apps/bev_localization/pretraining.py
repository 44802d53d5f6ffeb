"""Pre-training of REIN's encoder on pairs of scans of one place, as a task beside the app's own."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from apps.bev_localization.data.samples import POSE
from apps.bev_localization.images.chosen import recipe_chosen
from apps.bev_localization.mining import POSITIVE, neighbours
from apps.bev_localization.places import where
from core.config import TrainConfig
from core.data.index import Index, Sample
from core.errors import UserError
from core.model_card import ModelCard
from core.network import Network
from core.task import Example, Task
from core.training.pretraining import Pretraining

if TYPE_CHECKING:
    from core.data.pipeline import TrainingData

_RECIPE = ("recipe", "half_range", "resolution")  # options of the app's own training as well


class PlacePretraining(Pretraining):
    """Trains the encoder on pairs of scans of one place (`apps.bev_localization.place_pairs`).

    The recipe is nobody's published one. One rotation of each image goes through the encoder, which
    is what makes it affordable: a network of eight costs eight times as much.

    Args:
        task: The app's own, which reads scans and makes images.
    """

    shown = ("loss", "spot_recall", "place_recall")
    defaults = {
        "epochs": 60,
        "batch": 32,
        "optimizer": "adamw",
        "learning_rate": 1e-3,
        "weight_decay": 1e-4,
        "schedule": "cosine",
        "warmup_epochs": 2,
        "clip_norm": 1.0,
    }
    options = {"recipe": "place40", "half_range": 0.0, "resolution": 0.0, "repeats": 1,
               "temperature": 0.1, "places": 0.5}  # fmt: skip
    option_least = {"half_range": 0, "resolution": 0, "repeats": 1, "temperature": 0.01,
                    "places": 0}  # fmt: skip

    def __init__(self, task: Task):
        super().__init__(task)
        self.readers = task.readers
        self.input_kind, self.input_suffixes = task.input_kind, task.input_suffixes
        self.option_values = {"recipe": task.option_values["recipe"]}
        light = task.presets["light"]
        self.presets = {
            "light": {"variant": light["variant"],
                      "options": {"recipe": light["options"]["recipe"]}}
        }  # fmt: skip

    def start_network(self, model, data: TrainingData, config: TrainConfig) -> list[str]:
        from apps.bev_localization.data.convention import refuse_inverted

        refuse_inverted(data.index.samples)
        return []

    # --- networks -----------------------------------------------------------------------------

    def network(self, name: str) -> Network:
        from apps.bev_localization.models.rein import encoder_for_one_rotation

        whole = self.domain.network(name)

        def card(variant: str) -> ModelCard:
            return whole.card(variant).replace(output="features", decode={})

        return replace(whole, build=encoder_for_one_rotation, card=card, deploy=lambda model: model)

    def card_for(self, card: ModelCard, config: TrainConfig, index: Index) -> ModelCard:
        chosen = {name: self.check_options(config.options)[name] for name in _RECIPE}
        return self.domain.card_for(card, dataclasses.replace(config, options=chosen), index)

    def training_graph(self, model, config: TrainConfig):
        from apps.bev_localization.place_pairs import PlacePairs

        if config.teacher is not None:
            raise UserError("An encoder is pre-trained without a teacher; leave it off.")
        options = self.check_options(config.options)
        return PlacePairs(
            model,
            recipe_chosen(options).resolution,
            temperature=options["temperature"],
            places=options["places"],
        )

    # --- data ---------------------------------------------------------------------------------

    def batch_order(
        self, index: Index, config: TrainConfig, rng: np.random.Generator
    ) -> list[np.ndarray]:
        """Return an epoch's positions by batch: every scan once with a partner of its place.

        A partner is of another drive where there is one: it shows the place with other cars, from
        beside, by another sensor; the next scan of the same drive shows almost the same picture.
        """
        partners = _partners(index)
        usable = np.array([i for i, near in enumerate(partners) if len(near)], np.int64)
        if len(usable) < 2 or config.batch < 4:
            what = f"--batch is {config.batch}" if config.batch < 4 else f"{index.root}: has none"
            raise UserError(
                f"{what}, but pre-training compares pairs of scans nearer than {POSITIVE:g} m, "
                "two pairs or more at a time; give it such data, and a batch of 4 or more."
            )
        order = np.concatenate(
            [rng.permutation(usable) for _ in range(self.repeats(config, index))]
        )
        pairs = np.array([(i, rng.choice(partners[i])) for i in order], np.int64)
        # A position beyond the samples is the same sample once more, turned otherwise.
        pairs += len(index) * np.arange(2 * len(pairs)).reshape(pairs.shape)
        batches = max(1, -(-len(pairs) // (config.batch // 2)))
        batches = min(batches, len(pairs) // 2)  # none of a single pair
        return [part.ravel() for part in np.array_split(pairs, batches)]

    def load(self, sample: Sample, card: ModelCard) -> Example:
        """Return the density image, and as target x, y and heading of the scan, float64 (3,)."""
        image = self.domain.load(sample, card).inputs
        known = sample.extra.get(POSE)
        if known is None:
            return Example(image)
        pose = np.asarray(known, np.float64).reshape(3, 4)
        return Example(image, np.array([*pose[:2, 3], math.atan2(pose[1, 0], pose[0, 0])]))

    def training_example(
        self, example: Example, rng: np.random.Generator, config: TrainConfig
    ) -> Example:
        """Return the image turned by a whole number of degrees, and what the loss must know."""
        from apps.bev_localization.augment import turned
        from apps.bev_localization.place_pairs import target_of
        from apps.bev_localization.pose.keypoints import fast_keypoints

        if example.target is None:
            return example
        degrees = float(rng.integers(360)) if config.augment else 0.0
        image = turned(example.inputs, degrees)
        x, y, heading = example.target
        # Images turn about the middle of a pixel, which is half a pixel from the sensor.
        half = recipe_chosen(self.check_options(config.options)).resolution / 2
        cosine, sine = math.cos(heading), math.sin(heading)
        middle = np.array([x + half * (cosine - sine), y + half * (sine + cosine)])
        pixels = fast_keypoints(np.ascontiguousarray(image[..., 0])).pixels
        target = target_of(middle, heading - math.radians(degrees), pixels, rng)
        return Example(image, target)

    def encode(self, example: Example, card: ModelCard) -> tuple[np.ndarray, np.ndarray | None]:
        return card.normalise(example.inputs), example.target

    def check_options(self, options) -> dict:
        checked = super().check_options(options)
        recipe_chosen(checked)
        return checked


def _partners(index: Index) -> list[np.ndarray]:
    """Return for every scan those of its place, of other drives where there are any."""
    drives = np.array([sample.group or "" for sample in index.samples])
    found = []
    for i, near in enumerate(neighbours(where(index.samples), POSITIVE)):
        others = near[near != i]
        elsewhere = others[drives[others] != drives[i]]
        found.append(elsewhere if len(elsewhere) else others)
    return found
