"""MSMT17 (Wei et al., CVPR 2018): list files beside folders of persons, first or second version.

Training and test number their persons from 0 each: person 5 of one is not person 5 of the other.
"""

from __future__ import annotations

import os
from pathlib import Path

from apps.person_reid.data.layouts import locate
from apps.person_reid.data.splits import DEFAULTS, Choices, arranged, crop, shown
from core.data.folders import folders, subfolder
from core.data.index import Index, Sample
from core.data.readers import Reader
from core.errors import UserError
from core.files import refuse_special

FOLDERS = {"train": ("train", "mask_train_v2"), "test": ("test", "mask_test_v2")}
LISTS = {
    "train": "list_train.txt",
    "val": "list_val.txt",
    "query": "list_query.txt",
    "gallery": "list_gallery.txt",
}
_DIGITS = 9  # of a person or camera at most
_LINE = "0000/0000_000_01_0303morning_0008_0.jpg 0"


def parse_line(line: str) -> tuple[str, int, int] | None:
    """Return file, person and camera (from 0) of a line in a list file, or None."""
    file, _, person = line.strip().rpartition(" ")
    fields = os.path.basename(file).split("_")
    if len(fields) < 4 or not (_is_number(person) and _is_number(fields[2])):
        return None
    return file.strip(), int(person), int(fields[2]) - 1


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= _DIGITS


def msmt17(path: Path, choices: Choices = DEFAULTS) -> Index:
    """Return MSMT17: list_train trains; list_val joins it only with `choices.combine_all`."""
    root = locate(path, _fits)
    if root is None:
        raise UserError(
            f"{path}: expected list_train.txt, list_query.txt and list_gallery.txt beside train/ "
            "and test/ (or mask_train_v2/ and mask_test_v2/); check the path or the --format."
        )
    samples, notes = [], []
    for role in ("train", "query", "gallery"):
        samples += _read_list(root, role)
    if choices.combine_all:
        samples += _read_list(root, "val")
    elif (root / LISTS["val"]).is_file():
        notes.append(
            "list_val.txt is not read: published results train on it only together with all other "
            "persons (--format msmt17-all)."
        )
    return arranged("msmt17", root, samples, choices, notes=notes, published=True)


def _read_list(root: Path, name: str) -> list[Sample]:
    role = "train" if name == "val" else name
    part = "train" if role == "train" else "test"
    file, base = root / LISTS[name], subfolder(root, *FOLDERS[part])
    if base is None:
        raise UserError(
            f"{root}: lacks the folder {' or '.join(FOLDERS[part])} (found "
            f"{shown(folder.name for folder in folders(root)) or 'no folder'}); unpack all of it."
        )
    refuse_special(file)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not there" if not file.exists() else "cannot be read as text"
        raise UserError(f"{file}: {reason}; unpack the data set again.") from error
    samples, missing = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        seen = parse_line(line)
        if seen is None:
            raise UserError(
                f"{file}: line {number} is '{line.strip()[:60]}'; expected file and person, as "
                f"'{_LINE}'."
            )
        relative, person, camera = seen
        image = base / relative
        if not os.path.isfile(image):
            missing.append(relative)
            continue
        id = f"{role}/{os.path.splitext(relative)[0]}"
        samples.append(crop(id, image, person, camera, role, group=f"{part} {person}"))
    if missing:
        raise UserError(
            f"{base}: lacks {len(missing):,} of {len(missing) + len(samples):,} images named in "
            f"{file.name} ({shown(missing)}); unpack the data set again."
        )
    if not samples:
        raise UserError(f"{file}: names no image; unpack the data set again.")
    return samples


def _fits(path: Path) -> bool:
    return any((path / LISTS[name]).is_file() for name in ("train", "query", "gallery"))


READERS = (
    Reader(
        "msmt17",
        "MSMT17_V1 or MSMT17_V2: train, test, list_train.txt, list_query.txt, list_gallery.txt",
        lambda path: locate(path, _fits) is not None,
        msmt17,
        "research use under a signed agreement",
    ),
)
