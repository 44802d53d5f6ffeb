"""The sample data: synthetic scenes, rendered when they are first asked for."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from apps.line_segments.scenes.simulation import RECORD, VERSION, simulate
from core.data.generated import generated

COUNTS = {"train": 160, "valid": 24, "test": 32}
SIZE, SEED = (256, 256), 10


@cache
def sample_data() -> Path:
    """Return the folder of the sample data, 216 scenes of 256x256 pixels."""
    return generated(f"lines-sample-{VERSION}", RECORD, _write)


def _write(folder: Path) -> dict[str, Any]:
    return simulate(folder, counts=COUNTS, size=SIZE, seed=SEED)
