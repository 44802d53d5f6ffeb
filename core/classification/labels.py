"""What every classifier does with its classes: name them, match them to data, rank them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from core.classification.metrics import softmax
from core.data.index import Index, Sample
from core.errors import UserError, near_miss
from core.model_card import ModelCard


def class_name(card: ModelCard, number: int) -> str:
    """Return what a class is called; "class 3" where the card has no name for it."""
    return card.labels[number] if number < len(card.labels) else f"class {number}"


def matched_by_name(index: Index, card: ModelCard) -> Index:
    """Return samples numbered as the network numbers classes: by name, as data order theirs.

    Raises:
        UserError: When the network does not know one of the classes by its name.
    """
    names = index.labels
    if not names or not card.labels or names == card.labels:
        return index
    if len(names) == len(card.labels) and not set(names) & set(card.labels):
        return index  # all were given other names for the training (--labels)
    used = {sample.label for sample in index.samples if sample.label is not None}
    for label in sorted(used):
        if names[label] not in card.labels:
            raise UserError(
                f"{index.root}: has the class '{names[label]}', which the network does not "
                f"know.{near_miss(names[label], card.labels)} Evaluate on its own classes."
            )
    number = {label: card.labels.index(names[label]) for label in used}
    samples = tuple(
        s if s.label is None else dataclasses.replace(s, label=number[s.label])
        for s in index.samples
    )
    return dataclasses.replace(index, samples=samples, labels=card.labels)


def few_of_each(index: Index, most: int, kind: Callable[[Sample], Hashable]) -> Index:
    """Return the first samples of each kind in each split, so that none is without."""
    seen: Counter = Counter()
    kept = []
    for sample in index.samples:
        key = sample.split, kind(sample)
        seen[key] += 1
        if seen[key] <= most:
            kept.append(sample)
    return dataclasses.replace(index, samples=tuple(kept))


def told_class(logits: np.ndarray, card: ModelCard, most: int) -> dict[str, Any]:
    """Return "class", "probability", "classes" (the likeliest with theirs) and "logits".

    Args:
        logits: Of one sample, of any shape with K elements.
        card: Names the classes.
        most: Of the likeliest classes; of equal ones the lower number first.
    """
    logits = np.asarray(logits, np.float32).ravel()
    probabilities = softmax(logits[None])[0]
    order = np.argsort(-probabilities, kind="stable")[:most]
    likeliest = [
        {"class": class_name(card, n), "probability": float(probabilities[n])} for n in order
    ]
    return {**likeliest[0], "classes": likeliest, "logits": logits}


def checked_label(sample: Sample, classes: int) -> int:
    """Return a sample's class; a `UserError` when it has none, or one the network lacks."""
    if sample.label is None or not 0 <= sample.label < classes:
        which = "no class" if sample.label is None else f"class {sample.label}"
        raise UserError(
            f"{sample.id}: has {which}, but the network tells {classes} classes apart; evaluate "
            "on data with the classes it was trained on."
        )
    return sample.label
