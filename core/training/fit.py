"""One training for all apps: a config becomes a run folder, around `keras.Model.fit`.

Resuming is exact: order, augmentation and rates follow from (seed, epoch), everything else is in
`checkpoints/state.npz`, so a process killed at any moment and resumed ends with the history and
the weights of one that was not (same machine, CPU). TensorFlow's CPU kernels gave equal bytes
from run to run with two threads; `tf.config.experimental.enable_op_determinism()`, which costs
about half the speed, is only needed for that on a GPU and is left to the caller.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from core.compress.stages import stage_of
from core.config import TrainConfig
from core.data.index import Index
from core.data.pipeline import TrainingData
from core.errors import UserError
from core.files import claim_folder
from core.finetuning.frozen import FrozenFeatures
from core.model_card import ModelCard
from core.run_folder import RunFolder
from core.task import Task
from core.training.callbacks import Progress, Silent, TensorBoard, TrainingLoop, write_tables
from core.training.optimizers import WeightAverage
from core.training.setup import (
    AroundNetwork,
    build_compressed,
    build_saved,
    build_trained,
    compile_model,
    initial_run,
    load_encoder,
    load_initial_weights,
    settled,
    training_card,
    training_splits,
)
from core.training.state import (
    BEFORE,
    STATE,
    TrainingState,
    assign,
    check_same_choices,
    forget_earlier,
    remove_leftovers,
    replacing,
)
from core.training.teaching import Teaching
from core.training.transfer import Transfer
from core.training.validating import Validator


def train(
    task: Task,
    config: TrainConfig | None,
    out: str | Path,
    *,
    index: Index | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    record: Mapping[str, Any] | None = None,
) -> RunFolder:
    """Train a network and return its run folder.

    Args:
        task: The domain.
        config: The choices; None, when resuming, takes those of the run folder.
        out: The run folder.
        index: The samples with their "train" and "val" splits; None reads `config.data`.
        resume: Go on where an earlier process stopped, or start if it did not get that far.
        overwrite: Whether an older run in `out` may be replaced.
        progress: Shows the training; None shows nothing.
        record: Further entries for the config.yaml of a new run.

    Raises:
        UserError: For data, choices or folders the user can mend.
        CheckFailed: When the training diverges; the last good state is kept.
        KeyboardInterrupt: As it came; the run can be resumed.
    """
    out = Path(out)
    if resume and overwrite:
        raise UserError(f"{out}: --resume and --overwrite exclude each other; pass one of them.")
    earlier = _earlier_run(out, task) if resume else None
    if config is None:
        if earlier is None:
            raise UserError(f"{out}: holds no run to resume; say what to train.")
        config = earlier.config
    if earlier is not None:
        earlier.check_command(task.command)
    if config.app != task.name:
        raise UserError(f"The config is for the app '{config.app}', not for '{task.name}'.")
    network = task.network(config.network)
    network.check_variant(config.variant)
    published = network.card(config.variant)
    if earlier is None and out.exists():
        claim_folder(out, overwrite=overwrite or resume)
    index = task.read(config.data, config.format) if index is None else index
    config = settled(config, task, published, index)
    if earlier is not None:
        check_same_choices(out, settled(earlier.config, task, published, index), config)
    network.check_square(config.network, config.input_size or ())
    card = training_card(task, published, config, index)
    fingerprint = index.fingerprint()
    if earlier is not None and earlier.record.get("data", {}).get("fingerprint") != fingerprint:
        raise UserError(
            f"{index.root}: is not the data {out} was started with (files were added, removed or "
            "changed); restore it or train into another --out."
        )
    state = TrainingState() if earlier is None else TrainingState.load(out)
    teaching = None if config.teacher is None else Teaching(task, config, card)
    if teaching is not None and earlier is not None:
        teaching.check_unchanged(earlier)
    session = _Session(task, config, card, index, state, progress or Silent(), teaching)
    further = {**(record or {}), **(teaching.record if teaching else {})}
    try:
        return session.run(out, earlier, fingerprint, further)
    finally:
        session.close()


class _Session:
    """A training in this process: graphs, data and state."""

    def __init__(
        self,
        task: Task,
        config: TrainConfig,
        card: ModelCard,
        index: Index,
        state: TrainingState,
        progress: Progress,
        teaching: Teaching | None,
    ):
        self.task, self.config, self.card, self.index = task, config, card, index
        self.state, self.progress = state, progress
        network = task.network(config.network)
        train_index, val_index = training_splits(index, validated=task.validates)
        keras.utils.set_random_seed(config.seed)
        deploy = network.deploy
        self.not_copied: list[str] = []
        self.moved: Transfer | None = None
        self.features: FrozenFeatures | None = None
        if config.compress:
            self.stage = stage_of(config.compress)
            self.model, self.saved = build_compressed(
                task, network, card, config, self.stage, train_index
            )
            self.fitted = self.stage.fitted(self.model)
            if teaching is not None:
                self.fitted = teaching.around(self.fitted)
            deploy = lambda model: model  # noqa: E731  (a deployable network was compressed)
        else:
            start = None if state.epoch else initial_run(config, task.name)
            if start is not None:
                task.check_start(start, card)
            self.model, self.fitted = build_trained(task, network, card, config)
            if teaching is None:
                self.features = task.frozen_features(network, self.model, config, len(train_index))
            else:  # a teacher looks at every batch, so nothing stands for its inputs
                self.fitted = teaching.around(self.fitted)
            self.stage = AroundNetwork(self.fitted, self.model)
            if self.features is not None:
                self.fitted = self.features.graph
            if start is not None and start.holds_encoder:
                self.moved = load_encoder(self.model, start)
                self.not_copied = list(self.moved.kept)
                progress.note(f"{start.path}: {self.moved}.")
            elif start is not None:
                self.not_copied = load_initial_weights(self.model, start)
            elif not state.epoch:
                for note in task.bring_weights(network, self.model, config):
                    progress.note(note)
            self.saved = build_saved(task, network, card, config)
        compile_model(self.fitted, task, config)
        self.average = (
            None if config.ema is None else WeightAverage(self.model.variables, config.ema)
        )
        self.validator: Validator | None = None
        if val_index is not None:
            self.validator = Validator(
                task,
                deploy,
                self.saved,
                card,
                val_index,
                batch=config.batch,
                wanted=self.stage.wanted,
            )
        weights = None if teaching is None else teaching.weights(train_index)
        self.data = TrainingData(
            task,
            train_index,
            card,
            config,
            outputs=len(self.fitted.outputs),
            features=self.features,
            weights=weights,
        )
        if teaching is not None and config.distillation.views and not state.is_finished(config):
            progress.note(teaching.answer(self.data, weights))
        whole = config.initial_weights is not None and self.moved is None
        if not (state.epoch or config.compress or whole):
            for note in task.start_network(self.model, self.data, config):
                progress.note(note)
        steps = self.data.step_count()
        self.acting = self.stage.callbacks(self.model, epochs=config.epochs, steps=steps)
        if not config.compress:
            self.acting += task.training_callbacks(network, self.model, config)

    def run(
        self, out: Path, earlier: RunFolder | None, fingerprint: str, record: Mapping[str, Any]
    ) -> RunFolder:
        """Make or reopen the run folder and train to the end."""
        remove_leftovers(out)
        with replacing(out) if earlier is None else contextlib.nullcontext():
            if earlier is None:
                run = self._new_folder(out, fingerprint, record)
            else:
                run = self._restore(earlier)
            self._go_on(run)
        return run

    def close(self) -> None:
        """End the worker threads."""
        self.data.close()

    def _go_on(self, run: RunFolder) -> None:
        """Train the epochs that are left."""
        state = self.state
        if state.is_finished(self.config):
            self.progress.note(f"{run.path}: is finished (epoch {state.epoch}); nothing to resume.")
            return
        if state.epoch:
            self.progress.note(f"{run.path}: goes on after epoch {state.epoch}.")
        self.data.epoch = state.epoch
        loop = TrainingLoop(
            self.task,
            self.config,
            run,
            self.data,
            self.validator,
            self.model,
            self.saved,
            self.average,
            state,
            self.progress,
            self.stage,
        )
        self.progress.start(self.config.epochs, self.data.samples, first_epoch=state.epoch)
        try:
            self._fit(loop, state.epoch)
        finally:
            self.progress.stop()

    def _fit(self, loop: TrainingLoop, first_epoch: int) -> None:
        try:
            with warnings.catch_warnings():
                # Keras takes the end of a data set of unknown length for an accident.
                warnings.filterwarnings("ignore", message="Your input ran out of data")
                self.fitted.fit(
                    self.data.dataset(),
                    epochs=self.config.epochs,
                    initial_epoch=first_epoch,
                    callbacks=[*self.acting, loop],
                    shuffle=False,
                    verbose=0,
                )
        except tf.errors.OpError:
            self.data.raise_failure()
            raise

    def _new_folder(self, out: Path, fingerprint: str, extra: Mapping[str, Any]) -> RunFolder:
        data = {
            "root": str(self.index.root),
            "format": self.index.format,
            "fingerprint": fingerprint,
            "splits": self.index.counts(),
        }
        source = "compress" if self.config.compress else self.task.command
        record = {"source": source, "data": data, **extra}
        if self.moved is not None:
            moved = {"moved": list(self.moved.moved), "resized": list(self.moved.resized)}
            record["from_encoder"] = moved
        if self.not_copied:
            record["not_from_initial_weights"] = self.not_copied
        return RunFolder.create(out, self.config, self.card, overwrite=True, **record)

    def _restore(self, run: RunFolder) -> RunFolder:
        """Bring model, optimiser, average and the files of the run to the state."""
        state, source = self.state, run.file(STATE)
        if state.epoch:
            arrays = state.arrays
            assign(self.model.variables, arrays["model"], source)
            assign(self.fitted.optimizer.variables, arrays["optimizer"], source)
            assign(
                self.average.variables if self.average else [],
                arrays.get("average", []),
                source,
            )
            assign(self.stage.variables, arrays.get("stage", []), source)
            write_tables(run, state)
            TensorBoard(run.path / "tensorboard").write_anew(state.history)
            forget_earlier(run.path)
        if "best" in state.arrays:
            assign(self.saved.variables, state.arrays["best"], source)
            run.save_model(self.stage.finish(self.saved))
        if run.config == self.config:
            return run
        return RunFolder.create(run.path, self.config, run.card, overwrite=True, **run.record)


def _earlier_run(out: Path, task: Task) -> RunFolder | None:
    """Return the run to resume; None where the process was killed before it made one."""
    setting_aside = (out / BEFORE).is_dir() and not (out / "config.yaml").is_file()
    if not out.exists() or setting_aside or _only_ours(out):
        return None
    return RunFolder(out, app=task.name)


def _only_ours(out: Path) -> bool:
    """Return whether a folder holds no more than the first moments of a training write."""
    return out.is_dir() and all(
        path.name == "model_card.json" or path.name.startswith(".") for path in out.iterdir()
    )
