"""The data sets of person re-identification: published layouts, one's own crops, the sample."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from apps.person_reid.data import cuhk03, layouts, msmt17, tables
from apps.person_reid.data.check import check
from apps.person_reid.data.merging import merge
from apps.person_reid.data.splits import DEFAULTS, Choices
from core.data.index import Index
from core.data.readers import Reader, read_with

__all__ = ["READERS", "SAMPLE_DATA", "Choices", "check", "merge", "read"]

SAMPLE_DATA: Path = Path(__file__).resolve().parent.parent / "sample_data"

_SAMPLE = Reader(
    "sample",
    "the built-in sample: drawn pedestrians, not photographs",
    lambda path: path.resolve() == SAMPLE_DATA,
    lambda path, choices=DEFAULTS: layouts.simulated(path, choices, name="sample"),
    "Apache-2.0 (sample_data/LICENSE.txt)",
)

# The particular before the general: "auto" takes the first that recognises a path.
READERS: dict[str, Reader] = {
    reader.name: reader
    for reader in (
        _SAMPLE,
        *msmt17.READERS,
        *cuhk03.READERS,
        *layouts.READERS,
        *tables.READERS,
        layouts.OWN,
    )
}


def read(path: str | os.PathLike, format: str = "auto", choices: Choices = DEFAULTS) -> Index:
    """Return the index of a data set, or of several as one.

    Args:
        path: Folder or file; "sample" names the built-in sample data, "a+b" two data sets.
        format: A reader's name or "auto", for each of them.
        choices: What the user decides.

    Raises:
        UserError: As `core.data.readers.read_with`.
    """
    readers = {
        name: replace(reader, read=partial(reader.read, choices=choices))
        for name, reader in READERS.items()
    }
    return merge([read_with(readers, one, format) for one in _paths(str(path))])


def _paths(path: str) -> Sequence[Path]:
    names = [path] if Path(path).exists() else path.split("+")
    return [SAMPLE_DATA if name == "sample" else Path(name) for name in names]
