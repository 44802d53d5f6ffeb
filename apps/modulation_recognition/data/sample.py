"""The sample data: a small generated data set, made when it is first asked for."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path

from apps.modulation_recognition.signals.generator import VERSION
from apps.modulation_recognition.signals.parameters import Recipe
from apps.modulation_recognition.signals.shards import RECORD, write_generated
from core.errors import UserError

RECIPE = Recipe(seed=2016)
SNRS = tuple(range(-10, 20, 4))  # labels; about twice as many decibels
FRAMES = 60  # of each class and label


@cache
def sample_data() -> Path:
    """Return the folder of the sample data: 5,280 simulated frames of 11 classes.

    They are kept in the user's cache (`XDG_CACHE_HOME`, else ~/.cache). Where that cannot be
    written, they are made anew by each process, the same bytes in a temporary folder.
    """
    place = _cache() / "gossamer" / f"modrec-sample-{VERSION}"
    if not (place / RECORD).is_file():
        try:
            write_generated(place, RECIPE, FRAMES, snrs=SNRS)
        except UserError:
            if (place / RECORD).is_file():  # another process was quicker
                return place
            place = Path(tempfile.mkdtemp(prefix="modrec-sample-"))
            write_generated(place, RECIPE, FRAMES, snrs=SNRS)
    return place


def _cache() -> Path:
    named = os.environ.get("XDG_CACHE_HOME", "")
    return Path(named) if os.path.isabs(named) else Path("~/.cache").expanduser()
