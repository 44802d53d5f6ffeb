"""Drawing heads: face, hair in its styles, hats."""

from __future__ import annotations

import numpy as np

from apps.person_reid.pedestrians.brushes import Canvas, Spots, Texture
from apps.person_reid.pedestrians.cloth import darker, fill, lay
from apps.person_reid.pedestrians.people import Person
from apps.person_reid.pedestrians.skeleton import Skeleton

_CHIN, _SIZE = 0.138, 0.134  # y of the chin, height of an average head
_VOLUME = 0.006  # of hair above the skull
_BEHIND = -0.2  # facing below which hair hangs before the trunk, as seen

# Where the hair ends: share of the head's height from the crown, by the angle from the front.
_HAIRLINE_ANGLES = (0, 0.7, 1.15, 1.5, 2.0, 3.2)
_BALD_ANGLES, _BALD_LINE = (0, 1.1, 1.5, 2.2, 3.2), (-1, -1, 0.5, 0.8, 0.86)


def hair_hides_trunk(body: Skeleton) -> bool:
    """Return whether hair that hangs down is nearer to the camera than the trunk."""
    return body.facing <= _BEHIND


def draw_head(canvas: Canvas, person: Person, body: Skeleton) -> None:
    """Paint face, short hair, the top of longer hair, and the hat."""
    size = person.head
    x, _ = body.seen((0, 0, 0.012))
    top = _CHIN - _SIZE * size
    half = float(body.width(0.046, 0.056)) * size
    if abs(body.rightwards) > 0.3:
        nose = x + np.sign(body.rightwards) * half * (0.86 + 0.14 * abs(body.rightwards))
        ends = [(nose, top + part * _SIZE * size) for part in (0.55, 0.62)]
        canvas.limb(ends, (0.009, 0.012), person.skin, cloth=False)
    steps = np.linspace(0, 1, 13)
    oval = np.sqrt(np.clip(1 - (2 * steps - 1) ** 2, 0, 1)) * (1.06 - 0.24 * steps)
    canvas.column(
        top + (_CHIN - top) * steps,
        half * oval,  # wide at the brow, narrow at the chin
        _face(person, body, top),
        centres=x,
        round_ends=True,
        cloth=False,
    )
    if person.hair_style in ("full", "bob", "long", "bun"):
        volume = _VOLUME * size
        dome = np.sqrt(np.clip(1 - np.linspace(1, 0.12, 7) ** 2, 0, 1))
        heights = np.linspace(top - volume, top + 0.04, 7)
        canvas.column(heights, 1.08 * half * dome, person.hair, centres=x - 0.004 * body.rightwards)
    if person.hat != "none":
        _draw_hat(canvas, person, body, x, top, half)


def draw_hanging_hair(canvas: Canvas, person: Person, body: Skeleton) -> None:
    """Paint the hair behind the head: falling, tied or in a bun."""
    size = person.head
    if person.hair_style in ("bob", "long"):
        low = 0.15 if person.hair_style == "bob" else 0.235
        half = float(body.width(0.055, 0.045)) * size
        canvas.column(
            (0.01, 0.04, 0.1, low - 0.02, low),
            half * np.array((0.7, 1, 1.06, 1.02, 0.7)),
            person.hair,
            centres=body.seen((0, 0, -0.02))[0],
        )
    elif person.hair_style == "tail":
        ends = [body.seen((0, 0.05, -0.058)), body.seen((0, 0.185, -0.088))]
        canvas.limb(ends, (0.02 * size, 0.014), person.hair)
    elif person.hair_style == "bun":
        place = body.seen((0, 0.035, -0.068))
        canvas.limb([place, place], (0.026, 0.026), person.hair)


def _face(person: Person, body: Skeleton, top: float) -> Texture:
    nape = 0.8 if person.hair_style in ("short", "tail", "bun") else 1.0
    hairline = (0.24, 0.28, 0.5, 0.56, nape, nape + 0.06)

    def texture(spots: Spots) -> np.ndarray:
        ahead = np.abs(body.azimuth(spots.across))
        level = (spots.down - top) / (_CHIN - top)  # 0 at the crown, 1 at the chin
        eyes = (np.abs(ahead - 0.42) < 0.22) & (np.abs(level - 0.5) < 0.045)
        mouth = (ahead < 0.3) & (np.abs(level - 0.8) < 0.025)
        paint = fill(person.skin, spots) * (1 - 0.55 * eyes - 0.25 * mouth)[..., None]
        if person.beard:
            beard = (ahead < 1.5) & (level > 0.7 + 0.05 * (ahead < 0.35))
            paint = lay(paint, beard, person.hair)
        if person.hair_style == "bald":
            covered = (level < np.interp(ahead, _BALD_ANGLES, _BALD_LINE)) & (level > 0.34)
        else:
            covered = level < np.interp(ahead, _HAIRLINE_ANGLES, hairline)
        return lay(paint, covered, person.hair)

    return texture


def _draw_hat(canvas: Canvas, person: Person, body: Skeleton, x, top, half) -> None:
    colour, brow = person.hat_colour, top + 0.043
    rise = 0.022 if person.hat == "brim" else 0.012
    dome = np.sqrt(1 - 0.98 * np.linspace(1, 0, 8) ** 2)
    canvas.column(np.linspace(top - rise, brow, 8), 1.12 * half * dome, colour, centres=x)
    if person.hat == "cap" and body.facing > -0.4:
        front, _ = body.seen((0, brow, 0.085))
        side, low = float(body.width(0.034, 0.004)), brow + 0.012 * body.facing
        edge = [(x - side, brow), (front - 0.4 * side, low), (front + 0.4 * side, low)]
        canvas.limb([*edge, (x + side, brow)], (0.008,) * 4, darker(colour, 0.8))
    elif person.hat == "brim":
        wide = 1.75 * half
        canvas.limb([(x - wide, brow), (x + wide, brow)], (0.009, 0.009), colour)
