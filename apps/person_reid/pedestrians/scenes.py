"""Places that synthetic cameras look at: a back wall of some kind, and the ground before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SCENES = ("street", "bricks", "park", "plaza", "shops", "hall")
_HEIGHT, _WIDTH = 2.2, 5.5  # of a scene, in body heights
_GREENS = ((0.22, 0.33, 0.14), (0.30, 0.40, 0.18), (0.17, 0.27, 0.13), (0.38, 0.42, 0.22))


@dataclass(frozen=True)
class Scene:
    """A place.

    Attributes:
        picture: float32 (H, W, 3), RGB in 0..1, lit evenly.
        ground: Row at which the ground begins.
    """

    picture: np.ndarray
    ground: int


def paint_scene(kind: str, rng: np.random.Generator, scale: float) -> Scene:
    """Return a place of one of the `SCENES`, drawn at random.

    Args:
        kind: Of the place.
        rng: Draws everything in it.
        scale: Pixels in the height of a person who stands there.
    """
    if kind not in SCENES:
        raise ValueError(f"`kind` must be one of {SCENES}. Received: kind={kind!r}")
    size = round(_HEIGHT * scale), round(_WIDTH * scale)
    ground = round(size[0] * rng.uniform(0.22, 0.48))
    wall = {"street": _facade, "bricks": _bricks, "park": _trees, "plaza": _facade}.get(kind)
    wall = wall or {"shops": _shops, "hall": _panels}[kind]
    floor = {"street": _pavement, "bricks": _asphalt, "park": _lawn}.get(kind, _tiles)
    picture = np.empty((*size, 3), np.float32)
    picture[:ground] = wall(rng, (ground, size[1]), scale)
    picture[ground:] = floor(rng, (size[0] - ground, size[1]), scale)
    foot = max(1, round(0.012 * scale))
    picture[ground - foot : ground + foot] *= 0.7  # dirt and shade where wall and ground meet
    return Scene(np.clip(picture, 0, 1), ground)


def clouds(rng: np.random.Generator, size: tuple[int, int], cell: float) -> np.ndarray:
    """Return smooth noise, float32 (H, W), of mean 0 and deviation around 0.6.

    Args:
        rng: Draws the noise.
        size: Height and width.
        cell: Pixels from one drawn value to the next.
    """
    import cv2

    rows, columns = (max(2, round(side / cell) + 1) for side in size)
    coarse = rng.standard_normal((rows, columns), np.float32)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)


def _flat(colour, size) -> np.ndarray:
    return np.broadcast_to(np.asarray(colour, np.float32), (*size, 3)).copy()


def _rough(rng, colour, size, scale, strength: float = 0.05) -> np.ndarray:
    """Return a colour with stains and grain."""
    noise = clouds(rng, size, 0.4 * scale) + clouds(rng, size, 0.08 * scale)
    noise += 0.8 * clouds(rng, size, 2)
    return _flat(colour, size) * (1 + strength * noise[..., None])


def _grey(rng, low: float, high: float) -> np.ndarray:
    """Return a colour near grey, warm or cold."""
    return rng.uniform(low, high) * (1 + rng.uniform(-0.08, 0.08) * np.array((1, 0.1, -1)))


def _boxes(picture, tops, lefts, height, width, colours) -> None:
    """Fill rectangles, each with its colour."""
    for top, left, colour in zip(tops, lefts, colours, strict=True):
        low, high = max(0, round(top)), max(0, round(top + height))
        picture[low:high, max(0, round(left)) : max(0, round(left + width))] = colour


# --- walls ------------------------------------------------------------------------------------


def _facade(rng, size, scale) -> np.ndarray:
    """A house of plaster with windows and a dark base."""
    house = rng.choice(((0.72, 0.66, 0.55), (0.62, 0.6, 0.57), (0.66, 0.5, 0.4), (0.5, 0.52, 0.55)))
    picture = _rough(rng, house * rng.uniform(0.8, 1.1), size, scale, 0.04)
    step, wide, tall = rng.uniform(0.5, 0.9) * scale, rng.uniform(0.24, 0.38) * scale, 0.5 * scale
    lefts = np.arange(rng.uniform(0, step), size[1], step)
    top = size[0] - rng.uniform(0.62, 0.85) * scale
    glass = [_grey(rng, 0.12, 0.4) for _ in lefts]
    frame = 0.025 * scale
    light = [house * 1.15] * len(lefts)
    _boxes(
        picture,
        [top - frame] * len(lefts),
        lefts - frame,
        tall + 2 * frame,
        wide + 2 * frame,
        light,
    )
    _boxes(picture, [top] * len(lefts), lefts, tall, wide, glass)
    _boxes(picture, [top] * len(lefts), lefts + wide / 2, tall, max(1, 0.014 * scale), light)
    picture[size[0] - round(0.12 * scale) :] *= 0.7
    return picture


def _bricks(rng, size, scale) -> np.ndarray:
    """A brick wall."""
    stone = rng.choice(((0.52, 0.29, 0.22), (0.45, 0.36, 0.30), (0.62, 0.55, 0.45)))
    tall, wide = 0.055 * scale, 0.16 * scale
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    row = np.floor(y / tall)
    shifted = x / wide + 0.5 * (row % 2)
    each = rng.uniform(0.82, 1.15, (int(row.max()) + 1, int(shifted.max()) + 1))
    tint = each[row.astype(int), np.floor(shifted).astype(int)]
    joint = (y / tall % 1 < 0.16) | (shifted % 1 < 0.06)
    picture = _rough(rng, stone, size, scale, 0.05) * tint[..., None].astype(np.float32)
    picture[joint] = 0.5 * picture[joint] + 0.3
    return picture


def _trees(rng, size, scale) -> np.ndarray:
    """A hedge with trunks before it."""
    leaves = 0.6 * clouds(rng, size, 0.16 * scale) + 0.6 * clouds(rng, size, 0.04 * scale)
    leaves += 0.5 * clouds(rng, size, 2.5)
    green = np.asarray(_GREENS[rng.integers(len(_GREENS))])
    picture = _flat(green, size) * np.clip(1 + 0.33 * leaves, 0.3, 2)[..., None]
    for left in rng.uniform(0, size[1], rng.integers(2, 6)):
        wide = rng.uniform(0.05, 0.12) * scale
        across = np.linspace(-1, 1, max(2, round(wide)), dtype=np.float32)
        bark = _grey(rng, 0.2, 0.34) * (1.0 - 0.35 * np.abs(across))[:, None]
        low = round(left)
        part = picture[:, low : low + len(bark)]
        part[:] = bark[: part.shape[1]]
    return picture


def _shops(rng, size, scale) -> np.ndarray:
    """Lit windows with coloured signs."""
    picture = _rough(rng, _grey(rng, 0.2, 0.4), size, scale, 0.04)
    left = 0.0
    while left + 0.06 * scale < size[1]:  # a pane is seen
        wide = rng.uniform(0.6, 1.3) * scale
        low, high = round(left + 0.04 * scale), round(left + wide)
        pane = picture[: size[0] - round(0.1 * scale), low:high]
        glow = rng.uniform(0.45, 0.85) * np.array((1.0, 0.93, 0.8))
        pane[:] = glow * (1 + 0.25 * clouds(rng, pane.shape[:2], 0.15 * scale))[..., None]
        for _ in range(rng.integers(2, 6)):  # goods and posters
            top, beside = rng.uniform(0, size[0]), rng.uniform(0, wide)
            colour = rng.uniform(0.1, 0.9, 3)
            _boxes(pane, [top], [beside], rng.uniform(0.1, 0.35) * scale, 0.2 * scale, [colour])
        sign = round(size[0] - 0.95 * scale)
        if sign > 0:
            picture[max(0, sign - round(0.14 * scale)) : sign, low:high] = rng.uniform(0.1, 0.7, 3)
        left += wide
    return picture


def _panels(rng, size, scale) -> np.ndarray:
    """The light wall of a hall, with pillars and a band."""
    colour = _grey(rng, 0.6, 0.82)
    picture = _rough(rng, colour, size, scale, 0.02)
    step = rng.uniform(0.4, 0.8) * scale
    for left in np.arange(rng.uniform(0, step), size[1], step):
        picture[:, round(left) : round(left) + max(1, round(0.012 * scale))] *= 0.75
    band = size[0] - round(rng.uniform(0.3, 0.6) * scale)
    if band > 0:
        picture[band : band + round(0.06 * scale)] = rng.uniform(0.1, 0.7, 3)
    for left in rng.uniform(0, size[1], 2):
        wide = round(0.2 * scale)
        part = picture[:, round(left) : round(left) + wide]
        part[:] = _grey(rng, 0.4, 0.6) * np.linspace(1.15, 0.75, wide)[: part.shape[1], None]
    return picture


# --- ground -----------------------------------------------------------------------------------


def _asphalt(rng, size, scale) -> np.ndarray:
    return _rough(rng, _grey(rng, 0.33, 0.48), size, scale, 0.06)


def _pavement(rng, size, scale) -> np.ndarray:
    """Slabs, a kerb, and a road with a line."""
    picture = _tiles(rng, size, scale, _grey(rng, 0.5, 0.62), 0.02)
    kerb = round(size[0] * rng.uniform(0.45, 0.95))
    picture[kerb:] = _asphalt(rng, (size[0] - kerb, size[1]), scale) * 0.85
    picture[kerb : kerb + round(0.035 * scale)] = 0.68
    line = kerb + round(0.3 * scale)
    picture[line : line + round(0.05 * scale)] = 0.78
    return picture


def _lawn(rng, size, scale) -> np.ndarray:
    """Grass with a path along it."""
    green = np.asarray(_GREENS[rng.integers(len(_GREENS))]) * 1.25
    blades = clouds(rng, size, 0.3 * scale) + clouds(rng, size, 3) + clouds(rng, size, 1.5)
    picture = _flat(green, size) * (1 + 0.1 * blades)[..., None]
    path = round(size[0] * rng.uniform(0.15, 0.5))
    wide = round(rng.uniform(0.3, 0.7) * scale)
    part = picture[path : path + wide]
    part[:] = _rough(rng, np.array((0.62, 0.55, 0.45)), part.shape[:2], scale, 0.05)
    return picture


def _tiles(rng, size, scale, colour=None, contrast: float | None = None) -> np.ndarray:
    """Tiles that shrink with distance."""
    colour = _grey(rng, 0.45, 0.72) if colour is None else colour
    contrast = rng.uniform(0.03, 0.14) if contrast is None else contrast
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    horizon = -rng.uniform(0.3, 0.8) * scale
    away = 1.6 * scale / (y - horizon)
    side = rng.uniform(0.18, 0.4)
    lateral = (x - size[1] / 2) * away / scale / side + 100
    deep = away * 2.2 / side
    checked = (np.floor(lateral) + np.floor(deep)) % 2
    joint = ((lateral % 1) < 0.05) | ((deep % 1) < 0.06)
    picture = _rough(rng, colour, size, scale, 0.03)
    return picture * (1 + contrast * (checked - 0.5) - 0.18 * joint)[..., None]
