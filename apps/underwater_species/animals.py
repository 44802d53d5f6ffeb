"""Animals as shaded silhouettes: polygons in the animal's own coordinates, drawn in any pose.

An animal lies within about one unit of its middle, x to its right, y down. Colours are linear RGB
in 0..1. All randomness comes from the generator that is passed.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from core.drawing import polygon_mask

Colour = tuple[float, float, float]
_FINER = 3  # pixels a side that are drawn for each of the picture
_CIRCLE = np.linspace(0, 2 * math.pi, 72, endpoint=False)


@dataclass(frozen=True)
class Part:
    """A polygon (N, 2) of one colour.

    Attributes:
        outline: Its corners.
        colour: Before shading.
        opacity: 1 hides what lies behind.
        bulge: How much light and shade tell of its roundness; 0 is flat.
        speckle: How much its colour varies from spot to spot.
    """

    outline: np.ndarray
    colour: Colour
    opacity: float = 1.0
    bulge: float = 0.5
    speckle: float = 0.0


@dataclass(frozen=True)
class Pose:
    """Where an animal is and how it is seen.

    Attributes:
        middle: (x, y) in pixels.
        size: Pixels of one unit.
        turn: Radians.
        mirrored: Left for right.
        squash: Share of its height that is seen, of an animal seen from aslant.
    """

    middle: tuple[float, float]
    size: float
    turn: float = 0.0
    mirrored: bool = False
    squash: float = 1.0

    def place(self, points: np.ndarray) -> np.ndarray:
        """Return points of the animal in pixels of the picture."""
        x = -points[:, 0] if self.mirrored else points[:, 0]
        y = points[:, 1] * self.squash
        cos, sin = math.cos(self.turn), math.sin(self.turn)
        turned = np.stack([x * cos - y * sin, x * sin + y * cos], axis=1)
        return turned * self.size + self.middle


def crab(rng: np.random.Generator) -> list[Part]:
    """Draw a broad body, eight legs, two claws and eyes."""
    body = _hued(rng, (0.0, 0.09), (0.6, 0.95), (0.45, 0.85))
    dark = _scaled(body, 0.7)
    parts = []
    for side in (-1, 1):
        for leg in range(4):
            lift = -0.15 + 0.28 * leg + rng.uniform(-0.05, 0.05)
            knee = (side * rng.uniform(0.68, 0.78), lift - 0.2)
            foot = (side * rng.uniform(0.88, 1.0), lift + rng.uniform(0.12, 0.3))
            parts.append(Part(_ribbon([(side * 0.4, 0.05 * leg), knee, foot], 0.07, 0.02), dark))
        elbow, hand = (side * 0.75, -0.42), (side * rng.uniform(0.42, 0.62), -0.78)
        parts.append(Part(_ribbon([(side * 0.4, -0.15), elbow, hand], 0.09, 0.08), body))
        claw = 0.2 * _superellipse(1.0, 0.75) + hand
        parts.append(Part(claw, body))
        gap = np.array([(0, -0.02), (-0.06 * side, -0.22), (0.06 * side, -0.2)]) + hand
        parts.append(Part(gap, _scaled(body, 0.25), bulge=0))
        stalk = (side * 0.14, -0.44)
        parts.append(Part(_ribbon([(side * 0.12, -0.25), stalk], 0.025, 0.02), dark))
        parts.append(Part(0.05 * _superellipse(1, 1) + stalk, (0.03, 0.03, 0.03)))
    shell = _superellipse(0.55, rng.uniform(0.34, 0.42), power=2.4)
    return [*parts, Part(shell, body, bulge=0.8, speckle=rng.uniform(0, 0.4))]


def fish(rng: np.random.Generator, coat: tuple[Colour, Colour, float] | None = None) -> list[Part]:
    """Draw a body with tail, fins, eye and perhaps stripes; `coat` is of its shoal."""
    base, mark, deep = coat or fish_coat(rng)
    bend = rng.uniform(-0.08, 0.08)
    along = np.linspace(-0.62, 0.85, 30)
    grown = np.sin(np.pi * ((along + 0.62) / 1.47) ** 0.8) ** 0.8 * deep
    spine = bend * np.sin(along * 3)
    body = np.concatenate(
        [np.stack([along, spine - grown], 1), np.stack([along, spine + grown], 1)[::-1]]
    )
    fork = rng.uniform(0.05, 0.25)
    tail = np.array([(-0.52, 0), (-0.98, -0.34), (-0.98 + fork, 0), (-0.98, 0.34)])
    height = rng.uniform(0.08, 0.22)
    fin = np.array([(-0.3, -0.7 * deep), (-0.15, -deep - height), (0.4, -0.8 * deep)])
    fins = _scaled(mark, 0.9)
    parts = [Part(tail, fins, 0.95, 0.2), Part(fin, fins, 0.9, 0.2)]
    parts.append(Part(fin * (0.8, -0.9), fins, 0.9, 0.2))
    parts.append(Part(body, base, bulge=0.9))
    for at in np.linspace(-0.3, 0.45, rng.integers(0, 5)):
        reach = 0.9 * float(np.interp(at, along, grown))
        stripe = np.array([(at, -reach), (at + 0.1, -reach), (at + 0.08, reach), (at, reach)])
        parts.append(Part(stripe, mark, 0.85, 0.3))
    parts.append(Part(np.array([(0.3, 0.02), (0.02, 0.16), (0.08, -0.06)]), fins, 0.9, 0.2))
    parts.append(
        Part(0.075 * _superellipse(1, 1) + (0.6, -0.25 * deep), (0.95, 0.95, 0.9), bulge=0)
    )
    parts.append(
        Part(0.045 * _superellipse(1, 1) + (0.6, -0.25 * deep), (0.02, 0.02, 0.02), bulge=0)
    )
    return parts


def fish_coat(rng: np.random.Generator) -> tuple[Colour, Colour, float]:
    """Return body colour, colour of the markings, and half the height of a kind of fish."""
    base = _hued(rng, (0.0, 1.0), (0.1, 0.8), (0.5, 0.95))
    return base, _hued(rng, (0.0, 1.0), (0.2, 0.9), (0.2, 0.9)), rng.uniform(0.22, 0.46)


def jellyfish(rng: np.random.Generator) -> list[Part]:
    """Draw a bell one can look through, arms and thin tentacles."""
    tint = _hued(rng, (0.45, 1.0), (0.05, 0.5), (0.75, 1.0))
    wide = rng.uniform(0.5, 0.68)
    parts = []
    for at in np.linspace(-0.9, 0.9, rng.integers(6, 11)):
        wave, phase = rng.uniform(0.03, 0.1), rng.uniform(0, 6)
        down = np.linspace(-0.15, rng.uniform(0.6, 1.0), 14)
        thread = [(at * wide * 0.9 + wave * math.sin(5 * y + phase), y) for y in down]
        parts.append(Part(_ribbon(thread, 0.022, 0.012), tint, 0.55, 0.2))
    for at in (-0.16, 0.16):
        arm = [(at + 0.07 * math.sin(8 * y), y) for y in np.linspace(-0.2, 0.45, 14)]
        parts.append(Part(_ribbon(arm, 0.09, 0.04), tint, 0.6, 0.4))
    round_ = np.linspace(math.pi, 2 * math.pi, 36)
    top = np.stack([wide * np.cos(round_), -0.12 + rng.uniform(0.55, 0.8) * np.sin(round_)], 1)
    rim = np.linspace(wide, -wide, 24)
    edge = np.stack([rim, -0.1 + 0.05 * np.abs(np.sin(rim * 9))], 1)
    bell = np.concatenate([top, edge])
    parts.append(Part(bell, tint, rng.uniform(0.6, 0.85), 0.9))
    inner = bell * (0.55, 0.6) - (0, 0.12)
    return [*parts, Part(inner, _scaled(tint, 0.8), 0.5, 0.3)]


def starfish(rng: np.random.Generator) -> list[Part]:
    """Draw five arms and a row of knobs on each."""
    tint = _hued(rng, (0.95, 1.15), (0.45, 0.95), (0.5, 0.95))
    thin, bend = rng.uniform(0.24, 0.36), rng.uniform(-0.12, 0.12)
    star = 0.5 + 0.5 * np.cos(5 * _CIRCLE)
    reach = thin + (1 - thin) * star ** rng.uniform(1.4, 2.2)
    angle = _CIRCLE + bend * np.sin(_CIRCLE)
    outline = np.stack([reach * np.sin(angle), -reach * np.cos(angle)], 1)
    parts = [Part(outline, tint, bulge=1.0, speckle=rng.uniform(0.1, 0.5))]
    knob = _scaled(tint, 1.5)
    for arm in range(5):
        at = 2 * math.pi * arm / 5
        for far in (0.2, 0.4, 0.6):
            spot = far * np.array((math.sin(at), -math.cos(at)))
            parts.append(Part((0.07 - 0.06 * far) * _superellipse(1, 1) + spot, knob, 0.8, 0.3))
    return parts


def turtle(rng: np.random.Generator) -> list[Part]:
    """Draw a shell of plates, a head and four flippers, seen from above."""
    skin = _hued(rng, (0.1, 0.35), (0.2, 0.55), (0.35, 0.7))
    shell = _hued(rng, (0.05, 0.3), (0.35, 0.8), (0.25, 0.6))
    parts = []
    for side in (-1, 1):
        sweep = rng.uniform(-0.25, 0.35)
        front = [(0.35, side * 0.28), (0.4 - sweep / 2, side * 0.62), (0.1 - sweep, side * 0.95)]
        parts.append(Part(_ribbon(front, 0.15, 0.05), skin, speckle=0.4))
        back = [(-0.5, side * 0.22), (-0.78, side * rng.uniform(0.35, 0.5))]
        parts.append(Part(_ribbon(back, 0.11, 0.06), skin, speckle=0.4))
    head = np.add(_superellipse(0.2, 0.14), (0.8, rng.uniform(-0.05, 0.05)))
    parts.append(Part(head, skin, speckle=0.3))
    parts.append(Part(np.array([(-0.55, -0.06), (-0.55, 0.06), (-0.78, 0.0)]), skin))
    oval = _superellipse(0.66, rng.uniform(0.44, 0.52))
    parts.append(Part(oval, _scaled(shell, 0.55), bulge=0.6))
    for x, y, size in (
        *((0.36, 0.0, 0.15), (0.0, 0.0, 0.17), (-0.36, 0.0, 0.15)),
        *((0.22, 0.27, 0.13), (-0.14, 0.29, 0.14), (-0.44, 0.2, 0.1)),
        *((0.22, -0.27, 0.13), (-0.14, -0.29, 0.14), (-0.44, -0.2, 0.1)),
    ):
        six = np.linspace(0, 2 * math.pi, 6, endpoint=False) + math.pi / 6
        plate = size * np.stack([1.15 * np.cos(six), np.sin(six)], 1) + (x, y)
        parts.append(Part(plate, shell, bulge=0.6, speckle=0.3))
    return parts


ANIMALS: dict[str, Callable[[np.random.Generator], list[Part]]] = {
    "crab": crab,
    "fish": fish,
    "jellyfish": jellyfish,
    "starfish": starfish,
    "turtle": turtle,
}


def paint(picture: np.ndarray, parts: list[Part], pose: Pose, rng: np.random.Generator):
    """Return a picture with an animal on it, and how much of each pixel the animal hides.

    Args:
        picture: float32 (H, W, 3), linear RGB in 0..1.
        parts: From the farthest to the nearest.
        pose: In pixels of the picture.
        rng: Of its speckles.
    """
    import cv2

    height, width = picture.shape[:2]
    fine = (width * _FINER, height * _FINER)
    result = cv2.resize(picture, fine, interpolation=cv2.INTER_LINEAR)
    hidden = np.zeros(fine[::-1], np.float32)
    spots = cv2.resize(
        rng.uniform(-1, 1, (height // 3, width // 3)).astype(np.float32), fine,
        interpolation=cv2.INTER_CUBIC,
    )  # fmt: skip
    for part in parts:
        mask = polygon_mask(pose.place(part.outline) * _FINER, fine[::-1])
        if not mask.any():
            continue
        light = _light(mask, part.bulge) * (1 + part.speckle * spots)
        colour = np.clip(light[..., None] * np.asarray(part.colour, np.float32), 0, 1)
        share = part.opacity * mask.astype(np.float32)
        result += share[..., None] * (colour - result)
        hidden += share * (1 - hidden)
    small = (width, height)
    return (
        cv2.resize(result, small, interpolation=cv2.INTER_AREA),
        cv2.resize(hidden, small, interpolation=cv2.INTER_AREA),
    )


def _light(mask: np.ndarray, bulge: float) -> np.ndarray:
    """Return how bright a round body of this outline is, lit from above and a little left."""
    import cv2

    inside = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    raised = np.sqrt(np.maximum(inside / max(inside.max(), 1), 0))
    down, across = np.gradient(cv2.GaussianBlur(raised, (0, 0), 2.0))
    lit = np.clip((0.9 * down + 0.4 * across) * 12, -1, 1)
    return 1 + 0.55 * bulge * lit - 0.15 * bulge * (1 - raised)


def _hued(rng: np.random.Generator, hues, saturations, values) -> Colour:
    hue = rng.uniform(*hues) % 1
    return colorsys.hsv_to_rgb(hue, rng.uniform(*saturations), rng.uniform(*values))


def _scaled(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(1.0, channel * factor) for channel in colour)
    return red, green, blue


def _superellipse(wide: float, high: float, power: float = 2.0) -> np.ndarray:
    cos, sin = np.cos(_CIRCLE), np.sin(_CIRCLE)
    x = wide * np.sign(cos) * np.abs(cos) ** (2 / power)
    return np.stack([x, high * np.sign(sin) * np.abs(sin) ** (2 / power)], 1)


def _ribbon(points, first: float, last: float) -> np.ndarray:
    """Return the outline of a bent stroke whose half width goes from `first` to `last`."""
    path = np.asarray(points, float)
    along = np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    across = np.stack([-along[:, 1], along[:, 0]], 1)
    wide = np.linspace(first, last, len(path))[:, None]
    return np.concatenate([path + across * wide, (path - across * wide)[::-1]])
