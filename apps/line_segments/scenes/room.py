"""A room: walls with doors, windows and pictures, a tiled or planked floor, furniture."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from apps.line_segments.scenes import materials
from apps.line_segments.scenes.view import Camera
from apps.line_segments.scenes.world import Look, World, extent, on_wall, turned


def compose(rng: np.random.Generator, size: tuple[int, int]) -> tuple[World, Camera]:
    """Return a random room and a camera in it, for a picture of (height, width)."""
    world = World()
    wide, high, long = rng.uniform(3, 8), rng.uniform(2.3, 3.4), rng.uniform(4, 9)
    walls = _shell(world, rng, wide, high, long)
    taken: list[tuple[float, float, float]] = []
    camera = Camera(
        (rng.uniform(-0.35, 0.35) * wide, rng.uniform(1.1, 1.8), rng.uniform(0.3, 0.8)),
        rng.normal(0, 0.3), rng.normal(-0.08, 0.1), rng.normal(0, 0.025),
        max(size) * rng.uniform(0.5, 0.9), size,
    )  # fmt: skip
    taken.append((camera.place[0], camera.place[2], 1.0))
    for wall in walls:
        _dress(world, rng, wall)
    for _ in range(rng.integers(1, 4)):
        _cabinet(world, rng, wide, high, long, taken)
    for _ in range(rng.integers(0, 3)):
        _table(world, rng, wide, long, taken)
    for _ in range(rng.integers(0, 3)):
        _plant(world, rng, wide, long, taken)
    return world, camera


def _shell(world: World, rng: np.random.Generator, wide, high, long) -> list[np.ndarray]:
    """Add floor, ceiling and walls; return the walls as seen from inside."""
    a, b = np.array([-wide / 2, 0, 0]), np.array([-wide / 2, 0, long])
    c, d = np.array([wide / 2, 0, long]), np.array([wide / 2, 0, 0])
    up = np.array([0, high, 0])
    colour = materials.paint(rng, bright=rng.random() < 0.6)
    walls = [np.array([p, p + up, q + up, q]) for p, q in ((a, b), (b, c), (c, d), (d, a))]
    tone = np.array([1.0, rng.uniform(0.75, 0.92), rng.uniform(0.8, 1.1), 1.0])
    for wall, factor in zip(walls, tone, strict=True):
        red, green, blue = (float(min(1, factor * value)) for value in colour.colour)
        world.panel(wall, Look((red, green, blue), colour.texture, colour.contrast, colour.grain))
    ceiling = materials.paint(rng, bright=True)
    world.add([a + up, d + up, c + up, b + up], ceiling)
    floor = np.array([a, b, c, d])
    look = (materials.wood, materials.ground, materials.paint)[rng.integers(0, 3)](rng)
    world.add(floor, look)
    if rng.random() < 0.4:
        _tiles(world, rng, floor, look)
    if rng.random() < 0.5:
        _lamps(world, rng, wide, high, long)
    return walls


def _tiles(world: World, rng: np.random.Generator, floor: np.ndarray, look: Look) -> None:
    """Lay every other tile of a chessboard."""
    long, wide = np.linalg.norm(floor[1] - floor[0]), np.linalg.norm(floor[3] - floor[0])
    side = rng.uniform(0.4, 0.9)
    rows, columns = int(long / side), int(wide / side)
    places = [
        (side * i, side * j, side * (i + 1), side * (j + 1))
        for i in range(columns) for j in range(rows) if (i + j) % 2
    ]  # fmt: skip
    if places:
        other = materials.unlike(look, rng, materials.surface)
        world.panel(on_wall(floor, places), other, layer=1)


def _lamps(world: World, rng: np.random.Generator, wide, high, long) -> None:
    """Hang a row of light panels under the ceiling."""
    width, depth = rng.uniform(0.3, 1.2), rng.uniform(0.3, 1.2)
    x, white = rng.uniform(-0.2, 0.2) * wide, Look((1.0, 1.0, 0.97), contrast=0.0)
    for z in np.arange(1.5, long - depth, rng.uniform(1.5, 3)):
        corners = [(x, z), (x, z + depth), (x + width, z + depth), (x + width, z)]
        world.panel([(u, high - 0.01, v) for u, v in corners], white)


def _dress(world: World, rng: np.random.Generator, wall: np.ndarray) -> None:
    """Put a door, windows or pictures on a wall, and a skirting board."""
    width, height = extent(wall)
    trim = materials.paint(rng, bright=rng.random() < 0.7)
    if rng.random() < 0.5:
        low = rng.uniform(0.08, 0.18)
        world.panel(on_wall(wall, (0, 0, width, low)), trim, layer=1)
    slots = max(1, int(width / rng.uniform(1.5, 2.5)))
    for slot in range(slots):
        middle, room = (slot + 0.5) * width / slots, 0.8 * width / slots
        kind = rng.choice(["door", "window", "picture", "nothing"], p=[0.2, 0.3, 0.25, 0.25])
        if kind == "door":
            half = min(rng.uniform(0.4, 0.6), room / 2)
            _framed(world, rng, wall, (middle - half, 0, middle + half, 2.1), trim,
                    materials.surface(rng), foot=0)  # fmt: skip
        elif kind == "window":
            half, sill = min(rng.uniform(0.4, 1.0), room / 2), rng.uniform(0.7, 1.1)
            place = (middle - half, sill, middle + half, min(height - 0.2, sill + 1.3))
            _framed(world, rng, wall, place, trim, materials.glass(rng, lit=True))
        elif kind == "picture":
            half, low = min(rng.uniform(0.2, 0.6), room / 2), rng.uniform(1.1, 1.4)
            place = (
                middle - half,
                low,
                middle + half,
                min(height - 0.1, low + rng.uniform(0.4, 0.9)),
            )
            _framed(world, rng, wall, place, materials.surface(rng), materials.paint(rng))


def _framed(
    world: World, rng: np.random.Generator, wall, place, frame: Look, inside: Look, foot: float = 1
) -> None:
    """Put something with a frame on a wall; `foot` 0 leaves the frame's lower bar out."""
    thick = rng.uniform(0.05, 0.11)
    world.panel(on_wall(wall, place), frame, layer=2)
    left, bottom, right, top = place
    within = (left + thick, bottom + foot * thick, right - thick, top - thick)
    world.panel(on_wall(wall, within), inside, layer=3)
    if rng.random() < 0.3:
        middle = (left + right) / 2
        bar = (middle - thick / 2, within[1], middle + thick / 2, within[3])
        world.panel(on_wall(wall, bar), frame, layer=4)


def free(taken: list[tuple[float, float, float]], x: float, z: float, reach: float) -> bool:
    """Take a round place on the floor, if it is free."""
    if any(np.hypot(x - u, z - v) < reach + r for u, v, r in taken):
        return False
    taken.append((x, z, reach))
    return True


def _cabinet(world: World, rng: np.random.Generator, wide, high, long, taken) -> None:
    """Put a cabinet with doors or drawers against a wall."""
    width, depth = rng.uniform(0.6, 1.8), rng.uniform(0.35, 0.6)
    tall = min(rng.uniform(0.5, 2.2), high - 0.2)
    side = rng.choice(["left", "right", "far"])
    along = rng.uniform(1.2, max(1.3, long - width))
    turn = {"left": -np.pi / 2, "right": np.pi / 2, "far": 0.0}[side]
    x = {"left": -wide / 2 + depth / 2, "right": wide / 2 - depth / 2}.get(
        side, rng.uniform(-0.5, 0.5) * max(0.1, wide - width - 1)
    )
    z = long - depth / 2 if side == "far" else along
    if not free(taken, x, z, np.hypot(width, depth) / 2):
        return
    look = materials.surface(rng)
    faces = world.box((x, 0, z), (width, tall, depth), turn, look)
    fronts = int(rng.integers(1, 4))
    gap, other = 0.04, materials.unlike(look, rng, materials.surface)
    if rng.random() < 0.5:
        edges = np.linspace(0, width, fronts + 1)
        places = [(u + gap, gap, v - gap, tall - gap) for u, v in pairwise(edges)]
    else:
        edges = np.linspace(0, tall, fronts + 2)
        places = [(gap, u + gap, width - gap, v - gap) for u, v in pairwise(edges)]
    world.panel(on_wall(faces["front"], places), other, layer=1, solid=True)
    if rng.random() < 0.5:
        world.ball((x, tall + 0.15, z), 0.15, rng.uniform(0.05, 0.9, 3))


def _table(world: World, rng: np.random.Generator, wide, long, taken) -> None:
    """Put a table in the room, perhaps with a box upon it."""
    width, depth, tall = rng.uniform(0.8, 1.8), rng.uniform(0.6, 1.0), rng.uniform(0.45, 0.8)
    reach = np.hypot(width, depth) / 2
    x = rng.uniform(-1, 1) * max(0.05, wide / 2 - reach - 0.1)
    z = rng.uniform(1.8, max(1.9, long - reach - 0.1))
    if not free(taken, x, z, reach):
        return
    turn, look = rng.choice([0.0, rng.uniform(-0.7, 0.7)]), materials.surface(rng)
    thick, leg = rng.uniform(0.03, 0.08), rng.uniform(0.05, 0.09)
    for u in (-1, 1):
        for v in (-1, 1):
            aside = np.array([u * (width / 2 - leg), 0, v * (depth / 2 - leg)])
            place = turned(aside, turn) + np.array([x, 0, z])
            world.box(place, (leg, tall, leg), turn, look)
    world.box((x, tall, z), (width, thick, depth), turn, look)
    if rng.random() < 0.6:
        sides = rng.uniform(0.15, 0.45, 3)
        world.box((x, tall + thick, z), sides, rng.uniform(-1, 1), materials.surface(rng))


def _plant(world: World, rng: np.random.Generator, wide, long, taken) -> None:
    """Put a pot with leaves in the room."""
    x, z = rng.uniform(-0.45, 0.45) * wide, rng.uniform(1.8, long - 0.5)
    if not free(taken, x, z, 0.35):
        return
    side, tall = rng.uniform(0.25, 0.4), rng.uniform(0.25, 0.5)
    world.box((x, 0, z), (side, tall, side), rng.uniform(-1, 1), materials.surface(rng))
    count = int(rng.integers(15, 60))
    leaves = rng.normal((x, tall + 0.3, z), (0.16, 0.24, 0.16), (count, 3))
    green = np.array(rng.uniform((0.03, 0.15, 0.02), (0.2, 0.4, 0.1)))
    world.ball(leaves, rng.uniform(0.03, 0.1, count), green * rng.uniform(0.5, 1.4, (count, 1)))
