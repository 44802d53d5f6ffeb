"""Training of the super-network whose importances tell the placement of instance norms."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from apps.person_reid.losses import identity_loss
from apps.person_reid.models.osnet import BLOCKS, CANDIDATES
from apps.person_reid.models.osnet_search import TemperatureSchedule, cells, derive, osnet_search
from core.config import TrainConfig
from core.data.index import Index
from core.data.pipeline import TrainingData
from core.schedules import learning_rate
from core.task import Task
from core.training.optimizers import make_optimizer


class _Epochs(keras.callbacks.Callback):
    """Sets the rate and the order of each epoch, and tells its loss."""

    def __init__(self, config: TrainConfig, data: TrainingData, tell: Callable[[int, float], None]):
        super().__init__()
        self.config, self.data, self.tell = config, data, tell

    def on_epoch_begin(self, epoch, logs=None):
        self.data.epoch = epoch
        self.model.optimizer.learning_rate = learning_rate(self.config, epoch)

    def on_epoch_end(self, epoch, logs=None):
        self.tell(epoch + 1, float(logs["loss"]))


def search_placement(
    task: Task, config: TrainConfig, index: Index, tell: Callable[[int, float], None]
) -> dict:
    """Train the super-network and return what it found, JSON-ready.

    Args:
        task: Of this app.
        config: The training; its `variant` gives the widths.
        index: With a training split.
        tell: Called after each epoch with its number, from 1, and its loss.

    Returns:
        "placement" and "importances" by block, "candidates", and the choices behind them.
    """
    train = index.split("train")
    card = task.network("osnet").card(config.variant)
    if config.input_size is not None:
        card = card.sized(config.input_size)
    height, width = card.input_size
    keras.utils.set_random_seed(config.seed)
    model = osnet_search(
        (height, width, 3), classes=config.classes, variant=config.variant, seed=config.seed
    )
    logits = keras.Model(model.input, model.outputs[1])
    data = TrainingData(task, train, card, config)
    try:
        logits.compile(make_optimizer(config), identity_loss(), jit_compile=False)
        # Slots that are made while the step is traced would have it traced twice.
        logits.optimizer.build(logits.trainable_variables)
        logits.fit(
            data.dataset(),
            epochs=config.epochs,
            shuffle=False,
            verbose=0,
            callbacks=[TemperatureSchedule(), _Epochs(config, data, tell)],
        )
    finally:
        data.close()
    importances = [np.asarray(cell.importance).tolist() for cell in cells(model).values()]
    return {
        "placement": dict(zip(BLOCKS, derive(model), strict=True)),
        "candidates": list(CANDIDATES),
        "importances": dict(zip(cells(model), importances, strict=True)),
        "variant": config.variant,
        "input_size": list(card.input_size),
        "epochs": config.epochs,
        "batch": config.batch,
        "learning_rate": config.learning_rate,
        "seed": config.seed,
        "data": str(index.root),
        "fingerprint": index.fingerprint(),
    }
