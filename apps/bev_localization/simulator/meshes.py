"""Triangles of simple bodies: boxes, tubes, balls and a ground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_BOX = np.array([[x, y, z] for z in (0.0, 1.0) for y in (-0.5, 0.5) for x in (-0.5, 0.5)])
_BOX_FACES = np.array([
    [0, 2, 1], [1, 2, 3], [4, 5, 6], [5, 7, 6], [0, 1, 4], [1, 5, 4], [2, 6, 3], [3, 6, 7],
    [0, 4, 2], [2, 4, 6], [1, 3, 5], [3, 7, 5],
])  # fmt: skip
_SIDES = 8  # of a tube
_RINGS = 4  # of a ball, between its poles


@dataclass(frozen=True)
class Mesh:
    """Triangles.

    Attributes:
        vertices: float32 (V, 3), metres.
        triangles: uint32 (T, 3).
    """

    vertices: np.ndarray
    triangles: np.ndarray


def joined(meshes: Sequence[Mesh]) -> Mesh:
    """Return several meshes as one."""
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])[:-1]
    triangles = [mesh.triangles + start for mesh, start in zip(meshes, starts, strict=True)]
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]).astype(np.float32),
        np.concatenate(triangles).astype(np.uint32),
    )


def boxes(places: np.ndarray, sizes: np.ndarray, turns: np.ndarray) -> Mesh:
    """Return boxes that stand on their places.

    Args:
        places: (N, 3), the middle of the lower side.
        sizes: (N, 3).
        turns: (N,), radians about z.
    """
    corners = _BOX[None] * sizes[:, None]
    return _repeated(corners, _BOX_FACES, places, turns)


def tubes(places: np.ndarray, radii: np.ndarray, heights: np.ndarray) -> Mesh:
    """Return upright tubes without ends: trunks and poles; places (N, 3) are their feet."""
    angle = 2 * np.pi * np.arange(_SIDES) / _SIDES
    ring = np.stack([np.cos(angle), np.sin(angle), np.zeros(_SIDES)], axis=1)
    lower, upper = ring[None] * radii[:, None, None], ring[None] * radii[:, None, None]
    upper = upper + np.stack([0 * heights, 0 * heights, heights], axis=1)[:, None]
    here = np.arange(_SIDES)
    after = (here + 1) % _SIDES
    faces = np.concatenate([
        np.stack([here, after, here + _SIDES], 1),
        np.stack([after, after + _SIDES, here + _SIDES], 1),
    ])  # fmt: skip
    corners = np.concatenate([lower, upper], axis=1)
    return _repeated(corners, faces, places, np.zeros(len(places)))


def balls(places: np.ndarray, radii: np.ndarray) -> Mesh:
    """Return balls of 64 triangles; places (N, 3) are their middles."""
    height = np.pi * np.arange(1, _RINGS + 1) / (_RINGS + 1)
    angle = 2 * np.pi * np.arange(_SIDES) / _SIDES
    rings = np.stack([
        np.outer(np.sin(height), np.cos(angle)), np.outer(np.sin(height), np.sin(angle)),
        np.repeat(np.cos(height)[:, None], _SIDES, axis=1),
    ], axis=-1).reshape(-1, 3)  # fmt: skip
    points = np.concatenate([rings, [[0, 0, 1.0], [0, 0, -1.0]]])
    here = np.arange(_SIDES)
    after = (here + 1) % _SIDES
    top, bottom = len(rings), len(rings) + 1
    last = (_RINGS - 1) * _SIDES
    faces = [np.stack([here, after, np.full(_SIDES, top)], 1)]
    for ring in range(_RINGS - 1):
        a, b = ring * _SIDES, (ring + 1) * _SIDES
        faces += [np.stack([a + here, b + here, a + after], 1)]
        faces += [np.stack([a + after, b + here, b + after], 1)]
    faces += [np.stack([last + after, last + here, np.full(_SIDES, bottom)], 1)]
    corners = points[None] * radii[:, None, None]
    return _repeated(corners, np.concatenate(faces), places, np.zeros(len(places)))


def surface(x: np.ndarray, y: np.ndarray, heights: np.ndarray) -> Mesh:
    """Return a ground over a grid: x (A,), y (B,), heights (A, B)."""
    columns, rows = np.meshgrid(x, y, indexing="ij")
    vertices = np.stack([columns, rows, heights], axis=-1).reshape(-1, 3)
    number = np.arange(len(x) * len(y)).reshape(len(x), len(y))
    a, b, c, d = (part.ravel() for part in
                  (number[:-1, :-1], number[1:, :-1], number[:-1, 1:], number[1:, 1:]))  # fmt: skip
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
    return Mesh(vertices.astype(np.float32), triangles.astype(np.uint32))


def _repeated(corners, faces, places, turns) -> Mesh:
    """Return bodies (N, V, 3) turned about z and moved, with the same faces each."""
    count, size = corners.shape[:2]
    cos, sin = np.cos(turns)[:, None], np.sin(turns)[:, None]
    x, y = corners[..., 0], corners[..., 1]
    turned = np.stack([cos * x - sin * y, sin * x + cos * y, corners[..., 2]], axis=-1)
    vertices = (turned + np.asarray(places)[:, None]).reshape(-1, 3)
    triangles = (faces[None] + size * np.arange(count)[:, None, None]).reshape(-1, 3)
    return Mesh(vertices.astype(np.float32), triangles.astype(np.uint32))
