"""Who walks through the synthetic pictures: build, hair, clothes and what is carried.

Clothes come from a short list of colours weighted as in a street, so that several people of a
data set are dressed nearly alike and only the whole of their looks tells them apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apps.person_reid.pedestrians.brushes import Colour, triple

SKINS: tuple[Colour, ...] = (
    (0.93, 0.78, 0.69),
    (0.87, 0.69, 0.57),
    (0.78, 0.59, 0.46),
    (0.63, 0.45, 0.34),
    (0.46, 0.32, 0.24),
    (0.34, 0.23, 0.18),
)
HAIRS: tuple[tuple[Colour, float], ...] = (
    ((0.07, 0.06, 0.06), 0.34),
    ((0.18, 0.12, 0.09), 0.28),
    ((0.33, 0.22, 0.15), 0.16),
    ((0.68, 0.54, 0.34), 0.10),
    ((0.48, 0.24, 0.13), 0.05),
    ((0.62, 0.61, 0.60), 0.07),
)
TOPS: tuple[tuple[Colour, float], ...] = (
    ((0.09, 0.09, 0.10), 0.19),  # black
    ((0.26, 0.27, 0.29), 0.10),  # charcoal
    ((0.55, 0.56, 0.57), 0.09),  # grey
    ((0.90, 0.90, 0.88), 0.14),  # white
    ((0.12, 0.16, 0.30), 0.11),  # navy
    ((0.20, 0.36, 0.62), 0.06),  # blue
    ((0.58, 0.72, 0.84), 0.05),  # light blue
    ((0.72, 0.14, 0.15), 0.06),  # red
    ((0.38, 0.10, 0.15), 0.03),  # burgundy
    ((0.16, 0.40, 0.26), 0.03),  # green
    ((0.36, 0.37, 0.22), 0.04),  # olive
    ((0.76, 0.67, 0.52), 0.05),  # beige
    ((0.37, 0.26, 0.18), 0.02),  # brown
    ((0.88, 0.71, 0.22), 0.02),  # yellow
    ((0.86, 0.56, 0.63), 0.03),  # pink
    ((0.40, 0.28, 0.48), 0.02),  # purple
)
BOTTOMS: tuple[tuple[Colour, float], ...] = (
    ((0.10, 0.10, 0.11), 0.27),  # black
    ((0.16, 0.20, 0.31), 0.19),  # dark jeans
    ((0.30, 0.41, 0.56), 0.19),  # jeans
    ((0.53, 0.62, 0.71), 0.06),  # washed jeans
    ((0.33, 0.34, 0.36), 0.11),  # grey
    ((0.66, 0.58, 0.45), 0.08),  # khaki
    ((0.34, 0.27, 0.20), 0.04),  # brown
    ((0.86, 0.85, 0.82), 0.03),  # white
    ((0.33, 0.35, 0.25), 0.03),  # olive
)
SHOES: tuple[tuple[Colour, float], ...] = (
    ((0.08, 0.08, 0.08), 0.42),
    ((0.88, 0.88, 0.87), 0.28),
    ((0.35, 0.22, 0.14), 0.14),
    ((0.42, 0.42, 0.44), 0.10),
    ((0.66, 0.16, 0.18), 0.06),
)


@dataclass(frozen=True)
class Garment:
    """A piece of clothing.

    Attributes:
        kind: Upper: "t-shirt", "shirt", "jacket", "hoodie", "coat". Lower: "trousers", "leggings",
            "shorts", "skirt".
        colour: Main colour, RGB in 0..1.
        second: Colour of the pattern, or of the shirt under an open jacket or coat.
        pattern: "plain", "stripes", "bars" (upright), "checks", "print" (on the chest), "yoke"
            (another colour on the shoulders), "open" (at the front) or "seam" (along the legs).
        period: Distance of two stripes in body heights.
        hem: Height at which it ends, in body heights from the crown.
        loose: Added to the body's half width, in body heights.
    """

    kind: str
    colour: Colour
    second: Colour
    pattern: str
    period: float
    hem: float
    loose: float


@dataclass(frozen=True)
class Person:
    """What stays the same in every picture of a person.

    Attributes:
        shoulders, hips, bulk: Factors of the average body's widths.
        head: Factor of the average head: a short person's head is relatively large.
        stature: Height in metres.
        skin, hair, hat_colour, bag_colour, shoe_colour: RGB in 0..1.
        hair_style: "bald", "short", "full", "bob", "long", "tail" or "bun".
        hat: "none", "cap", "beanie" or "brim".
        upper, lower: What is worn.
        shoes: "low", "trainers" (with a white sole) or "boots".
        bag: "none", "backpack", "shoulder" (strap across the chest) or "hand".
        bag_side: Side on which it is carried, 1 for the person's left, -1 for the right.
        scarf: Its colour, or None.
        beard: Whether there is one.
    """

    shoulders: float
    hips: float
    bulk: float
    head: float
    stature: float
    skin: Colour
    hair: Colour
    hair_style: str
    hat: str
    hat_colour: Colour
    upper: Garment
    lower: Garment
    shoes: str
    shoe_colour: Colour
    bag: str
    bag_colour: Colour
    bag_side: int
    scarf: Colour | None
    beard: bool


def draw_person(rng: np.random.Generator) -> Person:
    """Return a person drawn at random."""
    womanly = rng.random() < 0.5
    stature = float(np.clip(rng.normal(1.64 if womanly else 1.77, 0.07), 1.45, 2.0))
    styles = ("bob", "long", "tail", "bun", "short") if womanly else ("short", "full", "bald")
    shares = (0.22, 0.36, 0.2, 0.1, 0.12) if womanly else (0.66, 0.22, 0.12)
    carried = (("none", 0.4), ("backpack", 0.27), ("shoulder", 0.19), ("hand", 0.14))
    return Person(
        shoulders=float(rng.normal(0.94 if womanly else 1.06, 0.04)),
        hips=float(rng.normal(1.06 if womanly else 0.97, 0.04)),
        bulk=float(np.clip(rng.normal(1.0, 0.11), 0.82, 1.35)),
        head=float(np.clip(1.75 / stature, 0.9, 1.15)),
        stature=stature,
        skin=_near(rng, SKINS[rng.choice(len(SKINS), p=(0.22, 0.26, 0.22, 0.12, 0.1, 0.08))]),
        hair=_pick(rng, HAIRS),
        hair_style=str(rng.choice(styles, p=shares)),
        hat=str(rng.choice(("none", "cap", "beanie", "brim"), p=(0.8, 0.1, 0.06, 0.04))),
        hat_colour=_pick(rng, TOPS),
        upper=_upper(rng),
        lower=_lower(rng, womanly),
        shoes=str(rng.choice(("low", "trainers", "boots"), p=(0.42, 0.43, 0.15))),
        shoe_colour=_pick(rng, SHOES),
        bag=_choose(rng, carried),
        bag_colour=_pick(rng, TOPS),
        bag_side=int(rng.choice((-1, 1))),
        scarf=_pick(rng, TOPS) if rng.random() < 0.08 else None,
        beard=bool(not womanly and rng.random() < 0.25),
    )


def _upper(rng: np.random.Generator) -> Garment:
    kinds = (("t-shirt", 0.3), ("shirt", 0.2), ("jacket", 0.24), ("hoodie", 0.13), ("coat", 0.13))
    kind = _choose(rng, kinds)
    colour = _pick(rng, TOPS)
    patterns = {
        "t-shirt": (("plain", 0.45), ("print", 0.3), ("stripes", 0.17), ("yoke", 0.08)),
        "shirt": (("plain", 0.45), ("checks", 0.25), ("stripes", 0.18), ("bars", 0.12)),
        "jacket": (("plain", 0.35), ("open", 0.45), ("yoke", 0.2)),
        "hoodie": (("plain", 0.6), ("print", 0.3), ("yoke", 0.1)),
        "coat": (("plain", 0.6), ("open", 0.4)),
    }
    hem = rng.uniform(0.62, 0.74) if kind == "coat" else rng.uniform(0.49, 0.54)
    loose = {"t-shirt": 0.006, "shirt": 0.006, "jacket": 0.014, "hoodie": 0.015, "coat": 0.018}
    return Garment(
        kind,
        colour,
        _contrasting(rng, colour),
        _choose(rng, patterns[kind]),
        float(rng.uniform(0.03, 0.06)),
        float(hem),
        loose[kind] + float(rng.uniform(-0.003, 0.005)),
    )


def _lower(rng: np.random.Generator, womanly: bool) -> Garment:
    kind = _choose(
        rng,
        (("trousers", 0.42), ("leggings", 0.2), ("shorts", 0.12), ("skirt", 0.26))
        if womanly
        else (("trousers", 0.8), ("shorts", 0.2)),
    )
    colour = _pick(rng, TOPS if kind == "skirt" else BOTTOMS)
    patterns = {
        "trousers": (("plain", 0.92), ("seam", 0.08)),
        "leggings": (("plain", 0.85), ("seam", 0.15)),
        "shorts": (("plain", 0.8), ("checks", 0.2)),
        "skirt": (("plain", 0.7), ("checks", 0.16), ("stripes", 0.14)),
    }
    hem = {
        "trousers": 0.945,
        "leggings": rng.uniform(0.88, 0.95),
        "shorts": rng.uniform(0.66, 0.73),
        "skirt": rng.uniform(0.64, 0.86),
    }
    loose = {"trousers": rng.uniform(0.001, 0.012), "leggings": -0.003, "shorts": 0.012}
    return Garment(
        kind,
        colour,
        _contrasting(rng, colour),
        _choose(rng, patterns[kind]),
        float(rng.uniform(0.035, 0.06)),
        float(hem[kind]),
        float(loose.get(kind, 0.01)),
    )


def _choose(rng: np.random.Generator, shares) -> str:
    names, weights = zip(*shares, strict=True)
    return str(rng.choice(names, p=np.array(weights) / sum(weights)))


def _pick(rng: np.random.Generator, palette) -> Colour:
    colours, weights = zip(*palette, strict=True)
    return _near(rng, colours[rng.choice(len(colours), p=np.array(weights) / sum(weights))])


def _near(rng: np.random.Generator, colour: Colour) -> Colour:
    """Return nearly the same colour: cloth of one name is never quite equal."""
    shift = rng.normal(0, 0.015) + rng.normal(0, 0.007, 3)
    return triple(np.clip(np.asarray(colour) + shift, 0, 1))


def _contrasting(rng: np.random.Generator, colour: Colour) -> Colour:
    """Return a colour that is seen on `colour`."""
    while True:
        other = _pick(rng, TOPS)
        if np.abs(np.subtract(other, colour)).max() > 0.25:
            return other
