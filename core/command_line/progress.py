"""Progress of long work: a bar on a terminal; elsewhere a training prints a line per epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

SHOWN = 4  # metrics of the validation in the line of an epoch; history.csv has all


class TrainingProgress:
    """Shows a training (a `core.training.callbacks.Progress`).

    On a terminal a bar with the loss, samples per second and the time that remains, and above it a
    line per finished epoch; in a file or a pipe only those lines.

    Args:
        headline: The metric that chooses the best epoch; it comes before the others.
        console: Where to; None is standard error, so that results on standard output stay clean.
    """

    def __init__(self, headline: str = "", console: Console | None = None):
        self._headline = f"val_{headline}"
        self._console = console or Console(stderr=True)
        self._bar: Progress | None = None
        self._epochs = self._samples = 0

    def start(self, total_epochs: int, samples_per_epoch: int, *, first_epoch: int = 0) -> None:
        """Begin to show a training of which `first_epoch` epochs are done."""
        self._epochs, self._samples = total_epochs, samples_per_epoch
        if not self._console.is_terminal:
            return
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(),
            TextColumn("loss {task.fields[loss]:.4f}"),
            _RateColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            speed_estimate_period=60.0,
        )
        self._bar.add_task(
            "training",
            total=total_epochs * samples_per_epoch,
            completed=first_epoch * samples_per_epoch,
            epoch=first_epoch + 1,
            epochs=total_epochs,
            loss=float("nan"),
        )
        self._bar.start()

    def step(self, epoch: int, done_samples: int, logs: Mapping[str, float]) -> None:
        """Move the bar."""
        if self._bar is not None:
            done = (epoch - 1) * self._samples + done_samples
            self._bar.update(
                self._bar.task_ids[0], completed=done, epoch=epoch, loss=float(logs["loss"])
            )

    def epoch(self, epoch: int, row: Mapping[str, float], timing: Mapping[str, float]) -> None:
        """Print the line of an epoch."""
        names = [name for name in row if name not in ("epoch", "learning_rate")]
        validated = [name for name in names if name.startswith("val_")]
        validated.sort(key=lambda name: name != self._headline)
        names = [name for name in names if name not in validated] + validated[:SHOWN]
        values = [f"{name} {row[name]:.4g}" for name in names]
        rate = f"{timing['samples_per_second']:.1f} samples/s"
        self._print("  ".join([f"epoch {epoch}/{self._epochs}", *values, rate]))

    def note(self, text: str) -> None:
        """Print a sentence."""
        self._print(text)

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _print(self, line: str) -> None:
        console = self._bar.console if self._bar is not None else self._console
        console.print(line, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def track(
    total: int, label: str, console: Console | None = None
) -> Iterator[Callable[[int], None]]:
    """Show a bar with a rate on a terminal, and nothing elsewhere.

    Args:
        total: Samples to be done.
        label: What is being done, before the bar.
        console: Where to; None is standard error.

    Yields:
        A function to call with the number of samples that are done since its last call.
    """
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield lambda count: None
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        _RateColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as bar:
        shown = bar.add_task(label, total=total)
        yield lambda count: bar.advance(shown, count)


class _RateColumn(ProgressColumn):
    """Samples per second over the last minute."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("– samples/s" if speed is None else f"{speed:.1f} samples/s")
