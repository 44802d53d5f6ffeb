"""How a data set is split and cleaned: its official split, or what a format's ending asks for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from apps.fetal_planes.data.copies import without_copies
from core.data.index import Index
from core.data.splits import keep_or_split, split_by_group

PAPER, DEDUP = "paper-like", "dedup"  # as in --format fetal-planes-dedup-paper-like
# A fifth of the training part for validation; where there are no splits, a fifth for the test.
FRACTIONS = (0.64, 0.16, 0.2)
SEED = 0


def parse(format: str, known: Collection[str]) -> tuple[str, frozenset[str]]:
    """Return a reader's name and the endings behind it; of no reader's, the format as it is."""
    name, endings = format, set()
    while name not in known and name != "auto":
        found = next((one for one in (PAPER, DEDUP) if name.endswith(f"-{one}")), None)
        if found is None or found in endings:
            return format, frozenset()
        endings.add(found)
        name = name.removesuffix(f"-{found}")
    return name, frozenset(endings)


def arranged(index: Index, endings: Collection[str] = ()) -> Index:
    """Return an index with the splits that training needs, grouped by patient, and cleaned.

    Args:
        index: As it was read.
        endings: Of `parse`: `PAPER` splits images at random, `DEDUP` drops copies.
    """
    split = paper_like(index) if PAPER in endings else keep_or_split(index, SEED, FRACTIONS)
    cleaned = without_copies(split) if DEDUP in endings else split
    ordered = (one for one in (DEDUP, PAPER) if one in endings)
    return replace(cleaned, format="-".join((index.format, *ordered)))


def paper_like(index: Index) -> Index:
    """Return the index with a random stratified split of its images, 80:20, patients ignored.

    So is the split described that arXiv:2410.17396 reports its scores on.
    """
    alone = [replace(sample, group="", split="") for sample in index.samples]
    split = {sample.id: sample.split for sample in split_by_group(alone, FRACTIONS, SEED)}
    samples = tuple(replace(sample, split=split[sample.id]) for sample in index.samples)
    sides: dict[str, set[bool]] = {}
    for sample in samples:
        sides.setdefault(sample.group, set()).add(sample.split == "test")
    both = sum(len(found) > 1 for found in sides.values())
    note = (
        f"Warning: a random split of the images, 80:20 with seed {SEED}; {both} of {len(sides)} "
        "patients lie on both sides, so scores are optimistic and cannot be compared with those "
        "of the official split."
    )
    return replace(index, samples=samples, notes=(*index.notes, note))
