"""From a config to the things a training works with: card, graphs, starting weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np

from core.compress.ranges import fix_input_range
from core.compress.stage import Stage, copied
from core.config import TrainConfig
from core.data.index import Index
from core.errors import UserError
from core.model_card import ModelCard
from core.network import Network
from core.run_folder import RunFolder
from core.task import Task
from core.training.optimizers import make_optimizer
from core.training.recompute import is_large, recomputed
from core.training.transfer import Transfer, transfer

# The whitepaper (arXiv:1806.08342) found about a hundred batches enough; single images vary more.
CALIBRATION_SAMPLES = 200


def training_card(task: Task, card: ModelCard, config: TrainConfig, index: Index) -> ModelCard:
    """Return a network's card changed to what is trained: size, channels, labels, options.

    Raises:
        UserError: When size or channels do not fit the network, or the labels are not `classes`
            many.
    """
    config = settled(config, task, card, index)
    changes = _channel_changes(card, config.channels)
    labels = config.labels or index.labels
    if labels and len(labels) != config.classes:
        raise UserError(
            f"{index.root}: has {len(labels)} labels ({', '.join(labels)}), but classes is "
            f"{config.classes}; make the two agree."
        )
    if not labels and card.labels and len(card.labels) != config.classes:
        labels = tuple(f"class {n}" for n in range(config.classes))
        labels = ("foreground",) if config.classes == 1 else labels
    if labels:
        changes["labels"] = tuple(labels)
    changed = card.replace(**changes).sized(config.input_size or card.input_size)
    return task.card_for(changed, config, index)


def _channel_changes(card: ModelCard, channels: int | None) -> dict:
    """Return what changes in the card of a network that is trained on so many channels."""
    if channels in (None, card.channels):
        return {}
    if not card.is_picture:
        raise UserError(f"channels is {channels}, but {card.network} takes {card.channels}.")
    if channels not in (1, 3):
        raise UserError(f"channels is {channels}; it must be 1 (grey) or 3 (RGB).")
    mean, std = (float(np.mean(values)) for values in (card.mean, card.std))
    return {
        "channels": channels,
        "color_order": "gray" if channels == 1 else "RGB",
        "mean": (mean,) * channels,
        "std": (std,) * channels,
    }


def settled(config: TrainConfig, task: Task, card: ModelCard, index: Index) -> TrainConfig:
    """Return the choices with what they leave to the task, to the network's card and to the data.

    A run folder then says all of it, and a training that is resumed may say it either way.
    """
    channels = card.channels if config.channels is None else config.channels
    size = None if config.input_size is None else card.sized(config.input_size).input_size
    options = task.settled_options(config.options, index)
    distill = {} if config.teacher is None else dataclasses.asdict(config.distillation)
    return dataclasses.replace(
        config, channels=channels, input_size=size, options=options, distill=distill
    )


def training_splits(index: Index, *, validated: bool = True) -> tuple[Index, Index | None]:
    """Return the training and the validation samples, or raise a `UserError`.

    Args:
        index: The samples.
        validated: Whether the training validates; else the second is None.
    """
    counts = index.counts()
    needed = ("train", "val") if validated else ("train",)
    missing = [name for name in needed if name not in counts]
    if missing:
        wanted = " and a ".join(f"'{name}'" for name in needed)
        raise UserError(
            f"{index.root}: training needs a {wanted} split, but there is no "
            f"'{missing[0]}' ({index.describe_splits()}); split the data first."
        )
    return index.split("train"), index.split("val") if validated else None


def build_trained(
    task: Task, network: Network, card: ModelCard, config: TrainConfig
) -> tuple[keras.Model, keras.Model]:
    """Return the network under the config's precision, and the graph on it that `fit` sees.

    They share all weights; mostly they are the same (see `Task.training_graph`).
    """
    with _precision(config.precision):
        shape = task.training_input_shape(card, config)
        model = _build(task, network, card, config, shape)
        again = network.kept and is_large(card.input_size, config.batch)
        trained = recomputed(model, network.kept) if again else model
        return model, task.training_graph(trained, config)


def build_saved(task: Task, network: Network, card: ModelCard, config: TrainConfig):
    """Return the same network in float32 at the card's size: what is evaluated and saved."""
    with _precision("float32"):
        return _build(task, network, card, config, task.saved_input_shape(card))


def build_compressed(
    task: Task, network: Network, card: ModelCard, config: TrainConfig, stage: Stage, index: Index
) -> tuple[keras.Model, keras.Model]:
    """Return the network a stage of compression trains, and a copy: what is evaluated and saved.

    Args:
        index: The training samples, some of which calibrate ranges.
    """
    source = initial_run(config, task.name)
    if source is None:
        raise ValueError("`config.initial_weights` must name the run to compress. Received: None")
    bring_teacher(stage, task, card, config)
    inputs = task.calibration_inputs(index, card, CALIBRATION_SAMPLES)
    model = stage.prepare(deployed(network, source), inputs)
    fix_input_range(model, card.pixel_range())
    return model, copied(model)


def bring_teacher(stage: Stage, task: Task, card: ModelCard, config: TrainConfig) -> None:
    """Give a stage the deployable network of the run its choices name as teacher, if they do.

    Args:
        card: Of the network that learns.

    Raises:
        UserError: When there is no such run, or its network takes its input in another way.
    """
    path = (config.compress.get("choices") or {}).get("teacher")
    if path is None:
        return
    run, model = open_teacher(path, task)
    given = [(one.full_scale, one.mean, one.std) for one in (run.card, card)]
    if given[0] != given[1]:
        theirs, ours = (_normalisation(one) for one in (run.card, card))
        raise UserError(
            f"Teacher {run.path}: normalises {'pixels' if card.is_picture else 'values'} by "
            f"{theirs}, but the student by {ours}; choose a teacher that takes the same input."
        )
    stage.learn_from(model)


def open_teacher(path: str, task: Task) -> tuple[RunFolder, keras.Model]:
    """Return a run of a task to learn from, and its deployable network.

    Raises:
        UserError: When there is no such run, or it holds no whole network.
    """
    try:
        run = RunFolder(Path(path), app=task.name)
        return run, deployed(task.network(run.config.network), run)
    except UserError as error:
        raise UserError(f"Teacher {error}") from error


def compile_model(model: keras.Model, task: Task, config: TrainConfig) -> None:
    """Set optimiser, losses and metrics, and make the optimiser's variables.

    XLA stays off: on the CPU it trained a small convolutional network ten times slower, and it
    compiles anew for every batch shape.
    """
    objective = task.objective(config)
    outputs = len(model.outputs)
    loss, metrics = objective.loss, list(objective.metrics)
    if outputs > 1:
        loss = list(loss) if isinstance(loss, list | tuple) else [loss] * outputs
        metrics = [metrics, *[[] for _ in range(outputs - 1)]]  # those of the main output
    elif isinstance(loss, list | tuple):
        (loss,) = loss
    weights = None if objective.loss_weights is None else list(objective.loss_weights)
    model.compile(
        optimizer=make_optimizer(config),
        loss=loss,
        loss_weights=weights if outputs > 1 else None,
        metrics=metrics,
        jit_compile=False,
    )
    model.optimizer.build(model.trainable_variables)


def load_initial_weights(model: keras.Model, run: RunFolder) -> list[str]:
    """Copy another run's weights into a model; return the names of those that keep their start.

    Variables are matched by path and shape, so a head of another size is simply not copied.

    Raises:
        UserError: When nothing but a few variables fits: it is another network.
    """
    theirs = list(run.load_model().variables)
    ours = list(model.variables)
    if [v.shape for v in theirs] == [v.shape for v in ours]:
        pairs = list(zip(ours, theirs, strict=True))
    else:
        known = {(v.path, tuple(v.shape)): v for v in theirs}
        found = [(v, known.get((v.path, tuple(v.shape)))) for v in ours]
        pairs = [(v, source) for v, source in found if source is not None]
    if len(pairs) * 2 < len(ours):
        raise UserError(
            f"{run.path}: holds weights of {run.card.network} {run.card.variant}, of which only "
            f"{len(pairs)} of {len(ours)} fit; start from a run of the same network."
        )
    for variable, source in pairs:
        variable.assign(source.value)
    copied = {id(variable) for variable, _ in pairs}
    return [v.path for v in ours if id(v) not in copied]


def load_encoder(model: keras.Model, run: RunFolder) -> Transfer:
    """Copy the encoder of a pre-training into a model of its network, and check that it arrived.

    Raises:
        UserError: When not all of it has a place there (the model is then unchanged).
    """
    try:
        return transfer(run.load_model(encoder=True), model)
    except UserError as error:
        raise UserError(
            f"{run.path}: holds the encoder of {run.card.network} {run.card.variant}: {error}"
        ) from error


class AroundNetwork(Stage):
    """The stage of a training that compresses nothing: it keeps what `fit` sees beside a network.

    Args:
        fitted: The graph that is trained.
        model: The network in it.
    """

    def __init__(self, fitted: keras.Model, model: keras.Model):
        super().__init__({})
        own = {id(variable) for variable in model.variables}
        self._added = [v for v in fitted.variables if id(v) not in own]

    @property
    def variables(self) -> list:
        return self._added


def initial_run(config: TrainConfig, app: str) -> RunFolder | None:
    """Return the run to start from, checked before anything is written."""
    if config.initial_weights is None:
        return None
    run = RunFolder(Path(config.initial_weights), app=app)
    if not run.file("model.keras").is_file():
        raise UserError(f"{run.path}: holds no model.keras to start from; finish that run first.")
    return run


def deployed(network: Network, run: RunFolder):
    """Return the deployable `keras.Model` of a run; what compression saved is one already."""
    model = run.load_model()
    return model if run.config.compress else network.deploy(model)


def _normalisation(card: ModelCard) -> str:
    """Return in words how a card makes stored values the network's input."""
    scale = "" if card.full_scale == 255 else f"full scale {card.full_scale:g}, "
    return f"{scale}mean {_listed(card.mean)} and std {_listed(card.std)}"


def _listed(values: tuple[float, ...]) -> str:
    """Return numbers in words, one where all channels have the same."""
    return ", ".join(f"{value:.4g}" for value in (values if len(set(values)) > 1 else values[:1]))


def _build(task: Task, network: Network, card: ModelCard, config: TrainConfig, shape: tuple):
    arguments = {**task.build_arguments(card), **task.training_arguments(config)}
    return network.build(config.variant, shape, **arguments)


@contextmanager
def _precision(policy: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
