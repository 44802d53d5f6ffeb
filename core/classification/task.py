"""Classification of pictures as core sees it: what the apps that name what they see have in common.

An app states its data, its networks and how its pictures may be augmented; the head's training, the
opening of the backbone, balanced and mixed losses, scores, tables and pictures are here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.classification.labels import (
    checked_label,
    class_name,
    few_of_each,
    matched_by_name,
    told_class,
)
from core.classification.metrics import softmax
from core.data.images import as_rgb, read_image, resized
from core.data.index import Index, Sample
from core.errors import UserError
from core.files import write_json
from core.model_card import ModelCard
from core.network import Network
from core.task import Example, Objective, Scores, Task

if TYPE_CHECKING:
    from core.config import TrainConfig
    from core.finetuning.frozen import FrozenFeatures

CLASS_WEIGHTS = ("none", "balanced", "effective-number")
RESIZE = "bilinear as Pillow does it, the aspect ratio not kept"
OUTPUT = "logits of the classes, before the softmax"
QUICK_SAMPLES = 2  # of each class in each split
FIRST = 5  # classes that a result names


class ClassificationTask(Task):
    """A picture in, a logit for each class out.

    Subclasses state `name`, `networks`, `readers`, `defaults`, `augment` and what else differs.
    Networks of `core.backbones` become the app's own: the card says so, and its labels are the
    data's.
    """

    headline = "macro_f1"
    int8_tolerance = 0.02
    options: Mapping[str, Any] = {
        "head_epochs": 5,
        "head_rate": 1e-3,
        "opening": "whole",
        "stage_epochs": 3,
        "norms": "kept",
        "features": "kept",
        "class_weights": "none",
        "loss_weights": (),
        "smoothing": 0.0,
        "mixup": 0.0,
        "cutmix": 0.0,
        "backbone_weights": "",
    }
    option_values: Mapping[str, Sequence[Any]] = {
        "opening": ("whole", "stages"),
        "norms": ("kept", "frozen", "adapting"),
        "features": ("kept", "computed"),
        "class_weights": CLASS_WEIGHTS,
    }
    option_least: Mapping[str, float] = {
        "head_epochs": 0,
        "head_rate": 0,
        "stage_epochs": 1,
        "smoothing": 0,
        "mixup": 0,
        "cutmix": 0,
    }
    # The deployable network has no normalisations left to adapt and no new head.
    compress_options: Mapping[str, Any] = {"head_epochs": 0, "mixup": 0.0, "cutmix": 0.0}

    # --- networks -----------------------------------------------------------------------------

    def network(self, name: str) -> Network:
        found = super().network(name)
        return dataclasses.replace(found, card=lambda variant: self._own_card(found.card(variant)))

    def _own_card(self, card: ModelCard) -> ModelCard:
        """Return the card of a network that learns this domain's classes."""
        if card.app == self.name:
            return card
        return card.replace(app=self.name, labels=(), resize=RESIZE, output=OUTPUT)

    def bring_weights(self, network: Network, model, config: TrainConfig) -> list[str]:
        """Load `backbone_weights` (a file, "package" or "download") into all but the head."""
        source = config.options.get("backbone_weights")
        if not source:
            return []
        from core.finetuning.pretrained import bring_backbone

        return [bring_backbone(network, model, config, str(source))]

    # --- data ---------------------------------------------------------------------------------

    def load(self, sample: Sample, card: ModelCard) -> Example:
        label = None if sample.label is None else np.asarray(sample.label, np.int64)
        return Example(resized(self.picture(sample, card), card.input_size), label)

    def picture(self, sample: Sample, card: ModelCard) -> np.ndarray:
        """Return a sample's picture at its own size, uint8 (H, W, C)."""
        return read_image(sample.inputs[0], card.channels)

    def matched(self, index: Index, card: ModelCard) -> Index:
        """Return samples numbered as the network numbers classes: by name, as data order theirs.

        Raises:
            UserError: When the network does not know one of the classes by its name.
        """
        return matched_by_name(index, card)

    def few_samples(self, index: Index) -> Index:
        """Return the first samples of each class in each split, so that none is without."""
        return few_of_each(index, QUICK_SAMPLES, lambda sample: sample.label)

    def check_data(self, index: Index, card: ModelCard) -> list[str]:
        """Return what cannot be read, and pictures that are, or look, the same where they may not.

        These are the same ones in two splits, and those that only look the same in two splits, of
        two groups or of two classes.
        """
        from core.data.check import Examined, check_samples, digest
        from core.data.lookalikes import look

        def examine(sample: Sample) -> Examined:
            picture = self.load(sample, card).inputs
            return Examined([], digest(picture), look(picture))

        return check_samples(index.samples, examine, labels=index.labels)

    def data_notes(self, index: Index) -> list[str]:
        """Return the classes that a split has no sample of, and how unequal the classes are."""
        notes = []
        for split, count in index.counts().items():
            labels = [sample.label for sample in index.split(split).samples] if split else []
            found = np.bincount([n for n in labels if n is not None], minlength=len(index.labels))
            lacking = [name for name, n in zip(index.labels, found, strict=True) if not n]
            if lacking and labels:
                notes.append(f"The {split} split ({count}) has no sample of: {', '.join(lacking)}.")
        return notes

    # --- training -----------------------------------------------------------------------------

    def settled_options(self, options: Mapping[str, Any], index: Index) -> dict:
        """Return checked options, the classes' weights counted on the training samples."""
        checked = self.check_options(options)
        if len(index.labels) == 1:
            raise UserError(
                f"{index.root}: has a single class, '{index.labels[0]}', so there is nothing to "
                "tell apart; add samples of other classes."
            )
        kind = checked["class_weights"]
        if kind == "none":
            return {**checked, "loss_weights": []}
        labels = [s.label for s in index.samples if s.split == "train" and s.label is not None]
        if not labels:
            return checked
        from core.classification.losses import balanced_weights, effective_number_weights

        found = np.bincount(labels, minlength=len(index.labels))
        counts = {name: int(n) for name, n in zip(index.labels, found, strict=True)}
        weigh = balanced_weights if kind == "balanced" else effective_number_weights
        return {**checked, "loss_weights": [round(float(w), 6) for w in weigh(counts)]}

    def check_options(self, options: Mapping[str, Any]) -> dict:
        checked = super().check_options(options)
        if not 0 <= checked["smoothing"] < 1:
            raise UserError(f"Option 'smoothing' is {checked['smoothing']}; it must be below 1.")
        if checked["head_epochs"] and not checked["head_rate"]:
            raise UserError("Option 'head_rate' is 0; it must be a positive number.")
        return checked

    def objective(self, config: TrainConfig) -> Objective:
        import keras

        from core.classification.losses import WeightedCrossentropy

        options = self.check_options(config.options)
        loss = WeightedCrossentropy(options["loss_weights"] or None, options["smoothing"])
        if _mixing(options):  # the truth is shares of classes then
            return Objective(loss)
        return Objective(loss, metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")])

    def batches(self, dataset, config: TrainConfig, *, epoch: Callable[[], int]):
        """Mix the samples of each batch where that is wished."""
        options = self.check_options(config.options)
        if not _mixing(options):
            return dataset
        from core.classification.mixing import Mixing, mixed_batches

        mixing = Mixing(config.classes, options["mixup"], options["cutmix"])
        return mixed_batches(dataset, mixing, seed=config.seed, epoch=epoch)

    def head_epochs(self, config: TrainConfig) -> int:
        """Return in how many epochs, from the first on, only the head is trained."""
        return min(config.options.get("head_epochs", 0), config.epochs)

    def training_callbacks(self, network: Network, model, config: TrainConfig) -> list:
        """Return what trains the head first, then the backbone, at once or stage by stage.

        The normalisations of layers that are not trained infer ("kept"), or go on adapting to the
        batches ("adapting", as PyTorch has it); "frozen" keeps those before the head as they came
        to the end, which few samples or small batches ask for.
        """
        from core.finetuning.opening import (
            OpenedStepwise,
            Opening,
            head_layers,
            stagewise,
            without_norms,
        )

        first, options = self.head_epochs(config), self.check_options(config.options)
        head = head_layers(model, network.head)
        openings = [Opening(0, head), Opening(first)] if first else [Opening(0)]
        if first and options["opening"] == "stages":
            steps = enumerate(stagewise(model, head, network.features_of(model)))
            each = options["stage_epochs"]
            openings = [Opening(first + (n - 1) * each if n else 0, layers) for n, layers in steps]
        if options["norms"] == "frozen":
            openings = without_norms(model, openings, head)
        elif not first:
            return []
        return [OpenedStepwise(model, openings, adapting=options["norms"] == "adapting")]

    def frozen_features(
        self, network: Network, model, config: TrainConfig, samples: int
    ) -> FrozenFeatures | None:
        """Return the backbone's features, where they stay the same while the head is trained."""
        from core.data.pipeline import kept_bytes
        from core.finetuning.frozen import FrozenFeatures
        from core.finetuning.opening import head_layers

        first, options = self.head_epochs(config), self.check_options(config.options)
        changing = options["norms"] == "adapting" or options["features"] == "computed"
        if not first or changing or _mixing(options) or not config.cache:
            return None
        found = FrozenFeatures(model, head_layers(model, network.head), first)
        return found if found.bytes(samples) <= kept_bytes() else None

    def learning_rate(self, config: TrainConfig, epoch: int) -> float:
        """Return `head_rate` while only the head is trained, then the schedule from its start."""
        first = self.head_epochs(config)
        if epoch < first:
            return float(config.options.get("head_rate", self.options["head_rate"]))
        rest = dataclasses.replace(config, epochs=max(1, config.epochs - first))
        return super().learning_rate(rest, epoch - first)

    # --- results ------------------------------------------------------------------------------

    def decode(
        self, outputs: Sequence[np.ndarray], sample: Sample, card: ModelCard
    ) -> dict[str, Any]:
        """Return "class", "probability", "classes" (the likeliest with theirs) and "logits"."""
        return told_class(outputs[0], card, FIRST)

    def score(
        self,
        results: Iterator[tuple[Sample, Any]],
        card: ModelCard,
        *,
        quick: bool = False,
    ) -> Scores:
        """Return the scores of `core.classification.report`, and what each picture was taken for.

        Raises:
            UserError: When a sample has no class, or a class that the network does not have.
        """
        from core.classification.report import (
            PROTOCOL,
            class_records,
            classification_report,
            confused_records,
        )

        rows, logits, labels = [], [], []
        for sample, result in results:
            label = checked_label(sample, len(result["logits"]))
            logits.append(result["logits"])
            labels.append(label)
            own = float(softmax(result["logits"][None])[0][label])
            rows.append(
                {
                    "id": sample.id,
                    "class": class_name(card, label),
                    "predicted": result["class"],
                    "correct": float(result["logits"].argmax() == label),
                    "probability": result["probability"],
                    "probability_of_class": own,
                }
            )
        report = classification_report(
            np.stack(logits),
            np.asarray(labels),
            [class_name(card, n) for n in range(len(logits[0]))],
        )
        tables = {} if quick else {"classes": class_records(report)}
        if not quick and (confused := confused_records(report)):
            tables["confused"] = confused
        return Scores(report.summary, rows, PROTOCOL, tables, report)

    def score_pictures(self, scores: Scores) -> dict[str, np.ndarray]:
        """Return "confusion" and "reliability" of scores."""
        from core.classification.pictures import confusion_picture, reliability_picture

        report = scores.details
        return {
            "confusion": confusion_picture(report.confusion, report.names),
            "reliability": reliability_picture(report.bins),
        }

    def write(self, sample: Sample, result: Any, folder: Path, card: ModelCard) -> list[Path]:
        """Write class, probability and the likeliest classes as JSON."""
        told = {name: result[name] for name in ("class", "probability", "classes")}
        return [write_json(sample.file_in(folder, "_class.json"), told)]

    def draw_truth(self, sample: Sample, card: ModelCard) -> np.ndarray | None:
        from core.classification.pictures import labelled_picture

        if sample.label is None:
            return None
        return labelled_picture(
            as_rgb(self.picture(sample, card)), [(class_name(card, sample.label), 1)]
        )

    def draw(self, sample: Sample, result: Any, card: ModelCard) -> np.ndarray:
        from core.classification.pictures import labelled_picture

        shown = [(one["class"], one["probability"]) for one in result["classes"][:3]]
        return labelled_picture(as_rgb(self.picture(sample, card)), shown)


def _mixing(options: Mapping[str, Any]) -> bool:
    return options["mixup"] > 0 or options["cutmix"] > 0
