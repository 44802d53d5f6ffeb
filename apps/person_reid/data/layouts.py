"""Data sets in the layout of Market-1501: training, query and gallery folders of named crops.

A name starts with person and camera: `0002_c1s1_000451_03.jpg` is person 2 by camera 1.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from apps.person_reid.data.splits import (
    DEFAULTS,
    SHOWN,
    Choices,
    arranged,
    crop,
    shown,
    split_by_person,
)
from core.data.folders import first_names, folders, subfolder
from core.data.images import SUFFIXES, find_images
from core.data.index import Index, Sample
from core.data.readers import Reader
from core.documents import read_json
from core.errors import UserError

NAME = re.compile(r"(-?\d+)_c(\d+)")
MARKET = re.compile(r"-?\d+_c\ds\d+_\d+_\d+")
DUKE = re.compile(r"\d+_c\d_f\d+")
FOLDERS = {
    "train": ("bounding_box_train", "train"),
    "query": ("query",),
    "gallery": ("bounding_box_test", "gallery"),
}
DISTRACTORS = "images"  # folder of the 500,000 distractors of Market-1501
BACKGROUND = 0  # the id of what shows no person of the data set
RESEARCH = "research use only"
WITHDRAWN = "withdrawn by its university in 2019, to be passed on no more"
# Images of the published sets, junk left out.
PUBLISHED = {
    "market1501": {"train": 12_936, "query": 3_368, "gallery": 15_913},
    "dukemtmc": {"train": 16_522, "query": 2_228, "gallery": 17_661},
}
_PEEKED = 50  # names looked at to recognise a layout


def parse_name(name: str) -> tuple[int, int] | None:
    """Return person and camera as a file name gives them, or None when it does not."""
    found = NAME.match(name)
    return (int(found[1]), int(found[2])) if found else None


def parts(path: Path) -> dict[str, Path]:
    """Return the folders of training, query and gallery images in a folder, by role."""
    found = {role: subfolder(path, *names) for role, names in FOLDERS.items()}
    return {role: folder for role, folder in found.items() if folder}


def locate(path: Path, fits: Callable[[Path], bool]) -> Path | None:
    """Return the folder that fits a layout: the parent of a part, `path`, or the child that fits.

    Raises:
        UserError: When several children fit.
    """
    if not path.is_dir():
        return None
    parent = path.absolute().parent
    is_part = path.absolute() in {folder.absolute() for folder in parts(parent).values()}
    if is_part and fits(parent):
        return parent
    if fits(path):
        return path
    children = [folder for folder in folders(path) if fits(folder)]
    if len(children) > 1:
        names = shown(folder.name for folder in children)
        raise UserError(f"{path}: holds several data sets ({names}); pass one of them.")
    return children[0] if children else None


def recognises(fits: Callable[[Path], bool]) -> Callable[[Path], bool]:
    """Return what tells whether a path leads to a folder that fits, for `Reader.recognises`."""

    def answer(path: Path) -> bool:
        if not path.is_dir():
            return False
        if not fits(path):
            sets = [folder.name for folder in folders(path) if len(parts(folder)) > 1]
            if len(sets) > 1:  # of several kinds perhaps: none is the one that is meant
                raise UserError(
                    f"{path}: holds several data sets ({shown(sets)}); pass one of them."
                )
        return locate(path, fits) is not None

    return answer


def is_named(pattern: re.Pattern) -> Callable[[Path], bool]:
    """Return what tells whether a folder has the layout, with names of a pattern."""
    return lambda path: any(_peek(folder, pattern) for folder in parts(path).values())


def read_parts(
    name: str,
    root: Path,
    choices: Choices = DEFAULTS,
    *,
    more: Sequence[Sample] = (),
    notes: Sequence[str] = (),
    published: bool = True,
) -> Index:
    """Return the index of training, query and gallery folders.

    Args:
        name: Of the reader.
        root: The folder.
        choices: The user's.
        more: Samples from elsewhere.
        notes: What the reader has to say.
        published: Whether it is a published set. Such have queries and a gallery; others may do
            without both.

    Raises:
        UserError: When query or gallery is missing or empty, or names do not follow the pattern.
    """
    images, notes = parts(root), list(notes)
    for role in ("query", "gallery"):
        if role not in images and (published or set(images) & {"query", "gallery"}):
            raise UserError(
                f"{root}: lacks the {role} folder '{FOLDERS[role][0]}' (found "
                f"{shown(folder.name for folder in folders(root)) or 'no folder'}); add it, or "
                "check the path."
            )
    samples = crops(images)
    background = sum(one.extra["person"] == BACKGROUND and one.split == "train" for one in samples)
    if background:
        notes.append(
            f"{background:,} training image(s) have the id 0, which means background in "
            "Market-1501; they are taken for one person."
        )
    samples += more
    for role, count in PUBLISHED.get(name, {}).items():
        found = sum(one.extra["role"] == role and one.extra["person"] >= 0 for one in samples)
        if found != count and not (more and role == "gallery"):
            notes.append(f"{found:,} {role} images are here; the published set has {count:,}.")
    return arranged(
        name,
        root,
        samples,
        choices,
        notes=notes,
        distractors={BACKGROUND},
        published=published,
    )


def crops(images: Mapping[str, Path]) -> list[Sample]:
    """Return the samples of folders by role; cameras count from 0 whatever the names do.

    Raises:
        UserError: When a folder is empty or names do not follow the pattern.
    """
    found = {role: named_images(folder) for role, folder in images.items()}
    first = 0 if any(one[2] == 0 for part in found.values() for one in part) else 1
    samples = []
    for role, part in found.items():
        start = len(str(images[role])) + 1
        for path, person, camera in part:
            name = os.path.splitext(str(path)[start:])[0].replace(os.sep, "/")
            samples.append(
                crop(f"{role}/{name}" if role else name, path, person, camera - first, role)
            )
    return samples


def named_images(folder: Path) -> list[tuple[Path, int, int]]:
    """Return the images of a folder with person and camera as named.

    Raises:
        UserError: When there is no image or a name does not follow the pattern.
    """
    found, wrong = [], []
    for path in find_images(folder, recursive=True):
        seen = parse_name(path.name)
        if seen:
            found.append((path, *seen))
        else:
            wrong.append(path.name)
    if wrong:
        raise UserError(
            f"{folder}: {len(wrong):,} of {len(wrong) + len(found):,} image names do not begin "
            f"with person and camera ({shown(wrong)}); expected <person>_c<camera>… as in "
            "0002_c1s1_000451_03.jpg: rename them, remove them or write a table (--format csv)."
        )
    return found


def market1501(path: Path, choices: Choices = DEFAULTS, *, distractors: bool = False) -> Index:
    """Return Market-1501 (Zheng et al., ICCV 2015).

    Args:
        path: The folder, or the one around it.
        choices: The user's.
        distractors: Whether the 500,000 distractors in `images/` join the gallery.
    """
    root = _located(path, _is_laid_out)
    extra = subfolder(root, DISTRACTORS)
    if not distractors:
        notes = ["images/ is not read; --format market1501-500k adds it to the gallery."]
        return read_parts("market1501", root, choices, notes=notes if extra else [])
    if extra is None:
        raise UserError(
            f"{root}: lacks the folder '{DISTRACTORS}' of distractors; unpack distractors_500k.zip "
            "there or choose --format market1501."
        )
    more = []
    for image in find_images(extra):
        person, camera = parse_name(image.name) or (BACKGROUND, 1)
        id = f"gallery/{DISTRACTORS}/{image.stem}"
        more.append(crop(id, image, person, max(0, camera - 1), "gallery"))
    notes = [f"{len(more):,} distractors of images/ are in the gallery."]
    return read_parts("market1501", root, choices, more=more, notes=notes)


def dukemtmc(path: Path, choices: Choices = DEFAULTS) -> Index:
    """Return DukeMTMC-reID (Ristani et al., 2016), for those who still have it."""
    return read_parts("dukemtmc", _located(path, _is_laid_out), choices)


def simulated(path: Path, choices: Choices = DEFAULTS, *, name: str = "simulated") -> Index:
    """Return what `apps.person_reid.simulation` wrote."""
    notes = ["Synthetic pedestrians: scores on them say nothing of scores on real people."]
    root = _located(path, _is_simulated)
    return read_parts(name, root, choices, notes=notes, published=False)


def folder(path: Path, choices: Choices = DEFAULTS) -> Index:
    """Return one's own data in the layout of Market-1501, or a single folder of such names.

    A single folder is split by persons: half of them train, the others are tested with one query
    per person and camera. Who trains follows from the names alone.
    """
    root = _located(path, _is_own)
    if _is_laid_out(root) or is_named(NAME)(root):
        return read_parts("folder", root, choices, published=False)
    samples = crops({"": root})
    notes = []
    background = sum(one.extra["person"] == BACKGROUND for one in samples)
    if background:
        notes.append(
            f"{background:,} image(s) of id 0 are background, found by no query, as in Market-1501;"
            " give a person another number."
        )
    samples, more = split_by_person(root, samples, distractors={BACKGROUND})
    return arranged(
        "folder", root, samples, choices, notes=[*notes, *more], distractors={BACKGROUND}
    )


def _located(path: Path, fits: Callable[[Path], bool]) -> Path:
    root = locate(path, fits)
    if root is None:
        seen = shown(one.name for one in folders(path)) or "no folder"
        raise UserError(
            f"{path}: expected bounding_box_train/, query/ and bounding_box_test/ with images "
            f"named <person>_c<camera>… as in 0002_c1s1_000451_03.jpg (found {seen}); check the "
            "path or the --format."
        )
    return root


def _peek(path: Path, pattern: re.Pattern) -> bool:
    """Return whether the first images in a folder, or in its first folders, follow a pattern."""
    places = (path, *folders(path)[:SHOWN])
    return any(
        pattern.match(name) for place in places for name in first_names(place, SUFFIXES, _PEEKED)
    )


def _is_simulated(path: Path) -> bool:
    from apps.person_reid.simulation import RECORD, WHAT

    try:
        about = read_json(path / RECORD)
    except (OSError, ValueError):
        return False
    return isinstance(about, dict) and about.get("what") == WHAT


def _is_laid_out(path: Path) -> bool:
    return len(parts(path)) > 1


def _is_own(path: Path) -> bool:
    return _is_laid_out(path) or is_named(NAME)(path) or _peek(path, NAME)


READERS = (
    Reader(
        "simulated",
        "drawn pedestrians, as `simulate` writes them",
        recognises(_is_simulated),
        simulated,
        "Apache-2.0, as the suite",
    ),
    Reader(
        "dukemtmc",
        "DukeMTMC-reID, where you have it: names such as 0001_c2_f0046182.jpg",
        recognises(is_named(DUKE)),
        dukemtmc,
        WITHDRAWN,
    ),
    Reader(
        "market1501",
        "Market-1501: bounding_box_train, query, bounding_box_test",
        recognises(is_named(MARKET)),
        market1501,
        RESEARCH,
    ),
    Reader(
        "market1501-500k",
        "Market-1501 with the 500,000 distractors of images/ in its gallery",
        lambda path: False,
        lambda path, choices=DEFAULTS: market1501(path, choices, distractors=True),
        RESEARCH,
    ),
)
OWN = Reader(
    "folder",
    "your own: train/, query/, gallery/ or one folder, names such as 0002_c1_000451.jpg",
    recognises(_is_own),
    folder,
)
