"""Looks drawn at random: walls, floors, wood, glass and paint, as they are seen by day."""

from __future__ import annotations

import colorsys

import numpy as np

from apps.line_segments.scenes.textures import number
from apps.line_segments.scenes.world import Look


def wall(rng: np.random.Generator) -> Look:
    """Return a facade: plaster, stone or brick."""
    kind = rng.choice(["plaster", "stone", "brick"], p=[0.5, 0.25, 0.25])
    hue, saturation = rng.choice([0.06, 0.1, 0.02, 0.6]), rng.uniform(0.05, 0.45)
    colour = colorsys.hsv_to_rgb(hue + rng.normal(0, 0.02), saturation, rng.uniform(0.15, 0.95))
    contrast = rng.uniform(0.08, 0.3) if kind == "brick" else rng.uniform(0.05, 0.5)
    grain = rng.uniform(0.9, 1.5) if kind == "brick" else rng.uniform(2, 4)
    return Look(colour, number(kind), contrast, grain)


def paint(rng: np.random.Generator, *, bright: bool = False) -> Look:
    """Return a painted surface of any colour."""
    value = rng.uniform(0.55, 0.95) if bright else rng.uniform(0.03, 0.9)
    saturation = rng.uniform(0.0, 0.3) if bright else rng.uniform(0.0, 0.8)
    colour = colorsys.hsv_to_rgb(rng.random(), saturation, value)
    return Look(colour, number("plaster"), rng.uniform(0.02, 0.2), rng.uniform(0.5, 2))


def wood(rng: np.random.Generator) -> Look:
    """Return a wooden surface."""
    colour = colorsys.hsv_to_rgb(
        rng.uniform(0.05, 0.1), rng.uniform(0.3, 0.7), rng.uniform(0.1, 0.6)
    )
    return Look(colour, number("wood"), rng.uniform(0.08, 0.4), rng.uniform(0.8, 2))


def ground(rng: np.random.Generator) -> Look:
    """Return what one walks on outside."""
    kind = rng.choice(["speckle", "stone", "grass"], p=[0.4, 0.4, 0.2])
    grey = rng.uniform(0.08, 0.45)
    colour = (0.5 * grey, 0.7 * grey, 0.3 * grey) if kind == "grass" else (grey, grey, 0.95 * grey)
    return Look(colour, number(kind), rng.uniform(0.15, 0.8), rng.uniform(1.2, 4))


def glass(rng: np.random.Generator, *, lit: bool = False) -> Look:
    """Return window panes: dark with a reflection, or bright as from inside by day."""
    value = rng.uniform(0.7, 1.0) if lit else rng.uniform(0.02, 0.2)
    colour = colorsys.hsv_to_rgb(rng.uniform(0.52, 0.62), rng.uniform(0.05, 0.35), value)
    return Look(colour, number("clouds"), rng.uniform(0.05, 0.5), rng.uniform(2, 6))


def surface(rng: np.random.Generator) -> Look:
    """Return any of the surfaces of furniture and boxes."""
    return (paint, wood, wall)[rng.choice(3, p=[0.5, 0.35, 0.15])](rng)


def unlike(look: Look, rng: np.random.Generator, other) -> Look:
    """Return a look of a kind that stands out against another: drawn anew while it does not."""
    found = other(rng)
    for _ in range(6):
        if abs(np.mean(found.colour) - np.mean(look.colour)) > 0.15:
            break
        found = other(rng)
    return found
