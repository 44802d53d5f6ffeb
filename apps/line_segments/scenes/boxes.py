"""Boxes on a table or a yard, turned and stacked, seen from above."""

from __future__ import annotations

import numpy as np

from apps.line_segments.scenes import materials
from apps.line_segments.scenes.room import free
from apps.line_segments.scenes.view import Camera
from apps.line_segments.scenes.world import World, extent, on_wall


def compose(rng: np.random.Generator, size: tuple[int, int]) -> tuple[World, Camera]:
    """Return random boxes and a camera before them, for a picture of (height, width)."""
    world = World()
    table = materials.ground(rng) if rng.random() < 0.4 else materials.surface(rng)
    if rng.random() < 0.5:  # a table's far edge, a wall behind
        edge = rng.uniform(2.5, 5)
        world.panel([[-9, 0, -2], [-9, 0, edge], [9, 0, edge], [9, 0, -2]], table)
        behind = materials.unlike(table, rng, materials.wall)
        far = edge + 2
        world.add([[-30, -9, far], [-30, 20, far], [30, 20, far], [30, -9, far]], behind)
    else:
        world.add([[-40, 0, -2], [-40, 0, 80], [40, 0, 80], [40, 0, -2]], table)
    taken = [(0.0, -1.2, 0.6)]
    for _ in range(rng.integers(3, 10)):
        sides = rng.uniform(0.2, 0.9, 3)
        x, z = rng.uniform(-1.6, 1.6), rng.uniform(0.3, 3.2)
        if free(taken, x, z, np.hypot(sides[0], sides[2]) / 2):
            _stack(world, rng, (x, z), sides)
    for _ in range(rng.integers(0, 4)):
        radius, x, z = rng.uniform(0.08, 0.25), rng.uniform(-1.5, 1.5), rng.uniform(0.3, 3)
        if free(taken, x, z, radius):
            world.ball((x, radius, z), radius, materials.paint(rng).colour)
    back = rng.uniform(1.0, 2.2)
    tilt = rng.uniform(-0.75, -0.25)
    camera = Camera(
        (rng.uniform(-0.8, 0.8), 0.5 + (1.6 + back) * np.tan(-tilt), -back),
        rng.normal(0, 0.15), tilt, rng.normal(0, 0.08), max(size) * rng.uniform(0.8, 1.5), size,
    )  # fmt: skip
    return world, camera


def _stack(world: World, rng: np.random.Generator, place, sides) -> None:
    """Add a box, perhaps with smaller ones upon it."""
    x, z = place
    level = 0.0
    for _ in range(rng.integers(1, 4)):
        look = materials.surface(rng)
        lid = materials.unlike(look, rng, materials.surface) if rng.random() < 0.3 else None
        faces = world.box((x, level, z), sides, rng.uniform(-np.pi, np.pi), look, top=lid)
        for name in ("front", "left", "right", "back", "top"):
            if rng.random() < 0.3:
                _label(world, rng, faces[name], look)
        level += sides[1]
        sides = sides * np.array([0.65, rng.uniform(0.6, 1.0), 0.65])


def _label(world: World, rng: np.random.Generator, wall: np.ndarray, look) -> None:
    width, height = extent(wall)
    left, bottom = rng.uniform(0.1, 0.4, 2) * (width, height)
    right, top = rng.uniform(0.55, 0.9, 2) * (width, height)
    other = materials.unlike(look, rng, materials.paint)
    world.panel(on_wall(wall, (left, bottom, right, top)), other, layer=1, solid=True)
