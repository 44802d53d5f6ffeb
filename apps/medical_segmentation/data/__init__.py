"""The data sets of the medical segmentation app, in the form users download them."""

from __future__ import annotations

import os
from pathlib import Path

from apps.medical_segmentation.data import (
    dermoscopy,
    endoscopy,
    folder,
    microscopy,
    ultrasound,
    volumes,
    xray,
)
from core.data.index import Index
from core.data.readers import Reader, read_with

SAMPLE_DATA: Path = Path(__file__).resolve().parent.parent / "sample_data"

_SAMPLE = Reader(
    "sample",
    "the built-in sample: fluorescence nuclei, 16 tiles",
    lambda path: path.resolve() == SAMPLE_DATA,
    lambda path: endoscopy.read_polyp(path, "sample", "nucleus"),
    "BSD 3-Clause (sample_data/LICENSE.txt)",
)

# The particular before the general: "auto" takes the first that recognises a path.
READERS: dict[str, Reader] = {
    reader.name: reader
    for reader in (
        _SAMPLE,
        *volumes.READERS,
        *microscopy.READERS,
        *dermoscopy.READERS,
        *ultrasound.READERS,
        *xray.READERS,
        *endoscopy.READERS,
        *folder.READERS,
    )
}


def read(path: str | os.PathLike, format: str = "auto") -> Index:
    """Return the index of a data set; the path "sample" names the built-in sample data.

    Raises:
        UserError: As `core.data.readers.read_with`.
    """
    return read_with(READERS, SAMPLE_DATA if path == "sample" else Path(path), format)
