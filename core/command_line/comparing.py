"""What networks cost, for the commands that set several side by side."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.command_line.quiet import load_litert

if TYPE_CHECKING:
    from core.engines import Engine
    from core.run_folder import RunFolder
    from core.task import Task


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
    from core.export.exporting import deployable

    place = run.path.resolve()
    if place not in known:
        model = engine.model if isinstance(engine, KerasEngine) else deployable(task, run)[0]
        known[place] = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    return known[place]
