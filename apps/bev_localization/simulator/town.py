"""A town of square blocks between straight roads, drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apps.bev_localization.simulator.meshes import Mesh, balls, boxes, joined, surface, tubes

BLOCK, ROAD = 60.0, 14.0  # metres
PITCH = BLOCK + ROAD
_MARGIN = 110.0  # metres of ground around the blocks
_GROUND_STEP = 8.0
_CAR = (4.3, 1.8, 1.5)
_FIXED, _DAILY = 1, 2  # keys of the generators


@dataclass(frozen=True)
class Town:
    """A town on a day.

    Attributes:
        blocks: To a side, and a row more around them. Between run roads, `blocks` + 1 each way,
            whose middle lines cross at multiples of `PITCH`, from (0, 0).
        mesh: All there is.
        seed, day: What it was drawn from.
    """

    blocks: int
    mesh: Mesh
    seed: int
    day: int


def ground_height(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the height of the slightly curved ground, in metres."""
    return 0.5 * np.sin(np.asarray(x) / 75) + 0.4 * np.cos(np.asarray(y) / 60)


def build_town(blocks: int = 4, *, seed: int = 0, day: int = 0) -> Town:
    """Return a town.

    Args:
        blocks: To a side.
        seed: Of all that stays: houses, trees, poles, fences and walls.
        day: Of what does not: where cars are parked.
    """
    if blocks < 1:
        raise ValueError(f"`blocks` must be positive. Received: blocks={blocks}")
    side = blocks * PITCH
    ends = np.arange(-_MARGIN, side + _MARGIN + _GROUND_STEP, _GROUND_STEP)
    parts = [surface(ends, ends, ground_height(*np.meshgrid(ends, ends, indexing="ij")))]
    for column in range(-1, blocks + 1):  # one more around, so that no road ends in a plain
        for row in range(-1, blocks + 1):
            corner = np.array([column, row]) * PITCH + ROAD / 2
            fixed = np.random.default_rng((seed, _FIXED, column + 1, row + 1))
            daily = np.random.default_rng((seed, _DAILY, day, column + 1, row + 1))
            parts += [*_block(fixed, corner), _cars(daily, corner)]
    return Town(blocks, joined(parts), seed, day)


def _on_ground(places: np.ndarray, above: float | np.ndarray = 0.0) -> np.ndarray:
    """Return places (N, 2) with the height of the ground there, (N, 3)."""
    return np.column_stack([places, ground_height(*places.T) + above])


def _block(rng: np.random.Generator, corner: np.ndarray) -> list[Mesh]:
    """Return what stays on a block whose lower left corner is given."""
    found = [_houses(rng, corner)]
    trees = int(rng.integers(4, 14))
    places = corner + rng.uniform(2, BLOCK - 2, (trees, 2))
    places[::2] = corner + _along_rim(rng, len(places[::2]), 0.2)[0]
    found += [
        tubes(_on_ground(places), rng.uniform(0.12, 0.3, trees), np.full(trees, 3.5)),
        balls(_on_ground(places, rng.uniform(3.5, 5.0, trees)), rng.uniform(1.0, 2.2, trees)),
    ]
    poles = int(rng.integers(3, 8))
    places = corner + _along_rim(rng, poles, -1.0)[0]
    found.append(
        tubes(_on_ground(places), rng.uniform(0.08, 0.15, poles), rng.uniform(4, 8, poles))
    )
    walls = int(rng.integers(2, 6))  # fences and low walls, along the rim
    places, turns = _along_rim(rng, walls, rng.uniform(0.3, 1.0))
    sizes = np.stack([
        rng.uniform(4, 14, walls), np.full(walls, 0.15), rng.uniform(0.6, 1.8, walls),
    ], axis=1)  # fmt: skip
    found.append(boxes(_on_ground(corner + places, -0.3), sizes, turns))
    return found


def _along_rim(rng, count: int, inward: float) -> tuple[np.ndarray, np.ndarray]:
    """Return places (N, 2) near a block's rim, and the directions (N,) of the rim there."""
    along, side = rng.uniform(3, BLOCK - 3, count), rng.integers(0, 4, count)
    across = np.asarray(np.where(side % 2 == 0, inward, BLOCK - inward))
    level = side < 2
    places = np.stack([np.where(level, along, across), np.where(level, across, along)], axis=1)
    return places, np.where(level, 0.0, np.pi / 2).astype(np.float64)


def _houses(rng: np.random.Generator, corner: np.ndarray) -> Mesh:
    """Return houses in a row along each side, with gaps."""
    places, sizes, turns = [], [], []
    for side in range(4):
        at = rng.uniform(1, 8)
        while True:
            width, depth, height = rng.uniform((6, 6, 3), (18, 14, 18))
            if at + width > BLOCK - 1:
                break
            middle, across = at + width / 2, rng.uniform(1, 6) + depth / 2
            across = across if side % 2 == 0 else BLOCK - across
            places.append((middle, across) if side < 2 else (across, middle))
            sizes.append((width, depth, height + 1.0))
            turns.append((0.0 if side < 2 else np.pi / 2) + rng.normal(0, 0.03))
            at += width + rng.uniform(1, 8)
    return boxes(_on_ground(corner + np.array(places), -1.0), np.array(sizes), np.array(turns))


def _cars(rng: np.random.Generator, corner: np.ndarray) -> Mesh:
    """Return cars parked on the roads along a block."""
    count = int(rng.integers(2, 10))
    places, turns = _along_rim(rng, count, -1.3)
    sizes = np.array(_CAR) * rng.uniform(0.9, 1.15, (count, 3))
    return boxes(_on_ground(corner + places), sizes, turns + rng.normal(0, 0.03, count))
