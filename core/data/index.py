"""An index of samples: what was found on the disk, before anything is decoded.

A reader turns a data set in the form users download it into an `Index`; everything after (splits,
decoding, augmentation, batches) is the same for all data sets and all apps.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from core.data.folders import natural_key
from core.errors import UserError, no_such, readable

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Sample:
    """One example of a data set.

    Attributes:
        id: Unique in its index, readable, usable as a file name once '/' is replaced.
        inputs: Files the network sees (one image; several for several modalities).
        targets: Files of the truth (masks, annotations); empty when there is none.
        label: Class index, where the truth is a class.
        group: Patient, sequence or device; samples of a group never part in a split.
        split: "train", "val", "test", or "" where the data set defines none.
        stratum: What else a split shall spread evenly, where there is no label.
        extra: What only the reader and its app understand.
    """

    id: str
    inputs: tuple[Path, ...]
    targets: tuple[Path, ...] = ()
    label: int | None = None
    group: str = ""
    split: str = ""
    stratum: str = ""
    extra: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def file_in(self, folder: Path, ending: str) -> Path:
        """Return the path of a result: "a/b.jpg" and "_mask.png" give FOLDER/a/b_mask.png.

        Only the suffix of the first input is dropped: what follows another dot belongs to the name.
        """
        name = PurePosixPath(self.id)
        suffix = (self.inputs[0] if self.inputs else name).suffix
        return Path(folder) / name.with_name(f"{name.name.removesuffix(suffix)}{ending}")


@dataclass(frozen=True)
class Index:
    """The samples of a data set.

    Attributes:
        format: Name of the reader.
        root: Folder or file that was read.
        samples: In a stable order (sorted by id).
        labels: Class names, if the data set has classes.
        notes: Sentences about what was decided while reading (skipped files, merged masks, where
            the split comes from, licence), shown by the `data` command.
    """

    format: str
    root: Path
    samples: tuple[Sample, ...]
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        # They name what was found, and go to terminals and reports.
        object.__setattr__(self, "notes", tuple(map(readable, self.notes)))

    def __len__(self) -> int:
        return len(self.samples)

    def split(self, name: str) -> Index:
        """Return the samples of one split; "all" returns every sample."""
        if name == "all":
            return self
        if name not in SPLITS:
            raise no_such("split", name, [*SPLITS, "all"])
        chosen = tuple(sample for sample in self.samples if sample.split == name)
        if not chosen:
            raise UserError(
                f"{self.root}: has no samples in its '{name}' split "
                f"({self.describe_splits()}); choose another --split."
            )
        return replace(self, samples=chosen)

    def held_out(self) -> str:
        """Return the split to evaluate on: "test", or "val" where the data has no test samples."""
        counts = self.counts()
        return "val" if "val" in counts and "test" not in counts else "test"

    def counts(self) -> dict[str, int]:
        """Return the number of samples by split."""
        found = Counter(sample.split for sample in self.samples)
        return {name: found[name] for name in (*SPLITS, "") if found[name]}

    def describe_splits(self) -> str:
        """Return the counts in words: "train 8, val 4"."""
        return ", ".join(f"{name or 'unsplit'} {n}" for name, n in self.counts().items())

    def fingerprint(self) -> str:
        """Return a hash of ids, splits, labels and file sizes: the same data set, the same value.

        Contents are not read, so it is quick on any size; it tells a changed folder, not a
        repainted picture.
        """
        digest = hashlib.sha256()
        for s in self.samples:
            sizes = [_size(path) for path in (*s.inputs, *s.targets)]
            digest.update(repr((s.id, s.split, s.label, s.group, sizes)).encode())
        return digest.hexdigest()[:16]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:  # a listed file that is gone, or a link to one
        if isinstance(error, FileNotFoundError):
            raise UserError(f"{path}: no such file; take its entry out or put it back.") from error
        reason = (error.strerror or "input/output error").lower()
        raise UserError(f"{path}: cannot be read ({reason}); take it out or replace it.") from error


def make_index(
    format: str,
    root: Path,
    samples: Sequence[Sample],
    *,
    labels: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Index:
    """Return a checked index: not empty, ids unique, sorted by id.

    Raises:
        UserError: When there is no sample or an id occurs twice.
    """
    if not samples:
        raise UserError(f"{root}: no samples found for format '{format}'; check the path.")
    twice = [name for name, n in Counter(sample.id for sample in samples).items() if n > 1]
    if twice:
        raise UserError(f"{root}: sample '{twice[0]}' occurs more than once; rename one of them.")
    ordered = tuple(sorted(samples, key=lambda sample: natural_key(sample.id)))
    return Index(format, Path(root), ordered, tuple(labels), tuple(notes))


def first_samples(index: Index, count: int) -> Index:
    """Return the index with the first `count` samples of each split."""
    seen: Counter = Counter()
    kept = []
    for sample in index.samples:
        seen[sample.split] += 1
        if seen[sample.split] <= count:
            kept.append(sample)
    return replace(index, samples=tuple(kept))


def spread(index: Index, count: int | None) -> Index:
    """Return at most `count` samples, evenly spaced over the index."""
    if count is None or len(index) <= count:
        return index
    picks = [round(i * (len(index) - 1) / max(count - 1, 1)) for i in range(count)]
    return replace(index, samples=tuple(index.samples[i] for i in picks))
