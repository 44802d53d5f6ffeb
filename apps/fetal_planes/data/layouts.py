"""FETAL_PLANES_DB and its sister set of five African countries, as downloaded.

X. P. Burgos-Artizzu et al., Sci. Rep. 10:10200 (2020), doi 10.5281/zenodo.3904280;
C. Sendra-Balcells et al., Sci. Rep. 13:2728 (2023), doi 10.5281/zenodo.7540448.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from apps.fetal_planes.data.table import (
    Row,
    header_of,
    label_of,
    read_rows,
    refuse_missing,
    split_of,
    without_repeats,
)
from core.data.folders import first_names, folders, subfolder
from core.data.images import find_images
from core.data.index import Index, Sample, make_index
from core.errors import UserError

PLANES = (
    "Fetal abdomen",
    "Fetal brain",
    "Fetal femur",
    "Fetal thorax",
    "Maternal cervix",
    "Other",
)
LICENCE = "CC BY 4.0, name the authors"
SIMULATED = (
    "Drawn planes, no pictures of patients: scores on them say nothing of scores on real scans."
)
RECORD = "about.json"  # beside drawn planes
NAME, PATIENT, PLANE, TRAIN = "Image_name", "Patient_num", "Plane", "Train"
BRAIN, OPERATOR, MACHINE = "Brain_plane", "Operator", "US_Machine"
CENTER, FILE = "Center", "Filename"
_TABLE, _PICTURES = "FETAL_PLANES_DB_data.csv", "Images"
_TABLES = 20  # that are looked at in a folder


def looks_like_planes(path: Path) -> bool:
    """Return whether a path is FETAL_PLANES_DB, or a data set laid out like it."""
    return _planes_table(path) is not None


def looks_drawn(path: Path) -> bool:
    """Return whether a path is a data set of drawn planes."""
    table = _planes_table(path)
    return table is not None and (table.parent / RECORD).is_file()


def looks_african(path: Path) -> bool:
    """Return whether a path is the sister set."""
    return _table_with(path, (CENTER, FILE, PLANE)) is not None


def read_planes(path: Path, *, format: str = "fetal-planes", notes: Sequence[str] = ()) -> Index:
    """Return the index of FETAL_PLANES_DB: its six classes, its split by patients.

    Args:
        path: The folder with `Images/` and the table, the folder around it, or the table.
        format: Name of the reader.
        notes: What else is to be said of the data.

    Raises:
        UserError: When a picture is missing, a line has an empty field or an unknown plane, or two
            lines of a picture differ.
    """
    table = _planes_table(path)
    if table is None:
        raise UserError(
            f"{path}: expected {_PICTURES}/ and {_TABLE} (columns {NAME}, {PATIENT}, {PLANE}, "
            f"{TRAIN}); check the path or the --format."
        )
    folder = subfolder(table.parent, _PICTURES)
    assert folder is not None  # or it would be no such table
    read = read_rows(
        table,
        (NAME, PATIENT, PLANE, BRAIN, OPERATOR, MACHINE, TRAIN),
        needed=(NAME, PATIENT, PLANE, TRAIN),
    )
    rows, more = without_repeats(table, list(read), NAME)
    pictures = _pictures(folder)
    samples = []
    missing = []
    for row in rows:
        name = row.cells[NAME]
        file = pictures.pop(name, None) or pictures.pop(os.path.splitext(name)[0], None)
        if file is None:
            missing.append(name)
            continue
        samples.append(_sample(table, row, folder / file, file, row.cells[PATIENT]))
    refuse_missing(table, missing, f"{folder.name}/")
    notes = (*more, *notes)
    if pictures:
        notes = (*notes, f"{len(pictures)} picture(s) of {folder.name}/ are not in the table.")
    return make_index(format, table.parent, samples, labels=PLANES, notes=notes)


def read_african(path: Path) -> Index:
    """Return the index of the sister set; its four planes are the first four of the six.

    A patient's number repeats from country to country, so a group is country and number.

    Raises:
        UserError: As `read_planes`.
    """
    table = _table_with(path, (CENTER, FILE, PLANE))
    if table is None:
        raise UserError(
            f"{path}: expected a folder of pictures for each country and a table with the columns "
            f"{PATIENT}, {PLANE}, {TRAIN}, {CENTER}, {FILE}; check the path or the --format."
        )
    columns = (PATIENT, PLANE, TRAIN, CENTER, FILE)
    rows = [_placed(row) for row in read_rows(table, columns, needed=columns)]
    rows, notes = without_repeats(table, rows, FILE)
    pictures: dict[str, dict[str, str]] = {}
    samples, missing = [], []
    for row in rows:
        center, _, name = row.cells[FILE].partition("/")
        if center not in pictures:
            folder = table.parent / center
            pictures[center] = _pictures(folder) if os.path.isdir(folder) else {}
        found = pictures[center]
        file = found.get(name) or found.get(os.path.splitext(name)[0])
        if file is None:
            missing.append(row.cells[FILE])
            continue
        where = table.parent / center / file
        group = f"{center}/{row.cells[PATIENT]}"
        samples.append(_sample(table, row, where, f"{center}/{file}", group))
    refuse_missing(table, missing, f"{table.parent.name}/")
    return make_index("african", table.parent, samples, labels=PLANES, notes=notes)


def _placed(row: Row) -> Row:
    """Return a row whose file is told with its folder, for names repeat between countries."""
    return Row(row.line, {**row.cells, FILE: f"{row.cells[CENTER]}/{row.cells[FILE]}"})


def _sample(table: Path, row: Row, file: Path, name: str, patient: str) -> Sample:
    told = {key: row.cells[key] for key in (BRAIN, OPERATOR, MACHINE) if row.cells.get(key)}
    return Sample(
        name,
        (file,),
        label=label_of(table, row, PLANES),
        group=patient,
        split=split_of(table, row),
        extra=told,
    )


def _pictures(folder: Path) -> dict[str, str]:
    """Return a folder's pictures: name without suffix → file name."""
    return {file.stem: file.name for file in find_images(folder)}


def _planes_table(path: Path) -> Path | None:
    return _table_with(
        path, (NAME, PATIENT, PLANE), lambda root: subfolder(root, _PICTURES) is not None
    )


def _table_with(
    path: Path, columns: Sequence[str], fits: Callable[[Path], bool] = lambda root: True
) -> Path | None:
    """Return the table with some columns, which lies at a path, in it or in its only folder."""
    wanted = {name.casefold() for name in columns}
    for table in _tables(Path(path)):
        found = {name.casefold() for name in header_of(table)}
        if wanted <= found and fits(table.parent):
            return table
    return None


def _tables(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield from [path] if path.suffix.lower() == ".csv" else []
        return
    inside = folders(path)
    for root in [path, *inside] if len(inside) == 1 else [path]:
        names = first_names(root, (".csv",), _TABLES) if root.is_dir() else ()
        yield from (root / name for name in sorted(names, key=lambda n: (n != _TABLE, n)))
