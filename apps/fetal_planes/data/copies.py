"""Files that are byte-identical: found by their size first, so that few are read."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from core.data.index import Index, Sample
from core.files import sha256

FIXED = "test"  # the split that is never changed


def copies(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Return the groups of two samples and more whose files have the same bytes, in order.

    What is no file (a pipe, a link to nowhere) is like no other: whoever reads it says so.
    """
    by_size: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        if os.path.isfile(sample.inputs[0]):
            by_size[sample.inputs[0].stat().st_size].append(sample)
    alike = [sample for group in by_size.values() if len(group) > 1 for sample in group]
    by_content: dict[str, list[Sample]] = defaultdict(list)
    with ThreadPoolExecutor() as pool:  # hashing releases the interpreter's lock
        digests = pool.map(lambda sample: sha256(sample.inputs[0]), alike)
        for sample, content in zip(alike, digests, strict=True):
            by_content[content].append(sample)
    return [group for group in by_content.values() if len(group) > 1]


def without_copies(index: Index) -> Index:
    """Return the index without the copies that training or validation would see twice.

    Of files with the same bytes the first is kept; none, where the test split has the file too, or
    where they are said to show different classes. The test split stays as it is, so that scores
    are comparable.
    """
    dropped: set[str] = set()
    seen_in_test = contradicting = 0
    for group in copies(index.samples):
        free = [sample for sample in group if sample.split != FIXED]
        if len(free) < len(group):
            seen_in_test += len(free)
        elif len({sample.label for sample in group}) > 1:
            contradicting += len(free)
        else:
            free = free[1:]
        dropped |= {sample.id for sample in free}
    kept = tuple(sample for sample in index.samples if sample.id not in dropped)
    note = (
        f"Left out of training and validation: {len(dropped)} byte-identical file(s), "
        f"{seen_in_test} of them in the test split too, {contradicting} of them with two classes."
    )
    return replace(index, samples=kept, notes=(*index.notes, note))
