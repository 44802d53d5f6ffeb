"""A table of one's own crops: path, person, camera and, where wished, split and role."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from apps.person_reid.data.splits import (
    DEFAULTS,
    ROLES,
    Choices,
    arranged,
    crop,
    query_ids,
    shown,
    split_by_person,
    with_role,
)
from core.data.folders import SPLIT_FOLDERS, natural_key, plain
from core.data.index import SPLITS, Index, Sample
from core.data.readers import Reader
from core.errors import UserError, near_miss
from core.files import refuse_special

NEEDED, OPTIONAL = ("path", "person", "camera"), ("split", "role")
DELIMITERS = ",;\t"
JUNK = -1  # the person of images to leave out


def table(path: Path, choices: Choices = DEFAULTS) -> Index:
    """Return the crops of a CSV file with the columns path, person, camera[, split][, role].

    Paths are relative to the table. Persons and cameras are whole numbers or any names; person -1
    is junk. Without splits and roles, half of the persons are for training. Test and validation
    rows without role get one query per person and camera.

    Raises:
        UserError: For the first line with a mistake, and how many more there are.
    """
    rows = list(_rows(path))
    if not rows:
        raise UserError(f"{path}: has no line below its header; add images.")
    persons = _numbers({row["person"] for row in rows}, first=1, least=JUNK)
    cameras = _numbers({row["camera"] for row in rows}, first=0, least=0)
    samples, notes = [], []
    for row in rows:
        person, camera = persons[row["person"]], cameras[row["camera"]]
        split, role = row["split"], row["role"]
        id = f"{split or 'image'}/{role}/{row['id']}" if role else row["id"]
        group = str(person) if _is_number(row["person"]) else row["person"]
        samples.append(crop(id, row["file"], person, camera, role, group=group, split=split))
    if not all(_is_number(name) for name in cameras):
        numbered = ", ".join(f"{name} = {number}" for name, number in list(cameras.items())[:8])
        notes.append(f"Cameras are numbered: {numbered}{', …' if len(cameras) > 8 else ''}.")
    if all(row["split"] == "" for row in rows):
        samples = [with_role(sample, "", "") for sample in samples]
        samples, more = split_by_person(path, samples)
        notes += more
    else:
        samples = _with_roles(path, samples)
    return arranged("csv", path, samples, choices, notes=notes)


def _with_roles(path: Path, samples: list[Sample]) -> list[Sample]:
    """Return the samples with queries chosen in the splits whose rows have no roles."""
    placed = []
    for split in SPLITS:
        part = [sample for sample in samples if sample.split == split]
        bare = [sample for sample in part if not sample.extra["role"]]
        if split == "train":
            placed += [with_role(sample, "train", split) for sample in part]
        elif not bare:
            placed += part
        elif len(bare) < len(part):
            raise UserError(
                f"{path}: {len(bare):,} of {len(part):,} {split} rows have no role; give all of "
                "them query or gallery, or none."
            )
        else:
            queries = query_ids(sample for sample in part if sample.extra["person"] >= 0)
            roles = {True: "query", False: "gallery"}
            placed += [with_role(sample, roles[sample.id in queries], split) for sample in part]
    return placed


def _rows(path: Path) -> Iterator[dict]:
    """Yield the checked rows: all columns, with the file and an id."""
    wrong: list[str] = []
    good: list[dict] = []
    where: dict[tuple[str, str], int] = {}
    for number, cells in _cells(path):
        row, mistake = _checked(path, cells)
        if row and not mistake:
            key = (row["id"], row["role"])
            if key in where:
                mistake = f"'{row['path']}' was in line {where[key]} already"
            where.setdefault(key, number)
        if mistake:
            wrong.append(f"line {number}: {mistake}")
        elif row:
            good.append(row)
    if not wrong:
        splits = Counter(bool(row["split"]) for row in good)
        if len(splits) > 1:
            wrong = [f"{splits[False]:,} of {len(good):,} rows have no split or role"]
    if wrong:
        more = len(wrong) - 1
        also = f" ({more:,} more line(s) have mistakes)" if more else ""
        raise UserError(f"{path}: {wrong[0]}{also}; correct the table.")
    yield from good


def _cells(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield number and cells of each line below the header."""
    refuse_special(path)
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as stream:
            head = stream.readline()
            delimiter = max(DELIMITERS, key=head.count)
            names = [name.strip().lower() for name in next(csv.reader([head], delimiter=delimiter))]
            lacking = [name for name in NEEDED if name not in names]
            if lacking:
                raise UserError(
                    f"{path}: the header lacks '{lacking[0]}' (found {shown(names, 8) or 'nothing'}"
                    "); its columns are path, person, camera and, where wished, split and role."
                )
            reader = csv.reader(stream, delimiter=delimiter)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    values = [cell.strip() for cell in cells] + [""] * len(names)
                    yield reader.line_num + 1, dict(zip(names, values, strict=False))
    except (OSError, UnicodeDecodeError, csv.Error, StopIteration) as error:
        raise UserError(
            f"{path}: cannot be read as a CSV table in UTF-8; export it again as one."
        ) from error


def _checked(path: Path, cells: dict[str, str]) -> tuple[dict | None, str]:
    """Return a row, and what is wrong with it in words."""
    empty = [name for name in NEEDED if not cells[name]]
    if empty:
        return None, f"{empty[0]} is empty"
    split, role = cells.get("split", ""), cells.get("role", "").lower()
    if split:
        known = SPLIT_FOLDERS.get(plain(split))
        if known is None:
            return None, f"split is '{split}'.{near_miss(split, SPLITS)}".rstrip(".")
        split = known
    if role and role not in ROLES:
        return None, f"role is '{role}'.{near_miss(role, ROLES)}".rstrip(".")
    if role and not split:
        split = "train" if role == "train" else "test"
    if role and (role == "train") != (split == "train"):
        return None, f"role '{role}' does not go with split '{split}'"
    file = path.parent / cells["path"]
    if not os.path.isfile(file):
        return None, f"no such file '{cells['path']}'"
    id = os.path.splitext(re.sub(r"^(\.*[/\\])+", "", cells["path"]))[0].replace("\\", "/")
    return {**cells, "file": file, "id": id, "split": split, "role": role}, ""


def _numbers(names: set[str], *, first: int, least: int) -> dict[str, int]:
    """Return numbers for names: their own where all have one, else from `first` in their order."""
    ordered = sorted(names, key=natural_key)
    if all(_is_number(name) and int(name) >= least for name in ordered):
        return {name: int(name) for name in ordered}
    own = {str(JUNK): JUNK} if least == JUNK and str(JUNK) in names else {}
    named = [name for name in ordered if name not in own]
    return own | {name: number for number, name in enumerate(named, first)}


def _is_number(name: str) -> bool:
    return re.fullmatch(r"-?\d{1,18}", name) is not None


def _recognises(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in (".csv", ".tsv")


READERS = (
    Reader("csv", "a table of your own: path,person,camera[,split][,role]", _recognises, table),
)
