"""The data sets of the underwater species app, in the form users download them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from apps.underwater_species.data import loaded, parquet, shards
from apps.underwater_species.data.loaded import from_dataset
from apps.underwater_species.data.names import LICENCE, SPECIES
from core.classification.folders import class_names, read_class_folders, reader
from core.data.images import read_image
from core.data.index import Sample
from core.data.readers import Reader

__all__ = ["READERS", "SAMPLE_DATA", "SPECIES", "from_dataset", "picture"]

SAMPLE_DATA: Path = Path(__file__).resolve().parent.parent / "sample_data"

_SAMPLE = Reader(
    "sample",
    "the built-in sample: drawn animals under a synthetic degradation, not AQUA20",
    lambda path: path.resolve() == SAMPLE_DATA,
    lambda path: read_class_folders(path, format="sample"),
    "Apache-2.0 (sample_data/LICENSE.txt)",
)
_AQUA20 = Reader(
    "aqua20",
    "AQUA20 as folders: train/<class>/… and test/<class>/… of its 20 classes",
    lambda path: class_names(path) == SPECIES,
    lambda path: read_class_folders(path, format="aqua20", labels=SPECIES),
    LICENCE,
)

# The particular before the general: "auto" takes the first that recognises a path.
READERS: dict[str, Reader] = {
    one.name: one for one in (_SAMPLE, parquet.READER, _AQUA20, reader(known=SPECIES))
}


def picture(sample: Sample, channels: int) -> np.ndarray:
    """Return a sample's picture at its own size, wherever it is: uint8 (H, W, channels)."""
    if loaded.DATASET in sample.extra:
        return loaded.loaded_picture(sample, channels)
    if parquet.ROW not in sample.extra:
        return read_image(sample.inputs[0], channels)
    path, row = sample.inputs[0], sample.extra[parquet.ROW]
    content = shards.picture_bytes(path, row)
    return read_image(f"{path}, row {row}", channels, content=content)
