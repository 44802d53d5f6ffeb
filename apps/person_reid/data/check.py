"""What is wrong with the files of a re-identification data set, a sentence each."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from apps.person_reid.data.splits import shown
from core.data.images import read_image
from core.data.index import Index, Sample
from core.errors import UserError, readable
from core.files import sha256

WIDTH_TO_HEIGHT = (0.2, 0.9)  # of a person cut out; Market-1501 has 0.5


def check(index: Index) -> list[str]:
    """Read every image of an index once and return what is wrong.

    Unreadable files are named one by one. Images that are no crops of a person, persons in
    training whom one camera saw, and images that are both in training and in validation or test
    (the same bytes under any name) are counted, and the first are named.
    """
    files = sorted({sample.inputs[0] for sample in index.samples})
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        found = dict(zip(files, pool.map(_examined, files), strict=True))
    problems = [outcome for outcome in found.values() if isinstance(outcome, str)]
    read = {path: outcome for path, outcome in found.items() if not isinstance(outcome, str)}
    low, high = WIDTH_TO_HEIGHT
    odd = [path for path, (shape, _) in read.items() if not low <= shape[1] / shape[0] <= high]
    if odd:
        sizes = (f"{_relative(index, one)} {read[one][0][1]}x{read[one][0][0]}" for one in odd)
        problems.append(
            f"{len(odd):,} of {len(read):,} images are not shaped like a standing person, width "
            f"to height {low} to {high} ({shown(sizes)}); cut the persons out."
        )
    problems += [*_one_camera(index.samples), *_in_both(index, read)]
    return list(map(readable, problems))


def _examined(path: Path) -> str | tuple[tuple[int, ...], str]:
    """Return shape and hash of an image, or what is wrong with it."""
    try:
        return read_image(path).shape, sha256(path)
    except UserError as error:
        return str(error)
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror}); make the file readable."


def _one_camera(samples: Iterable[Sample]) -> list[str]:
    cameras: dict[str, set[int]] = defaultdict(set)
    for sample in samples:
        if sample.split == "train":
            cameras[sample.group].add(sample.extra["camera"])
    lonely = [person for person, seen in cameras.items() if len(seen) == 1]
    if not lonely:
        return []
    return [
        f"{len(lonely):,} of {len(cameras):,} training persons were seen by one camera only "
        f"({shown(lonely)}); they do not teach how looks change between cameras."
    ]


def _in_both(index: Index, read: dict[Path, tuple]) -> list[str]:
    trained = {
        read[one.inputs[0]][1]: one.inputs[0]
        for one in index.samples
        if one.split == "train" and one.inputs[0] in read
    }
    problems = []
    for split in ("val", "test"):
        files = {one.inputs[0] for one in index.samples if one.split == split}
        twins = [
            f"{_relative(index, path)} = {_relative(index, trained[read[path][1]])}"
            for path in sorted(files & read.keys())
            if read[path][1] in trained
        ]
        if twins:
            problems.append(
                f"{len(twins):,} image(s) of {split} are in training too ({shown(twins)}): scores "
                "are optimistic; take them out of one of the two."
            )
    return problems


def _relative(index: Index, path: Path) -> Path:
    base = index.root if index.root.is_dir() else index.root.parent
    return path.relative_to(base) if path.is_relative_to(base) else path
