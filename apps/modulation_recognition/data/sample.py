"""The sample data: a small generated data set, made when it is first asked for."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from apps.modulation_recognition.signals.generator import VERSION
from apps.modulation_recognition.signals.parameters import Recipe
from apps.modulation_recognition.signals.shards import RECORD, write_generated
from core.data.generated import generated

RECIPE = Recipe(seed=2016)
SNRS = tuple(range(-10, 20, 4))  # labels; about twice as many decibels
FRAMES = 60  # of each class and label


@cache
def sample_data() -> Path:
    """Return the folder of the sample data: 5,280 simulated frames of 11 classes."""
    return generated(f"modrec-sample-{VERSION}", RECORD, _write)


def _write(folder: Path) -> dict[str, Any]:
    return write_generated(folder, RECIPE, FRAMES, snrs=SNRS)
