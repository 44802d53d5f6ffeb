"""Several data sets as one, to train on what none of them has alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from core.data.index import Index, Sample, make_index


def merge(indexes: Sequence[Index]) -> Index:
    """Return one index of several data sets.

    Training classes and data sets are numbered on by their counts so far. So are persons and
    cameras, by their highest numbers so far, as those of query and gallery have gaps. Ids begin
    with the data set's format.

    Args:
        indexes: One or more, each read on its own.

    Raises:
        ValueError: When there is none.
    """
    if not indexes:
        raise ValueError(f"`indexes` must not be empty. Received: indexes={indexes}")
    if len(indexes) == 1:
        return indexes[0]
    formats = [index.format for index in indexes]
    names = [
        name if formats.count(name) == 1 else f"{name}-{number}"
        for number, name in enumerate(formats, 1)
    ]
    samples, notes = [], []
    shift = {"person": 0, "camera": 0, "dataset": 0}
    classes = 0
    for name, index in zip(names, indexes, strict=True):
        moved = [_moved(sample, name, shift, classes) for sample in index.samples]
        shift = {key: 1 + max(one.extra[key] for one in moved) for key in shift}
        classes = max((1 + one.label for one in moved if one.label is not None), default=classes)
        samples += moved
        notes += [f"{name}: {note}" for note in index.notes]
    notes.append(
        f"{len(indexes)} data sets are joined, {classes:,} persons to train on. In test and "
        "validation all galleries are one; for published protocols evaluate on one data set."
    )
    root = Path("+".join(str(index.root) for index in indexes))
    return make_index("+".join(formats), root, samples, notes=notes)


def _moved(sample: Sample, name: str, shift: dict[str, int], classes: int) -> Sample:
    extra = {key: value for key, value in sample.extra.items() if key != "protocol"}
    extra |= {key: sample.extra[key] + shift[key] for key in shift}
    return replace(
        sample,
        id=f"{name}/{sample.id}",
        label=None if sample.label is None else sample.label + classes,
        group=f"{name} {sample.group}",
        extra=extra,
    )
