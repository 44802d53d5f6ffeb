"""All choices of a training, as one checked object that is written into the run folder."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.documents import BadDocument, parse_yaml
from core.errors import UserError, no_such, one_of
from core.files import refuse_special
from core.model_card import MOST_SIDE, shown_size

OPTIMIZERS = ("adamw", "adam", "amsgrad", "sgd")
SCHEDULES = ("constant", "cosine", "step", "poly")
_NO_FILE = "config"  # what is named where choices come from the command line
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")


@dataclass(frozen=True)
class Distillation:
    """What a network that learns from a teacher minimises.

    weight · soft + (1 - weight) · task + feature_weight · features

    "task" is the domain's own loss. "soft" is, for class logits,
    temperature² · KL(teacher ‖ student) of the softened probabilities, otherwise the mean absolute
    difference of the outputs. "features" is the mean squared difference of what enters the last
    layer of the teacher and a linear map of what enters the student's.

    With `views` the teacher is asked before the training, so often about each sample, augmented
    anew each time; the mean of its class probabilities is its answer whenever the sample comes.
    That costs the student nothing, and an answer no augmentation made difficult is a surer one.
    With 0 the teacher sees every batch as the student does.
    """

    temperature: float = 4.0
    weight: float = 0.7
    feature_weight: float = 0.0
    views: int = 0

    def __post_init__(self):
        if not 0 < self.temperature < math.inf:
            raise UserError(
                f"Config: distill.temperature is {self.temperature}; it must be a positive number."
            )
        if not 0 <= self.weight <= 1:
            raise UserError(f"Config: distill.weight is {self.weight}; it must be from 0 to 1.")
        if not 0 <= self.feature_weight < math.inf:
            raise UserError(
                f"Config: distill.feature_weight is {self.feature_weight}; it must be 0 or more."
            )
        if self.views < 0:
            raise UserError(f"Config: distill.views is {self.views}; it must be 0 or more.")
        if self.views and self.feature_weight:
            raise UserError(
                "Config: distill.views keeps a teacher's answers and no features; set either it or "
                "distill.feature_weight to 0."
            )
        if not (self.weight or self.feature_weight):
            raise UserError(
                "Config: distill.weight and distill.feature_weight are 0, so nothing would be "
                "learned from the teacher; raise one of them."
            )

    @classmethod
    def of(cls, choices: Mapping[str, Any]) -> Distillation:
        """Return checked choices; what they do not name has its default."""
        known = {f.name: f for f in dataclasses.fields(cls)}
        for name in choices:
            if name not in known:
                raise no_such("key", name, known, where="distill")
        return cls(**{n: _cast(f"distill.{n}", v, known[n], "Config") for n, v in choices.items()})


@dataclass(frozen=True)
class TrainConfig:
    """What a training needs to be repeated.

    Attributes:
        app, network, variant: What is trained.
        data, format: Where the samples are and how they are read.
        input_size: The input's sides, (height, width) of a picture; one number stands for all of
            them, None takes the model card's.
        channels: Input channels, of a picture 1 (grey) or 3 (RGB); None takes the model card's.
        classes: 1 for a single foreground, else the number of classes with background.
        labels: Class names; empty takes the data set's.
        epochs, batch, seed: As usual; the seed decides initial weights, order and augmentation.
        optimizer: One of `OPTIMIZERS`.
        learning_rate: Peak learning rate.
        weight_decay: Decoupled for adamw, L2 otherwise.
        momentum: For sgd.
        epsilon: For adamw, adam and amsgrad; PyTorch's, with which the published recipes were
            tuned, where Keras has 1e-7. Keras adds it before it corrects the bias of the start, so
            that in the first steps it is up to 32 times as much as in PyTorch.
        schedule: One of `SCHEDULES`, changed once per epoch.
        warmup_epochs: Linear rise from zero before the schedule (see `learning_rate`).
        final_learning_rate: End of cosine and poly.
        step_epochs, step_factor: Every so many epochs the rate is multiplied by the factor.
        poly_power: Exponent of poly.
        clip_value, clip_norm: Gradient clipping by element and by global norm; None is off.
        ema: Decay of the weights' moving average used for evaluation and saving; None is off.
            It starts low and rises to this with the steps (see `WeightAverage`).
        precision: Keras dtype policy.
        patience: Epochs without a better headline metric before stopping; None never stops.
        validate_every: Epochs between evaluations on the validation split.
        augment: Whether training samples are augmented.
        cache: Whether decoded samples stay in memory (up to a quarter of it).
        workers: Threads of the input pipeline; 0 is one per core. Never changes the result.
        steps_per_epoch: Stop an epoch after so many optimiser steps; None uses every sample.
        initial_weights: Run folder to start from; None starts from random weights.
        teacher: Run folder of a network that this one learns from; None has no teacher.
        distill: What is learned from the teacher, by field of `Distillation`.
        compress: Stage of compression that is trained (`core.compress.stages`): "method",
            "choices" and the methods it comes "after"; empty for a plain training.
        options: The app's own choices (see the task).
    """

    app: str
    network: str
    variant: str
    data: str = "sample"
    format: str = "auto"
    input_size: tuple[int, ...] | None = None
    channels: int | None = None
    classes: int = 1
    labels: tuple[str, ...] = ()
    epochs: int = 100
    batch: int = 8
    seed: int = 0
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    momentum: float = 0.9
    epsilon: float = 1e-8
    schedule: str = "cosine"
    warmup_epochs: int = 0
    final_learning_rate: float = 0.0
    step_epochs: int = 30
    step_factor: float = 0.1
    poly_power: float = 0.9
    clip_value: float | None = None
    clip_norm: float | None = None
    ema: float | None = None
    precision: str = "float32"
    patience: int | None = None
    validate_every: int = 1
    augment: bool = True
    cache: bool = True
    workers: int = 0
    steps_per_epoch: int | None = None
    initial_weights: str | None = None
    teacher: str | None = None
    distill: Mapping[str, Any] = field(default_factory=dict)
    compress: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        for name, allowed in (
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("precision", PRECISIONS),
        ):
            one_of(getattr(self, name), allowed, f"Config: {name}")
        at_least_one = ("epochs", "batch", "classes", "validate_every", "step_epochs")
        for name in (*at_least_one, "channels", "patience", "steps_per_epoch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"Config: {name} is {value}; it must be 1 or more.")
        for name in ("seed", "workers", "warmup_epochs", "weight_decay", "final_learning_rate"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UserError(f"Config: {name} is {getattr(self, name)}; it must be 0 or more.")
        positive = ("learning_rate", "epsilon", "step_factor", "poly_power")
        for name in (*positive, "clip_value", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UserError(f"Config: {name} is {value}; it must be a positive number.")
        sides = range(1, MOST_SIDE + 1)
        if self.input_size is not None and not (
            self.input_size and all(side in sides for side in self.input_size)
        ):
            shown = shown_size(self.input_size) or "empty"
            raise UserError(f"Config: input_size is {shown}; sides must be 1 to {MOST_SIDE}.")
        if self.ema is not None and not 0 < self.ema < 1:
            raise UserError(f"Config: ema is {self.ema}; it must lie between 0 and 1.")
        if not 0 <= self.momentum < 1:
            raise UserError(f"Config: momentum is {self.momentum}; it must be in [0, 1).")
        if self.clip_value is not None and self.clip_norm is not None:
            raise UserError("Config: clip_value and clip_norm are both set; choose one of them.")
        if self.compress and self.initial_weights is None:
            raise UserError("Config: compress needs initial_weights, the run to compress.")
        if self.distill and self.teacher is None:
            raise UserError("Config: distill needs a teacher, the run to learn from.")
        Distillation.of(self.distill)
        if self.compress and (self.ema is not None or self.precision != "float32"):
            raise UserError("Config: compress trains in float32 and without ema; leave them off.")

    @property
    def distillation(self) -> Distillation:
        """What is learned from the teacher, defaults filled in."""
        return Distillation.of(self.distill)

    def to_dict(self) -> dict:
        """Return the choices as YAML-ready values."""
        values = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, source: str = _NO_FILE) -> TrainConfig:
        """Return the checked config; an unknown key or a value of the wrong kind is an error.

        Args:
            values: Field name → value.
            source: What to name in the error (a file).
        """
        known = {f.name: f for f in dataclasses.fields(cls)}
        for name in values:
            if name not in known:
                raise no_such("key", name, known, where=source)
        checked = {name: _cast(name, value, known[name], source) for name, value in values.items()}
        try:
            return cls(**checked)
        except TypeError as error:
            missing = [name for name in ("app", "network", "variant") if name not in values]
            raise UserError(f"{source}: lacks {', '.join(missing)}.") from error
        except UserError as error:  # of a value its field cannot have
            if source == _NO_FILE:
                raise
            raise UserError(f"{source}: {str(error).removeprefix('Config: ')}") from error


_LARGEST = 2**32 - 1  # of a whole number: what a seed may be, and more than anything else needs
_EXPECTED = {
    "tuple[int": "its sides, as in [256, 256]",
    "tuple[str": "a list of names",
    "Mapping": "'key: value' lines",
    "bool": "true or false",
    "int": "a whole number (of at most 2^32)",
    "float": "a number",
    "str": "text",
}


def read_config_file(path: str | Path) -> dict:
    """Return the mapping of a YAML config file.

    Raises:
        UserError: When the file is missing or is no YAML mapping.
    """
    path = Path(path)
    refuse_special(path)
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = (error.strerror or "input/output error").lower()
        raise UserError(f"{path}: cannot be read ({reason}); check the path.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not a text file (UTF-8); choose a YAML file.") from error
    except BadDocument as error:
        where = f"near line {error.line}" if error.line else "that this program reads"
        raise UserError(f"{path}: is not valid YAML {where}; mend it.") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: must hold 'key: value' lines.")
    return values


def _cast(name: str, value: Any, spec: dataclasses.Field, source: str) -> Any:
    """Return `value` as the field's type; YAML gives 1e-4 as text and 1 where 1.0 is meant."""
    kind = str(spec.type)
    if value is None:
        if "None" in kind:
            return None
        raise UserError(f"{source}: {name} has no value.")
    try:
        if kind.startswith("tuple[int"):
            sides = [value] if isinstance(value, int) else list(value)
            if any(isinstance(side, bool) or int(side) != float(side) for side in sides):
                raise ValueError
            return tuple(int(side) for side in sides)
        if kind.startswith("tuple[str"):
            return tuple(str(item) for item in ([value] if isinstance(value, str) else value))
        if kind.startswith("Mapping"):
            return dict(value)
        if kind.startswith("bool"):
            if not isinstance(value, bool):
                raise ValueError
            return value
        if kind.startswith("int"):
            whole = int(value) if isinstance(value, int) else int(float(value))
            if isinstance(value, bool) or whole != float(value) or abs(whole) > _LARGEST:
                raise ValueError
            return whole
        if isinstance(value, bool | list | tuple | Mapping):
            raise ValueError
        if kind.startswith("float"):
            return float(value)
        return str(value)
    except (TypeError, ValueError, OverflowError) as error:
        expected = next(words for start, words in _EXPECTED.items() if kind.startswith(start))
        empty = " or null" if "None" in kind else ""
        raise UserError(f"{source}: {name} is {value!r}; it must be {expected}{empty}.") from error
