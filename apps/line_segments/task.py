"""Line segments as core sees them: a photograph in, maps out, segments with scores of the maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from apps import catalog
from apps.line_segments.data import READERS, notes_on, read_truth
from apps.line_segments.detections import Detections
from apps.line_segments.geometry import scaled
from apps.line_segments.sample import sample_data
from core.errors import UserError
from core.task import Example, Objective, Scores, Task

if TYPE_CHECKING:
    from core.config import TrainConfig
    from core.data.index import Index, Sample
    from core.model_card import ModelCard

NOT_TRAINED = ("mlsd",)


class LineSegments(Task):
    """A photograph in, the straight edges in it out, each with a score."""

    name = "lines"
    networks = catalog.networks("lines")
    readers = READERS
    sample_data = staticmethod(sample_data)
    headline = "fh"
    int8_tolerance = 0.01
    # Reconstructed: the authors published no training.
    defaults = {
        "epochs": 100,
        "batch": 16,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "epsilon": 1e-7,
        "weight_decay": 0.0,
        "schedule": "cosine",
        "validate_every": 5,
    }
    # The published angle, one number, jumps at horizontal lines: train what does not.
    recipes = {"lsdnet": {"variant": "doubled"}}
    options = {"angle_weight": 1.0, "crop": 0}
    option_least = {"angle_weight": 0, "crop": 0}
    compress_options = {"crop": 0}
    demo = {
        "variant": "doubled_narrow",
        "input_size": (256, 256),
        "epochs": 20,
        "batch": 8,
        "learning_rate": 3e-3,
        "options": {"crop": 128},
    }

    # --- networks -----------------------------------------------------------------------------

    def build_arguments(self, card: ModelCard) -> dict:
        return {}

    # --- data ---------------------------------------------------------------------------------

    def data_notes(self, index: Index) -> list[str]:
        return notes_on(index)

    def load(self, sample: Sample, card: ModelCard) -> Example:
        """Return a picture at the card's size, and its true segments as they lie in that."""
        from apps.line_segments.decoding import brought_to

        image = picture(sample)
        target = None
        if sample.targets:
            truth = read_truth(sample)
            target = scaled(truth.segments, truth.size, _size(card))
        return Example(brought_to(image, card), target)

    def augment(self, example: Example, rng: np.random.Generator, config: TrainConfig) -> Example:
        """Take a part, mirror, turn by quarters, change the colours; segments move along."""
        from apps.line_segments.augment import augmented

        if example.target is None:
            return example
        return Example(*augmented(example.inputs, example.target, rng))

    def training_example(
        self, example: Example, rng: np.random.Generator, config: TrainConfig
    ) -> Example:
        """Return an example, or where that is wished a square of it at its scale."""
        from apps.line_segments.augment import cut

        changed, side = super().training_example(example, rng, config), self._crop(config)
        if not side or changed.target is None:
            return changed
        return Example(*cut(changed.inputs, changed.target, side, rng))

    def encode(self, example: Example, card: ModelCard) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the network's input, and the maps it shall learn of the segments."""
        from apps.line_segments.decoding import is_doubled
        from apps.line_segments.targets import line_maps

        inputs = card.normalise(example.inputs)
        if example.target is None:
            return inputs, None
        height, width = example.inputs.shape[:2]  # of a training's part, not the card's
        return inputs, line_maps(example.target, (height, width), doubled=is_doubled(card))

    def prepare(self, sample: Sample, card: ModelCard) -> tuple[np.ndarray, None]:
        """Return the input of a sample; its maps are asked for in training only."""
        example = self.load(replace(sample, targets=()), card)
        return card.normalise(example.inputs), None

    # --- training -----------------------------------------------------------------------------

    def training_input_shape(self, card: ModelCard, config: TrainConfig) -> tuple:
        """Return the shape of the squares that training sees, or the card's."""
        side = self._crop(config)
        if side and (side % card.size_multiple or side > min(card.input_size)):
            raise UserError(
                f"Option 'crop' is {side}; it must be a multiple of {card.size_multiple}, and at "
                f"most {min(card.input_size)}, the input's side."
            )
        return (side, side, card.channels) if side else card.input_shape

    def _crop(self, config: TrainConfig) -> int:
        return self.check_options(config.options)["crop"]

    def objective(self, config: TrainConfig) -> Objective:
        from apps.line_segments.losses import LineMapsLoss

        if config.network in NOT_TRAINED:
            raise UserError(
                f"'{config.network}' is here to be imported, used and exported, not to be trained; "
                "train --network lsdnet."
            )
        return Objective(LineMapsLoss(self.check_options(config.options)["angle_weight"]))

    # --- results ------------------------------------------------------------------------------

    def check_decoding(self, card: ModelCard) -> None:
        from apps.line_segments.decoding import check_decoding
        from apps.line_segments.evaluation import protocol_named

        check_decoding(card)
        protocol_named(card.decode.get("protocol", "hawp"))

    def decode(self, outputs: Sequence[np.ndarray], sample: Sample, card: ModelCard) -> Detections:
        """Return the segments in pixels of the sample's own picture, with their scores."""
        from apps.line_segments.decoding import segments_of
        from core.data.images import read_size

        return segments_of(outputs, card, read_size(sample.inputs[0]))

    def score(
        self,
        results: Iterator[tuple[Sample, Detections]],
        card: ModelCard,
        *,
        quick: bool = False,
    ) -> Scores:
        """Return F^H and AP^H as the card's protocol has them, and sAP, which `quick` leaves out.

        Raises:
            UserError: When a picture has no annotation.
        """
        from apps.line_segments.evaluation import case_of, line_scores

        named = []
        for sample, found in results:
            if not sample.targets:
                raise UserError(f"{sample.inputs[0]}: has no annotation to be scored with.")
            named.append((sample.id, case_of(found, read_truth(sample).segments)))
        return line_scores(named, card.decode.get("protocol", "hawp"), quick=quick)

    def score_pictures(self, scores: Scores) -> dict[str, np.ndarray]:
        """Return the curve of precision against recall."""
        from apps.line_segments.curve_picture import curve_picture

        return {"precision_recall": curve_picture({"": scores.details})}

    def draw_truth(self, sample: Sample, card: ModelCard) -> np.ndarray | None:
        from apps.line_segments.drawing import drawn_segments

        if not sample.targets:
            return None
        return drawn_segments(picture(sample), read_truth(sample).segments)

    def draw(self, sample: Sample, result: Detections, card: ModelCard) -> np.ndarray:
        """Return the picture with the segments whose score is above the card's."""
        from apps.line_segments.drawing import drawn_segments

        shown = result.above(card.decode.get("score", 0.0))
        return drawn_segments(picture(sample), shown.segments, shown.scores)

    def write(
        self, sample: Sample, result: Detections, folder: Path, card: ModelCard
    ) -> list[Path]:
        """Write all segments with their scores as text, whatever the threshold."""
        from apps.line_segments.writing import write_segments

        return [write_segments(sample.file_in(folder, "_segments.txt"), result)]


def picture(sample: Sample) -> np.ndarray:
    """Return a sample's picture at its own size, uint8 (H, W, 3)."""
    from core.data.images import read_image

    return read_image(sample.inputs[0])


def _size(card: ModelCard) -> tuple[int, int]:
    height, width = card.input_size
    return height, width


TASK = LineSegments()
