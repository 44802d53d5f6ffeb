"""Textures of mean 0 that repeat without a seam: procedural, and of photographs.

The procedural ones are made once, of a seed of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from core.data.images import read_image, resized

SIDE = 256
ATLAS = ("plaster", "clouds", "speckle", "wood", "stone", "brick", "grass")
_SEED = 20


@lru_cache(maxsize=1)
def atlas() -> np.ndarray:
    """Return the textures in the order of `ATLAS`: float32 (T, SIDE, SIDE), most within -1..1."""
    rng = np.random.default_rng(_SEED)
    return np.stack([_TEXTURES[name](rng) for name in ATLAS]).astype(np.float32)


@lru_cache(maxsize=4)
def with_photographs(paths: Sequence[Path]) -> np.ndarray:
    """Return the atlas with the brightness of photographs behind it, mirrored to repeat.

    Args:
        paths: A tuple of image files.
    """
    found = [*atlas()]
    for path in paths:
        values = resized(read_image(path, 1), (SIDE // 2, SIDE // 2))[..., 0].astype(np.float64)
        across = np.concatenate([values, values[:, ::-1]], 1)
        found.append(_even(np.concatenate([across, across[::-1]])).astype(np.float32))
    return np.stack(found)


def number(name: str) -> int:
    """Return a texture's position in the atlas."""
    return ATLAS.index(name)


def _noise(rng: np.random.Generator, power: float, stretch: float = 1.0) -> np.ndarray:
    """Return noise whose amplitude falls with the frequency; `stretch` draws it out in rows."""
    rows = np.fft.fftfreq(SIDE)[:, None] * SIDE
    columns = np.fft.rfftfreq(SIDE)[None] * SIDE * stretch
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((SIDE, SIDE))) / frequency**power
    return _even(np.fft.irfft2(spectrum, (SIDE, SIDE)))


def _even(values: np.ndarray) -> np.ndarray:
    values = values - values.mean()
    return np.clip(values / max(2 * values.std(), 1e-9), -1.5, 1.5)


def _plaster(rng: np.random.Generator) -> np.ndarray:
    return _even(_noise(rng, 0.6) + 0.5 * _noise(rng, 1.4))


def _clouds(rng: np.random.Generator) -> np.ndarray:
    return _noise(rng, 1.8)


def _speckle(rng: np.random.Generator) -> np.ndarray:
    return _even(np.where(_noise(rng, 0.7) > 0.45, 1.0, 0.0) - (_noise(rng, 0.7) > 0.55))


def _wood(rng: np.random.Generator) -> np.ndarray:
    rings = np.sin(6 * _noise(rng, 2.0, 6.0) + 3 * _noise(rng, 1.6, 12.0))
    return _even(rings + 0.6 * _noise(rng, 0.8, 10.0))


def _stone(rng: np.random.Generator) -> np.ndarray:
    return _even(_noise(rng, 1.1) + 0.4 * np.abs(_noise(rng, 1.5)))


def _brick(rng: np.random.Generator) -> np.ndarray:
    courses, long = 16, 6
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    course = np.floor(rows * courses).astype(int)
    shifted = columns * long + 0.5 * (course % 2)
    stone = rng.normal(0, 0.5, (courses, long))[course, np.floor(shifted).astype(int) % long]
    joint = (rows * courses % 1 < 0.12) | (shifted % 1 < 0.05)
    return _even(np.where(joint, 1.2, stone) + 0.4 * _noise(rng, 0.8))


def _grass(rng: np.random.Generator) -> np.ndarray:
    return _even(_noise(rng, 0.2) + _noise(rng, 1.0))


_TEXTURES = {
    "plaster": _plaster,
    "clouds": _clouds,
    "speckle": _speckle,
    "wood": _wood,
    "stone": _stone,
    "brick": _brick,
    "grass": _grass,
}
