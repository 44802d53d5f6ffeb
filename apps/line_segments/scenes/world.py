"""A scene before it is seen: flat faces, the segments that bound them, round things before them.

Lengths are metres; x runs right, y up, z forward.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

UP = np.array([0.0, 1.0, 0.0])
# The corners of a box of one metre, and its faces as seen from outside.
_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (0, 1) for z in (-0.5, 0.5)])
_FACES = {
    "front": (0, 2, 6, 4), "back": (5, 7, 3, 1), "left": (1, 3, 2, 0), "right": (4, 6, 7, 5),
    "top": (2, 3, 7, 6), "bottom": (1, 0, 4, 5),
}  # fmt: skip
_EDGES = ((0, 1), (0, 2), (0, 4), (1, 3), (1, 5), (2, 3), (2, 6), (3, 7), (4, 5), (4, 6), (5, 7),
          (6, 7))  # fmt: skip


@dataclass(frozen=True)
class Look:
    """What a face looks like.

    Attributes:
        colour: Linear RGB in 0..1.
        texture: Position in `textures.ATLAS`.
        contrast: Of the texture, a share of the colour.
        grain: Metres that the texture spans.
    """

    colour: tuple[float, float, float]
    texture: int = 0
    contrast: float = 0.1
    grain: float = 2.0


@dataclass
class World:
    """Faces, segments and discs, collected while a scene is composed.

    Attributes:
        quads: Arrays (n, 4, 3) of corners; a triangle repeats its last one.
        looks: A look for each array of quads.
        layers: What lies on a wall is one layer above it, for each array of quads.
        solid: Whether only the front of the quads is ever seen, for each array.
        edges: Arrays (m, 2, 3) of the ends of segments.
        edge_layers: A layer for each array of edges.
        discs: Rows x, y, z, radius and linear RGB of round things.
    """

    quads: list[np.ndarray] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    layers: list[int] = field(default_factory=list)
    solid: list[bool] = field(default_factory=list)
    edges: list[np.ndarray] = field(default_factory=list)
    edge_layers: list[int] = field(default_factory=list)
    discs: list[np.ndarray] = field(default_factory=list)

    def add(self, quads, look: Look, *, layer: int = 0, solid: bool = False) -> None:
        """Add faces (n, 4, 3), or one (4, 3), without segments."""
        self.quads.append(np.asarray(quads, np.float64).reshape(-1, 4, 3))
        self.looks.append(look)
        self.layers.append(layer)
        self.solid.append(solid)

    def add_edges(self, edges, *, layer: int = 0) -> None:
        """Add segments (m, 2, 3)."""
        self.edges.append(np.asarray(edges, np.float64).reshape(-1, 2, 3))
        self.edge_layers.append(layer)

    def panel(self, quads, look: Look, *, layer: int = 0, solid: bool = False) -> None:
        """Add faces with the segments around them."""
        quads = np.asarray(quads, np.float64).reshape(-1, 4, 3)
        self.add(quads, look, layer=layer, solid=solid)
        self.add_edges(np.stack([quads, quads[:, [1, 2, 3, 0]]], 2), layer=layer)

    def box(
        self, foot, size, turn: float, look: Look, *, top: Look | None = None
    ) -> dict[str, np.ndarray]:
        """Add a box with its twelve edges.

        Args:
            foot: x, y, z of the middle of its underside.
            size: Width, height and depth.
            turn: About the vertical, in radians.
            look: Of its sides.
            top: Of its upper side, if another.

        Returns:
            Its faces by name, (4, 3) each: lower left, upper left, upper right, lower right as
            seen from outside.
        """
        corners = turned(_CORNERS * np.asarray(size), turn) + np.asarray(foot)
        faces = {name: corners[list(places)] for name, places in _FACES.items()}
        sides = [faces[name] for name in ("front", "back", "left", "right", "bottom")]
        self.add(np.array(sides), look, solid=True)
        self.add(faces["top"], top or look, solid=True)
        self.add_edges(corners[np.array(_EDGES)])
        return faces

    def ball(self, middle, radius, colour) -> None:
        """Add a round thing, or a heap of them: (n, 3), one radius or (n,), colours (n, 3)."""
        middle = np.asarray(middle, np.float64).reshape(-1, 3)
        rows = np.empty((len(middle), 7))
        rows[:, :3], rows[:, 3], rows[:, 4:] = middle, radius, colour
        self.discs.append(rows)


def turned(points: np.ndarray, turn: float) -> np.ndarray:
    """Return points (…, 3) turned about the vertical, in radians."""
    cosine, sine = np.cos(turn), np.sin(turn)
    return points @ np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])


def on_wall(wall: np.ndarray, places) -> np.ndarray:
    """Return rectangles on a wall, (n, 4, 3).

    Args:
        wall: (4, 3), lower left, upper left, upper right, lower right corner.
        places: (n, 4), left, bottom, right and top in metres from the lower left corner.
    """
    places = np.asarray(places, np.float64).reshape(-1, 4)
    origin, up, along = wall[0], wall[1] - wall[0], wall[3] - wall[0]
    up, along = up / np.linalg.norm(up), along / np.linalg.norm(along)
    left, bottom, right, top = places.T[:, :, None]
    corners = [(left, bottom), (left, top), (right, top), (right, bottom)]
    return np.stack([origin + along * u + up * v for u, v in corners], 1)


def extent(wall: np.ndarray) -> tuple[float, float]:
    """Return width and height of a wall in metres."""
    width, height = np.linalg.norm(wall[3] - wall[0]), np.linalg.norm(wall[1] - wall[0])
    return float(width), float(height)
