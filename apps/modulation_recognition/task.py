"""Modulation recognition as core sees it: a frame of I/Q samples in, a logit for each class out."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from apps import catalog
from apps.modulation_recognition.augment import AUGMENTATIONS, augmented
from apps.modulation_recognition.data import READERS, SNR, frame
from apps.modulation_recognition.data.recordings import SUFFIXES
from apps.modulation_recognition.data.sample import sample_data
from apps.modulation_recognition.data.selecting import selection
from apps.modulation_recognition.distillation import WEIGHTS, teacher_weight
from apps.modulation_recognition.evaluation import PROTOCOL, snr_scores
from core.classification.labels import (
    checked_label,
    class_name,
    few_of_each,
    matched_by_name,
    told_class,
)
from core.data.index import Index, Sample, spread
from core.data.readers import read_with
from core.errors import UserError, one_of
from core.files import write_json
from core.model_card import ModelCard
from core.task import Example, Objective, Scores, Task

if TYPE_CHECKING:
    from core.config import TrainConfig
    from core.run_folder import RunFolder

FIRST = 3  # classes that a result names
AT_ONCE = 256  # frames; one is a thousandth of a picture
LOOKED_AT = 32  # frames that tell how a data set is scaled
_MEAN = 1 / 128  # magnitude of a RadioML frame of 128 samples
_SCALINGS = ("auto", "stored", "mean")
_DEFAULT = "kd_cnn"

# Of the benchmark (F. Zhang et al., Digital Signal Processing 2022): Adam at 1e-3, batches of 400,
# Keras's epsilon, no augmentation. Its rate is halved after 10 epochs without gain; here it falls
# along a cosine, which a resumed training follows exactly.
BENCHMARK = {
    "epochs": 150,
    "batch": 400,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "epsilon": 1e-7,
    "weight_decay": 0.0,
    "schedule": "cosine",
    "patience": 50,
    "augment": False,
}
# Of VT-CNN2's notebook.
NOTEBOOK = {**BENCHMARK, "epochs": 100, "batch": 1024, "schedule": "constant", "patience": 5}


class Frame(Example):
    """A frame float32 (n, 2), as stored, that nobody changes in place: copies are itself."""

    def __deepcopy__(self, memo: dict) -> Frame:
        return self


class ModulationRecognition(Task):
    """A frame of I/Q samples in, a logit for each class of modulation out."""

    name = "modrec"
    networks = {
        _DEFAULT: catalog.networks("modrec")[_DEFAULT],
        **catalog.networks("modrec"),
    }
    readers = READERS
    sample_data = staticmethod(sample_data)
    input_kind, input_suffixes = "recording", (*SUFFIXES, ".sigmf-meta")
    headline = "average_accuracy"
    int8_tolerance = 0.01
    defaults = {**BENCHMARK, "patience": 30, "augment": True}
    recipes = {
        "vt_cnn2": NOTEBOOK,
        **dict.fromkeys(
            ("cnn1", "cnn2", "ic_amcnet", "amr_resnet", "mcldnn", "pet_cgdnn"), BENCHMARK
        ),
    }
    options = {
        "augmentations": list(AUGMENTATIONS),
        "smoothing": 0.0,
        "scaling": "auto",
        "teacher_weights": "uniform",
        "teacher_snr": 0,
    }
    option_values = {"scaling": _SCALINGS, "teacher_weights": WEIGHTS}
    option_least = {"smoothing": 0, "teacher_snr": -100}
    demo = {"epochs": 40, "batch": 64, "patience": 40, "learning_rate": 2e-3}

    # --- data -------------------------------------------------------------------------------

    def read(self, path: str, format: str = "auto") -> Index:
        """Return the index of a data set; "sample" names frames that are generated.

        What follows a format's name chooses a part of it: `data.selecting`.
        """
        chosen = selection(format, self.readers)
        place = sample_data() if str(path) == "sample" else Path(path)
        index = self.with_splits(read_with(chosen.readers, place, chosen.name))
        return chosen.selected(index)

    def matched(self, index: Index, card: ModelCard) -> Index:
        return matched_by_name(index, card)

    def few_samples(self, index: Index) -> Index:
        """Return a frame of each class and SNR label in each split."""
        return few_of_each(index, 1, lambda sample: (sample.label, sample.extra.get(SNR)))

    def check_data(self, index: Index, card: ModelCard) -> list[str]:
        """Return what cannot be read, and which frames lie in two splits."""
        from core.data.check import check_samples, digest

        return check_samples(index.samples, lambda sample: ([], digest(frame(sample))))

    def data_notes(self, index: Index) -> list[str]:
        """Return how many frames there are of each class at each SNR label."""
        counts = Counter(
            (sample.label, sample.extra[SNR])
            for sample in index.samples
            if sample.label is not None and SNR in sample.extra
        )
        if not counts:
            return []
        snrs = sorted({snr for _, snr in counts})
        shown = f"{snrs[0]} to {snrs[-1]}" if len(snrs) > 4 else ", ".join(map(str, snrs))
        notes = [f"SNR labels: {shown} ({len(snrs)})."]
        every = [(label, snr) for label in range(len(index.labels)) for snr in snrs]
        few, many = (choose(every, key=lambda key: counts[key]) for choose in (min, max))
        if counts[few] == counts[many]:
            return [*notes, f"Every class has {counts[few]:,} frames at each label."]
        named = [f"{index.labels[label]} at {snr} has {counts[label, snr]:,}"
                 for label, snr in (few, many)]  # fmt: skip
        return [*notes, f"Classes and labels have unequal numbers of frames: {', '.join(named)}."]

    def load(self, sample: Sample, card: ModelCard) -> Example:
        values = np.ascontiguousarray(frame(sample).T)
        length = card.input_size[0]
        if len(values) != length:
            raise UserError(
                f"{sample.inputs[0]}: has frames of {len(values)} samples, but the network takes "
                f"{length}; pass --input-size {len(values)} in training."
            )
        label = None if sample.label is None else np.asarray(sample.label, np.int64)
        return Frame(scaled(values, card), label)

    def augment(self, example: Example, rng: np.random.Generator, config: TrainConfig) -> Example:
        kinds = config.options.get("augmentations", AUGMENTATIONS)
        return Frame(augmented(example.inputs, rng, kinds), example.target)

    def classes_of(self, index: Index) -> int | None:
        return len(index.labels) or None

    def samples_at_once(self, samples: Sequence[Sample], wished: int) -> int:
        return max(wished, AT_ONCE)

    def calibration_inputs(self, index: Index, card: ModelCard, count: int) -> list[np.ndarray]:
        """Return network inputs evenly from every SNR label, for noise has the highest peaks."""
        by_label: dict[int | None, list[Sample]] = defaultdict(list)
        for sample in index.samples:
            by_label[sample.extra.get(SNR)].append(sample)
        each = -(-count // len(by_label))
        found = [
            spread(dataclasses.replace(index, samples=tuple(samples)), each).samples
            for samples in by_label.values()
        ]
        mixed = [sample for turn in range(each) for part in found for sample in part[turn:][:1]]
        return [self.network_input(sample, card) for sample in mixed[:count]]

    # --- training ---------------------------------------------------------------------------

    def check_options(self, options: Mapping[str, Any]) -> dict:
        checked = super().check_options(options)
        if not checked["smoothing"] < 1:
            raise UserError(f"Option 'smoothing' is {checked['smoothing']}; it must be below 1.")
        kinds = checked["augmentations"]
        if not isinstance(kinds, list | tuple):
            kinds = [kinds]
        for kind in kinds:
            one_of(kind, AUGMENTATIONS, "Option 'augmentations'")
        return {**checked, "augmentations": list(kinds)}

    def settled_options(self, options: Mapping[str, Any], index: Index) -> dict:
        """Return checked options, the scaling decided by what frames of the data look like."""
        checked = self.check_options(options)
        if len(index.labels) == 1:
            raise UserError(
                f"{index.root}: has a single class, '{index.labels[0]}', so there is nothing to "
                "tell apart; add frames of other classes."
            )
        if checked["scaling"] != "auto":
            return checked
        return {**checked, "scaling": "stored" if _sum_to_one(index) else "mean"}

    def card_for(self, card: ModelCard, config: TrainConfig, index: Index) -> ModelCard:
        """Return the card with the scaling, which whatever uses the network has to follow."""
        return card.replace(decode={**card.decode, "scaling": config.options["scaling"]})

    def check_teacher(self, teacher: RunFolder, card: ModelCard) -> None:
        theirs, ours = (one.decode.get("scaling", "stored") for one in (teacher.card, card))
        if theirs != ours:
            raise UserError(
                f"Teacher {teacher.path}: takes frames with scaling '{theirs}', the student with "
                f"'{ours}'; pass --set options.scaling={theirs}."
            )

    def teacher_weights(self, index: Index, config: TrainConfig) -> np.ndarray | None:
        """Return the weights of the soft term by SNR label, as the options have them."""
        options = self.check_options(config.options)
        rule, middle = options["teacher_weights"], options["teacher_snr"]
        if rule != "uniform" and any(SNR not in sample.extra for sample in index.samples):
            raise UserError(
                f"{index.root}: its frames have no SNR labels; leave options.teacher_weights off."
            )
        snrs = np.array([sample.extra.get(SNR, 0) for sample in index.samples])
        return teacher_weight(snrs, rule, middle)

    def objective(self, config: TrainConfig) -> Objective:
        import keras

        from core.classification.losses import WeightedCrossentropy

        loss = WeightedCrossentropy(None, self.check_options(config.options)["smoothing"])
        return Objective(loss, metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")])

    # --- results ----------------------------------------------------------------------------

    def check_decoding(self, card: ModelCard) -> None:
        one_of(card.decode.get("scaling", "stored"), _SCALINGS[1:], "scaling")

    def decode(
        self, outputs: Sequence[np.ndarray], sample: Sample, card: ModelCard
    ) -> dict[str, Any]:
        """Return "class", "probability", "classes" (the likeliest with theirs) and "logits"."""
        return told_class(outputs[0], card, FIRST)

    def score(
        self, results: Iterator[tuple[Sample, Any]], card: ModelCard, *, quick: bool = False
    ) -> Scores:
        """Return the scores by SNR label; `details` is an `evaluation.SnrScores`.

        Raises:
            UserError: When a frame has no class, one that the network does not have, or no SNR
                label.
        """
        rows, logits, labels = [], [], []
        for sample, result in results:
            label = checked_label(sample, len(result["logits"]))
            if SNR not in sample.extra:
                raise UserError(
                    f"{sample.id}: has no SNR label; evaluate on a data set that has them."
                )
            logits.append(result["logits"])
            labels.append(label)
            rows.append(
                {
                    "id": sample.id,
                    "class": class_name(card, label),
                    "snr": sample.extra[SNR],
                    "predicted": result["class"],
                    "correct": float(result["logits"].argmax() == label),
                    "probability": result["probability"],
                }
            )
        names = [class_name(card, n) for n in range(len(logits[0]))]
        found = np.stack(logits), np.array(labels)
        scores = snr_scores(*found, np.array([row["snr"] for row in rows]), names)
        tables = {} if quick else {"by_snr": scores.records(), **_class_tables(*found, names)}
        return Scores(scores.summary(), rows, PROTOCOL, tables, scores)

    def score_pictures(self, scores: Scores) -> dict[str, np.ndarray]:
        """Return the curve of accuracy against SNR, and confusion matrices: whole, by label."""
        from apps.modulation_recognition.pictures import score_pictures

        return score_pictures(scores.details)

    def draw_input(self, sample: Sample, card: ModelCard) -> np.ndarray:
        """Return the picture of a frame: its samples over time and in the plane of I and Q."""
        from apps.modulation_recognition.frame_pictures import frame_picture

        return frame_picture(frame(sample))

    def draw_truth(self, sample: Sample, card: ModelCard) -> np.ndarray | None:
        from core.classification.pictures import labelled_picture

        if sample.label is None:
            return None
        label = f" at {sample.extra[SNR]}" if SNR in sample.extra else ""
        name = f"{class_name(card, sample.label)}{label}"
        return labelled_picture(self.draw_input(sample, card), [(name, 1)])

    def draw(self, sample: Sample, result: Any, card: ModelCard) -> np.ndarray:
        from core.classification.pictures import labelled_picture

        shown = [(one["class"], one["probability"]) for one in result["classes"]]
        return labelled_picture(self.draw_input(sample, card), shown)

    def write(self, sample: Sample, result: Any, folder: Path, card: ModelCard) -> list[Path]:
        """Write class, probability and the likeliest classes as JSON."""
        told = {name: result[name] for name in ("class", "probability", "classes")}
        return [write_json(sample.file_in(folder, "_class.json"), told)]


def scaled(values: np.ndarray, card: ModelCard) -> np.ndarray:
    """Return frames (…, n, 2) as a network takes them before `ModelCard.normalise`.

    Args:
        values: As stored.
        card: Its `decode["scaling"]` is "stored", or "mean": to a mean magnitude of 1/128, that of
            RadioML 2016's frames.
    """
    if card.decode.get("scaling", "stored") == "stored":
        return values
    magnitude = np.hypot(values[..., :1], values[..., 1:]).mean(axis=-2, keepdims=True)
    return values * (_MEAN / np.where(magnitude > 0, magnitude, 1))


def _class_tables(
    logits: np.ndarray, labels: np.ndarray, names: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Return the tables that all classifiers have, over the frames of all SNR labels."""
    from core.classification.report import (
        class_records,
        classification_report,
        confused_records,
    )

    report = classification_report(logits, labels, names)
    confused = confused_records(report)
    return {"classes": class_records(report), **({"confused": confused} if confused else {})}


def _sum_to_one(index: Index) -> bool:
    """Return whether the magnitudes of some frames sum to 1, as RadioML 2016's do."""
    sums = []
    for sample in spread(index, LOOKED_AT).samples if len(index) else ():
        with contextlib.suppress(UserError):  # it is told where the frame is needed
            sums.append(np.hypot(*frame(sample)).sum())
    return all(abs(one - 1) < 0.01 for one in sums if one > 0)


TASK = ModulationRecognition()
