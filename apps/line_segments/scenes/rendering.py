"""A scene as a photograph with the segments that are seen in it.

Twice as many pixels are drawn as wanted, then averaged, so that edges fall between pixels where
they should. Segments are computed, not looked for; only those that the finished light does not
show (both sides alike) or that are too short are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from apps.line_segments.geometry import lengths
from apps.line_segments.scenes import boxes, room, street
from apps.line_segments.scenes.textures import ATLAS, atlas, with_photographs
from apps.line_segments.scenes.view import Camera, Seen, look_at, visible_parts
from apps.line_segments.scenes.world import World

KINDS = ("street", "room", "boxes")
SHARES = (0.4, 0.35, 0.25)
SHORTEST = 6.0  # pixels
FAINTEST = 0.03  # difference of the sides in some colour, 0..1, that still counts as seen
SEEN_ALONG = 0.6  # of a segment's length
FEWEST = 12  # segments before the camera, hidden ones too; else another scene is drawn
CLOSEST = 1.5  # pixels; of two segments nearer all along, the longer stays
_COMPOSE = {"street": street.compose, "room": room.compose, "boxes": boxes.compose}
_FINER = 2
_SAMPLES = 24  # along a segment
_TRIES = 8
_PHOTOGRAPHED = 0.4  # of surfaces, where there are photographs
_LEVELS = 2**16 - 1
_GAMMA = 2.2


@dataclass(frozen=True)
class Picture:
    """A finished scene.

    Attributes:
        image: uint8 (H, W, 3).
        segments: float32 (N, 4), x1, y1, x2, y2 in pixels; its first pixel spans 0 to 1.
        kind: One of `KINDS`.
    """

    image: np.ndarray
    segments: np.ndarray
    kind: str


def render(
    rng: np.random.Generator,
    size: tuple[int, int] = (320, 320),
    kind: str | None = None,
    *,
    photographs: Sequence[Path] = (),
) -> Picture:
    """Return a random scene.

    Args:
        rng: The source of all randomness.
        size: (height, width).
        kind: One of `KINDS`; None draws one.
        photographs: Image files whose brightness is the texture of some surfaces.
    """
    kind = str(rng.choice(KINDS, p=SHARES)) if kind is None else kind
    if kind not in KINDS:
        raise ValueError(f"`kind` must be one of {KINDS}. Received: kind={kind!r}")
    height, width = size
    for _ in range(_TRIES):
        world, camera = _COMPOSE[kind](rng, (_FINER * height, _FINER * width))
        seen = look_at(world, camera, least=_FINER * SHORTEST)
        if len(seen.segments) >= FEWEST:
            break
    if photographs:
        _take_textures(world, rng, len(photographs))
    textures = with_photographs(tuple(photographs)) if photographs else atlas()
    clear = painted(world, seen, camera, rng, textures, inside=kind == "room")
    parts = visible_parts(seen) / _FINER
    parts = np.clip(parts, 0, np.array([width, height] * 2)).astype(np.float32)  # by rounding
    segments = apart(parts[lengths(parts) >= SHORTEST])
    shown = _displayed(clear, _GAMMA)
    segments = segments[contrasts(shown, segments) >= SEEN_ALONG]
    return Picture(finished(clear, rng), segments, kind)


def _take_textures(world: World, rng: np.random.Generator, photographs: int) -> None:
    """Give some of a world's surfaces textures of photographs, which stand behind the atlas."""
    for place, look in enumerate(world.looks):
        if rng.random() < _PHOTOGRAPHED:
            texture = len(ATLAS) + int(rng.integers(0, photographs))
            contrast, grain = rng.uniform(0.1, 0.5), rng.uniform(1, 6)
            world.looks[place] = replace(look, texture=texture, contrast=contrast, grain=grain)


def painted(
    world: World,
    seen: Seen,
    camera: Camera,
    rng: np.random.Generator,
    textures: np.ndarray,
    *,
    inside: bool,
) -> np.ndarray:
    """Return a view in linear RGB, averaged to the final size.

    Args:
        world: What there is.
        seen: What of it the camera sees.
        camera: Of twice the final size.
        rng: The source of all randomness.
        textures: float32 (T, N, N), those of the atlas first.
        inside: Whether there is no haze.

    Returns:
        float32 (H, W, 3) in 0..1.
    """
    from apps.line_segments.scenes.view_kernel import fill, shade

    height, width = camera.size
    depth, faces = np.zeros((height, width), np.float32), np.full((height, width), -1, np.int32)
    fill(seen.polygons, seen.counts, seen.planes, seen.discs, depth, faces)
    looks = world.looks
    base = np.array([look.colour for look in looks])[seen.group]
    sun = rng.normal((0, 1.2, -0.6), 1)
    sun /= np.linalg.norm(sun)
    ambient = rng.uniform(0.35, 0.7)
    light = ambient + (1 - ambient) * np.clip(seen.normals @ sun, 0, 1)
    light *= np.array([0.94, 1.0, 1.07])[np.abs(seen.normals).argmax(1)]  # no two walls alike
    discs = np.concatenate([*world.discs, np.zeros((0, 7))])[:, 4:]
    colours = np.concatenate([base * light[:, None], discs])
    sky = _sky(rng, camera)
    air = np.append(sky[height // 3, :3], 0.0 if inside else rng.uniform(0.0, 0.008))
    texture, contrast, grain = (
        np.array([getattr(look, name) for look in looks])[seen.group]
        for name in ("texture", "contrast", "grain")
    )
    out = np.empty((height // _FINER, width // _FINER, 3), np.float32)
    shade(
        faces, depth, seen.maps, colours.astype(np.float32), texture, contrast, grain, textures,
        seen.discs, air.astype(np.float64), sky, camera.focal, out,
    )  # fmt: skip
    return np.clip(out * _falloff(rng, out.shape[:2]), 0, 1)


def _sky(rng: np.random.Generator, camera: Camera) -> np.ndarray:
    """Return a sky that pales towards the horizon, by row: linear RGB and the share of clouds."""
    height = camera.size[0]
    horizon = camera.middle[1] + camera.focal * np.tan(camera.pitch)
    up = np.clip((horizon - np.arange(height)) / height, 0, 1)[:, None]
    top = rng.uniform((0.1, 0.25, 0.5), (0.5, 0.6, 0.95))
    pale = rng.uniform((0.6, 0.65, 0.7), (0.95, 0.95, 1.0))
    clouds = np.full((height, 1), rng.choice([0.0, rng.uniform(0, 0.8)]))
    return np.concatenate([pale + (top - pale) * up**0.7, clouds], 1).astype(np.float32)


def _falloff(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Return how bright the light is in each part of a picture, (H, W, 1)."""
    import cv2

    y, x = (np.arange(side, dtype=np.float32) / side - 0.5 for side in size)
    slope = rng.normal(0, 0.35, 2).astype(np.float32)
    vignette = np.float32(rng.uniform(0, 0.5))
    coarse = rng.normal(0, rng.uniform(0, 0.25), (4, 4)).astype(np.float32)
    blotches = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
    light = (
        1 + blotches + slope[0] * y[:, None] + slope[1] * x - vignette * (y[:, None] ** 2 + x**2)
    )
    return np.clip(light, 0.3, 1.6)[..., None] * np.float32(rng.uniform(0.75, 1.25))


def apart(segments: np.ndarray) -> np.ndarray:
    """Return segments (N, 4) without those that a longer one accompanies all along."""
    segments = segments[np.argsort(-lengths(segments), kind="stable")]
    if not len(segments):
        return segments
    x, y = segments[:, 0].astype(np.float64), segments[:, 1].astype(np.float64)
    turn = np.arctan2(segments[:, 3] - y, segments[:, 2] - x)
    longer, shorter = np.triu_indices(len(segments), 1)
    alike = np.abs(np.sin(turn[longer] - turn[shorter])) < 2 * CLOSEST / SHORTEST
    longer, shorter = longer[alike], shorter[alike]
    dx, dy = segments[longer, 2] - x[longer], segments[longer, 3] - y[longer]
    near = np.ones(len(longer), bool)
    for end in (0, 2):
        ex, ey = segments[shorter, end] - x[longer], segments[shorter, end + 1] - y[longer]
        along = np.clip((ex * dx + ey * dy) / (dx * dx + dy * dy), 0, 1)
        near &= (ex - along * dx) ** 2 + (ey - along * dy) ** 2 < CLOSEST**2
    kept = np.ones(len(segments), bool)
    for one, other in zip(longer[near].tolist(), shorter[near].tolist(), strict=True):
        kept[other] &= not kept[one]
    return segments[kept]


def contrasts(shown: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Return the share of each segment's length whose two sides differ in some colour.

    Args:
        shown: float32 (H, W, 3), as displayed, in 0..1.
        segments: float (N, 4).
    """
    import cv2

    along = np.linspace(0.04, 0.96, _SAMPLES)
    points = segments[:, None, :2] + (segments[:, 2:] - segments[:, :2])[:, None] * along[:, None]
    step = segments[:, 2:] - segments[:, :2]
    normal = np.stack([-step[:, 1], step[:, 0]], 1) / lengths(segments)[:, None]
    sides = []
    for aside in (-1.5, 1.5):
        places = (points + aside * normal[:, None] - 0.5).astype(np.float32)
        sides.append(
            cv2.remap(
                shown, places[..., 0], places[..., 1], cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
            if len(places)
            else np.zeros((0, _SAMPLES, 3))
        )  # fmt: skip
    return (np.abs(sides[0] - sides[1]).max(-1) > FAINTEST).mean(-1)


def finished(clear: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return linear RGB as a camera stores it: blurred, noisy, in its own white and gamma."""
    import cv2

    blur = rng.uniform(0, 1.1)
    image = cv2.GaussianBlur(clear, (0, 0), blur) if blur > 0.3 else clear
    image = image * rng.uniform(0.92, 1.08, 3).astype(np.float32)
    shown = _displayed(np.clip(image, 0, 1), _GAMMA * rng.uniform(0.85, 1.15))
    if rng.random() < 0.1:
        shown = np.repeat(shown.mean(-1, keepdims=True), 3, -1)
    level = rng.choice([0.0, rng.uniform(0, 0.035)])
    if level:
        shown = shown + rng.standard_normal(shown.shape, np.float32) * np.float32(level)
    return cv2.convertScaleAbs(np.clip(shown, 0, 1), alpha=255)


def _displayed(linear: np.ndarray, gamma: float) -> np.ndarray:
    """Return linear values in 0..1 as displayed ones, by a table: float32."""
    table = (np.arange(_LEVELS + 1, dtype=np.float32) / _LEVELS) ** np.float32(1 / gamma)
    return table[(linear * _LEVELS).astype(np.uint16)]
