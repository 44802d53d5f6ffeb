"""Medical segmentation as core sees it: networks, readers, loss, metrics, pictures.

What differs for samples that are volumes stands in `volumes/volume_task.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from apps import catalog
from apps.medical_segmentation.augmentation import AUGMENTATIONS, augmented, multi_scale
from apps.medical_segmentation.data import READERS, SAMPLE_DATA
from apps.medical_segmentation.volumes import volume_task
from apps.medical_segmentation.volumes.patches import VolumeExample, augmented_part, part
from apps.medical_segmentation.volumes.reading import is_volume
from core.config import TrainConfig
from core.data.index import Index, Sample
from core.drawing import regions
from core.errors import UserError
from core.model_card import ModelCard
from core.task import Example, Objective, Scores, Task

PUBLISHED_LOSSES = {"barlow_swin": "bce_dice"}  # of one class; else the structure loss
CLASS_LOSSES = {"lightm_unet": "ce_soft_dice"}  # of several classes; else MK-UNet's
VOLUME_LOSSES = ("bce_dice", "ce_soft_dice")  # those that know no rows and columns


@dataclass(frozen=True)
class Segmentation:
    """A decoded result.

    Attributes:
        mask: uint8 class index of every pixel at the image's own size, or of every voxel of a
            volume (D, H, W); for one-class networks 0 and 1. In the "official" protocol the grid is
            that protocol's (W rows, H columns).
    """

    mask: np.ndarray


class MedicalSegmentation(Task):
    """One image or volume in, one class index per pixel or voxel out."""

    name = "medseg"
    networks = catalog.networks("medseg")
    readers = READERS
    sample_data = SAMPLE_DATA
    headline = "dice"
    # The recipe of the official MK-UNet training script.
    defaults = {
        "epochs": 200,
        "batch": 8,
        "optimizer": "adamw",
        "learning_rate": 5e-4,
        "weight_decay": 1e-4,
        "schedule": "cosine",
        "final_learning_rate": 1e-6,
        "clip_value": 0.5,
    }
    recipes = {
        "barlow_swin": {  # the official fine-tuning; its stored rotations are ours by `augment`
            "epochs": 100,
            "optimizer": "adam",
            "learning_rate": 1e-3,
            "weight_decay": 0.0,
            "schedule": "constant",
            "clip_value": None,
            "options": {"multi_scale": "off"},
        },
        "lightm_unet": {  # the official trainer's, whose batch follows from the planner's patches
            "epochs": 100,
            "optimizer": "adam",
            "learning_rate": 1e-4,
            "weight_decay": 1e-5,
            "schedule": "poly",
            "poly_power": 0.9,
            "final_learning_rate": 0.0,
            "epsilon": 1e-5,
            "clip_value": None,
            "clip_norm": 12.0,
            "options": {"multi_scale": "off", "augmentation": "nnunet"},
        },
    }
    options = {
        **{"loss": "auto", "supervision": "none", "multi_scale": "fixed", "augmentation": "flips"},
        **volume_task.OPTIONS,
    }
    option_values = {
        "loss": ("auto", "structure", "ce_dice", "bce_dice", "ce_soft_dice"),
        "supervision": ("none", "deep_supervision", "mutation"),
        "multi_scale": ("fixed", "legacy", "off"),
        "augmentation": AUGMENTATIONS,
    }
    option_least = volume_task.LEAST
    compress_options = {"supervision": "none", "multi_scale": "off"}
    demo = {
        "network": "mk_unet",
        "variant": "t",
        "input_size": (128, 128),
        "epochs": 50,
        "batch": 5,
        "learning_rate": 5e-3,
        "validate_every": 5,
        "options": {"multi_scale": "off"},
    }

    # --- networks -----------------------------------------------------------------------------

    def training_arguments(self, config: TrainConfig) -> dict:
        supervised = self.check_options(config.options)["supervision"] != "none"
        return {"auxiliary_heads": True} if supervised else {}

    def training_input_shape(self, card: ModelCard, config: TrainConfig) -> tuple:
        varies = self.check_options(config.options)["multi_scale"] != "off"
        if varies and not self.network(config.network).any_size:
            raise UserError(
                f"{config.network} takes images of one size only; train it with "
                "--set options.multi_scale=off."
            )
        return (None, None, card.channels) if varies else card.input_shape

    def training_graph(self, model, config: TrainConfig):
        if self.check_options(config.options)["supervision"] == "none":
            return model
        import keras

        return keras.Model(model.input, keras.ops.stack(model.outputs, axis=1), name=model.name)

    def card_for(self, card: ModelCard, config: TrainConfig, index: Index) -> ModelCard:
        return volume_task.card_for(card, self.check_options(config.options), index)

    # --- data ---------------------------------------------------------------------------------

    def files(self, inputs: Iterable[Path]) -> list[Sample]:
        """Return images and volumes; a folder may hold both."""
        images, volumes = volume_task.split_inputs(inputs)
        return [*(super().files(images) if images else ()), *volumes]

    def check_data(self, index: Index, card: ModelCard) -> list[str]:
        from apps.medical_segmentation.data.masks import check

        own = volume_task.check if volume_task.holds_volumes(index) else check
        return own(index, classes_of(card))

    def data_notes(self, index: Index) -> list[str]:
        return volume_task.data_notes(index)

    def load(self, sample: Sample, card: ModelCard) -> Example:
        """Return an image with its mask at the card's size, or a whole volume with its labels."""
        import cv2

        from apps.medical_segmentation.data.masks import load_mask

        if is_volume(sample):
            return volume_task.load(sample, card, classes_of(card))
        volume_task.refuse_images(card)
        height, width = card.input_size
        image = cv2.resize(read(sample, card), (width, height), interpolation=cv2.INTER_LINEAR)
        mask = None
        if sample.targets:
            mask = load_mask(sample, classes_of(card))
            mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
        return Example(image.reshape(height, width, card.channels), mask)

    def prepare(self, sample: Sample, card: ModelCard) -> tuple[np.ndarray, np.ndarray | None]:
        """Return input and target of an image, or a volume in grey levels: `infer` takes both."""
        if is_volume(sample):
            return volume_task.grey_levels(sample, card), None
        return super().prepare(sample, card)

    def repeats(self, config: TrainConfig, index: Index) -> int:
        volumes = volume_task.holds_volumes(index)
        return int(self.check_options(config.options)["patches"]) if volumes else 1

    def training_example(
        self, example: Example, rng: np.random.Generator, config: TrainConfig
    ) -> Example:
        """Return an image, or a random slice or window of a volume; augmented if that is wished."""
        if not isinstance(example, VolumeExample):
            return super().training_example(example, rng, config)
        chosen = self.check_options(config.options)["augmentation"]
        if config.augment and (chosen == "nnunet" or len(example.size) == 3):
            return augmented_part(example, rng)
        return super().training_example(part(example, rng), rng, config)

    def network_input(self, sample: Sample, card: ModelCard) -> np.ndarray:
        return self.network_inputs(sample, card, 1)[0]

    def network_inputs(self, sample: Sample, card: ModelCard, limit: int) -> list[np.ndarray]:
        if is_volume(sample):
            return volume_task.network_inputs(sample, card, limit)
        return [self.prepare(sample, card)[0]]

    def samples_at_once(self, samples: Sequence[Sample], wished: int) -> int:
        return 1 if any(map(is_volume, samples)) else wished

    def infer(self, engine, inputs: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
        if inputs[0].dtype == np.uint8:  # a volume
            return [volume_task.infer(engine, values) for values in inputs]
        return super().infer(engine, inputs)

    def augment(self, example: Example, rng: np.random.Generator, config: TrainConfig) -> Example:
        """Rotate by up to 90 degrees and flip, as the official script, or augment as nnU-Net.

        The script turns the full-size image and resizes then; turning the resized one lets decoded
        samples be cached.
        """
        return augmented(example, rng, self.check_options(config.options)["augmentation"])

    def encode(self, example: Example, card: ModelCard) -> tuple[np.ndarray, np.ndarray | None]:
        target = example.target
        if target is not None:
            kind = np.float32 if classes_of(card) == 1 else np.int32
            target = target[..., None].astype(kind)
        return card.normalise(example.inputs), target

    def batches(self, dataset, config: TrainConfig, *, epoch):
        """Make three steps of each batch, at 0.75, 1 and 1.25 times the size.

        "fixed" resizes the original batch each time; "legacy" repeats the official script, whose
        loop overwrites the batch: 0.75 first, then the small batch again, then that enlarged.
        """
        mode = self.check_options(config.options)["multi_scale"]
        return dataset if mode == "off" else multi_scale(dataset, legacy=mode == "legacy")

    # --- training -----------------------------------------------------------------------------

    def objective(self, config: TrainConfig) -> Objective:
        from apps.medical_segmentation import losses

        options = self.check_options(config.options)
        loss, supervision = options["loss"], options["supervision"]
        volumes = volume_task.takes_volumes(self.network(config.network).card(config.variant))
        if loss == "auto":
            published = PUBLISHED_LOSSES.get(config.network, "structure")
            several = CLASS_LOSSES.get(config.network, "ce_dice")
            published, several = VOLUME_LOSSES if volumes else (published, several)
            loss = published if config.classes == 1 else several
        if volumes and loss not in VOLUME_LOSSES:
            raise UserError(
                f"The {loss} loss is for images; pass --set options.loss="
                f"{VOLUME_LOSSES[config.classes > 1]}."
            )
        if loss in ("structure", "bce_dice") and config.classes > 1:
            raise UserError(
                f"The {loss} loss is for one class, not {config.classes}; pass "
                "--set options.loss=ce_dice."
            )
        if config.classes == 1 and (supervision != "none" or loss.startswith("ce_")):
            raise UserError(
                "Supervision of several heads and losses of ce_… are for two or more --classes; "
                "leave them off for a single foreground."
            )
        if supervision != "none":
            return Objective(losses.MultiHeadLoss(supervision))
        kinds: dict[str, Callable] = {
            "structure": losses.StructureLoss,
            "bce_dice": losses.BinaryCrossEntropyDiceLoss,
            "ce_dice": losses.CrossEntropyDiceLoss,
            # nnU-Net sums its Dice over the batch in 2d, over each sample in 3d_fullres.
            "ce_soft_dice": partial(losses.CrossEntropySoftDiceLoss, over_batch=not volumes),
        }
        return Objective(kinds[loss]())

    # --- results ------------------------------------------------------------------------------

    def settled_options(self, options: Mapping[str, Any], index: Index) -> dict:
        return volume_task.settled_options(self.check_options(options), index)

    def check_options(self, options: Mapping[str, Any]) -> dict:
        checked = super().check_options(options)
        volume_task.check_options(checked)
        return checked

    def check_decoding(self, card: ModelCard) -> None:
        from apps.medical_segmentation.protocols import check_threshold, protocol_named

        protocol = card.decode.get("protocol", "native")
        protocol_named(protocol, classes=classes_of(card))
        check_threshold(card.decode.get("threshold", 0.5), protocol, classes=classes_of(card))
        volume_task.check_decoding(card)

    def decode(
        self, outputs: Sequence[np.ndarray], sample: Sample, card: ModelCard
    ) -> Segmentation:
        from apps.medical_segmentation.protocols import binary_prediction, class_prediction
        from core.data.images import read_size

        if is_volume(sample):
            return Segmentation(volume_task.decode(outputs[0], sample, card))
        size = read_size(sample.inputs[0])
        protocol = card.decode.get("protocol", "native")
        logits = np.asarray(outputs[0], np.float32)
        if classes_of(card) == 1:
            threshold = card.decode.get("threshold", 0.5)
            mask = binary_prediction(logits[..., 0], size, protocol, threshold).astype(np.uint8)
        else:
            mask = class_prediction(logits, size, protocol)
        return Segmentation(mask)

    def score(
        self,
        results: Iterator[tuple[Sample, Segmentation]],
        card: ModelCard,
        *,
        quick: bool = False,
    ) -> Scores:
        from apps.medical_segmentation.data.masks import load_mask
        from apps.medical_segmentation.metrics import segmentation_scores, summarise
        from apps.medical_segmentation.protocols import prepare_truth, protocol_named

        classes = classes_of(card)
        protocol = protocol_named(card.decode.get("protocol", "native"), classes=classes)
        rows: list[dict[str, Any]] = []
        said: dict[bool, str] = {}
        for sample, result in results:
            volume, mask, spacing = is_volume(sample), result.mask, None
            truth = (volume_task.read_labels if volume else load_mask)(sample, classes)
            if classes == 1:
                truth, mask = truth.astype(bool), mask.astype(bool)
            if volume:
                spacing = volume_task.read_geometry(sample).spacing
                said[volume] = volume_task.protocol_in_words(card)
            else:
                truth = prepare_truth(truth, card.input_size, protocol.name)
                said[volume] = protocol.in_words(card.decode.get("threshold", 0.5))
            scores = segmentation_scores(
                mask,
                truth,
                classes=classes,
                protocol=protocol.name,
                spacing=spacing,
                distances=not quick,
            )
            rows.append({"id": sample.id, **scores})
        return Scores(summarise(rows), rows, "; ".join(said.values()))

    def draw_input(self, sample: Sample, card: ModelCard) -> np.ndarray:
        from core.data.images import as_rgb

        if is_volume(sample):
            return volume_task.sheet(sample, card, classes_of(card))
        return as_rgb(read(sample, card))

    def draw(self, sample: Sample, result: Segmentation, card: ModelCard) -> np.ndarray:
        if is_volume(sample):
            return volume_task.sheet(sample, card, classes_of(card), result.mask)
        image = self.draw_input(sample, card)
        if result.mask.shape != image.shape[:2]:
            raise UserError(
                "The 'official' protocol compares on a stretched grid that cannot be drawn; use "
                "the native protocol for pictures."
            )
        return regions(image, result.mask)

    def draw_truth(self, sample: Sample, card: ModelCard) -> np.ndarray | None:
        from apps.medical_segmentation.data.masks import load_mask

        if not sample.targets:
            return None
        if is_volume(sample):
            labels = volume_task.read_labels(sample, classes_of(card))
            return volume_task.sheet(sample, card, classes_of(card), labels)
        return regions(self.draw_input(sample, card), load_mask(sample, classes_of(card)))

    def write(
        self, sample: Sample, result: Segmentation, folder: Path, card: ModelCard
    ) -> list[Path]:
        """Write the mask: of an image as PNG, 0 and 255 for one class, else class indices.

        Of a volume as NIfTI, class indices, with the affine of the input.
        """
        from core.data.images import write_image

        if is_volume(sample):
            return [volume_task.write(sample, result.mask, folder)]

        mask = result.mask * np.uint8(255) if classes_of(card) == 1 else result.mask
        return [write_image(sample.file_in(folder, "_mask.png"), mask)]


def classes_of(card: ModelCard) -> int:
    """Return the number of output channels a card's labels stand for."""
    return max(1, len(card.labels))


def read(sample: Sample, card: ModelCard) -> np.ndarray:
    """Return a sample's image at its own size, uint8 (H, W, channels)."""
    from core.data.images import read_image

    return read_image(sample.inputs[0], card.channels, page=sample.extra.get("page", 0))


TASK = MedicalSegmentation()
