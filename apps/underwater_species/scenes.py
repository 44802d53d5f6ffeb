"""One underwater picture: a place, an animal or a shoal in it, perhaps half hidden, and water."""

from __future__ import annotations

import math

import numpy as np

from apps.underwater_species.animals import ANIMALS, Part, Pose, fish, fish_coat, paint
from apps.underwater_species.water import GAMMA, random_water, submerged
from core.data.images import resized

SHOAL = "fishInGroups"
KINDS = tuple(sorted((*ANIMALS, SHOAL)))
_FAR = (5.0, 11.0)  # metres to where the view ends
_NEAR = (0.8, 3.5)  # metres to the animal
_HIDDEN = 0.35  # how often something stands before the animal


def draw_picture(
    kind: str, rng: np.random.Generator, size: int, photograph: np.ndarray | None = None
) -> np.ndarray:
    """Return a picture of an animal under water.

    Args:
        kind: One of `KINDS`.
        rng: The source of all randomness.
        size: Sides in pixels.
        photograph: uint8 (H, W, 3), a part of which stands for the place; None has one drawn.

    Returns:
        uint8 (size, size, 3).
    """
    if photograph is None:
        picture, distance = _seabed(rng, size)
    else:
        picture, distance = _part_of(photograph, rng, size)
    for parts, pose, far in _cast(kind, rng, size):
        picture, hidden = paint(picture, parts, pose, rng)
        distance = distance * (1 - hidden) + np.float32(far) * hidden
    if rng.random() < _HIDDEN:
        far = float(distance.min()) * 0.8
        picture, hidden = paint(picture, *_frond(rng, size), rng)
        distance = distance * (1 - hidden) + np.float32(far) * hidden
    return submerged(picture, distance.astype(np.float32), random_water(rng), rng)


def _cast(kind: str, rng: np.random.Generator, size: int) -> list[tuple[list[Part], Pose, float]]:
    """Return who is seen, from the farthest to the nearest: parts, pose, metres."""
    if kind == SHOAL:
        return _shoal(rng, size)
    reach = size * rng.uniform(0.26, 0.44)
    room = max(0.0, size / 2 - 0.8 * reach)
    x, y = size / 2 + rng.uniform(-room, room, 2)
    level = kind in ("fish", "crab", "jellyfish")  # these keep an upper side
    turn = rng.normal(0, 0.35) if level else rng.uniform(0, 2 * math.pi)
    squash = rng.uniform(0.85, 1.0) if level else rng.uniform(0.6, 1.0)
    pose = Pose((x, y), reach, turn, bool(rng.random() < 0.5), squash)
    return [(ANIMALS[kind](rng), pose, float(rng.uniform(*_NEAR)))]


def _shoal(rng: np.random.Generator, size: int) -> list[tuple[list[Part], Pose, float]]:
    coat, course = fish_coat(rng), rng.normal(0, 0.3)
    mirrored, reach = bool(rng.random() < 0.5), size * rng.uniform(0.08, 0.15)
    members = []
    for far in sorted(rng.uniform(1.5, 5.0, rng.integers(5, 15)), reverse=True):
        x, y = rng.uniform(0.08, 0.92, 2) * size
        pose = Pose((x, y), reach * 2.5 / (1 + far / 2), course + rng.normal(0, 0.2), mirrored)
        members.append((fish(rng, coat), pose, float(far)))
    return members


def _frond(rng: np.random.Generator, size: int) -> tuple[list[Part], Pose]:
    """Return blades of weed that grow in from an edge."""
    tint = (rng.uniform(0.1, 0.4), rng.uniform(0.2, 0.5), rng.uniform(0.05, 0.25))
    parts = []
    for _ in range(rng.integers(2, 6)):
        at, sway, tall = rng.uniform(-0.5, 0.5), rng.uniform(-0.3, 0.3), rng.uniform(0.5, 1.1)
        up = np.linspace(0, 1, 12)
        middle = np.stack([at + sway * up**2 + 0.04 * np.sin(9 * up), 0.6 - tall * up], 1)
        wide = 0.045 * (1 - up[:, None] ** 3)
        blade = np.concatenate([middle - (1, 0) * wide, (middle + (1, 0) * wide)[::-1]])
        parts.append(Part(blade, tint, bulge=0.3))
    side = rng.integers(0, 4)
    place = ((0.5, 0.9), (0.1, 0.5), (0.9, 0.5), (0.5, 0.1))[side]
    turn = (0.0, math.pi / 2, -math.pi / 2, math.pi)[side]
    return parts, Pose((place[0] * size, place[1] * size), size * 0.6, turn)


def _seabed(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a place, linear RGB, and its distances: open water above sand, gravel and rocks."""
    rows = np.linspace(0, 1, size, dtype=np.float32)[:, None] * np.ones((1, size), np.float32)
    end = rng.uniform(*_FAR)
    horizon = rng.uniform(-0.2, 1.3)  # where the ground begins, or not within the picture
    below = rows - horizon + 0.06 * _clouds(rng, size, 5)
    ground = np.clip(below / max(0.1, 1.15 - horizon), 0, 1)
    distance = end / (1 + 3.0 * ground)
    sand = np.array(rng.uniform((0.3, 0.25, 0.15), (0.75, 0.65, 0.5)), np.float32)
    texture = 1 + 0.35 * _clouds(rng, size, 24) + 0.25 * _clouds(rng, size, 8)
    picture = texture[..., None] * sand
    for _ in range(rng.integers(0, 7)):
        rock = _clouds(rng, size, int(rng.integers(3, 7))) - 0.9 + 0.8 * ground
        tint = np.array(rng.uniform((0.05, 0.05, 0.05), (0.5, 0.4, 0.4)), np.float32)
        inside = (rock > 0)[..., None]
        shade = (0.6 + 0.5 * _clouds(rng, size, 16))[..., None]
        picture = np.where(inside, tint * shade, picture)
    open_water = (ground <= 0)[..., None]
    picture = np.where(open_water, np.float32(0.15), picture)
    return np.clip(picture, 0, 1).astype(np.float32), distance.astype(np.float32)


def _part_of(
    photograph: np.ndarray, rng: np.random.Generator, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return a random square of a photograph, linear RGB, as far away as the view reaches."""
    height, width = photograph.shape[:2]
    side = max(1, round(min(height, width) * rng.uniform(0.5, 1.0)))
    top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
    part = resized(photograph[top : top + side, left : left + side], (size, size))
    linear = (part.astype(np.float32) / 255) ** GAMMA
    return linear, np.full((size, size), rng.uniform(*_FAR) * 0.6, np.float32)


def _clouds(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Return smooth noise of about -1 to 1 with so many lumps a side."""
    import cv2

    cells = int(min(max(2, cells), size))
    coarse = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
