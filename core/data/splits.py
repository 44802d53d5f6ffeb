"""Seeded splits that keep groups together, and an order in which classes are equally frequent."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from core.data.index import SPLITS, Index, Sample
from core.errors import UserError

FRACTIONS = (0.8, 0.1, 0.1)
_TOO_FEW = "Too few samples or groups to make the splits that are missing: left as it is."


def split_by_group(
    samples: Sequence[Sample], fractions: Sequence[float] = FRACTIONS, seed: int = 0
) -> tuple[Sample, ...]:
    """Return the samples, in their order, with a seeded `split`.

    Samples of a group stay together; a sample without group is its own. The order of the groups
    comes from a hash of seed and name, so the split depends neither on the order of the samples
    nor on a library's version, and a few new files move few old ones. Splits are roughly
    stratified by `label`, or else by `stratum`: stratum after stratum, largest group
    first, each group goes where most is missing of the samples handed out so far.

    Args:
        samples: The samples; their own `split` is overwritten.
        fractions: Shares of train, val and test, summing to 1.
        seed: Another seed, another split.

    Raises:
        UserError: When the fractions are not shares of 1, or there are fewer groups than splits.
    """
    if len(fractions) != len(SPLITS) or min(fractions) < 0 or not math.isclose(sum(fractions), 1):
        raise UserError(
            f"Split fractions {tuple(fractions)} are not three shares of 1 (train, val, test); "
            "pass for example 0.8 0.1 0.1."
        )
    groups: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[("group", sample.group) if sample.group else ("id", sample.id)].append(sample)
    wanted = [name for name, share in zip(SPLITS, fractions, strict=True) if share > 0]
    if len(groups) < len(wanted):
        raise UserError(
            f"The data has {len(groups)} group(s) of samples, too few for {len(wanted)} splits "
            f"({', '.join(wanted)}); add data or set a split fraction to 0."
        )

    def order(key: tuple[str, str]) -> tuple:
        digest = hashlib.sha256(repr((seed, *key)).encode()).digest()
        return _stratum(groups[key]), -len(groups[key]), digest

    chosen: dict[tuple[str, str], str] = {}
    taken = dict.fromkeys(SPLITS, 0)
    share = dict(zip(SPLITS, fractions, strict=True))
    due = 0
    ordered = sorted(groups, key=order)
    sizes: Counter[str] = Counter()
    for key in ordered:
        sizes[_stratum(groups[key])] += len(groups[key])
    stratum = None
    for key in ordered:
        if _stratum(groups[key]) != stratum:
            stratum = _stratum(groups[key])
            due += sizes[stratum]
        name = max(wanted, key=lambda split: share[split] * due - taken[split])
        chosen[key] = name
        taken[name] += len(groups[key])
    _fill_empty(chosen, wanted, groups)
    names = {sample.id: chosen[key] for key, members in groups.items() for sample in members}
    return tuple(replace(sample, split=names[sample.id]) for sample in samples)


def keep_or_split(index: Index, seed: int = 0, fractions: Sequence[float] = FRACTIONS) -> Index:
    """Return the index with the splits that training needs, and a note on where they come from.

    The data set's own splits are kept, and samples outside them stay outside. Of val and test,
    what is missing is taken from train by `split_by_group`, in the proportion of `fractions`. Data
    without any split, or with a train split alone, is split by `fractions`; data with only val or
    test (an evaluation set) is left as it is, and so is data of too few groups to be split: it can
    still be evaluated on.
    """
    counts = index.counts()
    own = [name for name in SPLITS if name in counts]
    shares = "{:g}:{:g}:{:g}".format(*(round(100 * share, 2) for share in fractions))
    if own in ([], ["train"]):
        if _too_few(index.samples, 3):
            return replace(index, notes=(*index.notes, _TOO_FEW))
        samples = split_by_group(index.samples, fractions, seed)
        note = f"No splits of its own: split {shares} with seed {seed}, groups kept together."
        return replace(index, samples=samples, notes=(*index.notes, note))
    notes = _leaks(index)
    if "train" not in own:
        return replace(index, notes=(*index.notes, *notes))
    samples = index.samples
    share = dict(zip(SPLITS, fractions, strict=True))
    missing = next((name for name in SPLITS if name not in own and share[name] > 0), None)
    if missing:
        total = share["train"] + share[missing]
        part = [share[name] / total if name in ("train", missing) else 0.0 for name in SPLITS]
        train = [sample for sample in samples if sample.split == "train"]
        if _too_few(train, 2):
            return replace(index, notes=(*index.notes, *notes, _TOO_FEW))
        carved = {sample.id: sample for sample in split_by_group(train, part, seed)}
        samples = tuple(carved.get(sample.id, sample) for sample in samples)
        number = sum(sample.split == missing for sample in carved.values())
        notes += (
            f"The data set has no {missing} split: {number} of its {len(train)} training samples "
            f"were taken for it with seed {seed}.",
        )
    else:
        notes += ("Splits are the data set's own.",)
    if counts.get(""):
        notes += (f"{counts['']} sample(s) belong to none of the splits and are not used.",)
    return replace(index, samples=samples, notes=(*index.notes, *notes))


def balanced_order(labels: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Return an epoch's sample indices in which every class occurs equally often.

    Smaller classes are repeated up to the size of the largest; every sample occurs at least once,
    and no sample of a class more than once more often than another.

    Args:
        labels: Class of each sample.
        rng: The source of all randomness.

    Returns:
        int64 (classes * largest,), shuffled.
    """
    values = np.asarray(labels)
    classes, counts = np.unique(values, return_counts=True)
    largest = counts.max(initial=0)
    picked = [np.zeros(0, np.int64)]
    for one in classes:
        members = np.flatnonzero(values == one)
        whole, rest = divmod(int(largest), len(members))
        picked += [np.tile(members, whole), rng.permutation(members)[:rest]]
    return rng.permutation(np.concatenate(picked))


def _stratum(members: Sequence[Sample]) -> str:
    """Return the commonest label of a group, as text so that any labels can be ordered."""

    def of(sample: Sample) -> Hashable:
        return sample.stratum if sample.label is None else sample.label

    found = Counter(str(of(sample)) for sample in members)
    return min(found, key=lambda name: (-found[name], name))


def _fill_empty(chosen: dict, wanted: Sequence[str], groups: Mapping) -> None:
    """Give every wanted split at least one group: the smallest of the split that has most."""
    for name in wanted:
        while name not in chosen.values():
            most = Counter(chosen.values()).most_common(1)[0][0]
            donors = [key for key in chosen if chosen[key] == most]
            chosen[min(donors, key=lambda key: (len(groups[key]), key))] = name


def _too_few(samples: Sequence[Sample], wanted: int) -> bool:
    return len({(bool(s.group), s.group or s.id) for s in samples}) < wanted


def _leaks(index: Index) -> tuple[str, ...]:
    splits = defaultdict(set)
    for sample in index.samples:
        if sample.group and sample.split:
            splits[sample.group].add(sample.split)
    shared = [group for group, names in splits.items() if len(names) > 1]
    if not shared:
        return ()
    return (
        f"{len(shared)} group(s), for example '{shared[0]}', lie in several of the data set's own "
        "splits: scores on them are optimistic.",
    )
