"""What an app tells core: one object that binds a domain to every shared command.

An app subclasses `Task` once, in its `task.py`, and states what is particular to its domain;
reading, training, evaluation, export and the command line follow from it. What a domain must say is
abstract (`load`, `objective`, `decode`, `score`); everything else has a default. Importing a task
must not import TensorFlow; methods import what they need.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.data.folders import named_files
from core.data.images import SUFFIXES, as_rgb, read_image
from core.data.index import Index, Sample, first_samples, spread
from core.data.readers import Reader, read_with
from core.data.splits import keep_or_split
from core.errors import UserError, no_such, one_of
from core.files import write_json
from core.model_card import ModelCard
from core.network import Network, network_named
from core.task_training import HowTrained

if TYPE_CHECKING:
    from core.config import TrainConfig
    from core.engines import Engine


QUICK_SAMPLES = 8  # of each split


@dataclass(frozen=True)
class Example:
    """A decoded sample at the network's size, before augmentation and normalisation.

    Attributes:
        inputs: Stored values (uint8 (H, W, C) of a picture, (length, C) of a signal), or whatever
            the domain's `encode` understands.
        target: The truth, such as a mask on the same grid or a class, or None.
    """

    inputs: np.ndarray
    target: np.ndarray | None = None


@dataclass(frozen=True)
class Objective:
    """What training minimises.

    Attributes:
        loss: A Keras loss, or a list of one loss per output.
        loss_weights: Weights of the outputs' losses, if several.
        metrics: Keras metrics shown while training.
    """

    loss: Any
    loss_weights: Sequence[float] | None = None
    metrics: Sequence[Any] = ()


@dataclass(frozen=True)
class Scores:
    """The outcome of an evaluation.

    Attributes:
        summary: Metric name → value over the data set. Names are lower case, words joined by "_"
            (`rank_1`); "samples" and "samples_<name>" count what is behind the values.
        per_sample: One row per sample, with its `id`.
        protocol: The definition behind the numbers, in words; printed with every table.
        tables: Further tables by name, a row a dict; the ends of a 95 % interval of `x` are
            `x_low` and `x_high`. `verify` compares the `accuracy` of each `x` of a table `by_x`, or
            the headline where that has none.
        details: What the task's own pictures of the scores need.
    """

    summary: dict[str, float]
    per_sample: list[dict] = field(default_factory=list)
    protocol: str = ""
    tables: dict[str, list[dict]] = field(default_factory=dict)
    details: Any = None


class Task(HowTrained, abc.ABC):
    """The binding of one domain.

    Attributes:
        name: The app's name on the command line.
        command: The command that trains by it, which a run folder keeps as its source.
        validates: Whether a training evaluates samples it holds back, to choose its best epoch;
            else the newest weights are kept.
        networks: Name → `core.network.Network`, or where it stands as "module:attribute", of what
            this app can train; the first is the default.
        readers: Data formats by name.
        input_kind, input_suffixes: What the files to predict are, in the singular; their endings.
        sample_data: Folder of the built-in sample data (`--data sample`), or what makes it.
        headline: Name of the metric that chooses the best checkpoint, in `Scores.summary`.
        headline_mode: "max" or "min".
        int8_tolerance: How much of the headline metric an integer file may lose.
        defaults: Training defaults of the domain, by `TrainConfig` field.
        recipes: Network → its published defaults where they are others than the domain's.
        options: Choices of the domain's own (loss, protocol, ...) with their defaults.
        option_values: Allowed values of those options that are one of a few names.
        option_least: Least values of those options that are numbers; whole ones, where the default
            is.
        calibration_observer: How post-training int8 sets its ranges; one of
            `core.compress.scheme.OBSERVERS`.
        int8_repairs: What post-training int8 does first, wished or not: "equalize" and "balance",
            modules of `core.compress`.
        compares_results: Whether `verify` asks for the `agreement` of two networks' results.
        compress_options: Options that hold while the deployable network is fine-tuned at its
            fixed size, without training heads.
        method_defaults: What a method of compression chooses in this domain where a user does not:
            method → its choices (`core.compress.stages`), under "training" `TrainConfig` fields.
        presets: Name → training defaults that go together, by `TrainConfig` field, chosen by
            `--preset`.
        demo: Changes to the training defaults for the few-minute `demo`, by `TrainConfig` field.
    """

    name: str
    command: str = "train"
    validates: bool = True
    networks: Mapping[str, Network | str]
    readers: Mapping[str, Reader]
    sample_data: Path | Callable[[], Path] | None = None
    input_kind: str = "image"
    input_suffixes: Sequence[str] = SUFFIXES
    headline: str
    headline_mode: str = "max"
    int8_tolerance: float = 0.01
    defaults: Mapping[str, Any] = {}
    recipes: Mapping[str, Mapping[str, Any]] = {}
    options: Mapping[str, Any] = {}
    option_values: Mapping[str, Sequence[Any]] = {}
    option_least: Mapping[str, float] = {}
    calibration_observer: str = "minmax"
    int8_repairs: Sequence[str] = ()
    compares_results: bool = False
    compress_options: Mapping[str, Any] = {}
    method_defaults: Mapping[str, Mapping[str, Any]] = {}
    presets: Mapping[str, Mapping[str, Any]] = {}
    demo: Mapping[str, Any] = {}

    # --- networks ---------------------------------------------------------------------------

    @property
    def default_network(self) -> str:
        """The name of the network that is trained where none is chosen."""
        return next(iter(self.networks))

    def network(self, name: str) -> Network:
        """Return a network of this app by name; a `UserError` names the known ones."""
        return network_named(name, self.networks)

    def recipe(self, network: str) -> dict[str, Any]:
        """Return the training defaults of a network: the domain's under its own."""
        own = self.recipes.get(network, {})
        options = {**self.defaults.get("options", {}), **own.get("options", {})}
        return {**self.defaults, **own, **({"options": options} if options else {})}

    def preset(self, name: str) -> dict[str, Any]:
        """Return the training defaults of a preset; a `UserError` names the known ones."""
        if name not in self.presets:
            raise no_such("preset", name, self.presets)
        return dict(self.presets[name])

    def build_arguments(self, card: ModelCard) -> dict:
        """Return the builder's arguments that follow from a card: its classes by default."""
        return {"classes": len(card.labels)} if card.labels else {}

    def infer_arguments(self, network: str, state: Mapping[str, np.ndarray]) -> dict:
        """Return what a checkpoint tells of the builder's arguments ("variant", "classes")."""
        return self.network(network).infer(dict(state))

    def card_for(self, card: ModelCard, config: TrainConfig, index: Index) -> ModelCard:
        """Return the card with what follows from the domain's options, such as its decoding.

        Args:
            card: At its size, with its channels and labels.
            config: Its options are settled.
            index: The samples; none where a checkpoint is imported.
        """
        return card

    # --- data -------------------------------------------------------------------------------

    def read(self, path: str, format: str = "auto") -> Index:
        """Return the index of a data set; "sample" names the built-in sample data."""
        place = self.sample_data if str(path) == "sample" else Path(path)
        if callable(place):
            place = place()
        if place is None:
            raise UserError(f"'{self.name}' has no built-in sample data; pass --data PATH.")
        return self.with_splits(read_with(self.readers, place, format))

    def with_splits(self, index: Index) -> Index:
        """Return a data set that was read with the splits a training needs; its own are kept."""
        return keep_or_split(index)

    def files(self, inputs: Iterable[Path]) -> list[Sample]:
        """Return the samples `predict` makes of files and folders a user names."""
        samples, seen = [], set()
        for path, file in named_files(inputs, self.input_kind, self.input_suffixes):
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            if name in seen:
                raise UserError(
                    f"{file}: a second input is called '{name}' and its result would overwrite the "
                    "first one's; predict them into different folders."
                )
            seen.add(name)
            samples.append(Sample(id=name, inputs=(file,)))
        return samples

    def matched(self, index: Index, card: ModelCard) -> Index:
        """Return samples for a network to be scored on, their truths as it numbers classes."""
        return index

    def few_samples(self, index: Index) -> Index:
        """Return an index with a few samples of each split, to see that everything works."""
        return first_samples(index, QUICK_SAMPLES)

    def check_data(self, index: Index, card: ModelCard) -> list[str]:
        """Read every sample of an index once and return what is wrong, a sentence each.

        Found by default: what cannot be loaded, and equal inputs in two splits.
        """
        from core.data.check import check_samples, digest

        return check_samples(
            index.samples, lambda sample: ([], digest(self.load(sample, card).inputs))
        )

    def data_notes(self, index: Index) -> list[str]:
        """Return sentences about the samples that a look into their files tells, no problems."""
        return []

    @abc.abstractmethod
    def load(self, sample: Sample, card: ModelCard) -> Example:
        """Decode a sample and bring it to the card's input size; the same every time (cached)."""

    def augment(self, example: Example, rng: np.random.Generator, config: TrainConfig) -> Example:
        """Return a randomly changed example; all randomness comes from `rng`. Default: as it is."""
        return example

    def encode(self, example: Example, card: ModelCard) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the network's float32 input and the loss's target."""
        return card.normalise(example.inputs), example.target

    def prepare(self, sample: Sample, card: ModelCard) -> tuple[np.ndarray, np.ndarray | None]:
        """Return input and target of one sample as they are, without augmentation."""
        return self.encode(self.load(sample, card), card)

    def training_example(
        self, example: Example, rng: np.random.Generator, config: TrainConfig
    ) -> Example:
        """Return what an epoch sees of a decoded sample: augmented, if that is wished.

        A domain that trains on parts of its samples takes them here, augmented or not.
        """
        return self.augment(example, rng, config) if config.augment else example

    def classes_of(self, index: Index) -> int | None:
        """Return the classes a network for this data has; None leaves it to the user."""
        return len(index.labels) or None

    def batch_order(
        self, index: Index, config: TrainConfig, rng: np.random.Generator
    ) -> list[np.ndarray] | None:
        """Return an epoch's positions in the index by batch, or None for a plain shuffle.

        Only for domains whose batches have an order of their own (persons times images); all
        randomness comes from `rng`, and `repeats` has no effect.
        """
        return None

    def repeats(self, config: TrainConfig, index: Index) -> int:
        """Return how often an epoch takes each sample of an index (patches per image)."""
        return 1

    def samples_at_once(self, samples: Sequence[Sample], wished: int) -> int:
        """Return how many samples are held and given to `infer` together, fewer if large."""
        return wished

    def network_input(self, sample: Sample, card: ModelCard) -> np.ndarray:
        """Return one float32 input of exactly the card's size, to calibrate and compare with."""
        return self.prepare(sample, card)[0]

    def network_inputs(self, sample: Sample, card: ModelCard, limit: int) -> list[np.ndarray]:
        """Return up to `limit` such inputs of a sample, for calibration; one by default."""
        return [self.network_input(sample, card)]

    def calibration_inputs(self, index: Index, card: ModelCard, count: int) -> list[np.ndarray]:
        """Return at most `count` network inputs, evenly from the samples of an index."""
        limit = max(1, count // len(index))
        chosen = spread(index, count).samples
        found = [self.network_inputs(sample, card, limit) for sample in chosen]
        return [values for inputs in found for values in inputs][:count]

    def infer(self, engine: Engine, inputs: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
        """Return the outputs for each prepared input; a domain of open sizes cuts tiles here."""
        outputs = engine(np.stack(inputs))
        return [[output[row] for output in outputs] for row in range(len(inputs))]

    def saved_input_shape(self, card: ModelCard) -> tuple:
        """Return the input's shape of the graph that is evaluated and saved."""
        return card.input_shape

    # --- training ---------------------------------------------------------------------------

    @abc.abstractmethod
    def objective(self, config: TrainConfig) -> Objective:
        """Return loss and metrics."""

    def settled_options(self, options: Mapping[str, Any], index: Index) -> dict:
        """Return checked options, with what they leave to the data decided once for the run."""
        return self.check_options(options)

    def check_options(self, options: Mapping[str, Any]) -> dict:
        """Return the domain's options completed by defaults; a `UserError` for a wrong one."""
        for name, value in options.items():
            if name not in self.options:
                raise no_such("option", name, self.options)
            if name in self.option_values:
                one_of(value, self.option_values[name], f"Option '{name}'")
            least = self.option_least.get(name)
            if least is not None:
                whole = isinstance(self.options[name], int)
                kind, words = (int, "a whole number") if whole else (int | float, "a number")
                if isinstance(value, bool) or not isinstance(value, kind) or not value >= least:
                    raise UserError(
                        f"Option '{name}' is {value!r}; it must be {words}, {least:g} or more."
                    )
        return {**self.options, **options}

    # --- results ----------------------------------------------------------------------------

    def check_decoding(self, card: ModelCard) -> None:
        """Raise a `UserError` when `card.decode` holds a value that `decode` cannot follow."""

    @abc.abstractmethod
    def decode(self, outputs: Sequence[np.ndarray], sample: Sample, card: ModelCard) -> Any:
        """Turn the raw outputs for one sample (no batch axis) into a result in its own units."""

    @abc.abstractmethod
    def score(
        self,
        results: Iterator[tuple[Sample, Any]],
        card: ModelCard,
        *,
        quick: bool = False,
    ) -> Scores:
        """Compare results with the samples' truths; `quick` leaves out slow metrics."""

    @property
    def draws_scores(self) -> bool:
        """Whether the domain has pictures of its scores."""
        return type(self).score_pictures is not Task.score_pictures

    def score_pictures(self, scores: Scores) -> dict[str, np.ndarray]:
        """Return pictures of scores by name, uint8 (H, W, 3) each; none by default."""
        return {}

    def agreement(
        self,
        reference: Sequence[tuple[Sample, Any]],
        results: Sequence[tuple[Sample, Any]],
        card: ModelCard,
    ) -> list[tuple[str, float, float]]:
        """Return (what, share, least share) for results of a file beside those of Keras.

        For domains whose results are compared with each other, not each with its own truth; asked
        only where `compares_results` is set.
        """
        return []

    def draw_input(self, sample: Sample, card: ModelCard) -> np.ndarray | None:
        """Return the picture of what the network sees: uint8 (H, W, 3), or None without one."""
        if not card.is_picture:
            return None
        if sample.inputs and sample.inputs[0].suffix.lower() in SUFFIXES:
            return as_rgb(read_image(sample.inputs[0], card.channels))
        pixels = np.asarray(self.load(sample, card).inputs)
        return as_rgb(pixels) if pixels.dtype == np.uint8 else None

    def draw_truth(self, sample: Sample, card: ModelCard) -> np.ndarray | None:
        """Return the picture of a sample's truth: uint8 (H, W, 3), or None without one."""
        return None

    def draw(self, sample: Sample, result: Any, card: ModelCard) -> np.ndarray | None:
        """Return the picture of a result: uint8 (H, W, 3), or None where results have none."""
        return None

    def write(self, sample: Sample, result: Any, folder: Path, card: ModelCard) -> list[Path]:
        """Write a result in the domain's file format and return the files; by default as JSON."""
        return [write_json(sample.file_in(folder, "_result.json"), result)]
