"""Person re-identification as core sees it: crops in, embeddings out, compared by ranking."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from apps import catalog
from apps.person_reid.data import READERS, SAMPLE_DATA
from core.config import TrainConfig
from core.data.index import Index, Sample
from core.errors import UserError, one_of
from core.model_card import ModelCard
from core.network import CLASSIFIER, Network
from core.task import Example, Objective, Scores, Task

METRICS = ("euclidean", "cosine")
# Of instance normalisation in the blocks (`apps.person_reid.models.osnet`, which needs Keras).
PLACEMENTS, PLACES = ("plain", "INv1", "INv2", "INv3"), 6
QUICK_PERSONS = 4  # of each split
RERANKINGS = ("off", "library", "authors")
SAMPLERS = ("auto", "random", "identity", "camera", "dataset")
# Of the first ten hits, how many a file must share with Keras, and of the first hits.
SAME_FIRST, SAME_TEN = 0.95, 0.9


class PersonReid(Task):
    """A crop of a person in; an embedding out, near those of the same person in other cameras."""

    name = "reid"
    networks = catalog.networks("reid")
    readers = READERS
    sample_data = SAMPLE_DATA
    headline = "map"
    int8_tolerance = 0.02
    compares_results = True
    calibration_observer = "mse"  # a few extremes would coarsen the steps of all others
    int8_repairs = ("equalize",)  # pointwise and depthwise pairs, all before instance norms
    # The official recipe of x1.0: fine-tuning with label-smoothed cross entropy.
    defaults = {
        "epochs": 150,
        "batch": 64,
        "optimizer": "amsgrad",
        "learning_rate": 0.0015,
        "weight_decay": 5e-4,
        "schedule": "step",
        "step_epochs": 60,
        "step_factor": 0.1,
        "validate_every": 5,
    }
    options = {
        "loss": "softmax",
        "triplet_weight": 1.0,
        "softmax_weight": 1.0,
        "margin": 0.3,
        "smoothing": 0.1,
        "sampler": "auto",
        "images": 4,
        "fixed_epochs": 0,
        "placement": "",
        "flip": "on",
        "crop": "off",
        "erase": "off",
        "patch": "off",
        "jitter": "off",
    }
    option_values = {
        "loss": ("softmax", "triplet"),
        "sampler": SAMPLERS,
        **{name: ("on", "off") for name in ("flip", "crop", "erase", "patch", "jitter")},
    }
    option_least = {
        "triplet_weight": 0,
        "softmax_weight": 0,
        "margin": 0,
        "smoothing": 0,
        "images": 2,
        "fixed_epochs": 0,
    }
    # Without its classifier the network is taught by its own float form.
    compress_options = {"sampler": "random", "fixed_epochs": 0}
    method_defaults = {
        "quantize": {
            "observer": "learned",
            "equalize": True,
            "task_weight": 0.0,
            "teacher_weight": 1e3,  # Adam's epsilon is small beside the gradients of such a loss
            "teacher_distance": "mse",  # whose gradients fade with the error, where signs shake on
            "freeze_norms": 0.0,  # as the teacher, which infers
            "training": {"learning_rate": 5e-5, "schedule": "cosine"},
        }
    }
    demo = {
        "input_size": (128, 64),
        "epochs": 24,
        "batch": 32,
        "schedule": "cosine",
        "validate_every": 8,
        "options": {"crop": "on", "erase": "on"},
    }

    # --- networks -----------------------------------------------------------------------------

    def build_arguments(self, card: ModelCard) -> dict:
        return {}

    def training_arguments(self, config: TrainConfig) -> dict:
        if config.compress:
            return {}
        kinds = config.options.get("placement")
        placement = {"placement": kinds.split(",")} if kinds else {}
        return {"classes": config.classes, **placement}

    def training_graph(self, model, config: TrainConfig):
        """Return the model with the outputs that the losses need: logits, or both."""
        import keras

        if config.compress or config.options.get("loss", "softmax") == "triplet":
            return model
        return keras.Model(model.input, model.outputs[1], name=model.name)

    # --- data ---------------------------------------------------------------------------------

    def read(self, path: str, format: str = "auto") -> Index:
        """Return the index of a data set; "a+b" joins several.

        "NAME-all" as format also trains on the persons of query and gallery, to test elsewhere;
        "cuhk03-classic-3" is the third of that protocol's 20 splits.
        """
        from apps.person_reid.data import Choices, read

        name, _, last = format.rpartition("-")
        if format in READERS or name not in (*READERS, "auto"):
            return read(path, format)
        if last == "all":
            return read(path, name, Choices(combine_all=True))
        if last.isdigit() and name.endswith("classic"):
            return read(path, name, Choices(trial=int(last) - 1))
        return read(path, format)

    def classes_of(self, index: Index) -> int | None:
        persons = {sample.label for sample in index.samples if sample.split == "train"}
        return len(persons - {None}) or None

    def few_samples(self, index: Index) -> Index:
        """Return the samples of a few persons of each split, so that queries keep their matches."""
        seen: dict[str, set] = {}
        kept = []
        for sample in index.samples:
            persons = seen.setdefault(sample.split, set())
            if len(persons) < QUICK_PERSONS or sample.group in persons:
                persons.add(sample.group)
                kept.append(sample)
        return replace(index, samples=tuple(kept))

    def check_data(self, index: Index, card: ModelCard) -> list[str]:
        from apps.person_reid.data import check

        return check(index)

    def load(self, sample: Sample, card: ModelCard) -> Example:
        from core.data.images import read_image, resized

        label = None if sample.label is None else np.asarray(sample.label, np.int64)
        return Example(resized(read_image(sample.inputs[0]), card.input_size), label)

    def augment(self, example: Example, rng: np.random.Generator, config: TrainConfig) -> Example:
        from apps.person_reid.augment import augmented

        donors = None
        if config.options.get("patch") == "on":
            donors = _donors(self, config.data, config.format)
        return Example(augmented(example.inputs, rng, config.options, donors), example.target)

    def batch_order(
        self, index: Index, config: TrainConfig, rng: np.random.Generator
    ) -> list[np.ndarray] | None:
        from apps.person_reid import samplers

        return samplers.order(index, config, rng)

    # --- training -----------------------------------------------------------------------------

    def check_options(self, options: Mapping[str, Any]) -> dict:
        checked = super().check_options(options)
        kinds = str(checked["placement"]).split(",") if checked["placement"] else []
        if kinds and not (len(kinds) == PLACES and set(kinds) <= set(PLACEMENTS)):
            raise UserError(
                f"Option 'placement' is '{checked['placement']}'; give one of "
                f"{', '.join(PLACEMENTS)} for each of the {PLACES} blocks, with commas."
            )
        if checked["loss"] == "triplet" and checked["triplet_weight"] == 0:
            raise UserError("Option 'triplet_weight' is 0; choose the loss 'softmax' instead.")
        if (
            checked["loss"] == "triplet"
            and checked["fixed_epochs"]
            and checked["softmax_weight"] == 0
        ):
            raise UserError(
                "Option 'fixed_epochs' trains the classifier alone, which 'softmax_weight' 0 leaves"
                " without a loss; set one of the two."
            )
        return checked

    def objective(self, config: TrainConfig) -> Objective:
        from apps.person_reid.losses import TripletLoss, identity_loss

        options = self.check_options(config.options)
        triplet, identity = TripletLoss(options["margin"]), identity_loss(options["smoothing"])
        if config.compress:
            return Objective(triplet)
        if options["loss"] == "softmax":
            return Objective(identity)
        weights = [options["triplet_weight"], options["softmax_weight"]]
        return Objective([triplet, identity], loss_weights=weights)

    def training_callbacks(self, network: Network, model, config: TrainConfig) -> list:
        """Return what trains the new classifier first, for `fixed_epochs`, then all."""
        from core.finetuning.opening import OpenedStepwise, Opening

        epochs = config.options.get("fixed_epochs", 0)
        if not epochs:
            return []
        openings = [Opening(0, frozenset({CLASSIFIER})), Opening(epochs)]
        return [OpenedStepwise(model, openings)]

    # --- results ------------------------------------------------------------------------------

    def check_decoding(self, card: ModelCard) -> None:
        metric = card.decode.get("metric", METRICS[0])
        one_of(metric, METRICS, "--set: metric")
        rerank = card.decode.get("rerank", RERANKINGS[0])
        one_of(rerank, RERANKINGS, "--set: rerank")

    def decode(self, outputs: Sequence[np.ndarray], sample: Sample, card: ModelCard) -> np.ndarray:
        """Return the embedding, float32 (512,)."""
        return np.asarray(outputs[0], np.float32).ravel()

    def score(
        self,
        results: Iterator[tuple[Sample, np.ndarray]],
        card: ModelCard,
        *,
        quick: bool = False,
    ) -> Scores:
        from apps.person_reid.evaluation import score

        return score(results, card)

    def agreement(self, reference, results, card: ModelCard) -> list[tuple[str, float, float]]:
        """Return the shares of queries and of hits that a file ranks as Keras does."""
        from apps.person_reid.evaluation import same_hits

        same = same_hits(reference, results, card)
        return [
            ("queries with the same first hit", same.first, SAME_FIRST),
            ("queries whose first hit is the same person", same.person, SAME_FIRST),
            ("the same among the first ten hits", same.ten, SAME_TEN),
        ]

    def draw(self, sample: Sample, result: np.ndarray, card: ModelCard) -> np.ndarray:
        """Return the crop beside its embedding as a pattern, 512 numbers from dark to light."""
        from apps.person_reid.pictures import embedding_picture
        from core.data.images import read_image

        return embedding_picture(read_image(sample.inputs[0]), result)

    def write(
        self, sample: Sample, result: np.ndarray, folder: Path, card: ModelCard
    ) -> list[Path]:
        import io

        from core.files import write_atomic

        content = io.BytesIO()
        np.save(content, result, allow_pickle=False)
        return [write_atomic(sample.file_in(folder, "_embedding.npy"), content.getvalue())]


@cache
def _donors(task: PersonReid, data: str, format: str):
    """Return the images that random patches of a training are cut from."""
    from apps.person_reid.augment import Donors

    return Donors(task.read(data, format).split("train"))


TASK = PersonReid()
