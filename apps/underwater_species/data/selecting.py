"""What chooses the best epoch: a part of train, or, as published, the test split itself."""

from __future__ import annotations

from dataclasses import replace

from core.data.index import Index, Sample
from core.data.splits import keep_or_split
from core.errors import UserError

PAPER = "paper"  # as in --format aqua20-paper
SEED = 42
# A fifth of train for validation; of data without splits, a fifth for the test first.
FRACTIONS = (0.64, 0.16, 0.2)
WARNING = (
    "Warning: the test split selects the model, as in the published code; scores on it are "
    "optimistic."
)


def with_validation(index: Index) -> Index:
    """Return the index with splits; where val is missing, a stratified fifth of train."""
    return keep_or_split(index, SEED, FRACTIONS)


def with_test_as_validation(index: Index) -> Index:
    """Return the index with its test split as validation split too, as the published code does.

    Raises:
        UserError: When there is nothing to test on, or a validation split already.
    """
    counts = index.counts()
    if not {"train", "test"} <= counts.keys():
        raise UserError(
            f"{index.root}: has no train and test splits of its own ({index.describe_splits()}); "
            f"leave '-{PAPER}' off the --format."
        )
    if "val" in counts:
        raise UserError(
            f"{index.root}: has a validation split of its own; leave '-{PAPER}' off the --format."
        )
    selecting = [_selecting(sample) for sample in index.samples if sample.split == "test"]
    samples = (*index.samples, *selecting)
    return replace(index, samples=samples, notes=(*index.notes, WARNING))


def is_copy(sample: Sample) -> bool:
    """Return whether a validation sample is one of the test split."""
    return sample.id.startswith(_MARK)


_MARK = "selecting/"


def _selecting(sample: Sample) -> Sample:
    return replace(sample, id=f"{_MARK}{sample.id}", split="val")
