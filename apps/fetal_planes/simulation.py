"""A data set of drawn planes in the layout of FETAL_PLANES_DB.

The pictures are drawings: they show that reading, training, explaining, compression and export
work. They say nothing of scores on real scans.

Every patient and every picture has a random generator of its own, keyed by the seed and its number.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from apps.fetal_planes.anatomy import DRAWN, TISSUE, View
from apps.fetal_planes.data.layouts import PLANES, RECORD
from apps.fetal_planes.drawing import Machine, Sector, labelled
from core.data.images import write_image
from core.errors import UserError
from core.files import claim_folder, explained, folder_aside, write_atomic, write_json

WHAT = "synthetic planes, not pictures of patients"
VERSION = 1  # of the generator; another one draws other pictures for the same seed
IMAGES, TABLE = "Images", "FETAL_PLANES_DB_data.csv"
# The published header, with the blank at its end.
HEADER = "Image_name;Patient_num;Plane;Brain_plane;Operator;US_Machine;Train "
BRAIN_PLANES = ("Trans-thalamic", "Trans-cerebellum", "Trans-ventricular", "Other")
MACHINES = ("Voluson E6", "Aloka", "Voluson S10", "Other")
SIZES = ((120, 160), (112, 150), (128, 160), (116, 172))  # of their pictures
_PATIENT, _PICTURE = 1, 2  # keys of the generators
_OTHER = len(PLANES) - 1


def simulate(
    folder: str | os.PathLike,
    *,
    patients: int = 60,
    frames: int = 6,
    seed: int = 0,
    advance: Callable[[int], None] = lambda count: None,
) -> dict[str, Any]:
    """Write a data set of synthetic planes; nothing appears before every picture is drawn.

    Args:
        folder: New or empty; gets `Images/`, the table, and `about.json` with all parameters.
        patients: Women, a third of them for the test.
        frames: Pictures of each.
        seed: Same seed, same pictures.
        advance: Called with the number of pictures done.

    Returns:
        What `about.json` holds.

    Raises:
        UserError: When a number is out of range or the folder holds files or cannot be written.
    """
    for value, low, high, what in (
        (patients, 6, 99_999, "patients"),
        (frames, 1, 100, "pictures of a patient"),
        (seed, 0, 2**63, "as seed"),
    ):
        if not low <= value <= high:
            raise UserError(f"Received {value} {what}; choose a number from {low} to {high}.")
    out = claim_folder(folder)
    lines, counts = [HEADER], Counter[str]()
    with folder_aside(out, "simulating") as aside:
        (aside / IMAGES).mkdir()
        for patient in range(1, patients + 1):
            rng = np.random.default_rng((seed, _PATIENT, patient))
            planes = _planes(patient, frames, rng)
            number = int(rng.choice(len(MACHINES), p=(0.55, 0.25, 0.12, 0.08)))
            machine, habit = draw_machine(number, rng), rng.uniform(-1, 1, 3)
            split = int(patient % 3 != 0)
            for frame, plane in enumerate(planes):
                name = f"Patient{patient:05d}_Plane{plane + 1}_{frame + 1}_of_{frames}"
                own = np.random.default_rng((seed, _PICTURE, patient, frame))
                picture = _stored(draw(plane, machine, habit, own), machine.form)
                write_image(aside / IMAGES / f"{name}.png", picture)
                brain = BRAIN_PLANES[int(own.integers(4))] if plane == 1 else "Not A Brain"
                told = (PLANES[plane], brain, f"Op. {1 + patient % 3}", MACHINES[number], split)
                lines.append(";".join(map(str, (name, patient, *told))))
                counts[PLANES[plane]] += 1
                advance(1)
        record = {
            "what": WHAT,
            "generator": "gossamer fetal simulate",
            "version": VERSION,
            "patients": patients,
            "frames": frames,
            "seed": seed,
            "counts": {plane: counts[plane] for plane in PLANES},
        }
        write_atomic(aside / TABLE, "\n".join(lines) + "\n")
        write_json(aside / RECORD, record)
        with explained(out):
            for name in (IMAGES, TABLE, RECORD):
                (aside / name).replace(out / name)
    return record


def draw(plane: int, machine: Machine, habit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a drawn picture of a plane, uint8 (H, W, 3).

    Args:
        plane: Number of the class.
        machine: Which takes it.
        habit: (3,) in [-1, 1]: how large, how slender and how far off the middle a patient's are.
        rng: For what differs from picture to picture.
    """
    sector = Sector(machine, TISSUE * rng.uniform(0.6, 1.2))
    centre = 0.06 * habit[2] + rng.uniform(-0.08, 0.08), rng.uniform(0.46, 0.6)
    view = View(
        centre,
        turn=rng.uniform(-np.pi, np.pi) if plane != 2 else rng.uniform(-1.2, 1.2),
        mirror=int(rng.choice((-1, 1))),
        size=0.27 * (1 + 0.15 * habit[0]) * rng.uniform(0.9, 1.1),
        slender=0.78 * (1 + 0.06 * habit[1]),
        rng=rng,
    )
    _clutter(sector, rng)
    DRAWN[PLANES[plane]](sector, view)
    return labelled(sector.picture(rng), machine, f"{rng.integers(10, 40)}Hz")


def draw_machine(number: int, rng: np.random.Generator) -> Machine:
    """Return one of `MACHINES` as it is set up for a patient."""
    yellow, white = (225, 205, 60), (215, 215, 215)
    return Machine(
        size=SIZES[number],
        spread=(0.62, 0.7, 0.56, 0.66)[number] * rng.uniform(0.95, 1.05),
        top=(0.06, 0.04, 0.08, 0.05)[number],
        text=(f"MI {rng.uniform(0.8, 1.3):.1f}", f"{rng.integers(18, 38)}w{rng.integers(7)}d"),
        logo=("GE", "ALOKA", "GE", "US")[number],
        colour=yellow if number in (0, 2) else white,
        form=("RGB", "L", "RGBA", "L")[number],
        gain=float(rng.uniform(0.7, 1.5)),
        fading=float(rng.uniform(0.5, 1.4)),
    )


def _planes(patient: int, frames: int, rng: np.random.Generator) -> list[int]:
    """Return the planes of a patient's frames: each in turn, with more others among them."""
    turn = (patient + rng.permutation(_OTHER)).tolist()
    found = [plane % _OTHER for plane in turn]
    found.insert(int(rng.integers(3)), _OTHER)
    return [found[n % len(found)] for n in range(frames)]


def _clutter(sector: Sector, rng: np.random.Generator) -> None:
    """Draw what lies around: layers of the mother's tissue and patches of other echo."""
    for depth in sorted(rng.uniform(0.02, 0.16, 3)):
        sector.rod((-0.6, depth), (0.6, depth + rng.uniform(-0.03, 0.03)), 0.6, 0.01)
    for _ in range(4):
        place = rng.uniform(-0.6, 0.6), rng.uniform(0.15, 1.0)
        sector.blob(
            place, tuple(rng.uniform(0.05, 0.3, 2)), rng.uniform(0, 3), rng.uniform(0.1, 0.5)
        )


def _stored(picture: np.ndarray, form: str) -> np.ndarray:
    """Return a picture with the channels it is stored with."""
    from PIL import Image

    return np.asarray(Image.fromarray(picture).convert(form))
