"""What networks cost, for the commands that set several side by side."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.command_line.quiet import load_litert, load_tensorflow
from core.command_line.tables import say
from core.command_line.use import load_engine, owning_run
from core.errors import UserError

if TYPE_CHECKING:
    from core.data.index import Index
    from core.engines import Engine
    from core.run_folder import RunFolder
    from core.task import Scores, Task

Plot = Annotated[
    Path | None, typer.Option(metavar="FILE.png", help="Draw the comparison as a picture too.")
]


def claim_tables(csv: Path | None, plot: Path | None, *, overwrite: bool) -> None:
    """Raise a `UserError` when the table or its picture cannot be written where they shall be."""
    from core.files import claim_file

    if plot is not None and plot.suffix.lower() != ".png":
        raise UserError(f"{plot}: must end in .png; choose another --plot.")
    for path, option in ((csv, "--csv"), (plot, "--plot")):
        if path is not None:
            claim_file(path, overwrite=overwrite, option=option)


class Comparison:
    """Networks that are tested on the same samples.

    Args:
        task: The domain.
        sources: Run folders and exported files.
        data, format, split: What the command line says; None where it does not.

    Attributes:
        sources: As given.
        whole: The data.
        split, index: Which part of them all are tested on.

    Raises:
        UserError: When a source is named twice or is none, or there is no data to test all on.
    """

    def __init__(
        self,
        task: Task,
        sources: Sequence[Path],
        data: str | None,
        format: str | None,
        split: str | None,
    ):
        if len({source.resolve() for source in sources}) < len(sources):
            raise UserError("A run or file is named twice; name each once.")
        self.sources, self._task = sources, task
        self._runs = [owning_run(source, task) for source in sources]
        self.whole = shared_data(task, sources, self._runs, data, format)
        self.split = split or self.whole.held_out()
        self.index = self.whole.split(self.split)

    def engines(self) -> list[Engine]:
        """Return the engine of each source."""
        load_tensorflow()
        return [load_engine(self._task, source) for source in self.sources]

    def scores(self, engines: Sequence[Engine]) -> list[Scores]:
        """Return the scores of each engine, with all metrics."""
        from core.command_line.progress import track
        from core.evaluate import evaluate

        with track(len(engines) * len(self.index), "evaluating") as advance:
            return [evaluate(self._task, one, self.index, advance=advance) for one in engines]

    def rows(
        self, engines: Sequence[Engine], measured: Sequence[Mapping[str, Any]], calls: int
    ) -> list[dict[str, Any]]:
        """Return what each network is, what was measured of it, and what it costs.

        Args:
            engines: Of the sources.
            measured: What the domain tells of each one's scores.
            calls: Least number of calls that are timed.
        """
        from core.command_line.progress import track

        rows: list[dict[str, Any]] = []
        counted: dict[Path, int] = {}
        fingerprint = self.whole.fingerprint()
        everything = zip(self.sources, self._runs, engines, measured, strict=True)
        with track(len(engines), "measuring") as advance:
            for source, run, engine, scores in everything:
                row: dict[str, Any] = {"source": str(source), "network": engine.card.network,
                                       "variant": engine.card.variant}  # fmt: skip
                row |= {**scores, **cost(source, run, engine, calls)}
                known = None if run is None else run.record.get("data", {}).get("fingerprint")
                row["parameters"] = (
                    None if run is None else parameters_of(self._task, run, engine, counted)
                )
                rows.append({**row, "same_data": None if known is None else known == fingerprint})
                advance(1)
        return rows


def say_strangers(rows: Sequence[Mapping[str, Any]]) -> None:
    """Say which networks were not trained on the data they are compared on."""
    others = [row["source"] for row in rows if row["same_data"] is not True]
    if others:
        say(f"Not trained on these data, or not known to be: {', '.join(others)}.")


def shared_data(
    task: Task,
    sources: Sequence[Path],
    runs: Sequence[RunFolder | None],
    data: str | None,
    format: str | None,
) -> Index:
    """Return the data that all are tested on: what was named, or what all runs were trained on.

    Raises:
        UserError: When nobody names the data, or the runs were not trained on the same, so that the
            test samples of one may be training samples of another.
    """
    if data is not None:
        return task.read(data, format or "auto")
    known = [(s, r) for s, r in zip(sources, runs, strict=True) if r is not None and r.config.data]
    if not known:
        raise UserError("Nothing to compare on: pass --data PATH (or --data sample).")
    (first, run), *others = known
    found = run.record.get("data", {}).get("fingerprint")
    for source, other in others:
        if other.record.get("data", {}).get("fingerprint") != found:
            raise UserError(
                f"{source}: was trained on other data than {first} ({other.config.data}, "
                f"{run.config.data}); pass --data PATH, a test set that neither has seen."
            )
    whole = task.read(run.config.data, format or run.config.format)
    if whole.fingerprint() != found:
        raise UserError(
            f"{whole.root}: is not the data {first} was trained on (files were added, removed or "
            "changed), so its test samples may be others; restore it or pass --data PATH."
        )
    return whole


def cost(source: Path, run: RunFolder | None, engine: Engine, calls: int) -> dict[str, Any]:
    """Return precision, multiply-accumulates, bytes and latency of a network's file."""
    import tempfile

    from core.engines import KerasEngine
    from core.export.benchmark import benchmark
    from core.export.exporting import plain_file
    from core.files import write_atomic
    from core.tflite.inspect import mac_count

    load_litert()
    with tempfile.TemporaryDirectory() as folder:
        file = source
        if run is not None and isinstance(engine, KerasEngine):
            _, content = plain_file(run, engine.model, engine.card)
            file = write_atomic(Path(folder) / "network.tflite", content)
        (timing,) = benchmark(file, threads=(1,), calls=calls, memory=False)
        macs = mac_count(file)
    measured = dataclasses.asdict(timing)
    names = ("file_bytes", "median_ms", "p10_ms", "p90_ms")
    return {"precision": timing.precision, "macs": macs, **{n: measured[n] for n in names}}


def parameters_of(task: Task, run: RunFolder, engine: Engine, known: dict[Path, int]) -> int:
    """Return the trainable parameters of a run's deployable network.

    Args:
        task, run: Whose network it is.
        engine: Of the run, or of one of its files.
        known: What was counted before, by run; added to.
    """
    from core.engines import KerasEngine
    from core.export.deployable import deployable

    place = run.path.resolve()
    if place not in known:
        model = engine.model if isinstance(engine, KerasEngine) else deployable(task, run)[0]
        known[place] = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    return known[place]
