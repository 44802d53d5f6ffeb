"""Which samples of a data set are trained on, and which of those that are scored make the map.

Places recur: the same street is seen in several sequences, or later in one. So splits part places,
not sequences, wherever a data set has none of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from apps.bev_localization.data.samples import POSE, sequences
from apps.bev_localization.retrieval.recall import (
    KITTI_GAP,
    KITTI_SPLITS,
    NCLT_DATABASE,
    positions,
)
from core.data.index import Index, Sample
from core.errors import UserError, no_such, one_of

PROTOCOLS = ("auto", "across", "within")
# Formats whose sequences share a frame, so that a place of one is found in another.
ONE_WORLD = ("simulated-town", "nclt", "mulran", "helipr", "oxford-benchmark")
WITHOUT_HEADINGS = ("oxford-benchmark",)  # formats that tell positions only
WORLD, FRAME, FORMAT = "world", "frame", "format"  # keys of a sample's extra
_TRAINED, _VALIDATED = 0.6, 0.8  # shares of the first sequence that end train and val
_AGAIN = 7.0  # metres: a place that is seen so near an earlier one belongs with it
_APART = 1e7  # metres between worlds, whose places have nothing to do with each other
_GAP_SHARE = 0.1  # of a sequence, at most, between database and queries


@dataclass(frozen=True)
class Search:
    """Places that are looked up among others.

    Attributes:
        database, queries: int64, positions in the list of samples, in the order of time.
    """

    database: np.ndarray
    queries: np.ndarray


def with_places(index: Index) -> Index:
    """Return an index whose samples tell world and frame, with splits where it can have some.

    A data set's own splits are kept, and the last fifth of its training frames is held out to
    validate. One without any, and a simulated town, is parted by places: the first 60 % of the
    first sequence's way, and whatever of any sequence lies there, is trained on, the next 20 % is
    "val", the rest "test".
    """
    shared = index.format in ONE_WORLD
    told = {}
    for name, samples in sequences(index.samples).items():
        for frame, sample in enumerate(samples):
            extra = {WORLD: "" if shared else name, FRAME: frame, FORMAT: index.format}
            told[sample.id] = replace(sample, extra={**sample.extra, **extra})
    marked = replace(index, samples=tuple(told[sample.id] for sample in index.samples))
    counts = index.counts()
    if index.format == "simulated-town" or list(counts) == [""]:
        if any(POSE not in sample.extra for sample in index.samples):
            return marked
        note = (
            "Split by places: train the first 60 % of the first sequence's way and what other "
            "scans show of it, val the next 20 %, test the rest. --split all scores the data set "
            "as one map."
        )
        return replace(_by_places(marked), notes=(*index.notes, note))
    if "train" in counts and "val" not in counts:
        note = "Val: the last fifth of the training frames of each sequence."
        return replace(_last_fifth(marked), notes=(*index.notes, note))
    return marked


def _by_places(index: Index) -> Index:
    from scipy.spatial import cKDTree

    splits: dict[str, str] = {}
    worlds: dict[str, list[Sample]] = {}
    for sample in index.samples:
        worlds.setdefault(sample.extra[WORLD], []).append(sample)
    for members in worlds.values():
        first = [sample for sample in members if sample.group == members[0].group]
        tree = cKDTree(_places(first))
        near = tree.query_ball_point(_places(members), _AGAIN)
        nearest = tree.query(_places(members))[1]
        for sample, around, closest in zip(members, near, nearest, strict=True):
            share = min(around, default=closest) / len(first)
            splits[sample.id] = (
                "train" if share < _TRAINED else "val" if share < _VALIDATED else "test"
            )
    return replace(
        index, samples=tuple(replace(one, split=splits[one.id]) for one in index.samples)
    )


def _last_fifth(index: Index) -> Index:
    trained = [sample for sample in index.samples if sample.split == "train"]
    held_out: set[str] = set()
    for name in dict.fromkeys(sample.group for sample in trained):
        own = [sample for sample in trained if sample.group == name]
        held_out |= {sample.id for sample in own[len(own) - len(own) // 5 :]}
    samples = [replace(s, split="val") if s.id in held_out else s for s in index.samples]
    return replace(index, samples=tuple(samples))


def where(samples: Sequence[Sample]) -> np.ndarray:
    """Return the positions of samples in metres, (N, 3); other worlds lie far away.

    Raises:
        UserError: When a pose is not known.
    """
    for sample in samples:
        if POSE not in sample.extra:
            raise UserError(
                f"{sample.id}: its pose is not known; give its sequence a file of poses, or take "
                "it out."
            )
    found = _places(samples)
    worlds = {name: number for number, name in enumerate(dict.fromkeys(map(world_of, samples)))}
    found[:, 0] += np.array([worlds[world_of(sample)] for sample in samples]) * _APART
    return found


def world_of(sample: Sample) -> str:
    """Return what tells whose frame a sample's pose is in."""
    return sample.extra.get(WORLD, sample.group)


def _places(samples: Sequence[Sample]) -> np.ndarray:
    return positions(np.array([sample.extra[POSE] for sample in samples]))


def searches(samples: Sequence[Sample], decode: Mapping) -> tuple[list[Search], str, str]:
    """Return which samples are looked up among which.

    Args:
        samples: All that are scored.
        decode: A card's, with "protocol", one of `PROTOCOLS`, and "database", the name of a
            sequence; "" takes 2012-01-15 of NCLT, else the first.

    Returns:
        One or more searches, the protocol "across" or "within", and it in words.
    """
    protocol = decode.get("protocol", "auto")
    check_protocol(protocol)
    groups: dict[str, list[int]] = {}
    for position, sample in enumerate(samples):
        groups.setdefault(sample.group, []).append(position)
    order = {
        name: np.array(sorted(own, key=lambda i: samples[i].extra.get(FRAME, i)), np.int64)
        for name, own in groups.items()
    }
    if protocol == "auto":
        one_world = len({world_of(sample) for sample in samples}) == 1
        protocol = "across" if one_world and len(groups) > 1 else "within"
    if protocol == "across":
        return _across(order, decode.get("database", ""))
    found = [_within(name, own, samples) for name, own in order.items()]
    kept = [one for one in found if len(one.database) and len(one.queries)]
    words = "each sequence's later frames are looked up among its first"
    if not kept or not any(_seen_again(one, samples) for one in kept):
        kept = [Search(own[::2], own[1::2]) for own in order.values() if len(own) > 1]
        words = "no place is seen again later, so every second frame is looked up among the others"
    return kept, "within", words


def check_protocol(name: str) -> None:
    """Raise a `UserError` for a protocol that does not exist."""
    one_of(name, PROTOCOLS, "--set: protocol")


def _across(order: Mapping[str, np.ndarray], name: str) -> tuple[list[Search], str, str]:
    if name and name not in order:
        raise no_such("sequence", name, order, where="--set: database")
    if len(order) < 2:
        raise UserError(
            "The samples are of one sequence, but the protocol 'across' looks up one sequence in "
            "another; choose --split all, or --set protocol=within."
        )
    database = name or (NCLT_DATABASE if NCLT_DATABASE in order else next(iter(order)))
    found = [Search(order[database], own) for other, own in order.items() if other != database]
    return found, "across", f"the other sequences are looked up in '{database}'"


def _within(name: str, own: np.ndarray, samples: Sequence[Sample]) -> Search:
    frames = np.array([samples[i].extra.get(FRAME, i) for i in own])
    official = KITTI_SPLITS.get(name) if "kitti" in samples[own[0]].extra.get(FORMAT, "") else None
    if official is not None and frames[-1] > official + KITTI_GAP:
        return Search(own[frames < official], own[frames >= official + KITTI_GAP])
    middle = len(own) // 2
    gap = min(KITTI_GAP, int(len(own) * _GAP_SHARE))
    return Search(own[:middle], own[middle + gap :])


def _seen_again(search: Search, samples: Sequence[Sample], radius: float = 5.0) -> bool:
    from scipy.spatial import cKDTree

    database = where([samples[i] for i in search.database])
    queries = where([samples[i] for i in search.queries])
    return bool((cKDTree(database).query(queries)[0] < radius).any())
