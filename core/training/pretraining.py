"""Pre-training of an encoder without labels, as a task beside a domain's own.

It trains as any other task does: `core.training.fit.train(Pretraining(task), config, out)` writes a
run folder whose `model.keras` is the encoder. A training of the whole network takes it over by
`initial_weights` (`core.training.transfer`: all of it, or an error).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from core.config import TrainConfig
from core.data.folders import find_files
from core.data.images import SUFFIXES
from core.data.index import Index, Sample, make_index
from core.data.readers import Reader
from core.errors import UserError
from core.model_card import ModelCard
from core.network import Network
from core.task import Example, Objective, Scores, Task
from core.training.views import view

_COLLAPSED = 0.1  # of `spread`, which is near 1 where features differ
IMAGES = "images"  # the layout of a folder without any labels


class Pretraining(Task):
    """Trains the encoder of a domain's networks by Barlow Twins, on two views of every picture.

    Only the training split is looked at, and of it no label. There is nothing to choose a best
    epoch by: the newest weights are kept.

    Args:
        task: The domain, of pictures; its readers find the images and its `load` decodes them.
    """

    command = "pretrain"
    validates = False
    # What is told of the last epoch.
    shown: tuple[str, ...] = ("loss", "on_diagonal", "off_diagonal", "spread")
    headline, headline_mode = "loss", "min"
    # Barlow-Swin's, for 2000 images; the rate is small because the loss is a sum over features.
    defaults = {
        "epochs": 100,
        "batch": 16,
        "optimizer": "sgd",
        "momentum": 0.9,
        "learning_rate": 5e-6,
        "weight_decay": 0.0,
        "schedule": "cosine",
        "warmup_epochs": 15,
    }
    options = {"crop": 450 / 512, "rotate": 10.0, "color": "off", "repeats": 1, "width": 256,
               "off_diagonal": 0.005}  # fmt: skip
    option_values = {"color": ("off", "on")}
    option_least = {"crop": 0.1, "rotate": 0, "repeats": 1, "width": 1, "off_diagonal": 0}

    def __init__(self, task: Task):
        self.domain = task
        self.name, self.networks = task.name, task.networks
        self.sample_data = task.sample_data
        self.readers = {**task.readers, IMAGES: _PLAIN}

    # --- networks -----------------------------------------------------------------------------

    def network(self, name: str) -> Network:
        """Return the encoder of one of the domain's networks as a network of its own."""
        whole = self.domain.network(name)
        if not whole.features:
            able = [n for n in self.networks if self.domain.network(n).features]
            known = ", ".join(able) or "none"
            raise UserError(f"{name}: does not say what its encoder is; those that do: {known}.")

        def build(variant: str, input_shape, **arguments):
            return whole.encoder(whole.build(variant, input_shape, **arguments))

        def card(variant: str) -> ModelCard:
            found = whole.card(variant)
            if not found.is_picture:
                raise UserError(f"{name} {variant}: takes no pictures; choose another variant.")
            return found.replace(labels=(), output="features", decode={})

        return replace(whole, build=build, card=card, deploy=lambda model: model)

    def training_graph(self, model, config: TrainConfig):
        from core.training.barlow_twins import BarlowTwins

        if config.teacher is not None:
            raise UserError("An encoder is pre-trained without a teacher; leave it off.")
        options = self.check_options(config.options)
        widths = (options["width"],) * 3
        return BarlowTwins(model, widths, off_diagonal=options["off_diagonal"])

    # --- data ---------------------------------------------------------------------------------

    def with_splits(self, index: Index) -> Index:
        index = replace(index, labels=())
        return index if index.format == IMAGES else self.domain.with_splits(index)

    def classes_of(self, index: Index) -> None:
        return None

    def batch_order(
        self, index: Index, config: TrainConfig, rng: np.random.Generator
    ) -> list[np.ndarray]:
        """Return an epoch's batches of nearly one size.

        Correlations over the few pictures of a last, small batch would be chance.
        """
        if config.batch < 2 or len(index) < 2:
            what = f"--batch is {config.batch}" if len(index) > 1 else f"{index.root}: has 1 image"
            raise UserError(
                f"{what}, but pre-training compares the images of a batch; give it 2 or more."
            )
        count = len(index) * self.repeats(config, index)
        batches = min(-(-count // config.batch), count // 2)  # none of a single picture
        return np.array_split(rng.permutation(count), batches)

    def repeats(self, config: TrainConfig, index: Index) -> int:
        """Return how often an epoch takes each picture, so that few of them make full batches."""
        return self.check_options(config.options)["repeats"]

    def load(self, sample: Sample, card: ModelCard) -> Example:
        return self.domain.load(replace(sample, targets=(), label=None), card)

    def training_example(
        self, example: Example, rng: np.random.Generator, config: TrainConfig
    ) -> Example:
        """Return two views of a picture, as input and as target."""
        if not config.augment:
            raise UserError("Two views must differ: leave augment on.")
        if example.inputs.ndim != 3:
            raise UserError("Pre-training takes pictures, which these samples are not.")
        options = self.check_options(config.options)
        changes = {"crop": min(1.0, options["crop"]), "rotate": options["rotate"]}
        changes["color"] = options["color"] == "on"
        return Example(*(view(example.inputs, rng, **changes) for _ in range(2)))

    def encode(self, example: Example, card: ModelCard) -> tuple[np.ndarray, np.ndarray | None]:
        other = None if example.target is None else card.normalise(example.target)
        return card.normalise(example.inputs), other

    # --- training and results -----------------------------------------------------------------

    def objective(self, config: TrainConfig) -> Objective:
        """Return nothing: the graph that is trained knows its loss."""
        if config.patience is not None:
            raise UserError("Nothing is validated while pre-training; leave patience off.")
        return Objective(None)

    def notes(self, last: Mapping[str, float]) -> list[str]:
        """Return what is to be said of a training that ended, by what it logged last."""
        if last.get("spread", 1.0) >= _COLLAPSED:
            return []
        return ["All images give nearly the same features; train with a lower --learning-rate."]

    def decode(self, outputs, sample: Sample, card: ModelCard):
        raise ValueError("An encoder gives features, which are no result.")

    def score(self, results, card: ModelCard, *, quick: bool = False) -> Scores:
        raise ValueError("An encoder gives features, which have no score.")


def _read_images(path: Path) -> Index:
    """Return the images in a folder and the folders inside it, all of them for training."""
    samples = [
        Sample(id=file.relative_to(path).as_posix(), inputs=(file,), split="train")
        for file in find_files(path, "image", SUFFIXES, recursive=True)
    ]
    return make_index(IMAGES, path, samples)


def _holds_images(path: Path) -> bool:
    try:
        return bool(find_files(path, "image", SUFFIXES))
    except UserError:
        return False


_PLAIN = Reader(
    IMAGES,
    "images without labels, all for training; also those in folders inside where it is named",
    _holds_images,
    _read_images,
)
