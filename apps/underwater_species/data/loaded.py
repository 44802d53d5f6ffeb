"""A data set that is already loaded, such as one of the `datasets` library, as an index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from apps.underwater_species.data.names import SPECIES
from core.classification.folders import refuse_untrained
from core.data.folders import SPLIT_FOLDERS, plain
from core.data.images import read_image
from core.data.index import Index, Sample, make_index
from core.data.pixels import as_picture
from core.errors import UserError, near_miss

DATASET, ROW = "dataset", "row"  # in `Sample.extra`


def from_dataset(dataset: Any, split: str = "") -> Index:
    """Return the index of a loaded data set, for `core.training.fit.train` and `evaluate`.

    Args:
        dataset: Anything with a length whose items are {"image": a PIL picture, an array as of
            `core.data.pixels.as_picture`, or encoded bytes in {"bytes": …}; "label": a number};
            or a mapping of such by split.
        split: Which split a single one is: "train", "val", "test", or "" to have it split.

    Class names are those of `dataset.features["label"].names`, where there are any, else AQUA20's.

    Raises:
        UserError: When a split is called otherwise, or a label has no name.
    """
    parts = dict(dataset) if isinstance(dataset, Mapping) else {split: dataset}
    samples: list[Sample] = []
    names = _names(next(iter(parts.values()), None))
    order = SPECIES if set(names) == set(SPECIES) else names
    for called, part in parts.items():
        known = SPLIT_FOLDERS.get(plain(called), called)
        if known not in (*SPLIT_FOLDERS.values(), ""):
            hint = near_miss(called, SPLIT_FOLDERS)
            raise UserError(f"Split '{called}' is none of train, val and test.{hint}")
        if _names(part) != names:
            raise UserError(f"Split '{called}' has other class names than the first; join them.")
        for row, label in enumerate(_labels(part)):
            if not 0 <= label < len(names):
                raise UserError(
                    f"Row {row} of split '{called}' has label {label}, but the classes are 0 to "
                    f"{len(names) - 1}; mend or take out the row."
                )
            name = names[label]
            samples.append(
                Sample(
                    f"{known or 'all'}/{name}/{row:05d}",
                    (),
                    label=order.index(name),
                    split=known,
                    extra={DATASET: part, ROW: row},
                )
            )
    root = Path("the loaded data set")
    refuse_untrained(root, samples, order)
    return make_index("dataset", root, samples, labels=order)


def loaded_picture(sample: Sample, channels: int) -> np.ndarray:
    """Return a sample's picture, uint8 (H, W, channels)."""
    found = sample.extra[DATASET][sample.extra[ROW]]["image"]
    if found is None:
        raise UserError(f"{sample.id}: holds no picture (null); take the row out.")
    if isinstance(found, Mapping):  # the library's, with decode=False
        return read_image(sample.id, channels, content=found.get("bytes") or b"")
    return as_picture(found, channels, name=sample.id)


def _names(dataset: Any) -> tuple[str, ...]:
    features = getattr(dataset, "features", None) or {}
    return tuple(getattr(features.get("label"), "names", None) or SPECIES)


def _labels(dataset: Any) -> Iterable[int]:
    """Return the label of each row, of the column where there is one: pictures stay encoded."""
    try:
        column = dataset["label"]
    except (TypeError, KeyError, IndexError, ValueError):
        column = (dataset[row]["label"] for row in range(len(dataset)))
    return [int(label) for label in column]
