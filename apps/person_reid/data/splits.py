"""From the crops that a reader found to an index: classes, validation persons, what to know.

A data set publishes training persons and, of other persons, queries and a gallery. Validation
during training needs queries and a gallery too, of persons that are in neither: the last of the
training persons are held out for it.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.data.folders import natural_key
from core.data.index import Index, Sample, make_index
from core.errors import UserError

ROLES = ("train", "query", "gallery")
HELD_OUT_OF = 10  # one training person in so many is held out for validation
LEAST = 2  # persons to tell apart, in training and in validation
SHOWN = 3  # names given as examples in a sentence


@dataclass(frozen=True)
class Choices:
    """What a user decides about how a data set is read.

    Attributes:
        combine_all: Also train on the persons of query and gallery, for tests on other data.
        trial: Which of the 20 splits of CUHK03's classic protocol, from 0.
    """

    combine_all: bool = False
    trial: int = 0


DEFAULTS = Choices()


def crop(
    id: str,
    path: Path,
    person: int,
    camera: int,
    role: str,
    *,
    group: str = "",
    split: str = "",
    **extra: Any,
) -> Sample:
    """Return the sample of one image.

    Args:
        id: Unique in the data set.
        path: The image file.
        person: The data set's own number; negative for junk.
        camera: From 0.
        role: One of `ROLES`.
        group: Names the person where numbers alone would not; "" takes the number.
        split: "" makes it "train" or "test" after the role.
        extra: Further entries of `Sample.extra`.
    """
    split = split or ("train" if role == "train" else "test")
    about = {"person": person, "camera": camera, "role": role, "dataset": 0, **extra}
    return Sample(id, (Path(path),), group=group or str(person), split=split, extra=about)


def with_role(sample: Sample, role: str, split: str) -> Sample:
    """Return the sample in another role and split."""
    return replace(sample, split=split, extra={**sample.extra, "role": role})


def arranged(
    name: str,
    root: Path,
    samples: Iterable[Sample],
    choices: Choices = DEFAULTS,
    *,
    notes: Sequence[str] = (),
    distractors: Collection[int] = (),
    published: bool = False,
) -> Index:
    """Return the index of a data set: junk left out, persons held out, classes numbered.

    Args:
        name: Of the reader.
        root: What was read.
        samples: As `crop` makes them. Where some have the split "val", nobody is held out.
        choices: The user's.
        notes: What the reader has to say.
        distractors: Numbers that stand for no person in query and gallery.
        published: Whether others train on this set, all of it.

    Raises:
        UserError: When there are queries without a gallery, or a gallery without queries.
    """
    samples, said = list(samples), list(notes)
    kept = [sample for sample in samples if sample.extra["person"] >= 0]
    if len(kept) < len(samples):
        said.append(f"{len(samples) - len(kept):,} junk image(s) with a negative id are left out.")
    if choices.combine_all:
        kept, more = _combined(kept, distractors)
        said += more
    for split in ("val", "test"):
        _refuse_half(root, kept, split)
    if not any(sample.split == "val" for sample in kept):
        kept, note = _with_validation(kept)
        said.append(note)
        if published and any(sample.split == "val" for sample in kept):
            said.append("Published results are of training on the held-out persons too.")
    said += _remarks(kept)
    return make_index(name, root, _labelled(kept), notes=said)


def query_ids(samples: Iterable[Sample]) -> set[str]:
    """Return the ids of the images to search with, where a data set does not say.

    Of each person whom two or more cameras saw, these are one image per camera. Where one of them
    would have no image of another camera to find, the person is searched for once, with an image
    of the first camera.
    """
    persons: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for sample in sorted(samples, key=lambda sample: natural_key(sample.id)):
        persons[sample.group][sample.extra["camera"]].append(sample.id)
    chosen = set()
    for cameras in persons.values():
        if len(cameras) < 2:
            continue
        left = {camera for camera, ids in cameras.items() if len(ids) > 1}
        every = all(left - {camera} for camera in cameras)
        chosen |= {cameras[camera][0] for camera in sorted(cameras)[: None if every else 1]}
    return chosen


def split_by_person(
    root: Path, samples: list[Sample], *, distractors: Collection[int] = ()
) -> tuple[list[Sample], list[str]]:
    """Return samples without roles with half of the persons in training, and a note.

    The order of the persons is that of a hash of their names: no random numbers, and numbers given
    in the order of time do not part the halves.

    Raises:
        UserError: When there is one person only, or two cameras saw none of those to be tested.
    """
    people = [one for one in samples if one.extra["person"] >= 0]
    people = [one for one in people if one.extra["person"] not in distractors]
    persons = {one.group for one in people}
    if len(persons) < 2:
        raise UserError(
            f"{root}: shows {len(persons)} person(s); telling persons apart takes two or more."
        )
    order = sorted(persons, key=lambda name: hashlib.sha256(name.encode()).digest())
    trained = set(order[: (len(order) + 1) // 2])
    queries = query_ids(one for one in people if one.group not in trained)
    if not queries:
        raise UserError(
            f"{root}: two cameras saw none of the {len(persons) - len(trained):,} person(s) that "
            "would be tested, and only images of another camera count as found; add such images."
        )
    placed = []
    for one in samples:
        if one.group in trained:
            placed.append(with_role(one, "train", "train"))
        else:
            role = "query" if one.id in queries else "gallery"
            placed.append(with_role(one, role, "test"))
    return placed, [
        f"Split by persons: {len(trained):,} of {len(persons):,} for training, the others for the "
        "test, with one query per person and camera."
    ]


def shown(names: Iterable[str], limit: int = SHOWN) -> str:
    """Return the first names for a sentence: "a, b, c, …"."""
    names = [str(name) for name in names]
    return ", ".join(names[:limit]) + (", …" if len(names) > limit else "")


def _combined(
    samples: list[Sample], distractors: Collection[int]
) -> tuple[list[Sample], list[str]]:
    """Return the samples with the tested persons in training, each image once."""
    kept, seen, joined = [], set(), set()
    for sample in samples:
        if sample.split == "test":
            if sample.extra["person"] in distractors or sample.inputs in seen:
                continue
            seen.add(sample.inputs)
            joined.add(sample.group)
            sample = with_role(sample, "train", "train")
        kept.append(sample)
    if not joined:
        return kept, []
    return kept, [
        f"The {len(joined):,} persons of query and gallery are trained on too: there is no test "
        "split, and a score on this data set's own test would mean nothing."
    ]


def _refuse_half(root: Path, samples: list[Sample], split: str) -> None:
    roles = {sample.extra["role"] for sample in samples if sample.split == split}
    for role, other in (("query", "gallery"), ("gallery", "query")):
        if role in roles and other not in roles:
            raise UserError(
                f"{root}: the {split} split has {role} images but no {other} image; a test needs "
                "both, add the other."
            )


def _with_validation(samples: list[Sample]) -> tuple[list[Sample], str]:
    """Hold out the last training persons that two or more cameras saw, and say so."""
    cameras: dict[tuple[int, str], set[int]] = defaultdict(set)
    for sample in samples:
        if sample.split == "train":
            cameras[_person(sample)].add(sample.extra["camera"])
    if not cameras:
        return samples, "There is nobody to train on: for evaluation only."
    known = [person for person in sorted(cameras) if len(cameras[person]) > 1]
    count = max(LEAST, (len(known) + HELD_OUT_OF // 2) // HELD_OUT_OF)
    if len(known) < count or len(cameras) - count < LEAST:
        return samples, (
            f"No persons are held out for validation, which training needs: of {len(cameras):,} "
            f"training person(s) {len(known):,} were seen by two or more cameras; it takes "
            f"{LEAST} such and {LEAST} more."
        )
    held = set(known[-count:])
    out = [sample for sample in samples if sample.split == "train" and _person(sample) in held]
    queries = query_ids(out)
    roles = {sample.id: "query" if sample.id in queries else "gallery" for sample in out}
    samples = [
        with_role(sample, roles[sample.id], "val") if sample.id in roles else sample
        for sample in samples
    ]
    return samples, (
        f"The last {count:,} of {len(known):,} training persons seen by two or more cameras are "
        f"held out for validation ({len(queries):,} queries, {len(out) - len(queries):,} gallery "
        "images)."
    )


def _labelled(samples: list[Sample]) -> list[Sample]:
    """Return the samples with training classes from 0, in the order of the persons."""
    persons = sorted({_person(sample) for sample in samples if sample.split == "train"})
    classes = {person: label for label, person in enumerate(persons)}
    return [
        replace(sample, label=classes[_person(sample)]) if sample.split == "train" else sample
        for sample in samples
    ]


def _person(sample: Sample) -> tuple[int, str]:
    return sample.extra["person"], sample.group


def _remarks(samples: list[Sample]) -> list[str]:
    """Return what a user has to know of the persons in training and test."""
    notes = []
    cameras = {sample.extra["camera"] for sample in samples}
    if len(cameras) == 1:
        notes.append(
            "All images come from one camera: images of the same camera do not count as matches, "
            "so nothing can be evaluated here."
        )
    trained = {sample.group for sample in samples if sample.split == "train"}
    tested = {sample.group for sample in samples if sample.split == "test"}
    shared = sorted(trained & tested, key=natural_key)
    if shared:
        notes.append(
            f"{len(shared):,} person(s) are both in training and in test ({shown(shared)}): scores "
            "on them are optimistic."
        )
    test = [sample for sample in samples if sample.split == "test"]
    if not test:
        return notes
    queries = [sample for sample in test if sample.extra["role"] == "query"]
    notes.append(
        f"Test: {len(queries):,} queries of {len({one.group for one in queries}):,} persons, "
        f"{len(test) - len(queries):,} gallery images, {len(cameras):,} cameras."
    )
    lonely = _without_match(queries, test)
    if lonely and len(cameras) > 1:
        notes.append(
            f"{len(lonely):,} test queries have no image by another camera in the gallery and are "
            f"not counted ({shown(lonely)})."
        )
    return notes


def _without_match(queries: list[Sample], samples: list[Sample]) -> list[str]:
    found: dict[int, set[int]] = defaultdict(set)
    for sample in samples:
        if sample.extra["role"] == "gallery":
            found[sample.extra["person"]].add(sample.extra["camera"])
    return [
        query.id for query in queries if not found[query.extra["person"]] - {query.extra["camera"]}
    ]
