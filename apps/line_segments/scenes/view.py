"""A scene as a camera sees it: faces and segments on the picture, and what of them is hidden."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apps.line_segments.geometry import clip_shares
from apps.line_segments.scenes.world import World

NEAR = 0.15  # metres; what is nearer is cut away
BOOST = 3e-4  # by which a layer is nearer than the one below, as a share of the distance


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without distortion.

    Attributes:
        place: x, y, z in metres.
        yaw, pitch, roll: Radians: to the right, upwards, with the clock.
        focal: Focal length in pixels.
        size: (height, width) of the picture.
    """

    place: tuple[float, float, float]
    yaw: float
    pitch: float
    roll: float
    focal: float
    size: tuple[int, int]

    @property
    def middle(self) -> tuple[float, float]:
        """The principal point, x and y."""
        return self.size[1] / 2, self.size[0] / 2

    def seen_from(self, points: np.ndarray) -> np.ndarray:
        """Return points (…, 3) of the world as the camera has them: x right, y down, z forward."""
        cy, sy = np.cos(self.yaw), np.sin(self.yaw)
        cp, sp = np.cos(self.pitch), np.sin(self.pitch)
        cr, sr = np.cos(self.roll), np.sin(self.roll)
        heading = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
        tilt = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        roll = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
        down = np.diag([1.0, -1.0, 1.0])
        return (points - np.asarray(self.place)) @ (roll @ down @ tilt @ heading).T


@dataclass(frozen=True)
class Seen:
    """What of a world is before the camera, in pixels of its picture.

    Attributes:
        polygons: float64 (F, 5, 2), convex; `counts` corners of each are used.
        counts: int64 (F,); 0 for a face that is not seen.
        planes: float64 (F, 3): 1 / z = a x + b y + c at a pixel, layers included.
        maps: float64 (F, 8): texture coordinates u, v in metres: z (a x + b y + c) + d, twice.
        group: int64 (F,), position of the face's array in the world.
        normals: float64 (F, 3), in the world.
        segments: float64 (S, 4), x1, y1, x2, y2.
        depths: float64 (S, 2), 1 / z of the ends, layers included.
        discs: float64 (D, 4), x, y, radius and 1 / z; the round things' rows are in their order.
    """

    polygons: np.ndarray
    counts: np.ndarray
    planes: np.ndarray
    maps: np.ndarray
    group: np.ndarray
    normals: np.ndarray
    segments: np.ndarray
    depths: np.ndarray
    discs: np.ndarray


def look_at(world: World, camera: Camera, *, least: float = 0.0) -> Seen:
    """Return a world as a camera sees it; backs of solids are left out.

    Args:
        world: What there is.
        camera: Where it is seen from.
        least: Pixels; segments that are shorter on the picture are left out.
    """
    from apps.line_segments.scenes.view_kernel import project

    quads = np.concatenate([*world.quads, np.zeros((0, 4, 3))])
    sizes = [len(one) for one in world.quads]
    group = np.repeat(np.arange(len(sizes)), sizes)
    layers = np.repeat(np.array(world.layers, np.int64), sizes)
    normals = np.cross(quads[:, 1] - quads[:, 0], quads[:, 2] - quads[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-12)
    facing = ((np.asarray(camera.place) - quads[:, 0]) * normals).sum(1)
    kept = ~np.repeat(np.array(world.solid, bool), sizes) | (facing > 0)
    quads, group, layers, normals = quads[kept], group[kept], layers[kept], normals[kept]
    normals = normals * np.where(facing[kept] < 0, -1, 1)[:, None]  # of what is seen from behind
    corners = camera.seen_from(quads)
    cx, cy = camera.middle
    faces = len(corners)
    polygons, counts = np.zeros((faces, 5, 2)), np.zeros(faces, np.int64)
    planes = np.zeros((faces, 3))
    project(corners, camera.focal, cx, cy, NEAR, polygons, counts, planes)
    planes *= (1 + BOOST * layers)[:, None]
    segments, depths = _segments(world, camera, least)
    _leave_out(polygons, counts, camera)
    return Seen(
        polygons, counts, planes, _maps(corners, camera), group, normals, segments, depths,
        _discs(world, camera),
    )  # fmt: skip


def _leave_out(polygons: np.ndarray, counts: np.ndarray, camera: Camera) -> None:
    """Give faces that lie beside the picture no corners."""
    unused = np.arange(polygons.shape[1]) >= counts[:, None]
    low = np.where(unused[..., None], np.inf, polygons).min(1)
    high = np.where(unused[..., None], -np.inf, polygons).max(1)
    counts[(low >= camera.size[::-1]).any(1) | (high <= 0).any(1)] = 0


def visible_parts(seen: Seen) -> np.ndarray:
    """Return the parts of a view's segments that nothing hides, float64 (N, 4), exact."""
    from apps.line_segments.scenes.view_kernel import hidden_parts

    hidden = np.empty((len(seen.segments), len(seen.counts) + len(seen.discs), 2))
    used = np.zeros(len(seen.segments), np.int64)
    hidden_parts(
        seen.segments, seen.depths, seen.polygons, seen.counts, seen.planes, seen.discs,
        BOOST / 2, hidden, used,
    )  # fmt: skip
    free = used == 0
    parts = list(seen.segments[free])
    some = zip(seen.segments[~free], hidden[~free], used[~free], strict=True)
    for segment, intervals, count in some:
        start, step, at = segment[:2], segment[2:] - segment[:2], 0.0
        for low, high in [*sorted(intervals[:count].tolist()), (1.0, 1.0)]:
            if low > at:
                parts.append(np.concatenate([start + at * step, start + low * step]))
            at = max(at, high)
    return np.array(parts).reshape(-1, 4)


def _segments(world: World, camera: Camera, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the segments within the picture, in pixels, and 1 / z of their ends."""
    ends = camera.seen_from(np.concatenate([*world.edges, np.zeros((0, 2, 3))]))
    layers = np.repeat(np.array(world.edge_layers, np.float64), [len(one) for one in world.edges])
    far = ends[..., 2].max(1) > NEAR
    ends, layers = ends[far], layers[far]
    first, second = ends[:, 0].copy(), ends[:, 1].copy()
    for one, other in ((first, second), (second, first)):
        near = one[:, 2] < NEAR
        share = (NEAR - one[near, 2]) / (other[near, 2] - one[near, 2])
        one[near] += (other[near] - one[near]) * share[:, None]
    ends = np.stack([first, second], 1)
    pixels = camera.focal * ends[..., :2] / ends[..., 2:] + np.array(camera.middle)
    depths = (1 + BOOST * layers)[:, None] / ends[..., 2]
    height, width = camera.size
    shares, kept = clip_shares(pixels.reshape(-1, 4), (0, 0, width, height))
    pixels, depths = pixels[kept], depths[kept]
    pixels = pixels[:, :1] + shares[..., None] * (pixels[:, 1:] - pixels[:, :1])
    depths = depths[:, :1] + shares * (depths[:, 1:] - depths[:, :1])  # linear on the picture
    long = np.hypot(*(pixels[:, 1] - pixels[:, 0]).T) >= least
    return pixels[long].reshape(-1, 4), depths[long]


def _maps(corners: np.ndarray, camera: Camera) -> np.ndarray:
    """Return how a pixel and its distance give a place on its face."""
    along = corners[:, 3] - corners[:, 0]
    up = corners[:, 1] - corners[:, 0]
    cx, cy = camera.middle
    rows = []
    for axis in (along, up):
        axis = axis / np.linalg.norm(axis, axis=1, keepdims=True).clip(1e-12)
        a, b = axis[:, 0] / camera.focal, axis[:, 1] / camera.focal
        rows += [a, b, axis[:, 2] - a * cx - b * cy, -(axis * corners[:, 0]).sum(1)]
    return np.stack(rows, 1)


def _discs(world: World, camera: Camera) -> np.ndarray:
    rows = np.concatenate([*world.discs, np.zeros((0, 7))])
    middles = camera.seen_from(rows[:, :3])
    z = np.maximum(middles[:, 2], NEAR)
    pixels = camera.focal * middles[:, :2] / z[:, None] + np.array(camera.middle)
    radius = np.where(middles[:, 2] > 2 * NEAR, camera.focal * rows[:, 3] / z, 0.0)
    return np.column_stack([pixels, radius, 1 / z])
