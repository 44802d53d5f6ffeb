"""The one way samples go through an engine and become results and scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np

from core.data.index import Index, Sample
from core.engines import Engine
from core.task import Scores, Task


def run(
    task: Task,
    engine: Engine,
    samples: Sequence[Sample],
    *,
    batch: int = 4,
    workers: int = 2,
    advance: Callable[[int], None] | None = None,
) -> Iterator[tuple[Sample, Any]]:
    """Yield (sample, decoded result) in order, decoding files ahead of the engine.

    Args:
        task: The domain.
        engine: Keras or LiteRT.
        samples: What to run on.
        batch: Samples per engine call, fewer where they are large (`Task.samples_at_once`); at
            most two batches are held in memory.
        workers: Threads that decode.
        advance: Called with the number of samples done, for a progress bar.
    """
    card = engine.card

    def inputs(sample: Sample) -> np.ndarray:
        return task.prepare(sample, card)[0]

    batch = task.samples_at_once(samples, batch)
    rest = iter(samples)
    with ThreadPoolExecutor(workers) as pool:
        ahead = _submit(pool, inputs, rest, batch)
        while ahead:
            current, ahead = ahead, _submit(pool, inputs, rest, batch)
            outputs = task.infer(engine, [future.result() for _, future in current])
            for (sample, _), found in zip(current, outputs, strict=True):
                yield sample, task.decode(found, sample, card)
            if advance is not None:
                advance(len(current))


def evaluate(
    task: Task,
    engine: Engine,
    index: Index,
    *,
    batch: int = 4,
    quick: bool = False,
    advance: Callable[[int], None] | None = None,
) -> Scores:
    """Return the task's scores of an engine on every sample of an index."""
    return scored(task, engine, index, batch=batch, quick=quick, advance=advance)[0]


def scored(
    task: Task,
    engine: Engine,
    index: Index,
    *,
    batch: int = 4,
    quick: bool = False,
    advance: Callable[[int], None] | None = None,
) -> tuple[Scores, list[tuple[Sample, Any]]]:
    """Return the scores of `evaluate`, and the results themselves if the task compares them.

    Of other tasks, whose results may be large pictures, none is kept.
    """
    samples = task.matched(index, engine.card).samples
    results = run(task, engine, samples, batch=batch, advance=advance)
    kept = list(results) if task.compares_results else []
    return task.score(iter(kept) if kept else results, engine.card, quick=quick), kept


def _submit(pool, function, samples: Iterator[Sample], count: int) -> list:
    return [(sample, pool.submit(function, sample)) for sample in islice(samples, count)]
