"""Drawn ultrasound: echoes in a fan-shaped sector, with speckle, shadows and fading by depth.

Places are in the sector's own measure: x to the right from its middle line, y down from the
transducer, both in shares of its depth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from core.drawing import INK, Sheet

_SOFT = 0.012  # width of an edge
_GRID = (160, 96)  # depths and angles of the speckle
_LETTERS = 9  # pixels
Place = tuple[float, float]


@dataclass(frozen=True)
class Machine:
    """A scanner and its preset: what does not change while a patient is seen.

    Attributes:
        size: (height, width) of its pictures.
        spread: Half of the sector's opening angle, radians.
        top: Where the transducer's face lies, in shares of the height.
        text, logo: What it writes into its pictures.
        colour: Of the text, RGB.
        form: How pictures are stored: "L", "RGB" or "RGBA".
        gain, fading: Brightness, and how much of it is lost with depth.
    """

    size: tuple[int, int]
    spread: float
    top: float
    text: tuple[str, ...]
    logo: str
    colour: tuple[int, int, int]
    form: str
    gain: float
    fading: float


class Sector:
    """The echoes of one picture.

    Args:
        machine: Which decides size and opening.
        background: Echo of what is not drawn, 0 (fluid) to 1 (bone).
    """

    def __init__(self, machine: Machine, background: float):
        height, width = machine.size
        self.machine = machine
        depth = (1 - machine.top) * height * 0.97  # pixels of a depth of 1
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        self.x = (columns - (width - 1) / 2) / depth
        self.y = (rows - machine.top * height) / depth
        behind = 0.22  # the rays meet so far above the transducer
        self.angle = np.arctan2(self.x, self.y + behind)
        self.depth = np.hypot(self.x, self.y + behind) - behind
        self.inside = (np.abs(self.angle) < machine.spread) & (self.depth > 0) & (self.depth < 1)
        self.echo = np.full((height, width), background, np.float32)
        self.light = np.ones((height, width), np.float32)
        self._behind = behind

    def blob(self, centre: Place, axes: Place, turn: float, echo: float) -> None:
        """Fill an ellipse of two half axes, turned by radians."""
        cover = self._edge(self._ellipse(centre, axes, turn), min(axes))
        self.echo += cover * (echo - self.echo)

    def ring(self, centre: Place, axes: Place, turn: float, echo: float, width: float) -> None:
        """Draw an ellipse's outline, brighter where the beam meets it at a right angle."""
        away = (self._ellipse(centre, axes, turn) - 1) * min(axes)
        line = np.exp(-((away / width) ** 2))
        across = np.abs(np.cos(np.arctan2(self.x - centre[0], self.y - centre[1]) - self.angle))
        self._brighten(line * (0.45 + 0.55 * across), echo)

    def rod(self, start: Place, end: Place, echo: float, width: float, bend: float = 0.0) -> None:
        """Draw a line with round ends, bent by a share of its length."""
        along = np.array(end) - start
        length = float(np.hypot(*along))
        unit = along / length
        u = (self.x - start[0]) * unit[0] + (self.y - start[1]) * unit[1]
        v = (self.y - start[1]) * unit[0] - (self.x - start[0]) * unit[1]
        share = np.clip(u / length, 0, 1)
        v = v - 4 * bend * length * share * (1 - share)
        away = np.hypot(u - share * length, v)
        self._brighten(np.exp(-((away / width) ** 2)), echo)

    def shadow(self, start: Place, end: Place, strength: float) -> None:
        """Darken what lies behind a line, seen from the transducer."""
        angles = sorted(math.atan2(x, y + self._behind) for x, y in (start, end))
        deep = max(math.hypot(x, y + self._behind) for x, y in (start, end)) - self._behind
        beside = np.maximum(angles[0] - self.angle, self.angle - angles[1])
        cover = 1 / (1 + np.exp(np.clip(beside / 0.02, -30, 30)))
        cover /= 1 + np.exp(np.clip((deep + 0.02 - self.depth) / 0.015, -30, 30))
        self.light *= 1 - strength * cover

    def picture(self, rng: np.random.Generator) -> np.ndarray:
        """Return the sector as a scanner shows it, uint8 (H, W), black around it."""
        machine = self.machine
        amplitude = np.maximum(self.echo, 0.02) * self.light
        amplitude = amplitude * self._speckle(rng) * np.exp(-machine.fading * self.depth)
        shown = 0.64 + 0.36 * np.log10(amplitude * machine.gain + 1e-3)  # compressed
        shown = cv2.GaussianBlur(np.clip(shown, 0, 1).astype(np.float32), (0, 0), 0.6)
        return np.rint(255 * shown * self.inside).astype(np.uint8)

    def _speckle(self, rng: np.random.Generator) -> np.ndarray:
        """Return factors of mean 1, grains as wide as the beam, which widens with depth."""
        depths, angles = _GRID
        waves = rng.standard_normal((2, depths, angles)).astype(np.float32)
        grains = [cv2.GaussianBlur(wave, (0, 0), sigmaX=1.3, sigmaY=0.8) for wave in waves]
        grain = np.hypot(*grains)
        columns = (self.angle / self.machine.spread + 1) * (angles - 1) / 2
        rows = self.depth * (depths - 1)
        maps = columns.astype(np.float32), rows.astype(np.float32)
        return cv2.remap(grain / grain.mean(), *maps, cv2.INTER_LINEAR, borderValue=0.0)

    def _ellipse(self, centre: Place, axes: Place, turn: float) -> np.ndarray:
        x, y = self.x - centre[0], self.y - centre[1]
        u = x * math.cos(turn) + y * math.sin(turn)
        v = y * math.cos(turn) - x * math.sin(turn)
        return np.hypot(u / axes[0], v / axes[1])

    def _edge(self, distance: np.ndarray, size: float) -> np.ndarray:
        return 1 / (1 + np.exp(np.clip((distance - 1) * size / _SOFT, -30, 30)))

    def _brighten(self, cover: np.ndarray, echo: float) -> None:
        self.echo += cover * np.maximum(echo - self.echo, 0)


def labelled(picture: np.ndarray, machine: Machine, caption: str) -> np.ndarray:
    """Return a picture with what scanners write into it, uint8 (H, W, 3).

    Args:
        picture: uint8 (H, W).
        machine: Its text stands in a corner, its logo in another; a scale of greys at the edge.
        caption: One more line.
    """
    height, width = picture.shape
    canvas = np.repeat(picture[..., None], 3, axis=-1)
    lines = Sheet(height, width)
    for number, line in enumerate((*machine.text, caption)):
        lines.write(line, (2, 2 + 8 * number), size=_LETTERS)
    logo = Sheet(height, width)
    logo.write(machine.logo, (width - 6 * len(machine.logo) - 3, 2), size=_LETTERS)
    for sheet, colour in ((lines, machine.colour), (logo, (230, 230, 230))):
        ink = (255 - sheet.picture().astype(np.float32)) / (255 - np.array(INK, np.float32))
        written = np.rint(np.clip(ink, 0, 1) * colour).astype(np.uint8)
        canvas = np.maximum(canvas, written)
    greys = np.linspace(255, 0, height // 3).astype(np.uint8)[:, None, None]
    canvas[height // 3 : height // 3 + len(greys), width - 5 : width - 2] = greys
    return canvas
