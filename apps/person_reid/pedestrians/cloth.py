"""What clothes look like: patterns that go around the body, necklines, and straps over them."""

from __future__ import annotations

import numpy as np

from apps.person_reid.pedestrians.brushes import Colour, Spots, Texture, triple
from apps.person_reid.pedestrians.people import Garment, Person
from apps.person_reid.pedestrians.skeleton import Skeleton

_TURNED = ("stripes", "bars", "checks")  # patterns that sleeves show as well


def pattern(garment: Garment, body: Skeleton) -> Colour | Texture:
    """Return the colour of a garment around the trunk or a leg, or its texture."""
    first, second = garment.colour, garment.second
    wave = 2 * np.pi / garment.period

    def texture(spots: Spots) -> np.ndarray:
        angle = body.azimuth(spots.across)
        ahead = np.abs(angle)
        if garment.pattern == "yoke":
            return mix(first, second, spots.down < 0.25)
        if garment.pattern == "open":
            return mix(first, second, (ahead < 0.3) & (spots.down < 0.52))
        if garment.pattern == "print":
            tall, wide = 1.1 * garment.period, 0.2 + 7 * garment.period
            return mix(first, second, (ahead / wide) ** 2 + ((spots.down - 0.27) / tall) ** 2 < 1)
        rows = np.sin(spots.down * wave) > 0.1
        bars = np.sin(0.1 * angle * wave) > 0.1  # 0.1: radius of a trunk
        share = {"stripes": rows, "bars": bars, "checks": 0.5 * rows + 0.5 * bars}
        return mix(first, second, share[garment.pattern])

    return first if garment.pattern in ("plain", "seam") else texture


def trouser_leg(garment: Garment, body: Skeleton, side: int) -> Colour | Texture:
    """Return the colour or texture of the lower garment along a leg."""
    if garment.pattern != "seam":
        return pattern(garment, body)
    outwards = side * body.facing  # where in the picture the outer side of the leg lies
    shown = abs(outwards) > 0.2 or body.depth((side, 0, 0)) > 0

    def texture(spots: Spots) -> np.ndarray:
        near = np.abs(spots.across - 0.75 * outwards) < 0.22
        return mix(garment.colour, garment.second, near & shown)

    return texture


def sleeve(garment: Garment, body: Skeleton) -> Colour | Texture:
    """Return the colour or texture of the upper garment along an arm."""
    if garment.pattern in _TURNED:
        return pattern(garment, body)
    if garment.pattern != "yoke":
        return garment.colour
    return lambda spots: mix(garment.colour, garment.second, spots.down < 0.07)


def top(person: Person, body: Skeleton) -> Texture:
    """Return the texture of the upper garment around the trunk, with straps of bags."""
    garment = person.upper
    plain = pattern(garment, body)

    def texture(spots: Spots) -> np.ndarray:
        paint = plain(spots) if callable(plain) else fill(plain, spots)
        angle, y = body.azimuth(spots.across), spots.down
        ahead = np.abs(angle)
        if garment.kind != "t-shirt" and garment.pattern != "open":  # buttons or a zip
            paint = paint * (1 - 0.35 * ((ahead < 0.05) & (y > 0.17)))[..., None]
        if garment.kind != "hoodie":
            deep = 0.028 if garment.kind == "t-shirt" else 0.05
            paint = lay(paint, (ahead < 0.55) & (y < 0.15 + deep * (1 - ahead)), person.skin)
        if person.bag == "backpack":
            strap = (np.abs(ahead - 0.62) < 0.13) & (y < 0.36)
            paint = lay(paint, strap, person.bag_colour)
        elif person.bag == "shoulder":  # from the far shoulder to the hip with the bag
            path = -0.55 + 4.6 * (y - 0.17)
            strap = (np.abs(np.sin(angle) * person.bag_side - path) < 0.11) & (y < 0.5)
            paint = lay(paint, strap, person.bag_colour)
        return paint

    return texture


def bag(colour: Colour, share: float) -> Texture:
    """Return a bag's texture: a seam at `share` of its height and darker sides below."""

    def texture(spots: Spots) -> np.ndarray:
        low, high = spots.y.min(), spots.y.max()
        level = (spots.down - low) / max(high - low, 1e-3)
        edge = (np.abs(level - share) < 0.04) | ((np.abs(spots.across) > 0.72) & (level > share))
        return mix(colour, darker(colour, 0.55), edge)

    return texture


def darker(colour: Colour, factor: float) -> Colour:
    """Return a colour multiplied by a factor."""
    return triple(factor * part for part in colour)


def mix(first: Colour, second: Colour, share) -> np.ndarray:
    """Return (h, w, 3) between two colours; `share` (h, w) is the second one's."""
    share = np.asarray(share, np.float32)[..., None]
    return np.asarray(first, np.float32) * (1 - share) + np.asarray(second, np.float32) * share


def fill(colour: Colour, spots: Spots) -> np.ndarray:
    """Return (h, w, 3) of one colour."""
    return np.broadcast_to(np.asarray(colour, np.float32), (*spots.across.shape, 3))


def lay(paint: np.ndarray, mask: np.ndarray, colour: Colour) -> np.ndarray:
    """Return `paint` with a colour where the mask holds."""
    return np.where(mask[..., None], np.asarray(colour, np.float32), paint)
