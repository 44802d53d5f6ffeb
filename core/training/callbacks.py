"""What happens around the batches and epochs of `keras.Model.fit`, in one order for all apps."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from core.compress.stage import Stage
from core.config import TrainConfig
from core.data.pipeline import TrainingData
from core.errors import CheckFailed, UserError
from core.files import explained
from core.history import SETTLED
from core.run_folder import RunFolder
from core.task import Task
from core.training.optimizers import WeightAverage
from core.training.state import STATE, TrainingState, assign, forget_earlier, write_table
from core.training.validating import Validator


class Progress(Protocol):
    """Shows a training to somebody; `fit` itself prints nothing."""

    def start(self, total_epochs: int, samples_per_epoch: int, *, first_epoch: int = 0) -> None:
        """The training begins, after `first_epoch` epochs of an earlier process."""

    def step(self, epoch: int, done_samples: int, logs: Mapping[str, float]) -> None:
        """A batch of an epoch (from 1) is done; `logs` are running means."""

    def epoch(self, epoch: int, row: Mapping[str, float], timing: Mapping[str, float]) -> None:
        """An epoch (from 1) is done: its row of history.csv and its row of timing.csv."""

    def note(self, text: str) -> None:
        """Something a user wants to know, in a sentence."""

    def stop(self) -> None:
        """The training ended, well or not."""


class Silent:
    """Shows nothing."""

    def start(self, total_epochs, samples_per_epoch, *, first_epoch=0):
        pass

    def step(self, epoch, done_samples, logs):
        pass

    def epoch(self, epoch, row, timing):
        pass

    def note(self, text):
        pass

    def stop(self):
        pass


class TrainingLoop(keras.callbacks.Callback):
    """Rate, divergence check, moving average, validation, best weights, checkpoint, tables.

    Before the first epoch a network that compression has prepared is validated, as epoch 0: as long
    as no epoch is as good, it is what is saved.

    The order at an epoch's end: evaluate, refuse poisoned weights, write the state, then the files
    that follow from it (`model.keras`, history.csv, timing.csv, TensorBoard).

    Args:
        task: Names the headline metric.
        config: The choices.
        run: Where the files go.
        data: Told which epoch is next.
        validator: Scores `saved`; None keeps the newest weights.
        trained: The network whose weights `fit` changes.
        saved: The same in float32, which is evaluated and saved.
        average: The moving average, or None.
        state: What was reached before; updated.
        progress: Shows the training.
        stage: What compression, if any, acts on the training.
    """

    def __init__(
        self,
        task: Task,
        config: TrainConfig,
        run: RunFolder,
        data: TrainingData,
        validator: Validator | None,
        trained: keras.Model,
        saved: keras.Model,
        average: WeightAverage | None,
        state: TrainingState,
        progress: Progress,
        stage: Stage,
    ):
        super().__init__()
        self.task, self.config, self.run, self.data = task, config, run, data
        self.validator, self.average = validator, average
        self.trained, self.saved = trained, saved
        self.state, self.progress, self.stage = state, progress, stage
        self._board = TensorBoard(run.path / "tensorboard")
        self._steps = data.step_count()
        self._began = 0.0

    def on_train_begin(self, logs: Mapping | None = None) -> None:
        state, validator = self.state, self.validator
        if state.epoch or validator is None or not (self.config.compress and self.stage.settled):
            return
        state.arrays["best"] = self._current_weights()
        assign(self.saved.variables, state.arrays["best"], self.run.path)
        row = self._validate(validator, 0)
        state.history.append({"epoch": 0, **row})
        self._board.write(0, row)
        names = dict.fromkeys((self.task.headline, validator.decisive))
        shown = ", ".join(f"{name} {row[f'val_{name}']:.4g}" for name in names)
        self.progress.note(f"Before training: {shown}.")

    def on_epoch_begin(self, epoch: int, logs: Mapping | None = None) -> None:
        self._began = time.perf_counter()
        computed = self.data.start_epoch(epoch, self.model)
        if computed:
            seconds = time.perf_counter() - self._began
            self.progress.note(
                f"The frozen part went over {computed} samples in {seconds:.1f} s; while only the "
                "head is trained, its features are kept."
            )
        self.model.optimizer.learning_rate = self.task.learning_rate(self.config, epoch)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float]) -> None:
        loss = float(logs["loss"])  # the epoch's running mean: one bad batch makes it bad
        if not math.isfinite(loss):
            value = "NaN" if math.isnan(loss) else "infinite"
            self._diverged(f"loss is {value} at epoch {self.state.epoch + 1}, step {batch + 1}")
        if self.average is not None:
            self.average.update()
        done = min(self.data.samples, round(self.data.samples * (batch + 1) / self._steps))
        self.progress.step(self.state.epoch + 1, done, logs)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        state = self.state
        seconds = time.perf_counter() - self._began
        row = {"epoch": epoch + 1, "learning_rate": self.task.learning_rate(self.config, epoch)}
        names = ["loss", *(name for name in logs if name != "loss")]
        row |= {name: float(logs[name]) for name in names}

        current = self._current_weights()
        assign(self.saved.variables, current, self.run.path)
        last = epoch + 1 == self.config.epochs
        is_best = self.validator is None
        if self.validator and (last or (epoch + 1) % self.config.validate_every == 0):
            row |= self._validate(self.validator, epoch + 1)
            is_best = self.stage.settled and state.best_epoch == epoch + 1
        if is_best:
            state.arrays["best"] = current
        elif epoch == 0 and "best" in state.arrays:  # the start, which is written with the state
            assign(self.saved.variables, state.arrays["best"], self.run.path)
            is_best = True
        state.epoch = epoch + 1
        state.history.append(row)
        timing = {
            "epoch": epoch + 1,
            "seconds": round(seconds, 3),
            "samples_per_second": round(self.data.samples / max(seconds, 1e-9), 2),
        }
        state.timing.append(timing)
        state.save(self.run.path)
        forget_earlier(self.run.path)
        if is_best:
            self.run.save_model(self.stage.finish(self.saved))
        write_tables(self.run, state)
        self._board.write(epoch + 1, row)
        self.progress.epoch(epoch + 1, row, timing)
        if state.out_of_patience(self.config) and not last:
            self.model.stop_training = True
            name = self.validator.decisive if self.validator else self.task.headline
            self.progress.note(
                f"Stopped after epoch {epoch + 1}: {name} was best at epoch {state.best_epoch}."
            )

    def on_train_end(self, logs: Mapping | None = None) -> None:
        state = self.state
        if state.history and state.history[0]["epoch"] == 0 and state.best_epoch == 0:
            self.progress.note(
                "No epoch was as good as the network before training, which is kept; try a lower "
                "--learning-rate."
            )

    def _validate(self, validator: Validator, epoch: int) -> dict[str, float]:
        """Score the saved weights after an epoch, 0 before the first; return the row's values."""
        state, summary = self.state, validator.summary()
        value = summary[validator.decisive]
        state.validated = epoch
        row = {f"val_{name}": value for name, value in summary.items()}
        if not self.stage.settled:  # not yet as sparse as it shall be: no candidate
            state.best_epoch = epoch  # patience counts from when it is
            row[SETTLED] = 0.0
        elif validator.is_better(value, state.best, or_equal=state.best_epoch == 0):
            state.best, state.best_epoch = value, epoch
        return row

    def _current_weights(self) -> list[np.ndarray]:
        """Collect the state's arrays and return the weights to evaluate; refuse poisoned ones."""
        arrays = self.state.arrays
        collected = {
            "model": _values(self.trained.variables),
            "optimizer": _values(self.model.optimizer.variables),
            "average": _values(self.average.variables) if self.average else [],
            "stage": _values(self.stage.variables),
        }
        for values in collected.values():
            if not all(np.isfinite(v).all() for v in values if v.dtype.kind == "f"):
                self._diverged(f"weights are no longer finite after epoch {self.state.epoch + 1}")
        arrays |= collected
        return self.average.values() if self.average else collected["model"]

    def _diverged(self, what: str) -> None:
        kept = (
            f"the last good checkpoint (epoch {self.state.epoch}) is kept in "
            f"{self.run.path / STATE}"
            if self.state.epoch
            else "no checkpoint was written yet"
        )
        raise CheckFailed(
            f"training diverged: {what}; {kept}; train again with a lower --learning-rate or with "
            "gradient clipping (--clip-norm 1)."
        )


class TensorBoard:
    """Writes rows of the history for TensorBoard, if the 'track' extra is installed."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._writer: tf.summary.SummaryWriter | None = None

    def write_anew(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Replace what an earlier process wrote: it may lack a row, or end in the middle of one."""
        with explained(self._folder):
            for path in self._folder.glob("events.*"):
                path.unlink()
        for row in rows:
            self.write(int(row["epoch"]), row)

    def write(self, epoch: int, row: Mapping[str, float]) -> None:
        """Add the row of an epoch."""
        try:
            import tensorboard  # noqa: F401
        except ImportError:
            return
        try:
            if self._writer is None:
                self._writer = tf.summary.create_file_writer(str(self._folder))
            with self._writer.as_default(step=epoch):
                for name, value in row.items():
                    if name != "epoch":
                        tf.summary.scalar(name, value)
            self._writer.flush()
        except tf.errors.OpError as error:
            raise UserError(
                f"{self._folder}: cannot be written: the disk is full or closed to you; free some "
                "space and go on with --resume."
            ) from error


def write_tables(run: RunFolder, state: TrainingState) -> None:
    """Write history.csv and timing.csv of a state."""
    write_table(run.file("history.csv"), state.history)
    write_table(run.file("timing.csv"), state.timing)


def _values(variables) -> list[np.ndarray]:
    return [np.array(tf.convert_to_tensor(variable)) for variable in variables]
