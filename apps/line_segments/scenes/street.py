"""A street between two rows of buildings: facades, kerbs, doors, poles, trees, parked vans."""

from __future__ import annotations

import numpy as np

from apps.line_segments.scenes import materials
from apps.line_segments.scenes.view import Camera
from apps.line_segments.scenes.world import World, extent, on_wall


def compose(rng: np.random.Generator, size: tuple[int, int]) -> tuple[World, Camera]:
    """Return a random street and a camera in it, for a picture of (height, width)."""
    world = World()
    half = rng.uniform(4, 9)  # from the middle of the street to the facades
    _ground(world, rng, half)
    for side in (-1, 1):
        if rng.random() < 0.9:
            _row(world, rng, side, half)
    if rng.random() < 0.5:
        _building(world, rng, (rng.uniform(-4, 4), 0, rng.uniform(38, 60)), (16, 10), 0.0)
    for _ in range(rng.integers(0, 4)):
        _pole(
            world, rng, (rng.choice([-1, 1]) * (half - rng.uniform(0.4, 1.5)), rng.uniform(4, 25))
        )
    for _ in range(rng.integers(0, 4)):
        _tree(
            world, rng, (rng.choice([-1, 1]) * (half - rng.uniform(0.3, 1.5)), rng.uniform(5, 25))
        )
    for _ in range(rng.integers(0, 5)):
        _bush(
            world, rng, (rng.choice([-1, 1]) * (half - rng.uniform(0.2, 1.0)), rng.uniform(3, 25))
        )
    for _ in range(rng.integers(0, 3)):
        _van(world, rng, (rng.choice([-1, 1]) * (half - rng.uniform(2.2, 2.8)), rng.uniform(6, 24)))
    height, width = size
    camera = Camera(
        (rng.uniform(-0.6, 0.6) * half, rng.uniform(1.3, 2.6), 0.0),
        rng.normal(0, 0.5), rng.uniform(-0.05, 0.3), rng.normal(0, 0.03),
        max(height, width) * rng.uniform(0.6, 1.2), size,
    )  # fmt: skip
    return world, camera


def _flat(left: float, right: float, near: float, far: float, level: float = 0.0) -> np.ndarray:
    """Return a level rectangle seen from above."""
    return np.array(
        [[left, level, near], [left, level, far], [right, level, far], [right, level, near]]
    )


def _ground(world: World, rng: np.random.Generator, half: float) -> None:
    look = materials.ground(rng)
    world.add(_flat(-900, 900, -6, 1500), look)
    far = rng.uniform(70, 120)
    count = int(rng.integers(80, 160))
    trees = np.column_stack([rng.uniform(-1.5 * far, 1.5 * far, count), rng.uniform(0, 4, count),
                             rng.uniform(far, far + 30, count)])  # fmt: skip
    green = np.array(rng.uniform((0.05, 0.08, 0.04), (0.2, 0.25, 0.15)))
    tints = green * rng.uniform(0.6, 1.4, (count, 1))
    world.ball(trees, rng.uniform(3, 9, count), tints)  # no straight horizon
    pavement = materials.unlike(look, rng, materials.ground)
    wide = min(rng.uniform(1.2, 2.8), half - 1.5)
    for left in (-half, half - wide):
        if rng.random() < 0.7:
            world.panel(_flat(left, left + wide, -6, 120), pavement, layer=1)
    if rng.random() < 0.5:
        white = materials.paint(rng, bright=True)
        at = np.arange(rng.uniform(0, 3), 50, rng.uniform(3, 6))
        dash = rng.uniform(0.08, 0.2)
        strips = [_flat(-dash, dash, z, z + rng.uniform(1.0, 2.5)) for z in at[:9]]
        world.panel(strips, white, layer=1)


def _row(world: World, rng: np.random.Generator, side: int, half: float) -> None:
    """Add buildings along one side, from the camera on."""
    z, open_front = rng.uniform(-4, 4), True
    while z < 45:
        along, back = rng.uniform(6, 16), rng.uniform(6, 10)
        aside = side * (half + back / 2 + rng.uniform(0, 0.6))
        _building(world, rng, (aside, 0, z + along / 2), (back, along), side, open_front)
        open_front = rng.random() < 0.4
        z += along + (rng.uniform(1, 6) if open_front else 0.3)


def _building(world: World, rng: np.random.Generator, foot, sides, side, front=True) -> None:
    """Add a building.

    Args:
        world: Where it is added.
        rng: The source of all randomness.
        foot: x, y, z of the middle of its underside.
        sides: Width and depth.
        side: Where it stands: -1 left, 1 right of the street, 0 across it.
        front: Whether the wall towards the camera has windows too.
    """
    look = materials.wall(rng)
    width, depth = sides
    floors, tall = int(rng.integers(1, 6)), rng.uniform(2.8, 3.6)
    height = floors * tall + rng.uniform(0.3, 1.0)
    faces = world.box(foot, (width, height, depth), 0.0, look, top=materials.surface(rng))
    street = faces["front"] if side == 0 else faces["right" if side < 0 else "left"]
    trim = materials.unlike(look, rng, materials.paint)
    for wall in (street, faces["front"]) if side and front else (street,):
        _facade(world, rng, wall, floors, tall, trim)
    if rng.random() < 0.35:
        _gable(world, rng, faces, height * rng.uniform(0.15, 0.4), look)


def _facade(world: World, rng: np.random.Generator, wall, floors, tall, trim) -> None:
    """Add windows, a door, and bands to a wall."""
    width, _ = extent(wall)
    pane = materials.glass(rng)
    step = rng.uniform(1.8, 3.6)
    columns = max(1, int(width / step))
    step = width / columns
    wide, high = step * rng.uniform(0.35, 0.7), tall * rng.uniform(0.4, 0.7)
    sill = (tall - high) * rng.uniform(0.4, 0.7)
    left = (np.arange(columns) + 0.5) * step - wide / 2
    bottom = np.arange(floors) * tall + sill
    places = np.array([(x, y, x + wide, y + high) for y in bottom for x in left])
    places = places[rng.random(len(places)) > rng.choice([0.0, 0.2])]
    door = rng.random() < 0.6
    if door:
        at = left[rng.integers(0, columns)]
        places = places[~((places[:, 0] == at) & (places[:, 1] < tall))]
        inside = (at, 0.02, at + min(wide, 1.4), min(2.2, tall - 0.3))
        world.panel(on_wall(wall, inside), materials.surface(rng), layer=1, solid=True)
    if len(places):
        frame = min(wide, high) * rng.uniform(0.06, 0.14)
        if rng.random() < 0.6:
            world.panel(on_wall(wall, places), trim, layer=1, solid=True)
            places = places + np.array([frame, frame, -frame, -frame])
        world.panel(on_wall(wall, places), pane, layer=2, solid=True)
        if rng.random() < 0.4:
            middle = (places[:, 0] + places[:, 2]) / 2
            bars = np.stack([middle - frame / 3, places[:, 1], middle + frame / 3, places[:, 3]], 1)
            world.panel(on_wall(wall, bars), trim, layer=3, solid=True)
    if rng.random() < 0.5:
        thick = rng.uniform(0.12, 0.3)
        levels = np.arange(1, floors + 1) * tall - thick
        bands = np.stack([np.zeros(floors), levels, np.full(floors, width), levels + thick], 1)
        world.panel(on_wall(wall, bands), trim, layer=1, solid=True)


def _gable(world: World, rng: np.random.Generator, faces, rise: float, look) -> None:
    """Put a pitched roof on a building, its ridge along the street."""
    a, b, c, d = faces["top"]  # near left, far left, far right, near right
    lift = np.array([0, rise, 0])
    near, far = (a + d) / 2 + lift, (b + c) / 2 + lift
    tiles = materials.unlike(look, rng, materials.surface)
    world.add([[a, b, far, near], [d, near, far, c]], tiles)
    world.add([[a, near, d, d], [c, far, b, b]], look)
    world.add_edges([[a, near], [near, d], [b, far], [far, c], [near, far]])


def _pole(world: World, rng: np.random.Generator, place) -> None:
    x, z = place
    wide, high = rng.uniform(0.08, 0.3), rng.uniform(3, 8)
    foot = np.array([x - wide / 2, 0, z])
    up, along = np.array([0, high, 0]), np.array([wide, 0, 0])
    grey = materials.paint(rng)
    world.panel([foot, foot + up, foot + up + along, foot + along], grey)
    if rng.random() < 0.5:
        width, tall = rng.uniform(0.5, 1.4), rng.uniform(0.4, 1.0)
        corner = np.array([x - width / 2, high * rng.uniform(0.5, 0.9), z - 0.06])
        up, along = np.array([0, tall, 0]), np.array([width, 0, 0])
        sign = materials.unlike(grey, rng, materials.paint)
        world.panel([corner, corner + up, corner + up + along, corner + along], sign)
    elif rng.random() < 0.5:
        world.ball((x, high, z - 0.05), rng.uniform(0.15, 0.35), rng.uniform(0.5, 1, 3))


def _tree(world: World, rng: np.random.Generator, place) -> None:
    x, z = place
    high, wide = rng.uniform(1.6, 3.0), rng.uniform(0.12, 0.35)
    trunk = [[x - wide / 2, 0, z], [x - wide / 2, high, z], [x + wide / 2, high, z]]
    world.panel([*trunk, [x + wide / 2, 0, z]], materials.wood(rng))
    count, crown = int(rng.integers(60, 180)), rng.uniform(0.8, 1.8)
    leaves = rng.normal((x, high + 0.7 * crown, z), 0.45 * crown, (count, 3))
    green = np.array(rng.uniform((0.03, 0.1, 0.02), (0.25, 0.4, 0.1)))
    tints = green * rng.uniform(0.5, 1.3, (count, 1))
    world.ball(leaves, crown * rng.uniform(0.06, 0.2, count), tints)


def _bush(world: World, rng: np.random.Generator, place) -> None:
    x, z = place
    count, wide, high = int(rng.integers(40, 150)), rng.uniform(0.3, 1.2), rng.uniform(0.3, 1.4)
    leaves = np.column_stack(
        [
            rng.normal(x, wide / 2, count),
            np.abs(rng.normal(0, high / 2, count)),
            rng.normal(z, wide / 2, count),
        ]
    )
    tints = rng.uniform((0.03, 0.08, 0.02), (0.3, 0.35, 0.1)) * rng.uniform(0.3, 1.6, (count, 1))
    world.ball(leaves, rng.uniform(0.03, 0.12, count), tints)


def _van(world: World, rng: np.random.Generator, place) -> None:
    x, z = place
    wide, high, long = rng.uniform(1.7, 2.1), rng.uniform(1.3, 2.2), rng.uniform(3.6, 5.2)
    look = materials.paint(rng)
    faces = world.box((x, 0.25, z), (wide, high, long), rng.normal(0, 0.03), look)
    pane = materials.glass(rng)
    front = (0.12 * wide, 0.5 * high, 0.88 * wide, 0.9 * high)
    world.panel(on_wall(faces["front"], front), pane, layer=1, solid=True)
    for name in ("left", "right"):
        windows = [
            (long * a, 0.55 * high, long * b, 0.88 * high) for a, b in ((0.1, 0.4), (0.45, 0.9))
        ]
        world.panel(on_wall(faces[name], windows), pane, layer=1, solid=True)
        aside = x + (wide / 2 + 0.02) * (-1 if name == "left" else 1)
        for along in (-0.3, 0.3):
            world.ball((aside, 0.32, z + along * long), 0.32, (0.03, 0.03, 0.03))
