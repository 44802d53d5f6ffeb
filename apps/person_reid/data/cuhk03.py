"""CUHK03 (Li et al., CVPR 2014): its MATLAB files, or extracted in the layout of Market-1501."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.person_reid.data.cuhk03_mat import TRIALS, classic_trials, extract, read_protocol
from apps.person_reid.data.layouts import RESEARCH, parts, read_parts
from apps.person_reid.data.splits import DEFAULTS, Choices, arranged, crop, shown
from core.data.folders import folders, plain, subfolder
from core.data.images import find_images
from core.data.index import Index, Sample
from core.data.readers import Reader
from core.errors import UserError

MAT, RELEASE = "cuhk-03.mat", "cuhk03_release"
KINDS = ("detected", "labeled")
NAME = re.compile(r"(\d)_(\d{3,})_([12])_(\d{2})\.png")
# Images of the new protocol: training, query, gallery.
PUBLISHED = {"detected": (7_365, 1_400, 5_332), "labeled": (7_368, 1_400, 5_328)}


@dataclass(frozen=True)
class Place:
    """Where the MATLAB files and the extracted images lie.

    Attributes:
        root: The folder of the protocols and of the extracted images.
        mat: `cuhk-03.mat`, if there.
    """

    root: Path
    mat: Path | None

    def images(self, kind: str) -> Path:
        """Return the folder of extracted images, there or not."""
        return self.root / f"images_{kind}"

    def protocol(self, kind: str) -> Path:
        """Return the file of the new protocol, there or not."""
        name = f"cuhk03_new_protocol_config_{kind}.mat"
        beside = [self.mat.parent / name] if self.mat else []
        return next((one for one in beside if one.is_file()), self.root / name)


def parse_name(name: str) -> tuple[int, int, int] | None:
    """Return camera pair, person in it, and camera (from 0) of a file name, or None."""
    found = NAME.fullmatch(name)
    return (int(found[1]), int(found[2]), int(found[3]) - 1) if found else None


def find(path: Path) -> Place | None:
    """Return the place of the MATLAB files that a path leads to: file, folder, or one around."""
    if path.is_file():
        if path.name.lower() != MAT:
            return None
        parent = path.absolute().parent
        inside = plain(parent.name) == plain(RELEASE)
        return Place(parent.parent if inside else parent, path)
    for folder in (path, *folders(path)):
        here = folder / MAT
        if here.is_file():
            return find(here)
        release = subfolder(folder, RELEASE)
        if release and (release / MAT).is_file():
            return Place(folder, release / MAT)
        place = Place(folder, None)
        if any(place.images(kind).is_dir() and place.protocol(kind).is_file() for kind in KINDS):
            return place
    return None


def new_protocol(path: Path, choices: Choices = DEFAULTS, *, kind: str = "detected") -> Index:
    """Return CUHK03 by the protocol of 767 and 700 persons, evaluated as Market-1501.

    The images in `cuhk-03.mat` are written out the first time, beside it.

    Args:
        path: The folder, the MATLAB file, or the set in the layout of Market-1501.
        choices: The user's.
        kind: "detected" or "labeled", how the persons were cut out.
    """
    name = "cuhk03" if kind == "detected" else f"cuhk03-{kind}"
    root = _market_root(path, kind)
    if root is not None:
        return read_parts(name, root, choices)
    place = _found(path)
    config = place.protocol(kind)
    if not config.is_file():
        raise UserError(
            f"{place.root}: lacks {config.name}; put the file of the new protocol there (from "
            "github.com/zhunzhong07/person-re-ranking) or choose --format cuhk03-classic."
        )
    folder, protocol = _extracted(place, kind), read_protocol(config)
    samples, missing = [], []
    for role in ("train", "query", "gallery"):
        for position in getattr(protocol, role):
            file = protocol.files[position]
            seen = parse_name(file)
            if seen is None:
                raise UserError(
                    f"{config}: names '{file}'; expected <pair>_<person>_<view>_<image>.png as "
                    "1_001_1_01.png."
                )
            if not os.path.isfile(folder / file):
                missing.append(file)
            person = protocol.persons[position]
            samples.append(crop(f"{role}/{file[:-4]}", folder / file, person, seen[2], role))
    if missing:
        raise UserError(
            f"{folder}: lacks {len(missing):,} of {len(samples):,} images ({shown(missing)}); "
            f"remove the folder to have it written from {MAT} again."
        )
    sizes = tuple(len(getattr(protocol, role)) for role in ("train", "query", "gallery"))
    notes = [f"New protocol, {kind} crops; evaluated as Market-1501."]
    if sizes != PUBLISHED[kind]:
        notes.append(f"The protocol has {sizes} images; the published one has {PUBLISHED[kind]}.")
    return arranged(name, place.root, samples, choices, notes=notes, published=True)


def classic(path: Path, choices: Choices = DEFAULTS, *, kind: str = "detected") -> Index:
    """Return CUHK03 by one of its 20 first splits: 100 persons, tested with one image each.

    Every test image is both query and gallery (`extra["protocol"]` is "single-shot"). Persons are
    numbered from 1 in the order of their names.

    Args:
        path: The folder or the MATLAB file.
        choices: The user's; `trial` chooses the split, which is `extra["trial"]`.
        kind: "detected" or "labeled".
    """
    place = _found(path)
    if place.mat is None:
        raise UserError(
            f"{place.root}: lacks {MAT}, which holds the classic splits; put it there or choose "
            "--format cuhk03."
        )
    trials = classic_trials(place.mat)
    if not 0 <= choices.trial < len(trials):
        raise UserError(
            f"CUHK03 has the classic splits 0 to {len(trials) - 1}, but {choices.trial} was chosen."
        )
    tested = trials[choices.trial]
    persons: dict[tuple, int] = {}
    samples: list[Sample] = []
    for image in find_images(_extracted(place, kind)):
        seen = parse_name(image.name)
        if seen is None:
            raise UserError(
                f"{image}: is not named <pair>_<person>_<view>_<image>.png as 1_001_1_01.png; "
                f"remove the folder to have it written from {MAT} again."
            )
        *key, camera = seen
        person = persons.setdefault(tuple(key), len(persons) + 1)
        for role in ("query", "gallery") if tuple(key) in tested else ("train",):
            id = f"{role}/{image.stem}"
            about: dict[str, Any] = {"trial": choices.trial, "protocol": "single-shot"}
            samples.append(crop(id, image, person, camera, role, **about))
    if not any(sample.split == "test" for sample in samples):
        raise UserError(
            f"{place.root}: shows none of the persons of split {choices.trial}; remove the folder "
            f"images_{kind} to have it written from {MAT} again."
        )
    notes = [
        f"Classic split {choices.trial} (of 0 to {len(trials) - 1}), {kind} crops: scores are CMC "
        f"with one gallery image a person, published as the mean over {TRIALS} splits."
    ]
    return arranged("cuhk03-classic", place.root, samples, choices, notes=notes, published=True)


def _extracted(place: Place, kind: str) -> Path:
    folder = place.images(kind)
    if folder.is_dir():
        return folder
    if place.mat is None:
        raise UserError(
            f"{place.root}: lacks {MAT} (in {RELEASE}/) and the images from it, images_{kind}/; "
            "put one of them there."
        )
    extract(place.mat, kind, folder)
    return folder


def _found(path: Path) -> Place:
    place = find(path)
    if place is None:
        raise UserError(
            f"{path}: holds neither {MAT} nor its extracted images with a protocol, nor "
            "bounding_box_train/, query/ and bounding_box_test/; check the path or the --format."
        )
    return place


def _market_root(path: Path, kind: str) -> Path | None:
    """Return the folder of a kind in the layout of Market-1501 (cuhk03-np/detected)."""
    if not path.is_dir():
        return None
    around = [path, *folders(path)]
    found = [inside for one in around if (inside := subfolder(one, kind)) and parts(inside)]
    return found[0] if found else path if len(parts(path)) > 1 else None


def _recognises(kind: str) -> Callable[[Path], bool]:
    def answer(path: Path) -> bool:
        own = plain(path.absolute().name)
        parent = plain(path.absolute().parent.name)
        named = own.startswith("cuhk03") or (own in KINDS and parent.startswith("cuhk03"))
        if path.is_dir() and named and _market_root(path, kind):
            return (kind == "detected") if own not in KINDS else own == kind
        return kind == "detected" and find(path) is not None

    return answer


def _reader(name: str, summary: str, recognises, read) -> Reader:
    return Reader(name, summary, recognises, read, RESEARCH)


READERS = (
    _reader(
        "cuhk03",
        "CUHK03, new protocol (767/700), detected: cuhk-03.mat or bounding_box_train and so on",
        _recognises("detected"),
        new_protocol,
    ),
    _reader(
        "cuhk03-labeled",
        "the same with persons cut out by hand",
        _recognises("labeled"),
        lambda path, choices=DEFAULTS: new_protocol(path, choices, kind="labeled"),
    ),
    _reader(
        "cuhk03-classic",
        "CUHK03, classic protocol (20 splits of 1367/100), detected: cuhk-03.mat",
        lambda path: False,
        classic,
    ),
)
