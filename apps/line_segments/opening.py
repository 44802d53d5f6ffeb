"""From what a user names to a detector: classical ones, runs and .tflite files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.command_line.use import change_decoding, load_engine, owning_run
from core.errors import UserError

if TYPE_CHECKING:
    from apps.line_segments.detectors import Detector
    from core.task import Task

CLASSICAL = ("lsd", "opencv")
DETECTOR = f"RUN|FILE.tflite|{'|'.join(CLASSICAL)}"


_BLANK = (64, 64, 3)  # pixels of the picture that a detector gets ready on


def open_detector(task: Task, name: str, changes: Mapping[str, Any]) -> Detector:
    """Return a detector by its name, or of a run or file, ready: what is compiled, is.

    Args:
        task: The app.
        name: As a user gave it.
        changes: Of a network's decoding; classical detectors have none.

    Raises:
        UserError: When it is neither.
    """
    import numpy as np

    finds = _opened(task, name, changes)
    finds(np.zeros(_BLANK, np.uint8))
    return finds


def _opened(task: Task, name: str, changes: Mapping[str, Any]) -> Detector:
    from apps.line_segments.detectors import ClassicalDetector, NetworkDetector

    if name in CLASSICAL:
        return ClassicalDetector(name)
    source = Path(name)
    if not source.exists():
        raise UserError(
            f"{name}: is no run folder, no .tflite file, and none of {', '.join(CLASSICAL)}; check "
            "the name."
        )
    owning_run(source, task)
    engine = load_engine(task, source)
    change_decoding(task, engine, dict(changes))
    return NetworkDetector(engine, name)


def is_predictions(name: str) -> bool:
    """Return whether a path holds what another program found: no run, and no .tflite file."""
    path = Path(name)
    if name in CLASSICAL or not path.exists() or path.suffix == ".tflite":
        return False
    return not (path / "config.yaml").is_file()
