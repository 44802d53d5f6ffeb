"""Schematic anatomy of the six planes, drawn into a sector.

What tells the planes apart is what sonographers look for: the midline in the skull, the stomach
bubble and the spine in the abdomen, four chambers in the thorax, the shaft of the femur with its
shadow, the canal of the cervix.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from apps.fetal_planes.drawing import Place, Sector

TISSUE, FLUID, BONE = 0.32, 0.02, 1.0


@dataclass(frozen=True)
class View:
    """Where a fetus lies in a picture.

    Attributes:
        centre: Of what is shown.
        turn: Radians.
        mirror: 1 or -1.
        size: Half of its longer side.
        slender: Shorter to longer side of the skull.
        rng: For what differs from frame to frame.
    """

    centre: Place
    turn: float
    mirror: int
    size: float
    slender: float
    rng: np.random.Generator

    def at(self, right: float, down: float) -> Place:
        """Return a place of the fetus's own axes, in shares of its size, in the sector."""
        x, y = right * self.mirror * self.size, down * self.size
        cosine, sine = math.cos(self.turn), math.sin(self.turn)
        return self.centre[0] + x * cosine - y * sine, self.centre[1] + x * sine + y * cosine

    def axes(self, along: float, across: float) -> Place:
        """Return half axes in the sector."""
        return along * self.size, across * self.size

    def about(self, value: float, part: float = 0.15) -> float:
        """Return a value that differs a little from frame to frame."""
        return value * (1 + part * self.rng.uniform(-1, 1))


def abdomen(sector: Sector, view: View) -> None:
    """Draw a round trunk: stomach, umbilical vein, spine with its shadow."""
    round_ = view.axes(1.0, view.about(0.93, 0.05))
    sector.blob(view.centre, round_, view.turn, view.about(0.3))
    sector.ring(view.centre, round_, view.turn, 0.75, 0.02)
    if view.rng.random() < 0.9:
        stomach = view.axes(view.about(0.26), view.about(0.19))
        sector.blob(view.at(-0.45, view.about(0.12)), stomach, view.turn + 0.4, FLUID)
    vein = view.at(0.05, -0.55), view.at(view.about(0.3), -0.1)
    for place in np.linspace(*vein, 5):
        sector.blob(tuple(place), view.axes(0.08, 0.08), 0, FLUID)
    _spine(sector, view, (0.68, 0.15))


def brain(sector: Sector, view: View) -> None:
    """Draw a skull: its midline, the cavum that breaks it, the thalami."""
    oval = view.axes(1.12, 1.12 * view.slender)
    sector.blob(view.centre, oval, view.turn, view.about(0.13))
    sector.ring(view.centre, oval, view.turn, BONE, 0.03)
    sector.shadow(view.at(-1.1, 0), view.at(-0.95, 0), 0.5)
    sector.shadow(view.at(0.95, 0), view.at(1.1, 0), 0.5)
    sector.rod(view.at(-0.95, 0), view.at(-0.5, 0), 0.6, 0.012)
    sector.rod(view.at(-0.15, 0), view.at(0.95, 0), 0.6, 0.012)
    if view.rng.random() < 0.8:
        for side in (-0.09, 0.09):
            sector.rod(view.at(-0.48, side), view.at(-0.22, side), 0.55, 0.01)
    for side in (-0.2, 0.2):
        sector.blob(view.at(0.1, side), view.axes(0.22, 0.14), view.turn, 0.06)
        sector.rod(view.at(0.45, 1.6 * side), view.at(0.75, 1.4 * side), 0.4, 0.03)


def femur(sector: Sector, view: View) -> None:
    """Draw a thigh: the shaft along it and the shadow behind."""
    turn = 0.45 * view.turn
    flat = View(view.centre, turn, view.mirror, view.size, view.slender, view.rng)
    sector.blob(flat.centre, flat.axes(1.35, 0.55), turn, view.about(0.22))
    start, end = flat.at(-view.about(0.8), 0.05), flat.at(view.about(0.8), -0.05)
    sector.rod(start, end, BONE, view.about(0.028), bend=view.rng.uniform(-0.05, 0.05))
    for place in (start, end):
        sector.blob(place, flat.axes(0.13, 0.1), turn, view.about(0.5))
    sector.shadow(start, end, view.about(0.75, 0.2))


def thorax(sector: Sector, view: View) -> None:
    """Draw a chest: ribs, spine, lungs and a heart of four chambers."""
    round_ = view.axes(1.0, view.about(0.9, 0.05))
    sector.blob(view.centre, round_, view.turn, view.about(0.27))
    sector.ring(view.centre, round_, view.turn, 0.6, 0.018)
    for down in (-0.8, -0.45, 0.75):
        start, end = view.at(-0.75, down), view.at(-0.5, 1.15 * down)
        sector.rod(start, end, 0.9, 0.018)
        sector.shadow(start, end, 0.35)
    heart = view.about(0.5, 0.1)
    middle = (-0.12, view.about(-0.08))
    sector.blob(view.at(*middle), view.axes(heart, 0.85 * heart), view.turn + 0.6, 0.42)
    beat = view.rng.uniform(0.75, 1.1)
    for right, down, size in ((-1, -1, 0.34), (1, -1, 0.34), (-1, 1, 0.28), (1, 1, 0.28)):
        place = middle[0] + 0.42 * heart * right, middle[1] + 0.4 * heart * down
        chamber = view.axes(beat * size * heart, beat * 0.95 * size * heart)
        sector.blob(view.at(*place), chamber, view.turn + 0.3, FLUID)
    _spine(sector, view, (0.68, 0.1))


def cervix(sector: Sector, view: View) -> None:
    """Draw the mother's cervix: bladder, lips and the canal between them."""
    side, low = view.mirror, view.about(0.5, 0.12)
    turn = 0.25 * math.sin(view.turn)
    bladder = (0.28 * side, 0.22)
    sector.blob(bladder, (view.about(0.2), view.about(0.09)), 0.3 * side, FLUID)
    sector.blob((0.0, low), (view.about(0.42), view.about(0.19)), turn, view.about(0.5))
    inner = (0.34 * side, low - 0.36 * math.tan(turn) * side - 0.02)
    outer = (-0.36 * side, low + 0.3 * math.tan(turn) * side + 0.03)
    sector.rod(inner, outer, 0.95, 0.05, bend=0.06 * side)
    for part in np.linspace(0, 1, 25):  # the canal follows the bend of its walls
        x = inner[0] + part * (outer[0] - inner[0])
        y = inner[1] + part * (outer[1] - inner[1]) + 0.24 * part * (1 - part) * 0.7
        sector.blob((x, y), (0.022, 0.014), 0, 0.04)
    funnel = (0.46 * side, low - 0.02)
    sector.blob(funnel, (view.about(0.15), view.about(0.1)), turn, FLUID)
    head = (0.62 * side, low + view.about(0.12))
    sector.ring(head, (0.28, 0.26), 0, 0.9, 0.022)


def other(sector: Sector, view: View) -> None:
    """Draw what is no standard plane: limbs across, fluid, placenta, a row of vertebrae."""
    rng = view.rng
    sector.blob((rng.uniform(-0.3, 0.3), 0.2), (0.5, view.about(0.13)), 0.1, view.about(0.5))
    for _ in range(int(rng.integers(1, 4))):
        pocket = rng.uniform(-0.35, 0.35), rng.uniform(0.3, 0.8)
        sector.blob(pocket, tuple(rng.uniform(0.08, 0.22, 2)), rng.uniform(0, 3), FLUID)
    kind = rng.integers(3)
    for _ in range(int(rng.integers(1, 3)) if kind < 2 else 0):
        place = rng.uniform(-0.3, 0.3), rng.uniform(0.35, 0.7)
        size = rng.uniform(0.07, 0.13)
        sector.blob(place, (size, size), 0, 0.3)
        sector.ring(place, (size, size), 0, 0.5, 0.012)
        sector.rod(place, (place[0] + 0.02, place[1]), BONE, 0.02)
    if kind == 1:
        start = view.at(-0.8, rng.uniform(-0.3, 0.3))
        sector.rod(start, (start[0] + 0.25, start[1] + 0.1), 0.6, 0.015, bend=0.3)
    if kind == 2:
        for step in np.linspace(-1, 1, 9):
            x, y = view.at(step, 0.12 * step**2)
            for beside in (-0.035, 0.035):
                sector.blob((x, y + beside), (0.022, 0.015), 0, BONE)


def _spine(sector: Sector, view: View, place: Place) -> None:
    """Draw a vertebra across: three bright points, and the shadow behind."""
    points = [(place[0] + right, place[1] + down) for right, down in ((0, -0.12), (0, 0.12))]
    for right, down in (*points, (place[0] - 0.16, place[1])):
        sector.blob(view.at(right, down), view.axes(0.07, 0.05), view.turn, BONE)
    sector.shadow(view.at(*points[0]), view.at(*points[1]), 0.6)


# By class, in its order.
DRAWN: dict[str, Callable[[Sector, View], None]] = {
    "Fetal abdomen": abdomen,
    "Fetal brain": brain,
    "Fetal femur": femur,
    "Fetal thorax": thorax,
    "Maternal cervix": cervix,
    "Other": other,
}
