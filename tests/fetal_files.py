"""Small data sets laid out as FETAL_PLANES_DB and its sister set are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

HEADER = "Image_name;Patient_num;Plane;Brain_plane;Operator;US_Machine;Train "
# Patient, plane, whether for training.
ROWS = (
    (1, "Fetal abdomen", 1),
    (1, "Fetal brain", 1),
    (2, "Fetal femur", 1),
    (2, "Other", 1),
    (3, "Fetal thorax", 1),
    (3, "Maternal cervix", 1),
    (4, "Fetal brain", 0),
    (4, "Other", 0),
)


def picture(seed: int) -> np.ndarray:
    """Return noise, uint8 (12, 16)."""
    return np.random.default_rng(seed).integers(0, 256, (12, 16), dtype=np.uint8)


def name_of(number: int, patient: int) -> str:
    """Return a picture's name without suffix, as in the published table."""
    return f"Patient{patient:05d}_Plane1_{number + 1}_of_9"


def write_planes(
    folder: Path,
    rows: Sequence[tuple[int, str, int]] = ROWS,
    *,
    header: str = HEADER,
    separator: str = ";",
    encoding: str = "utf-8",
) -> Path:
    """Write a data set as downloaded and return its folder."""
    (folder / "Images").mkdir(parents=True)
    lines = [header.replace(";", separator)]
    for number, (patient, plane, train) in enumerate(rows):
        name = name_of(number, patient)
        Image.fromarray(picture(number)).save(folder / "Images" / f"{name}.png")
        cells = (name, patient, plane, "Not A Brain", "Op. 1", "Aloka", train)
        lines.append(separator.join(map(str, cells)))
    write_table(folder, lines, encoding)
    return folder


def write_table(folder: Path, lines: Sequence[str], encoding: str = "utf-8") -> None:
    """Write the table's lines."""
    (folder / "FETAL_PLANES_DB_data.csv").write_text("\n".join(lines) + "\n", encoding=encoding)


def table_lines(folder: Path) -> list[str]:
    """Return the table's lines."""
    return (folder / "FETAL_PLANES_DB_data.csv").read_text().splitlines()


def write_african(folder: Path) -> Path:
    """Write the sister set with two countries whose patients have the same numbers."""
    root = folder / "Zenodo_dataset"
    lines = ["Patient_num,Plane,Train,Center,Filename"]
    number = 0
    for center in ("Algeria", "Egypt"):
        (root / center).mkdir(parents=True)
        for patient, plane, train in ((1, "Fetal brain", 1), (2, "Fetal femur", 0)):
            Image.fromarray(picture(number)).save(root / center / f"P{patient}.png")
            lines.append(f"{patient},{plane},{train},{center},P{patient}")
            number += 1
    (root / "African_planes_database.csv").write_text("\n".join(lines) + "\n")
    return folder
