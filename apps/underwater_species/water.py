"""What water does to a picture: a synthetic degradation by a formation model of the textbooks.

Jaffe-McGlamery in its simplified form (J. Y. Chiang, Y.-C. Chen, IEEE TIP 2012), with the light
that is scattered back under coefficients of its own (D. Akkaynak, T. Treibitz, CVPR 2018). For
each channel c, linear in intensity, at a distance z in metres:

    I_c = (J_c * exp(-a_c z)) blurred by forward scatter + V_c * (1 - exp(-b_c z))

J is the picture in air, V the colour of water without end, a the attenuation, b the backscatter.
What is far away is blurred more. Then come drifting particles, the camera's noise and its gamma.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GAMMA = 2.2
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Water:
    """A body of water and the camera in it.

    Attributes:
        attenuation: a, per metre, of red, green and blue.
        backscatter: b, per metre.
        veil: V, linear, 0..1.
        blur: Pixels of standard deviation for each metre.
        particles: Drifting bright specks in a picture of 100x100 pixels.
        noise: Standard deviation of the sensor's noise, linear, at full brightness.
    """

    attenuation: Colour
    backscatter: Colour
    veil: Colour
    blur: float
    particles: float
    noise: float


def random_water(rng: np.random.Generator) -> Water:
    """Return clear blue to turbid green water, after the range of Jerlov's types."""
    green = rng.uniform(0, 1)  # 0 the open sea, 1 a harbour
    clear = rng.uniform(0.6, 1.3)
    blue = np.array((0.34, 0.09, 0.06)) * (1 - green) + np.array((0.42, 0.14, 0.22)) * green
    attenuation = blue * clear
    backscatter = attenuation * rng.uniform((0.5, 0.7, 0.7), (0.9, 1.2, 1.2))
    veil = np.array((0.03, 0.24, 0.42)) * (1 - green) + np.array((0.08, 0.32, 0.22)) * green
    veil = veil * rng.uniform(0.5, 1.3)
    return Water(
        _colour(attenuation),
        _colour(backscatter),
        _colour(veil),
        float(rng.uniform(0.05, 0.25)),
        float(rng.gamma(1.0, 4.0)),
        float(rng.uniform(0.005, 0.03)),
    )


def _colour(values: np.ndarray) -> Colour:
    red, green, blue = map(float, values)
    return red, green, blue


def submerged(
    picture: np.ndarray, distance: np.ndarray, water: Water, rng: np.random.Generator
) -> np.ndarray:
    """Return a picture as it looks through water.

    Args:
        picture: J, float32 (H, W, 3), linear RGB in 0..1.
        distance: z, float32 (H, W), metres.
        water: Its coefficients.
        rng: Of particles and noise.

    Returns:
        uint8 (H, W, 3), sRGB-like (a gamma of 2.2).
    """
    import cv2

    far = distance[..., None].astype(np.float32)
    direct = picture * np.exp(-np.asarray(water.attenuation, np.float32) * far)
    direct = _blurred(direct, distance, water.blur)
    veil = np.asarray(water.veil, np.float32)
    seen = direct + veil * (1 - np.exp(-np.asarray(water.backscatter, np.float32) * far))
    height, width = distance.shape
    specks = np.zeros((height, width), np.float32)
    count = rng.poisson(water.particles * height * width / 1e4)
    at = rng.integers(0, height, count), rng.integers(0, width, count)
    specks[at] = rng.uniform(0.2, 1.2, count)
    seen = seen + cv2.GaussianBlur(specks, (0, 0), 0.8)[..., None]
    deviation = water.noise * np.sqrt(np.clip(seen, 0.02, 1))  # of photons
    seen = seen + rng.normal(0, 1, seen.shape).astype(np.float32) * deviation
    return np.rint(255 * np.clip(seen, 0, 1) ** (1 / GAMMA)).astype(np.uint8)


def _blurred(picture: np.ndarray, distance: np.ndarray, blur: float) -> np.ndarray:
    """Return a picture that is blurred with the distance, between two blurs of all of it."""
    import cv2

    near, far = float(distance.min()), float(distance.max())
    first, last = (cv2.GaussianBlur(picture, (0, 0), max(0.1, blur * z)) for z in (near, far))
    share = ((distance - near) / max(far - near, 1e-6))[..., None].astype(np.float32)
    return first * (1 - share) + last * share
