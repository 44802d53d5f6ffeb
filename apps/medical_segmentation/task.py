"""Medical segmentation as core sees it: networks, readers, loss, metrics, pictures."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from apps import catalog
from apps.medical_segmentation.data import READERS, SAMPLE_DATA
from core.config import TrainConfig
from core.data.index import Index, Sample
from core.drawing import regions
from core.errors import UserError
from core.model_card import ModelCard
from core.task import Example, Objective, Scores, Task

SCALES = (0.75, 1.0, 1.25)  # of MK-UNet's multi-scale training
PUBLISHED_LOSSES = {"barlow_swin": "bce_dice"}  # of one class; else the structure loss
CLASS_LOSSES = {"lightm_unet": "ce_soft_dice"}  # of several classes; else MK-UNet's


@dataclass(frozen=True)
class Segmentation:
    """A decoded result.

    Attributes:
        mask: uint8 class index of every pixel at the image's own size; for one-class networks 0
            and 1. In the "official" protocol the grid is that protocol's (W rows, H columns).
    """

    mask: np.ndarray


class MedicalSegmentation(Task):
    """2-D segmentation: one image in, one class index per pixel out."""

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
            "clip_value": None,
            "clip_norm": 12.0,
            "options": {"multi_scale": "off"},
        },
    }
    options = {"loss": "auto", "supervision": "none", "multi_scale": "fixed"}
    option_values = {
        "loss": ("auto", "structure", "ce_dice", "bce_dice", "ce_soft_dice"),
        "supervision": ("none", "deep_supervision", "mutation"),
        "multi_scale": ("fixed", "legacy", "off"),
    }
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
        height, width = (None, None) if varies else sides_of(card)
        return (height, width, card.channels)

    def training_graph(self, model, config: TrainConfig):
        if self.check_options(config.options)["supervision"] == "none":
            return model
        import keras

        return keras.Model(model.input, keras.ops.stack(model.outputs, axis=1), name=model.name)

    # --- data ---------------------------------------------------------------------------------

    def check_data(self, index: Index, card: ModelCard) -> list[str]:
        from apps.medical_segmentation.data.masks import check

        return check(index, classes_of(card))

    def load(self, sample: Sample, card: ModelCard) -> Example:
        import cv2

        from apps.medical_segmentation.data.masks import load_mask

        height, width = sides_of(card)
        image = cv2.resize(read(sample, card), (width, height), interpolation=cv2.INTER_LINEAR)
        mask = None
        if sample.targets:
            mask = load_mask(sample, classes_of(card))
            mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
        return Example(image.reshape(height, width, card.channels), mask)

    def augment(self, example: Example, rng: np.random.Generator, config: TrainConfig) -> Example:
        """Rotate by up to 90 degrees and flip, as the official script, but after resizing.

        The script turns the full-size image and resizes then; turning the resized one lets decoded
        samples be cached.
        """
        transform = _transform()
        transform.set_random_seed(int(rng.integers(2**31)))
        changed = transform(image=example.inputs, mask=example.target)
        return Example(changed["image"].reshape(example.inputs.shape), changed["mask"])

    def encode(self, example: Example, card: ModelCard) -> tuple[np.ndarray, np.ndarray | None]:
        target = example.target
        if target is not None:
            kind = np.float32 if classes_of(card) == 1 else np.int32
            target = target[..., None].astype(kind)
        return card.normalise(example.inputs), target

    def batches(self, dataset, config: TrainConfig):
        """Make three steps of each batch, at 0.75, 1 and 1.25 times the size.

        "fixed" resizes the original batch each time; "legacy" repeats the official script, whose
        loop overwrites the batch: 0.75 first, then the small batch again, then that enlarged.
        """
        mode = self.check_options(config.options)["multi_scale"]
        return dataset if mode == "off" else _multi_scale(dataset, legacy=mode == "legacy")

    # --- training -----------------------------------------------------------------------------

    def objective(self, config: TrainConfig) -> Objective:
        from apps.medical_segmentation import losses

        options = self.check_options(config.options)
        loss, supervision = options["loss"], options["supervision"]
        if loss == "auto":
            published = PUBLISHED_LOSSES.get(config.network, "structure")
            several = CLASS_LOSSES.get(config.network, "ce_dice")
            loss = published if config.classes == 1 else several
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
        kinds: dict[str, type] = {
            "structure": losses.StructureLoss,
            "bce_dice": losses.BinaryCrossEntropyDiceLoss,
            "ce_dice": losses.CrossEntropyDiceLoss,
            "ce_soft_dice": losses.CrossEntropySoftDiceLoss,
        }
        return Objective(kinds[loss]())

    # --- results ------------------------------------------------------------------------------

    def check_decoding(self, card: ModelCard) -> None:
        from apps.medical_segmentation.protocols import check_threshold, protocol_named

        protocol = card.decode.get("protocol", "native")
        protocol_named(protocol, classes=classes_of(card))
        check_threshold(card.decode.get("threshold", 0.5), protocol, classes=classes_of(card))

    def decode(
        self, outputs: Sequence[np.ndarray], sample: Sample, card: ModelCard
    ) -> Segmentation:
        from apps.medical_segmentation.protocols import binary_prediction, class_prediction
        from core.data.images import read_size

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
        for sample, result in results:
            truth, mask = load_mask(sample, classes), result.mask
            if classes == 1:
                truth, mask = truth.astype(bool), mask.astype(bool)
            truth = prepare_truth(truth, card.input_size, protocol.name)
            scores = segmentation_scores(
                mask, truth, classes=classes, protocol=protocol.name, distances=not quick
            )
            rows.append({"id": sample.id, **scores})
        threshold = card.decode.get("threshold", 0.5)
        said = f"{protocol.name}: {protocol.summary}".replace(
            "threshold 0.5", f"threshold {threshold:g}"
        )
        return Scores(summarise(rows), rows, said)

    def draw_input(self, sample: Sample, card: ModelCard) -> np.ndarray:
        from core.data.images import as_rgb

        return as_rgb(read(sample, card))

    def draw(self, sample: Sample, result: Segmentation, card: ModelCard) -> np.ndarray:
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
        return regions(self.draw_input(sample, card), load_mask(sample, classes_of(card)))

    def write(
        self, sample: Sample, result: Segmentation, folder: Path, card: ModelCard
    ) -> list[Path]:
        """Write the mask at the image's size: 0 and 255 for one class, else class indices."""
        from core.data.images import write_image

        mask = result.mask * np.uint8(255) if classes_of(card) == 1 else result.mask
        return [write_image(sample.file_in(folder, "_mask.png"), mask)]


def classes_of(card: ModelCard) -> int:
    """Return the number of output channels a card's labels stand for."""
    return max(1, len(card.labels))


def sides_of(card: ModelCard) -> tuple[int, int]:
    """Return the height and width of a network's images, or refuse one that takes volumes."""
    if len(card.input_size) != 2:
        raise UserError(
            f"{card.network} {card.variant} takes volumes, and these samples are images; choose a "
            "variant for images (gossamer medseg models)."
        )
    height, width = card.input_size
    return height, width


def read(sample: Sample, card: ModelCard) -> np.ndarray:
    """Return a sample's image at its own size, uint8 (H, W, channels)."""
    from core.data.images import read_image

    return read_image(sample.inputs[0], card.channels, page=sample.extra.get("page", 0))


_local = threading.local()


def _transform():
    """Return this thread's augmentation: a Compose keeps its random state to itself."""
    if not hasattr(_local, "transform"):
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
        import albumentations as A
        import cv2

        _local.transform = A.Compose(
            [
                A.Rotate(limit=90, p=0.5, border_mode=cv2.BORDER_REFLECT_101),
                A.VerticalFlip(p=0.5),
                A.HorizontalFlip(p=0.5),
            ]
        )
    return _local.transform


def _multi_scale(dataset, *, legacy: bool):
    import tensorflow as tf

    # The published script resizes images with align_corners=True, which only this function has.
    bilinear, nearest = (
        tf.compat.v1.image.resize_bilinear,
        tf.compat.v1.image.resize_nearest_neighbor,
    )

    def resized(images, targets, size):
        images = bilinear(images, size, align_corners=True)
        shrink = lambda target: nearest(target, size)  # noqa: E731
        return images, tf.nest.map_structure(shrink, targets)

    def steps(images, targets):
        side = tf.cast(tf.shape(images)[1:3], tf.float32)
        sizes = [tf.cast(tf.round(side * scale / 32) * 32, tf.int32) for scale in SCALES]
        made = []
        for scale, size in zip(SCALES, sizes, strict=True):
            batch = (images, targets) if scale == 1.0 else resized(images, targets, size)
            if legacy:
                images, targets = batch
            made.append(tf.data.Dataset.from_tensors(batch))
        return made[0].concatenate(made[1]).concatenate(made[2])

    return dataset.flat_map(steps)


TASK = MedicalSegmentation()
