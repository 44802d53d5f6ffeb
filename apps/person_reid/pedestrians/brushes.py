"""Two brushes for stylised bodies: a column of rows and a limb of capsules, shaded as round solids.

Lengths are in body heights: x to the right of the body's axis, y down from the crown (0) to the
soles (1). What a brush covers is computed from distances, so edges are smooth at every size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]


def triple(values: Iterable[float]) -> tuple[float, float, float]:
    """Return three numbers, a colour's or a direction's."""
    first, second, third = map(float, values)
    return first, second, third


@dataclass(frozen=True)
class Spots:
    """The pixels under a brush, for what colours them.

    Attributes:
        across: (h, w), -1 at a solid's left edge to 1 at its right edge, as seen.
        down: (h, w) in body heights: y for a column, the distance from its start for a limb.
        x, y: (1, w) and (h, 1), body heights.
    """

    across: np.ndarray
    down: np.ndarray
    x: np.ndarray
    y: np.ndarray


Texture = Callable[[Spots], np.ndarray]


class Canvas:
    """A transparent picture that bodies are painted on.

    Args:
        size: Height and width in pixels.
        top: Row of the crown.
        centre: Column of the body's axis.
        scale: Pixels in a body height.
        light: Direction to the light, of length 1: right, down, towards the viewer.
        ambient: Share of the light that comes from everywhere.
        folds: (h, w), factors around 1: wrinkles and dirt of cloth.
    """

    def __init__(
        self,
        size: tuple[int, int],
        *,
        top: float,
        centre: float,
        scale: float,
        light: tuple[float, float, float],
        ambient: float,
        folds: np.ndarray,
    ):
        self.rgb = np.zeros((*size, 3), np.float32)
        self.alpha = np.zeros(size, np.float32)
        self._size, self._top, self._centre, self._scale = size, top, centre, scale
        self._light, self._ambient, self._folds = light, ambient, folds

    def sink(self, by: float) -> None:
        """Move what is painted from now on down by body heights."""
        self._top += by * self._scale

    def column(
        self,
        heights,
        halves,
        colour: Colour | Texture,
        *,
        centres=0.0,
        round_ends: bool = False,
        cloth: bool = True,
    ) -> None:
        """Paint a solid that is as wide at every height as its profile says.

        Args:
            heights: (n,) rising y of the profile's knots.
            halves: (n,) half widths.
            colour: Of the whole, or a function of the spots that returns (h, w, 3).
            centres: (n,) or one x of the middle.
            round_ends: Shade top and bottom as those of a ball.
            cloth: Show the folds.
        """
        heights = np.asarray(heights, np.float32)
        halves = np.asarray(halves, np.float32)
        centres = np.broadcast_to(np.asarray(centres, np.float32), heights.shape)
        window = self._window(
            (centres - halves).min(), (centres + halves).max(), heights[0], heights[-1]
        )
        if window is None:
            return
        x, y = self._grid(window)
        rows = y[:, 0]
        half = np.maximum(np.interp(rows, heights, halves), 1e-4)[:, None].astype(np.float32)
        middle = np.interp(rows, heights, centres)[:, None].astype(np.float32)
        away = x - middle
        ends = np.minimum(y - heights[0], heights[-1] - y)
        inside = np.minimum(half - np.abs(away), ends + 0 * away)
        across = np.clip(away / half, -1, 1)
        turned = np.zeros_like(across)
        if round_ends:
            span = heights[-1] - heights[0]
            turned = np.clip((2 * y - heights[0] - heights[-1]) / span, -1, 1) + turned
        self._blend(window, inside, Spots(across, y + 0 * x, x, y), across, turned, colour, cloth)

    def limb(self, points, radii, colour: Colour | Texture, *, cloth: bool = True) -> None:
        """Paint tapered capsules from point to point.

        Args:
            points: (n, 2) x and y of two joints or more.
            radii: (n,) at the joints.
            colour, cloth: As in `column`.
        """
        points = np.asarray(points, np.float32)
        radii = np.asarray(radii, np.float32)
        low = (points - radii[:, None]).min(axis=0)
        high = (points + radii[:, None]).max(axis=0)
        window = self._window(low[0], high[0], low[1], high[1])
        if window is None:
            return
        x, y = self._grid(window)
        best: list[np.ndarray] | None = None
        start = 0.0
        for a, b, ra, rb in zip(points[:-1], points[1:], radii[:-1], radii[1:], strict=True):
            ab = b - a
            length = float(np.hypot(*ab)) + 1e-6
            t = np.clip(((x - a[0]) * ab[0] + (y - a[1]) * ab[1]) / length**2, 0, 1)
            dx, dy = x - (a[0] + t * ab[0]), y - (a[1] + t * ab[1])
            radius = ra + (rb - ra) * t
            found = [radius - np.hypot(dx, dy), start + t * length, dx / radius, dy / radius]
            if best is None:
                best = found
            else:
                nearer = found[0] > best[0]
                best = [np.where(nearer, new, old) for new, old in zip(found, best, strict=True)]
            start += length
        if best is None:
            return
        inside, down, nx, ny = best
        self._blend(window, inside, Spots(np.clip(nx, -1, 1), down, x, y), nx, ny, colour, cloth)

    def _window(self, left, right, top, bottom) -> tuple[slice, slice] | None:
        """Return the rows and columns that a box in body heights touches, or None."""
        low_x = max(0, int(np.floor(self._centre + left * self._scale - 1)))
        high_x = min(self._size[1], int(np.ceil(self._centre + right * self._scale + 1)))
        low_y = max(0, int(np.floor(self._top + top * self._scale - 1)))
        high_y = min(self._size[0], int(np.ceil(self._top + bottom * self._scale + 1)))
        if low_x >= high_x or low_y >= high_y:
            return None
        return slice(low_y, high_y), slice(low_x, high_x)

    def _grid(self, window: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
        """Return x (1, w) and y (h, 1) of the middles of a window's pixels."""
        rows, columns = window
        x = (np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5 - self._centre)[None]
        y = (np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5 - self._top)[:, None]
        return x / self._scale, y / self._scale

    def _blend(self, window, inside, spots: Spots, nx, ny, colour, cloth: bool) -> None:
        """Lay shaded colour over what is there; `inside` is the distance from the edge."""
        cover = np.clip(inside * self._scale + 0.5, 0, 1)
        # A rounded box turns away only near its edges: closer to a body than a true cylinder.
        nx, ny = 0.9 * nx * np.abs(nx), 0.9 * ny * np.abs(ny)
        nz = np.sqrt(np.clip(1 - nx * nx - ny * ny, 0, 1))
        x, y, z = self._light
        shade = self._ambient + (1 - self._ambient) * np.clip(nx * x + ny * y + nz * z, 0, 1)
        if cloth:
            shade = shade * self._folds[window]
        paint = colour(spots) if callable(colour) else np.asarray(colour, np.float32)
        over = cover[..., None]
        self.rgb[window] += over * (paint * shade[..., None] - self.rgb[window])
        self.alpha[window] += cover * (1 - self.alpha[window])
