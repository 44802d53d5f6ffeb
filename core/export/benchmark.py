"""How fast and how large: latency, memory and size of .tflite files, and fair comparisons.

Times are medians with the 10th and 90th percentile, because the mean of a busy machine says little.
Memory is measured in a fresh process that imports nothing but LiteRT and NumPy.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.errors import CheckFailed, UserError

if TYPE_CHECKING:
    from core.engines import Engine

OPEN_SIDE = 128  # of a file of open size that does not say what it is used at

# Runs in a fresh interpreter: path and threads as arguments, peak memory in bytes on stdout. The
# baseline is taken after the imports, so that what is left is the file, the graph, its arena and
# the parts of the runtime that running it touches. Linux hands the parent's ru_maxrss on to the
# child, so there the high-water mark of the process's own memory is reset and read instead.
_MEMORY_PROBE = """
import json, resource, sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter

def peak():
    try:
        with open("/proc/self/status") as status:
            return 1024 * next(int(s.split()[1]) for s in status if s.startswith("VmHWM"))
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

try:
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")
except OSError:
    pass
before = peak()
interpreter = Interpreter(model_path=sys.argv[1], num_threads=int(sys.argv[2]))
for detail in interpreter.get_input_details():
    if min(detail["shape_signature"], default=1) < 0:
        interpreter.resize_tensor_input(detail["index"], json.loads(sys.argv[3]))
interpreter.allocate_tensors()
for detail in interpreter.get_input_details():
    interpreter.set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
for _ in range(3):
    interpreter.invoke()
print(json.dumps(peak() - before))
"""


@dataclass(frozen=True)
class Timing:
    """The measurement of one way to run something.

    Attributes:
        name: File name, or the name given.
        threads: Threads the runtime was given; None where that does not apply.
        median_ms, p10_ms, p90_ms: Latency of one call in milliseconds.
        calls: Calls measured.
        memory_bytes: Peak memory of loading and running the file, beyond the imports; None when
            not measured.
        file_bytes: Size of the file; None for a callable.
        xnnpack: (operators XNNPACK took, operators); None for a callable.
        precision: "int8" when every multiplying operator runs in int8, else "float"; None for a
            callable.
    """

    name: str
    threads: int | None
    median_ms: float
    p10_ms: float
    p90_ms: float
    calls: int
    memory_bytes: int | None = None
    file_bytes: int | None = None
    xnnpack: tuple[int, int] | None = None
    precision: str | None = None


@dataclass(frozen=True)
class Comparison:
    """How one callable's time relates to the first one's.

    Attributes:
        timing: Its own times.
        ratio: Median over the rounds of (first one's time / its time): above 1 means faster.
        low, high: 10th and 90th percentile of that ratio.
    """

    timing: Timing
    ratio: float
    low: float
    high: float


def benchmark(
    path: str | os.PathLike,
    *,
    threads: Sequence[int | None] = (1, None),
    calls: int = 50,
    warmup: int = 10,
    min_seconds: float = 0.5,
    memory: bool = True,
) -> list[Timing]:
    """Measure a .tflite file in LiteRT on random input, once for each number of threads.

    Args:
        path: The file.
        threads: Numbers of threads; None is one for every core this process may use.
        calls: Least number of measured calls.
        warmup: Calls before the first measured one.
        min_seconds: Go on beyond `calls` until this much time was measured.
        memory: Whether to measure memory too (one more process for each number of threads).

    Returns:
        One `Timing` for each entry of `threads`; equal numbers of threads are measured once.

    Raises:
        UserError: When the file is missing or damaged, or an argument makes no sense.
        CheckFailed: When the runtime refuses the file.
    """
    from core.tflite.inspect import is_int8, xnnpack_share

    path = Path(path)
    counts = list(dict.fromkeys(_cores() if count is None else count for count in threads))
    if not counts or min(counts) < 1:
        raise UserError(f"Cannot measure with {list(threads)} threads; give numbers from 1.")
    share = xnnpack_share(path)
    precision = "int8" if is_int8(path) else "float"
    size = path.stat().st_size
    results = []
    for count in counts:
        seconds = _measure(_runner(path, count), calls, warmup, min_seconds)
        peak = peak_memory(path, threads=count) if memory else None
        results.append(
            _timing(
                path.name,
                seconds,
                threads=count,
                memory_bytes=peak,
                file_bytes=size,
                xnnpack=share,
                precision=precision,
            )
        )
    return results


def time_callable(
    function: Callable[[], object],
    *,
    name: str = "",
    calls: int = 50,
    warmup: int = 10,
    min_seconds: float = 0.5,
) -> Timing:
    """Measure a function of no arguments; it must return only when its work is done."""
    seconds = _measure(function, calls, warmup, min_seconds)
    return _timing(name or getattr(function, "__name__", "function"), seconds)


def time_network(engine: Engine, **choices) -> Timing:
    """Measure an engine on one random input of its card's size; `choices` of `time_callable`."""
    one = np.random.default_rng(0).standard_normal((1, *engine.card.input_shape), np.float32)
    return time_callable(lambda: engine(one), **choices)


def compare(
    functions: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 30,
    warmup: int = 5,
    calls: int = 1,
) -> dict[str, Comparison]:
    """Measure several functions in turns, so that a noisy machine disturbs all of them alike.

    Every round calls each function once, in an order that rotates, and compares the times within
    the round; the medians of these ratios are returned.

    Args:
        functions: Functions of no arguments by name; the first is what the others are compared to.
        rounds: Number of rounds.
        warmup: Calls of each function before the first round.
        calls: Calls of a function within a round (raise it for functions below 0.1 ms).

    Returns:
        A `Comparison` for each name; the first one's ratio is 1.
    """
    names = list(functions)
    if not names or rounds < 1 or calls < 1:
        raise ValueError("compare needs a function, rounds >= 1 and calls >= 1")
    for function in functions.values():
        for _ in range(warmup):
            function()
    seconds = {name: np.empty(rounds) for name in names}
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            function = functions[name]
            start = time.perf_counter()
            for _ in range(calls):
                function()
            seconds[name][turn] = (time.perf_counter() - start) / calls
    found = {}
    for name in names:
        low, ratio, high = np.percentile(seconds[names[0]] / seconds[name], (10, 50, 90))
        timing = _timing(name, seconds[name])
        found[name] = Comparison(timing, float(ratio), float(low), float(high))
    return found


def peak_memory(path: str | os.PathLike, *, threads: int = 1) -> int:
    """Return the peak memory in bytes of loading and running a .tflite file in a fresh process.

    Raises:
        UserError: When the file is missing or damaged.
        CheckFailed: When the runtime refuses the file.
    """
    from core.tflite.inspect import check_file, refusal

    check_file(path)
    shape = json.dumps(_shape_of(path))
    child = subprocess.run(
        [sys.executable, "-P", "-c", _MEMORY_PROBE, str(path), str(threads), shape],
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode:
        last = (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
        raise CheckFailed(refusal(path, RuntimeError(last)))
    return int(json.loads(child.stdout.splitlines()[-1]))


def _shape_of(path: str | os.PathLike) -> list[int]:
    """Return the input shape at which a file of open size is measured: its card's."""
    from ai_edge_litert.interpreter import Interpreter

    from core.model_card import ModelCard
    from core.tflite.metadata import extract

    try:
        return [1, *ModelCard.from_dict(extract(path).get("model_card", {})).input_shape]
    except UserError:  # another program's file, whose size is mostly fixed
        (first, *_) = Interpreter(model_path=str(path)).get_input_details()
        return [1, *(OPEN_SIDE if side < 0 else int(side) for side in first["shape_signature"][1:])]


def _runner(path: Path, threads: int) -> Callable[[], None]:
    """Return a function that runs the file once, with random input set."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    for detail in interpreter.get_input_details():
        if min(detail["shape_signature"], default=1) < 0:
            interpreter.resize_tensor_input(detail["index"], _shape_of(path))
    interpreter.allocate_tensors()
    generator = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        kind = np.dtype(detail["dtype"])
        if np.issubdtype(kind, np.floating):
            sample = generator.standard_normal(detail["shape"]).astype(kind)
        elif np.issubdtype(kind, np.integer) and kind.itemsize == 1:
            limits = np.iinfo(kind)
            sample = generator.integers(limits.min, limits.max + 1, detail["shape"], dtype=kind)
        else:  # indices and flags: 0 is always valid
            sample = np.zeros(detail["shape"], kind)
        interpreter.set_tensor(detail["index"], sample)
    return interpreter.invoke


def _measure(
    function: Callable[[], object], calls: int, warmup: int, min_seconds: float
) -> np.ndarray:
    """Return the seconds of each measured call."""
    if calls < 1:
        raise ValueError(f"`calls` must be at least 1. Received: calls={calls}")
    for _ in range(warmup):
        function()
    seconds: list[float] = []
    total = 0.0
    while len(seconds) < calls or total < min_seconds:
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
        total += seconds[-1]
    return np.asarray(seconds)


def _timing(name: str, seconds: np.ndarray, *, threads: int | None = None, **facts) -> Timing:
    low, median, high = (float(v) for v in np.percentile(seconds * 1e3, (10, 50, 90)))
    return Timing(name, threads, median, low, high, len(seconds), **facts)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
