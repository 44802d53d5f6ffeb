"""Super-resolution as core sees it: pairs of pictures, patches, pixels, PSNR."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from apps import catalog
from apps.super_resolution.data import READERS, SAMPLE_DATA
from apps.super_resolution.enlarge import enlarge_values, levels_of, scale_of
from core.config import TrainConfig
from core.data.index import Index, Sample
from core.data.splits import FRACTIONS, keep_or_split
from core.errors import UserError
from core.model_card import ModelCard
from core.task import Example, Objective, Scores, Task

INTENSITIES = (1.0, 0.7, 0.5)  # of XLSR's training, which teaches an integer network dark ranges
SMALLEST_PATCH = 8  # pixels of the small picture
# What differs from network to network in the published training scripts.
RECIPES = {
    "xlsr": {"loss": "charbonnier", "patch": 32, "intensity": "on"},
    "abpn": {"loss": "l1", "patch": 64, "intensity": "off"},
}
IMDN_PATCH = 192  # pixels of the large picture


@dataclass(frozen=True)
class Enlarged:
    """A decoded result: the picture, uint8 (H, W, 3)."""

    image: np.ndarray


class SuperResolution(Task):
    """A small picture in, the same picture enlarged by the network's scale out."""

    name = "superres"
    networks = catalog.networks("superres")
    readers = READERS
    sample_data = SAMPLE_DATA
    headline = "psnr"
    int8_tolerance = 0.3
    int8_repairs = ("balance",)
    calibration_observer = "mse"  # a few bright features would coarsen the steps of all others
    # The recipe of the official IMDN training script.
    defaults = {
        "epochs": 1000,
        "batch": 16,
        "optimizer": "adam",
        "learning_rate": 2e-4,
        "weight_decay": 0.0,
        "schedule": "step",
        "step_epochs": 200,
        "step_factor": 0.5,
        "validate_every": 5,
    }
    options = {"loss": "auto", "patch": 0, "patches": 20, "intensity": "auto"}
    option_values = {"loss": ("auto", "l1", "charbonnier"), "intensity": ("auto", "on", "off")}
    option_least = {"patch": 0, "patches": 1}
    # Eight bits are few for features that carry a photograph: ranges are learned, and the float
    # network, which has seen more pictures than a user fine-tunes on, is the teacher.
    method_defaults = {
        "quantize": {
            "observer": "learned",
            "equalize": True,
            "balance": True,
            "task_weight": 0.0,
            "teacher_weight": 1e3,  # Adam's epsilon is small beside the gradients of such a loss
            "teacher_distance": "mse",
            "freeze_ranges": 0.9,
            "training": {
                "learning_rate": 5e-4,
                "schedule": "cosine",
                "final_learning_rate": 1e-5,
            },
        }
    }
    demo = {
        "network": "abpn",  # which starts as the nearest neighbour, so minutes are enough
        "variant": "x2",
        "epochs": 40,
        "learning_rate": 1e-3,
        "schedule": "cosine",
        "final_learning_rate": 1e-5,
        "validate_every": 10,
        "options": {"patch": 32, "patches": 80},
    }

    # --- networks -----------------------------------------------------------------------------

    def build_arguments(self, card: ModelCard) -> dict:
        return {}

    def training_arguments(self, config: TrainConfig) -> dict:
        return dict(self.network(config.network).training_options)

    def training_input_shape(self, card: ModelCard, config: TrainConfig) -> tuple:
        return (None, None, card.channels)

    def saved_input_shape(self, card: ModelCard) -> tuple:
        return (None, None, card.channels)

    # --- data ---------------------------------------------------------------------------------

    def with_splits(self, index: Index) -> Index:
        # DIV2K's published use: all training pictures train, the validation pictures measure.
        fractions = (0.9, 0.1, 0.0) if {"train", "val"} <= set(index.counts()) else FRACTIONS
        return keep_or_split(index, fractions=fractions)

    def check_data(self, index: Index, card: ModelCard) -> list[str]:
        from apps.super_resolution.data import check

        return check(index, scale_of(card))

    def load(self, sample: Sample, card: ModelCard) -> Example:
        """Return both pictures whole: the small one as input, the large one as target."""
        from apps.super_resolution.data import pair, picture

        if not sample.targets:
            return Example(picture(sample))
        return Example(*pair(sample, scale_of(card)))

    def training_example(
        self, example: Example, rng: np.random.Generator, config: TrainConfig
    ) -> Example:
        """Cut a patch out of both pictures at the same place; turn it if that is wished.

        Where the network's float form alone says what is right, every picture is one to enlarge:
        half the patches are cut out of the large picture, whose own enlargement nobody knows. Their
        target only has its shape.
        """
        target = example.target
        if target is None:
            raise ValueError("`example` must have its large picture. Received: target=None")
        scale = target.shape[0] // example.inputs.shape[0]
        side = self._patch(config, scale)
        if _teaches_itself(config) and rng.random() < 0.5:
            example = Example(target, None)
        height, width = example.inputs.shape[:2]
        if min(height, width) < side:
            raise UserError(
                f"A training picture has only {height}x{width} pixels (of the small version), less "
                f"than a patch of {side}; take it out or pass --set options.patch={SMALLEST_PATCH} "
                "or more, but no more than its side."
            )
        y, x = rng.integers(height - side + 1), rng.integers(width - side + 1)
        small = example.inputs[y : y + side, x : x + side]
        if example.target is None:
            large = small.repeat(scale, axis=0).repeat(scale, axis=1)
        else:
            y, x, side = y * scale, x * scale, side * scale
            large = target[y : y + side, x : x + side]
        cut = Example(small, large)
        return self.augment(cut, rng, config) if config.augment else cut

    def augment(self, example: Example, rng: np.random.Generator, config: TrainConfig) -> Example:
        """Flip sideways, upside down, and along the diagonal, each with probability 1/2.

        Half the patches that the float network alone says what is right for get another order of
        colours.
        """
        pictures = [one for one in (example.inputs, example.target) if one is not None]
        sideways, over, diagonal = rng.random(3) < 0.5
        if sideways:
            pictures = [picture[:, ::-1] for picture in pictures]
        if over:
            pictures = [picture[::-1] for picture in pictures]
        if diagonal:
            pictures = [picture.swapaxes(0, 1) for picture in pictures]
        if self._recipe(config)["intensity"] == "on":
            factor = INTENSITIES[rng.integers(len(INTENSITIES))]
            pictures = [picture * np.float32(factor) for picture in pictures]
        if _teaches_itself(config) and rng.random() < 0.5:
            colours = rng.permutation(pictures[0].shape[-1])
            pictures = [picture[..., colours] for picture in pictures]
        return Example(*pictures)

    def encode(self, example: Example, card: ModelCard) -> tuple[np.ndarray, np.ndarray | None]:
        target = example.target
        if target is not None:
            target = target.astype(np.float32) / np.float32(levels_of(card))
        return card.normalise(example.inputs), target

    def repeats(self, config: TrainConfig, index: Index) -> int:
        return int(self.check_options(config.options)["patches"])

    def network_input(self, sample: Sample, card: ModelCard) -> np.ndarray:
        """Return the middle of the small picture, mirrored at its borders where it is smaller."""
        image = self.load(sample, card).inputs
        top, left = (max(0, n - m) // 2 for n, m in zip(image.shape, card.input_size, strict=False))
        return _tile(image, top, left, card)

    def network_inputs(self, sample: Sample, card: ModelCard, limit: int) -> list[np.ndarray]:
        """Return tiles of the small picture side by side and of the large one, evenly chosen."""
        example = self.load(sample, card)
        places = [
            (image, top, left)
            for image in (example.inputs, example.target)
            if image is not None
            for top in _starts(image.shape[0], card.input_size[0])
            for left in _starts(image.shape[1], card.input_size[1])
        ]
        chosen = places[:: -(-len(places) // limit)]
        return [_tile(image, top, left, card) for image, top, left in chosen]

    def calibration_inputs(self, index: Index, card: ModelCard, count: int) -> list[np.ndarray]:
        """Return tiles as they are, with their colours in another order, and as negatives.

        Ranges have to hold pictures that nobody has calibrated with: of other colours, with edges
        the other way round. A few pictures show them when changed so.
        """
        tiles = super().calibration_inputs(index, card, -(-count // 3))
        black, white = (card.normalise(np.full((1, 1, 3), n, np.uint8)) for n in (0, 255))
        colours = [np.roll(tile, 1, axis=-1) for tile in tiles]
        negatives = [black + white - tile for tile in tiles]
        return [*tiles, *colours, *negatives][:count]

    def infer(self, engine, inputs: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
        return [[enlarge_values(engine, values, engine.card)] for values in inputs]

    # --- training -----------------------------------------------------------------------------

    def check_options(self, options: Mapping[str, Any]) -> dict:
        checked = super().check_options(options)
        if 0 < checked["patch"] < SMALLEST_PATCH:
            raise UserError(
                f"Option 'patch' is {checked['patch']}; a patch of the small picture has at least "
                f"{SMALLEST_PATCH} pixels a side (0 takes the published size)."
            )
        return checked

    def objective(self, config: TrainConfig) -> Objective:
        import keras

        from apps.super_resolution.losses import Charbonnier

        charbonnier = self._recipe(config)["loss"] == "charbonnier"
        return Objective(Charbonnier() if charbonnier else keras.losses.MeanAbsoluteError())

    def _recipe(self, config: TrainConfig) -> dict:
        """Return the options, "auto" and 0 replaced by what the network was published with."""
        published = {
            "loss": "l1",
            "patch": 0,
            "intensity": "off",
            **RECIPES.get(config.network, {}),
        }
        if _teaches_itself(config):
            published["intensity"] = "off"  # the float network knows dark pictures
        options = self.check_options(config.options)
        return {k: published.get(k, v) if v in ("auto", 0) else v for k, v in options.items()}

    def _patch(self, config: TrainConfig, scale: int) -> int:
        """Return the side of a patch of the small picture."""
        return self._recipe(config)["patch"] or max(SMALLEST_PATCH, IMDN_PATCH // scale)

    # --- results ------------------------------------------------------------------------------

    def check_decoding(self, card: ModelCard) -> None:
        from apps.super_resolution.metrics import protocol_named

        protocol_named(card.decode.get("protocol", "y"))
        for name, least, most in (("scale", 1, 16), ("radius", 0, 4096)):
            value = card.decode.get(name, least)
            if type(value) is not int or not least <= value <= most:
                raise UserError(f"The card's {name} is {value!r}; export the network again.")
        stated = card.decode.get("output_range", 1)
        highest = stated[-1] if isinstance(stated, list | tuple) and stated else stated
        if not isinstance(highest, int | float) or not 0 < highest < float("inf"):
            raise UserError(f"The card's output_range is {stated!r}; export the network again.")

    def decode(self, outputs: Sequence[np.ndarray], sample: Sample, card: ModelCard) -> Enlarged:
        pixels = np.rint(outputs[0] * np.float32(levels_of(card)))
        return Enlarged(np.clip(pixels, 0, 255).astype(np.uint8))

    def score(
        self,
        results: Iterator[tuple[Sample, Enlarged]],
        card: ModelCard,
        *,
        quick: bool = False,
    ) -> Scores:
        """Return PSNR and SSIM, and those of bicubic enlargement, which `quick` leaves out."""
        from apps.super_resolution.data import pair
        from apps.super_resolution.imresize import imresize
        from apps.super_resolution.metrics import protocol_named, psnr, ssim

        protocol, scale = protocol_named(card.decode.get("protocol", "y")), scale_of(card)
        rows = []
        for sample, result in results:
            small, large = pair(sample, scale)
            row = {"id": sample.id, "psnr": psnr(result.image, large, scale, protocol)}
            if not quick:
                row["ssim"] = ssim(result.image, large, scale, protocol)
                plain = imresize(small, size=large.shape[:2])
                row["bicubic_psnr"] = psnr(plain, large, scale, protocol)
                row["bicubic_ssim"] = ssim(plain, large, scale, protocol)
            rows.append(row)
        names = [name for name in rows[0] if name != "id"] if rows else []
        summary = {name: float(np.mean([row[name] for row in rows])) for name in names}
        return Scores(summary, rows, f"{protocol.name}: {protocol.summary}")

    def draw(self, sample: Sample, result: Enlarged, card: ModelCard) -> np.ndarray:
        return result.image

    def draw_truth(self, sample: Sample, card: ModelCard) -> np.ndarray | None:
        from apps.super_resolution.data import pair

        return pair(sample, scale_of(card))[1] if sample.targets else None

    def write(self, sample: Sample, result: Enlarged, folder: Path, card: ModelCard) -> list[Path]:
        from core.data.images import write_image

        return [write_image(sample.file_in(folder, f"_x{scale_of(card)}.png"), result.image)]


def _teaches_itself(config: TrainConfig) -> bool:
    """Return whether a network is quantized with its float form for its only truth."""
    compress = config.compress or {}
    choices = compress.get("choices") or {}
    return (
        compress.get("method") == "quantize"
        and choices.get("task_weight") == 0
        and choices.get("teacher_weight", 0) > 0
    )


def _starts(length: int, side: int) -> range:
    """Return where tiles side by side begin."""
    return range(0, max(1, length - side + 1), side)


def _tile(image: np.ndarray, top: int, left: int, card: ModelCard) -> np.ndarray:
    """Return a network input of the card's size, mirrored where the picture ends."""
    height, width = card.input_size
    part = image[top : top + height, left : left + width]
    missing = ((0, height - part.shape[0]), (0, width - part.shape[1]), (0, 0))
    return card.normalise(np.pad(part, missing, mode="reflect"))


TASK = SuperResolution()
