"""What the grouping looks at: the pixels that may lie on segments, and their directions.

L. Teplyakov et al., "LSDNet: Trainable Modification of LSD Algorithm for Real-Time Line Segment
Detection", IEEE Access 10 (2022); steps and constants are those of the official program.

Directions are doubled: the unit vector (cos 2θ, sin 2θ) is the same for both ways along a line.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from core.errors import UserError


@dataclass(frozen=True)
class Parameters:
    """The grouping's thresholds, with the published values.

    Attributes:
        heat: Pixels of at most this heat lie on no segment.
        contrast: By how many of 255 steps a pixel's heat may be below its neighbourhood's mean.
        block: Side of that neighbourhood, odd.
        spread: Squared length of the difference of two doubled unit vectors, below which they
            agree: 4 sin² of the difference of the angles, so 0.05 are 6.4 degrees.
        deviation: By how much less than this a pixel's heat differs from its region's mean.
        least: Regions have more pixels than this.
        split: Whether parallel lines that grew together are told apart.
        shortest: Pixels of the maps that a segment spans at least; the published way, which has
            no such limit, does not look at it.
    """

    heat: float = 0.4
    contrast: float = 2.0
    block: int = 11
    spread: float = 0.05
    deviation: float = 0.3
    least: int = 10
    split: bool = True
    shortest: float = 4.0

    def __post_init__(self):
        if self.block < 3 or self.block % 2 == 0:
            raise ValueError(f"`block` must be odd and at least 3. Received: block={self.block}")
        if not all(isinstance(whole, int) for whole in (self.block, self.least)):
            raise ValueError(
                "`block` and `least` must be whole numbers. Received: "
                f"block={self.block}, least={self.least}"
            )
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "contrast" and not value >= 0:
                raise ValueError(
                    f"`{field.name}` must not be negative. Received: {field.name}={value}"
                )


PUBLISHED = Parameters()


def heat_and_direction(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the two maps that `group` takes of what LSDNet returns for an image.

    Args:
        maps: (H, W, 2) of the published network or (H, W, 3) of one with doubled directions.

    Returns:
        Views: the heat (H, W), and the angle by pi (H, W) or the doubled vector (H, W, 2).
    """
    maps = np.asarray(maps)
    if maps.ndim != 3 or maps.shape[2] not in (2, 3):
        raise ValueError(f"`maps` must be (H, W, 2) or (H, W, 3). Received: shape {maps.shape}")
    return maps[..., 0], maps[..., 1] if maps.shape[2] == 2 else maps[..., 1:]


@dataclass(frozen=True)
class Field:
    """The pixels that may lie on segments, numbered row by row.

    Attributes:
        shape: Height and width of the maps.
        rows, columns: int32 (N,) where they lie.
        pixels: (N, 3) of the type that is computed with: the doubled unit vector, and the heat.
    """

    shape: tuple[int, int]
    rows: np.ndarray
    columns: np.ndarray
    pixels: np.ndarray

    def hottest_first(self) -> np.ndarray:
        """Return the pixels' numbers int32 (N,) by falling heat, of equal ones the last first."""
        # The bits of floats above 0 are ordered as they are, and whole numbers are sorted fast.
        bits = self.pixels[:, 2].astype(np.float32).view(np.uint32).astype(np.int64)
        keys = np.sort(bits << 32 | np.arange(len(bits)))
        return (keys[::-1] & 0xFFFFFFFF).astype(np.int32)


def field_of(heat: np.ndarray, direction: np.ndarray, dtype: type, parameters: Parameters) -> Field:
    """Return the pixels of two maps that may lie on segments.

    Args:
        heat: (H, W) in [0, 1].
        direction: The angle by pi (H, W), or the doubled vector (H, W, 2).
        dtype: float32 or float64, for what is computed with the maps.
        parameters: Their `heat`, `contrast` and `block` count.

    Raises:
        ValueError: When the shapes are none of these.
        UserError: When a value is not finite.
    """
    heat, direction = np.asarray(heat), np.asarray(direction)
    if heat.ndim != 2 or direction.shape not in (heat.shape, (*heat.shape, 2)):
        raise ValueError(
            "`heat` must be (H, W) and `direction` (H, W) or (H, W, 2). Received: shapes "
            f"{heat.shape} and {direction.shape}"
        )
    if min(heat.shape) < 2:
        raise ValueError(f"`heat` must have two pixels to a side. Received: shape {heat.shape}")
    for name, values in (("heat", heat), ("direction", direction)):
        if not np.isfinite(values).all():
            raise UserError(
                f"The network's map of the {name} holds values that are not finite; its weights "
                "are damaged, or its training diverged."
            )
    heat = np.ascontiguousarray(heat, np.float32)
    places = np.flatnonzero(region_of_interest(heat, parameters)).astype(np.int32)
    directions = direction.reshape(heat.size, *direction.shape[2:])[places]
    pixels: np.ndarray = np.empty((len(places), 3), dtype)
    pixels[:, :2] = doubled(directions.astype(np.float32, copy=False))
    pixels[:, 2] = heat.ravel()[places]
    return Field(heat.shape, *np.divmod(places, np.int32(heat.shape[1])), pixels)


def doubled(direction: np.ndarray) -> np.ndarray:
    """Return doubled unit vectors (N, 2), in float32 as published.

    Args:
        direction: float32 angles by pi (N,), or doubled vectors of any length (N, 2); (0, 0)
            counts as horizontal.
    """
    if direction.ndim == 1:
        angle = direction * np.float32(np.pi)
        cosine, sine = np.cos(angle), np.sin(angle)
        return np.stack((cosine * cosine - sine * sine, np.float32(2) * sine * cosine), axis=-1)
    x, y = direction[:, 0], direction[:, 1]
    length = np.sqrt(x * x + y * y)
    known = length > 0
    length = np.where(known, length, np.float32(1))
    return np.stack((np.where(known, x / length, np.float32(1)), y / length), axis=-1)


def region_of_interest(heat: np.ndarray, parameters: Parameters) -> np.ndarray:
    """Return which pixels bool (H, W) may lie on a segment: hot, and no colder than around them.

    Args:
        heat: float32 (H, W).
        parameters: Their `heat`, `contrast` and `block` count.
    """
    import cv2

    codes = np.rint(255 * np.clip(heat, 0, 1)).astype(np.uint8)
    near = cv2.adaptiveThreshold(
        codes,
        1,
        cv2.ADAPTIVE_THRESH_GAUSSIAN_C,
        cv2.THRESH_BINARY,
        parameters.block,
        parameters.contrast,
    )
    return (heat > np.float32(parameters.heat)) & (near > 0)
