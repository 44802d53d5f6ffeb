"""LiDAR localization as core sees it: an image of a scan in, a map and a descriptor out.

A network is as good as the recipe its images were made by, so its card holds the recipe, name and
all parameters, and with it every run and every file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from apps import catalog
from apps.bev_localization.data import READERS
from apps.bev_localization.data.clouds import SUFFIXES as CLOUDS
from apps.bev_localization.data.sample import sample_data
from apps.bev_localization.images.chosen import recipe_chosen
from apps.bev_localization.images.recipes import RECIPES, BevRecipe
from apps.bev_localization.places import check_protocol, where, with_places
from core.data.images import SUFFIXES as PICTURES
from core.data.index import Index, Sample
from core.data.splits import keep_or_split
from core.errors import UserError
from core.model_card import ModelCard, shown_size
from core.network import Network
from core.task import Example, Objective, Scores, Task

if TYPE_CHECKING:
    from apps.bev_localization.maps.views import View
    from apps.bev_localization.pretraining import PlacePretraining
    from core.config import TrainConfig
    from core.data.pipeline import TrainingData
    from core.run_folder import RunFolder

QUICK_SCANS = 32  # of each split
_MOST_AT_ONCE = 8  # images of a call; a network turns each up to eight times
NORMS = ("auto", "kept", "trained")
MINING = ("hardest", "random")
_DRAWN = 3  # pixels of a picture for one of an image
_KEYPOINT = (255, 170, 0)


class BevLocalization(Task):
    """A scan seen from above in; what tells its place, and what tells its pose there, out."""

    name = "bev"
    networks = catalog.networks("bev")
    readers = READERS
    sample_data = staticmethod(sample_data)
    input_kind, input_suffixes = "scan", (".bin", *CLOUDS, *PICTURES)
    headline = "recall_1"
    int8_tolerance = 0.01
    # The published training: a batch is four queries, each with a positive and ten negatives.
    defaults = {
        "epochs": 40,
        "batch": 48,
        "optimizer": "adam",
        "learning_rate": 1e-4,
        "weight_decay": 0.0,
        "schedule": "constant",
    }
    options = {
        "recipe": "place40",
        "half_range": 0.0,
        "resolution": 0.0,
        "negatives": 10,
        "margin": 0.3,
        "backbone_weights": "",
        "norms": "auto",
        "mining": "hardest",
    }
    option_values = {"recipe": tuple(RECIPES), "norms": NORMS, "mining": MINING}
    option_least = {"half_range": 0, "resolution": 0, "negatives": 1, "margin": 0}
    # For two CPU cores: a quarter of the pixels, half of the rotations, a third of the images.
    presets = {
        "light": {
            "variant": "r4_gray",
            "epochs": 3,
            "batch": 12,
            "learning_rate": 3e-5,
            "options": {"recipe": "coarse40", "negatives": 2, "mining": "random"},
        }
    }
    # An integer network is taught by its own float form.
    method_defaults = {
        "quantize": {
            "task_weight": 0.0,
            "teacher_weight": 1.0,
            "training": {"epochs": 2, "learning_rate": 1e-5},
        }
    }
    demo = presets["light"]

    # --- networks -----------------------------------------------------------------------------

    def build_arguments(self, card: ModelCard) -> dict:
        return {}

    def card_for(self, card: ModelCard, config: TrainConfig, index: Index) -> ModelCard:
        """Return the card with the recipe of its images, at their size, and how it is scored."""
        chosen = recipe_chosen(self.check_options(config.options))
        if config.input_size is not None and set(config.input_size) != {chosen.side}:
            raise UserError(
                f"The input size is {shown_size(config.input_size)}, but the recipe "
                f"'{chosen.name}' makes images of {chosen.side}x{chosen.side}; leave --input-size "
                "out, and choose --set options.recipe, options.half_range or options.resolution."
            )
        decode = {
            "recipe": asdict(chosen),
            "protocol": "auto",
            "database": "",
            "candidates": 1,
            "center_cells": False,
        }
        return card.replace(input_size=(chosen.side, chosen.side), decode=decode)

    # --- data ---------------------------------------------------------------------------------

    def with_splits(self, index: Index) -> Index:
        found = with_places(index)
        unposed = list(found.counts()) == [""]
        return keep_or_split(found) if unposed else found

    def files(self, inputs: Iterable[Path]) -> list[Sample]:
        from apps.bev_localization.maps.queries import query_samples

        return query_samples(list(inputs))

    def few_samples(self, index: Index) -> Index:
        """Return scans around the first of each split, so that places are seen again."""
        kept: set[str] = set()
        for split in index.counts():
            own = [sample for sample in index.samples if sample.split == split]
            try:
                places = where(own)
            except UserError:  # without poses there are no places
                return super().few_samples(index)
            near = np.argsort(np.linalg.norm(places - places[0], axis=1), kind="stable")
            kept |= {own[i].id for i in near[:QUICK_SCANS]}
        return replace(index, samples=tuple(s for s in index.samples if s.id in kept))

    def check_data(self, index: Index, card: ModelCard) -> list[str]:
        """Return what is wrong with an index: damaged scans, and poses the wrong way round."""
        from apps.bev_localization.data.convention import problems_of_poses

        return super().check_data(index, card) + problems_of_poses(index.samples)

    def load(self, sample: Sample, card: ModelCard) -> Example:
        """Return the density image, a plane for each channel, and the position in metres."""
        from apps.bev_localization.data.samples import POSE
        from apps.bev_localization.maps.views import check_sides, recipe_of

        chosen = recipe_of(card, card.network)
        check_sides(card, chosen, card.network)
        image = _image(_Source.of(sample), chosen)
        planes = np.repeat(image[..., None], card.channels, axis=-1)
        known = sample.extra.get(POSE)
        target = None if known is None else np.array(known, np.float32)[[3, 7, 11]]
        return Example(planes, target)

    def augment(self, example: Example, rng: np.random.Generator, config: TrainConfig) -> Example:
        """Turn the image by a whole number of degrees; the only augmentation, as published."""
        from apps.bev_localization.augment import turned

        return Example(turned(example.inputs, float(rng.integers(360))), example.target)

    def samples_at_once(self, samples: Sequence[Sample], wished: int) -> int:
        return min(wished, _MOST_AT_ONCE)

    # --- training -----------------------------------------------------------------------------

    def pretraining(self) -> PlacePretraining:
        from apps.bev_localization.pretraining import PlacePretraining

        return PlacePretraining(self)

    def check_start(self, start: RunFolder, card: ModelCard) -> None:
        from apps.bev_localization.maps.views import recipe_of

        theirs, ours = recipe_of(start.card, str(start.path)), recipe_of(card, card.network)
        if theirs.hash != ours.hash:
            raise UserError(
                f"{start.path}: was trained on images of the recipe '{theirs.name}', which look "
                f"otherwise than those of '{ours.name}'; choose it by --set options.recipe (and "
                "options.half_range, options.resolution), or start from another run."
            )

    def bring_weights(self, network: Network, model, config: TrainConfig) -> list[str]:
        from apps.bev_localization.training import bring_encoder

        source = config.options.get("backbone_weights")
        return [bring_encoder(model, str(source))] if source else []

    def start_network(self, model, data: TrainingData, config: TrainConfig) -> list[str]:
        from apps.bev_localization.data.convention import refuse_inverted
        from apps.bev_localization.training import start_clusters

        refuse_inverted(data.index.samples)
        return [start_clusters(model, data, config)]

    def training_graph(self, model, config: TrainConfig):
        """Return the model with the descriptor alone: local features have no loss of their own."""
        import keras

        from apps.bev_localization.training import keep_norms, norms_kept

        if config.compress:
            return model
        if norms_kept(self.check_options(config.options)):
            keep_norms(model)
        return keras.Model(model.input, model.outputs[1], name=model.name)

    def batch_order(
        self, index: Index, config: TrainConfig, rng: np.random.Generator
    ) -> list[np.ndarray]:
        return self._order(index, config, rng)

    def mined_order(
        self,
        index: Index,
        config: TrainConfig,
        rng: np.random.Generator,
        outputs: Callable[[], list[np.ndarray]],
    ) -> list[np.ndarray] | None:
        """Return batches with the hardest negatives, by the descriptors of all samples as now."""
        if config.compress or self.check_options(config.options)["mining"] == "random":
            return None
        return self._order(index, config, rng, outputs()[0])

    def _order(self, index, config, rng, descriptors=None) -> list[np.ndarray]:
        from apps.bev_localization.mining import places_order

        negatives = self.check_options(config.options)["negatives"]
        return places_order(
            where(index.samples), config.batch, rng, negatives=negatives, descriptors=descriptors
        )

    def check_options(self, options: Mapping[str, Any]) -> dict:
        checked = super().check_options(options)
        recipe_chosen(checked)
        return checked

    def objective(self, config: TrainConfig) -> Objective:
        from apps.bev_localization.training_loss import PlaceTripletLoss

        options = self.check_options(config.options)
        loss = PlaceTripletLoss(options["margin"], options["negatives"])
        return Objective([None, loss] if config.compress else loss)

    # --- results ------------------------------------------------------------------------------

    def check_decoding(self, card: ModelCard) -> None:
        from apps.bev_localization.evaluation import candidates_of
        from apps.bev_localization.maps.views import check_sides, recipe_of

        if "recipe" in card.decode and not isinstance(card.decode["recipe"], Mapping):
            raise UserError(
                "The recipe belongs to the weights and cannot be changed: a network recognises "
                "nothing in images of another one; train with --set options.recipe=NAME."
            )
        check_sides(card, recipe_of(card, card.network), card.network)
        check_protocol(card.decode.get("protocol", "auto"))
        candidates_of(card.decode)
        center = card.decode.get("center_cells", False)
        if not isinstance(center, bool):
            raise UserError(f"--set: center_cells is {center!r}; it must be true or false.")

    def decode(self, outputs: Sequence[np.ndarray], sample: Sample, card: ModelCard) -> View:
        """Return the descriptor, and the keypoints of the image with their local features."""
        from apps.bev_localization.maps.views import recipe_of, view_of

        image = _image(_Source.of(sample), recipe_of(card, card.network))
        return view_of(image, outputs, name=card.network)

    def score(
        self,
        results: Iterator[tuple[Sample, View]],
        card: ModelCard,
        *,
        quick: bool = False,
    ) -> Scores:
        from apps.bev_localization.evaluation import score

        return score(results, card, quick=quick)

    def draw_input(self, sample: Sample, card: ModelCard) -> np.ndarray:
        """Return the density image, white where many voxels are occupied, uint8 (H, W, 3)."""
        return np.repeat(self.load(sample, card).inputs[..., :1], 3, axis=-1)

    def draw(self, sample: Sample, result: View, card: ModelCard) -> np.ndarray:
        """Return the image enlarged, with the keypoints that poses are told from."""
        from core.drawing import Sheet

        image = np.repeat(np.repeat(result.image, _DRAWN, axis=0), _DRAWN, axis=1)
        sheet = Sheet(*image.shape)
        sheet.paste(np.repeat(image[..., None], 3, axis=-1), (0, 0))
        for column, row in result.local.pixels.tolist():
            sheet.dot((column * _DRAWN, row * _DRAWN), 1, _KEYPOINT)
        return sheet.picture()

    def write(self, sample: Sample, result: View, folder: Path, card: ModelCard) -> list[Path]:
        """Write descriptor, pixels of keypoints (column, row) and their features as .npz."""
        from apps.bev_localization.maps.archive import write_arrays

        arrays = {
            "descriptor": result.descriptor,
            "pixels": result.local.pixels,
            "features": result.local.features,
        }
        return [write_arrays(sample.file_in(folder, "_place.npz"), arrays)]


class _Source(tuple):
    """A sample's file and layout: all that its image depends on besides the recipe."""

    @classmethod
    def of(cls, sample: Sample) -> _Source:
        from apps.bev_localization.data.samples import LAYOUT

        return cls((sample.id, sample.inputs[0], sample.extra.get(LAYOUT)))


@lru_cache(maxsize=64)
def _image(source: _Source, chosen: BevRecipe) -> np.ndarray:
    """Return a density image, uint8 (H, H), kept a while: it is asked for before and after a run.

    Raises:
        UserError: When the file is damaged, or a ready image has another size.
    """
    from apps.bev_localization.data.samples import LAYOUT
    from apps.bev_localization.maps.views import image_of

    name, path, layout = source
    extra = {} if layout is None else {LAYOUT: layout}
    image = image_of(Sample(name, (path,), extra=extra), chosen)
    image.setflags(write=False)
    return image


TASK = BevLocalization()
