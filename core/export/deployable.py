"""The form in which a run's network leaves: folded, at the size of a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from core.errors import UserError
from core.model_card import ModelCard, shown_size
from core.run_folder import RunFolder
from core.task import Task

if TYPE_CHECKING:
    import keras


def deployable(
    task: Task,
    run: RunFolder,
    input_size: Sequence[int] | None = None,
    *,
    open_size: bool = False,
    change: Callable[[keras.Model], None] | None = None,
) -> tuple[keras.Model, ModelCard]:
    """Return a run's deployable `keras.Model` at a fixed input size, and its card.

    Args:
        task, run: Whose network it is.
        input_size: The input's sides, or one number for all; None takes the model card's.
        open_size: Whether the network takes any size, where the domain has it so.
        change: Called with the network as it was trained, before it is made deployable.

    Raises:
        UserError: When the size does not fit the architecture or the run has no weights.
    """
    try:
        network = task.network(run.config.network)
    except UserError as error:
        raise UserError(f"{run.path}: {error}") from error
    model, card = run.load_model(), run.card.sized(input_size or run.card.input_size)
    if change is not None:
        change(model)
    if run.config.compress and card.input_size != run.card.input_size:
        raise UserError(
            f"{run.path}: was compressed at {shown_size(run.card.input_size)} and stays at that "
            "size; compress again a run of the size you need."
        )
    shape = task.saved_input_shape(card) if open_size else card.input_shape
    if run.config.compress:
        return model, card
    if tuple(model.inputs[0].shape[1:]) != shape:
        model = _resized(task, network, run.config, card, model, shape)
    return network.deploy(model), card


def _resized(task: Task, network, config, card: ModelCard, model, shape: tuple):
    """Return a run's network rebuilt for another input, in the form it was saved in."""
    weights = model.get_weights()
    for options in ({}, network.training_options, task.training_arguments(config)):
        rebuilt = network.build(config.variant, shape, **task.build_arguments(card), **options)
        if [tuple(v.shape) for v in rebuilt.weights] == [w.shape for w in weights]:
            rebuilt.set_weights(weights)
            return rebuilt
    raise UserError(
        f"{model.name}: was saved in a form that its network no longer has; train or import it "
        "again."
    )
