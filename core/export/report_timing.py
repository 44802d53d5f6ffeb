"""Times on a report: of the network and of its files, and the machine they were taken on."""

from __future__ import annotations

import dataclasses
import os
import platform
from pathlib import Path

from core.engines import KerasEngine
from core.export import benchmark

CALLS, WARMUP, SECONDS = 20, 3, 0.3  # of a timing: the page should not take longer than a coffee


def machine() -> str:
    """Return the processor in words: its name and the cores this process may use."""
    name = ""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            name = next(s.split(":", 1)[1].strip() for s in lines if s.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return f"{name}, {cores} core{'s' if cores > 1 else ''}"


def time_keras(keras: KerasEngine) -> list[dict]:
    """Return the timing of a Keras network, as one mapping."""
    timing = benchmark.time_network(
        keras, name="keras", calls=CALLS, warmup=WARMUP, min_seconds=SECONDS
    )
    return [dataclasses.asdict(timing)]


def time_file(path: Path) -> list[dict]:
    """Return the timings of a .tflite file as mappings, one for each number of threads."""
    timings = benchmark.benchmark(path, calls=CALLS, warmup=WARMUP, min_seconds=SECONDS)
    return [dataclasses.asdict(timing) for timing in timings]
